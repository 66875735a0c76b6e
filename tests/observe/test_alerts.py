"""What is worth an alert, told once, to whom it concerns."""

import asyncio
import json
from email import message_from_bytes

import pytest
from msgspec.structs import replace
from tests.fakes.manual_clock import ManualClock
from tests.fakes.receiver import receiver
from tests.fakes.records import call_record

from wayport.config.observing import AlertSettings, AlertTarget, SmtpSettings
from wayport.core.record import CallRecord
from wayport.core.secret import Secret
from wayport.observe.alerts import Alert, Alerts, Holding, Hours
from wayport.observe.notify import Notifier
from wayport.observe.tail import Tail, TailFilter, TooManyWatchers
from wayport.observe.vitals import Vitals


def _call(*, failed: bool = False, seconds: float = 1.0) -> CallRecord:
    record = call_record()
    record.ended_s = record.started_s + seconds
    if failed:
        record.status, record.http_status = "failure", 500
    return record


def _alerts(**settings: float) -> tuple[Alerts, ManualClock]:
    clock = ManualClock(call_record().started_s)
    return Alerts(replace(AlertSettings(), **settings), clock=clock), clock


def _kinds(alerts: Alerts) -> list[str]:
    return [alert.kind for alert in alerts.take()]


def test_many_failures_of_a_model_are_told_once_in_a_while() -> None:
    alerts, clock = _alerts()
    for number in range(20):
        alerts.add(_call(failed=number < 6))
    alerts.look_at_rates()
    alerts.look_at_rates()
    assert _kinds(alerts) == ["error_rate"]
    clock.advance(3601)
    alerts.look_at_rates()
    assert _kinds(alerts) == []


def test_few_calls_and_clients_that_leave_say_nothing() -> None:
    alerts, _ = _alerts()
    for _ in range(19):
        alerts.add(_call(failed=True))
    for _ in range(50):
        gone = _call()
        gone.status = "cancelled"
        alerts.add(gone)
    alerts.look_at_rates()
    assert _kinds(alerts) == []


def test_a_slow_deployment_is_told() -> None:
    alerts, _ = _alerts(slow_s=5)
    for _ in range(20):
        alerts.add(_call(seconds=6))
    alerts.look_at_rates()
    assert _kinds(alerts) == ["slow_deployment"]


def test_an_unpriced_model_a_breaker_losses_and_a_backlog_are_told() -> None:
    alerts, _ = _alerts()
    unpriced = _call()
    unpriced.cost_nano_usd = None
    alerts.add(unpriced)
    alerts.add(unpriced)
    alerts.look_at_workers([Vitals(worker=0, pid=1, lost=2, breakers={"d1": "open", "d2": "half_open"})])
    alerts.look_at_journal(64 * 1024 * 1024, "away")
    found = [(alert.kind, alert.subject) for alert in alerts.take()]
    assert found == [
        ("unpriced_model", "openai/gpt-4o-2024-08-06"),
        ("breaker_open", "d1"),
        ("journal", "lost"),
        ("journal", "backlog"),
    ]


def test_budgets_are_told_at_each_share() -> None:
    alerts, _ = _alerts()
    for spent in (70, 85, 90, 101, 120):
        alerts.look_at_budgets(
            [Holding(holder="key:a", shown="ci", spent_nano_usd=spent * 10**9, budget_nano_usd=100 * 10**9)]
        )
    assert [alert.message for alert in alerts.take()] == [
        "ci has spent $85 of $100 (85%).",
        "ci has spent $101 of $100 (101%).",
    ]


@pytest.mark.parametrize(("now", "hours", "told"), [(600, 24, 1), (400, 24, 0), (600, 5, 0)])
def test_an_unusual_hour_is_told(now: int, hours: int, told: int) -> None:
    alerts, _ = _alerts()
    alerts.look_at_hours([Hours(subject="model:gpt", now={"calls": now}, before=[{"calls": 100}] * hours)])
    assert len(_kinds(alerts)) == told


async def test_targets_get_alerts_in_their_form() -> None:
    alert = Alert(kind="budget", subject="key:a", message="ci has spent too much.", details={"spend": "1"})
    async with receiver() as hook:
        settings = AlertSettings(
            targets=(
                AlertTarget(kind="slack"),
                AlertTarget(kind="webhook", url=Secret(f"{hook.url}/hook"), secret=Secret("s")),
            )
        )
        variables = {"SLACK_WEBHOOK_URL": f"{hook.url}/slack"}
        notifier = Notifier(settings, variable=lambda name: variables.get(name, ""), clock=ManualClock())
        await notifier.send(alert)
        await notifier.close()
        requests = {request.path: request for request in hook.requests}
    assert requests["/slack"].json == {"text": "*Wayport: budget* (key:a)\nci has spent too much."}
    assert requests["/hook"].json["event"] == "budget"
    assert requests["/hook"].headers["x-wayport-signature"].startswith("sha256=")
    assert (notifier.sent, notifier.failed) == (2, 0)


async def test_mail_is_written() -> None:
    mails: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 test\r\n")
        while line := await reader.readline():
            match line.split()[0].upper():
                case b"DATA":
                    writer.write(b"354 go\r\n")
                    mails.append(await reader.readuntil(b"\r\n.\r\n"))
                    writer.write(b"250 ok\r\n")
                case b"QUIT":
                    writer.write(b"221 bye\r\n")
                    writer.close()
                    return
                case _:
                    writer.write(b"250 ok\r\n")

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    smtp = SmtpSettings(host="127.0.0.1", port=server.sockets[0].getsockname()[1], tls=False, sender="w@example.com")
    settings = AlertSettings(targets=(AlertTarget(kind="email", to=("ops@example.com",)),), smtp=smtp)
    notifier = Notifier(settings, variable=lambda _: "", clock=ManualClock())
    await notifier.send(Alert(kind="journal", subject="backlog", message="Too much waits."))
    await notifier.close()
    server.close()
    mail = message_from_bytes(mails[0])
    assert (mail["To"], mail["Subject"]) == ("ops@example.com", "Wayport: journal (backlog)")


async def test_what_cannot_be_sent_is_given_up_and_counted() -> None:
    async def sleep(_: float) -> None:
        """Does not wait."""

    settings = AlertSettings(targets=(AlertTarget(kind="slack"), AlertTarget(kind="email")))
    notifier = Notifier(settings, variable=lambda _: "", clock=ManualClock(), sleep=sleep)
    await notifier.send(Alert(kind="journal", subject="x", message="y"))
    await notifier.close()
    assert (notifier.sent, notifier.failed) == (0, 2)


async def test_a_watcher_sees_what_it_asked_for_and_hears_of_what_it_missed() -> None:
    tail = Tail()
    with tail.watch(TailFilter(status="failed", provider="openai").shows) as watcher:
        tail.add(_call())
        tail.add(_call(failed=True))
        records = watcher.records(quiet_s=0.001)
        first = await anext(records)
        assert first is not None
        assert first.status == "failure"
        assert await anext(records) is None
        for _ in range(1_005):
            tail.add(_call(failed=True))
        assert watcher.missed == 5
    assert tail.watchers == 0


def test_watchers_are_bounded() -> None:
    tail = Tail()
    from contextlib import ExitStack

    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(tail.watch(lambda _: True))
        with pytest.raises(TooManyWatchers), tail.watch(lambda _: True):
            raise AssertionError("one too many")


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        ({}, True),
        ({"model": "gpt"}, True),
        ({"model": "gpt-4o-2024-08-06"}, True),
        ({"model": "other"}, False),
        ({"team_id": "team-1", "key_alias": "ci"}, True),
        ({"user_id": "bob"}, False),
        ({"status": "failed"}, False),
        ({"tag": "blue"}, True),
        ({"tag": "red"}, False),
        ({"session_id": "s"}, False),
        ({"organization_id": "o"}, False),
        ({"slower_than_ms": 1000}, True),
        ({"slower_than_ms": 2000}, False),
    ],
)
def test_filters(wanted: dict[str, object], shown: bool) -> None:
    assert TailFilter(**wanted).shows(call_record()) is shown  # type: ignore[arg-type]  # the values of each case


def test_alerts_can_be_written_as_json() -> None:
    import msgspec

    assert json.loads(msgspec.json.encode(Alert(kind="a", subject="b", message="c")))["details"] == {}
