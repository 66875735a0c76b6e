"""Limits and budgets on the request path: what is refused, how, and what is given back on every way out."""

import asyncio
from typing import Any

import msgspec
import pytest
from tests.fakes.gateway import MASTER_KEY, Gateway, gateway
from tests.fakes.upstream import Upstream, by, cut, json_answer, stall, whole
from tests.pipeline.test_chat import WHOLE, openai_at
from tests.proof.spending import COST, OUTPUT, Biller, config

from wayport.access.principal import DAY_S, MINUTE_S, AskedFor, Budget, Holder, Rate, rates_of
from wayport.core.errors import Unavailable
from wayport.core.secret import key_hash

ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Say something."}], "max_tokens": 420}
KEY = "sk-limited-key-000001"


def holder(**fields: Any) -> Holder:
    return Holder(scope="key", id="k", **fields)


def limited(wayport: Gateway, *holders: Holder, **more: Any) -> dict[str, str]:
    return {"authorization": f"Bearer {wayport.keys.add(KEY, holders=holders, **more)}"}


def gauge(wayport: Gateway, part: str) -> Any:
    return next(g for g in wayport.worker.admission.gauges.all() if part in g.counter)


async def test_requests_are_admitted_up_to_the_limit_and_then_refused_with_the_time_to_wait() -> None:
    async with Upstream(Biller(failing=0).script()) as upstream, gateway(config(upstream)) as wayport:
        headers = limited(wayport, holder(rates=rates_of(rpm=3)))
        answers = [await wayport.ask(ASK, headers=headers) for _ in range(5)]
        assert [a.status_code for a in answers] == [200, 200, 200, 429, 429]
        assert answers[0].headers["x-ratelimit-limit-requests"] == "3"
        assert [a.headers["x-ratelimit-remaining-requests"] for a in answers[:4]] == ["2", "1", "0", "0"]
        refused = answers[3]
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert refused.headers["x-should-retry"] == "true"
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert "3 requests per minute of this key" in refused.json()["error"]["message"]
        assert len(upstream.requests) == 3


async def test_a_team_of_many_keys_has_one_limit() -> None:
    async with Upstream(Biller(failing=0).script()) as upstream, gateway(config(upstream)) as wayport:
        team = Holder(scope="team", id="t", name="research", rates=rates_of(rpm=4))
        first = {"authorization": f"Bearer {wayport.keys.add('sk-team-key-000000001', holders=(team,))}"}
        second = {"authorization": f"Bearer {wayport.keys.add('sk-team-key-000000002', holders=(team,))}"}
        statuses = [(await wayport.ask(ASK, headers=h)).status_code for h in (first, second) * 3]
        assert sorted(statuses) == [200] * 4 + [429] * 2


async def test_tokens_run_over_by_the_calls_in_flight_and_no_more() -> None:
    async with Upstream(Biller(failing=0).script()) as upstream, gateway(config(upstream)) as wayport:
        headers = limited(wayport, holder(rates=rates_of(tpm=300)))
        statuses = [(await wayport.ask(ASK, headers=headers)).status_code for _ in range(4)]
        # 140 tokens each: the third is admitted on what is left, and the fourth finds a debt.
        assert statuses == [200, 200, 200, 429]
        used = gauge(wayport, "tokens")
        assert used.held - used.free == 3 * 140


async def test_limits_of_a_model_bind_calls_of_that_model_alone() -> None:
    extra = "aliases: {other: m}"
    async with Upstream(Biller(failing=0).script()) as upstream, gateway(config(upstream, more=extra)) as wayport:
        headers = limited(wayport, holder(rates=(Rate(of="requests", per_s=DAY_S, at_most=1, model="other"),)))
        statuses = [
            (await wayport.ask({**ASK, "model": name}, headers=headers)).status_code
            for name in ("other", "m", "m", "other")
        ]
        assert statuses == [200, 200, 200, 429]


MASTER = {"authorization": f"Bearer {MASTER_KEY}"}


async def test_what_binds_the_whole_gateway_binds_every_kind_of_key() -> None:
    most = "limits: {gateway: {rpm: 3}}"
    async with Upstream(Biller(failing=0).script()) as upstream, gateway(config(upstream, more=most)) as wayport:
        ours = limited(wayport)
        answers = [await wayport.ask(ASK, headers=headers) for headers in (MASTER, ours, MASTER, ours, MASTER)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert "3 requests per minute of the gateway" in answers[3].json()["error"]["message"]


async def test_the_gateways_budget_stops_the_master_key_when_it_is_spent() -> None:
    most = f"limits: {{gateway: {{max_budget: {1.5 * COST / 1e9}, budget_duration: 30d}}}}"
    async with Upstream(Biller(failing=0).script()) as upstream, gateway(config(upstream, more=most)) as wayport:
        answers = [await wayport.ask(ASK, headers=MASTER) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[2].json()["error"]["code"] == "budget_exceeded"
        assert sum((r.cost_nano_usd or 0) for r in wayport.records if not r.opened) <= 1.5 * COST
        assert all(record.budget_windows[0].startswith("gateway:|usd/30dc@") for record in wayport.records[:2])


async def test_a_gateway_without_keys_keeps_to_its_budget() -> None:
    most = f"auth: none\nlimits: {{gateway: {{max_budget: {0.6 * COST / 1e9}, budget_duration: 1d}}}}"
    environ = {"WAYPORT_MASTER_KEY": ""}
    async with Upstream(Biller(failing=0).script()) as upstream:
        async with gateway(config(upstream, more=most), environ, key=None) as wayport:
            assert [(await wayport.ask(ASK)).status_code for _ in range(2)] == [200, 429]


async def test_what_binds_a_model_binds_whoever_calls_it_and_no_other_model() -> None:
    more = "aliases: {other: m}\nlimits: {models: {other: {rpm: 1}, m: {rpd: 4}}}"
    async with Upstream(Biller(failing=0).script()) as upstream, gateway(config(upstream, more=more)) as wayport:
        ours = limited(wayport)
        asked = [(name, headers) for headers in (MASTER, ours) for name in ("other", "m", "m")]
        answers = [await wayport.ask({**ASK, "model": name}, headers=headers) for name, headers in asked]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 200, 429]
        assert "1 requests per minute of the model 'other'" in answers[3].json()["error"]["message"]
        assert "4 requests per day of the model 'm'" in answers[5].json()["error"]["message"]


async def test_a_new_snapshot_brings_new_limits_of_the_gateway_and_forgets_nothing() -> None:
    most = "limits: {gateway: {rpm: 2}}"
    async with Upstream(Biller(failing=0).script()) as upstream, gateway(config(upstream, more=most)) as wayport:
        snapshot = wayport.worker.pipeline.table.snapshot
        assert [(await wayport.ask(ASK)).status_code for _ in range(3)] == [200, 200, 429]
        for limits, status in (({"": {"rpm_limit": 3}}, 200), ({"": {"rpm_limit": 3}}, 429), ({}, 200)):
            wayport.worker.take_snapshot(msgspec.json.encode(msgspec.structs.replace(snapshot, limits=limits)))
            assert (await wayport.ask(ASK)).status_code == status


class _Limited:
    """A source of holders: every end user and tag may call once."""

    async def holder(self, scope: AskedFor, holder_id: str) -> Holder | None:
        return Holder(scope=scope, id=holder_id, rates=rates_of(rpd=1))


async def test_end_users_and_tags_are_bound_whatever_key_is_used() -> None:
    async with Upstream(Biller(failing=0).script()) as upstream, gateway(config(upstream)) as wayport:
        wayport.worker.holders._source = _Limited()
        ours = limited(wayport, asks=("end_user", "tag"))
        for label, value in (("user", "ann"), ("metadata", {"tags": ["blue"]})):
            labelled = {**ASK, label: value}
            # Nobody is asked for until the control process says that there may be somebody.
            wayport.worker.authenticator.ask_about(())
            assert (await wayport.ask(labelled, headers=MASTER)).status_code == 200
            wayport.worker.authenticator.ask_about(("end_user", "tag"))
            statuses = [
                (await wayport.ask(labelled, headers=headers)).status_code for headers in (MASTER, ours, MASTER)
            ]
            assert statuses == [200, 429, 429]


async def test_a_budget_or_a_limit_that_is_lowered_holds_for_the_next_call() -> None:
    """What a worker has leased of the old one is not used up first."""
    async with Upstream(Biller(failing=0).script()) as upstream, gateway(config(upstream)) as wayport:
        for high, low in (
            ({"budgets": (Budget(max_nano_usd=1000 * COST),)}, {"budgets": (Budget(max_nano_usd=COST // 2),)}),
            ({"rates": rates_of(rpm=500)}, {"rates": rates_of(rpm=2)}),
            ({"rates": rates_of(tpm=100_000)}, {"rates": rates_of(tpm=100)}),
            ({"max_parallel": 50}, {"max_parallel": 0}),
        ):
            name = next(iter(high))
            first, second = (Holder(scope="team", id=f"{name}-{low}", **fields) for fields in (high, low))
            for holder, status in ((first, 200), (first, 200), (second, 429), (first, 200)):
                headers = limited(wayport, holder)
                wayport.worker.principals.invalidate_all()
                assert (await wayport.ask(ASK, headers=headers)).status_code == status, (name, holder)


async def test_what_calls_in_flight_give_back_of_a_budget_that_was_lowered_is_not_spent() -> None:
    async with Upstream([stall()]) as upstream, gateway(config(upstream)) as wayport:
        high, low = (Holder(scope="key", id="k", budgets=(Budget(max_nano_usd=n * COST),)) for n in (1000, 1))
        waiting = asyncio.ensure_future(wayport.ask(ASK, headers=limited(wayport, high)))
        await upstream.until(lambda: len(upstream.requests) == 1)
        held = gauge(wayport, "usd")
        wayport.worker.admission.account(
            wayport.keys.principals[key_hash(limited(wayport, low)["authorization"][7:])], "m", ("m",)
        )
        assert (held.limit, held.free, held.held) == (COST, 0, held.busy)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await wayport.until_idle()
        wayport.worker.admission.tick()
        assert (held.free, held.busy, held.lowered) == (0, 0, False)


async def test_calls_at_a_time_are_counted_on_every_way_out() -> None:
    async with (
        Upstream([
            json_answer({"error": {"message": "no"}}, status=400),
            json_answer({"error": {"message": "later"}}, status=500),
            cut(whole(b"{" + b" " * 100), after=60),
            stall(),
            *[json_answer({"error": {"message": "no"}}, status=400)] * 3,
        ]) as upstream,
        gateway(config(upstream)) as wayport,
    ):  # fmt: skip
        headers = limited(wayport, holder(max_parallel=1))
        for _ in range(3):
            assert (await wayport.ask(ASK, headers=headers)).status_code >= 400
        waiting = asyncio.ensure_future(wayport.ask(ASK, headers=headers))
        await upstream.until(lambda: len(upstream.requests) == 4)
        refused = await wayport.ask(ASK, headers=headers)
        assert refused.status_code == 429
        assert "1 calls at a time" in refused.json()["error"]["message"]
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await wayport.until_idle()
        assert gauge(wayport, "slots").busy == 0
        for _ in range(3):
            assert (await wayport.ask(ASK, headers=headers)).status_code == 400


async def test_a_budget_that_is_spent_is_refused_as_such_and_not_to_be_tried_again() -> None:
    async with Upstream(Biller(failing=0).script()) as upstream, gateway(config(upstream)) as wayport:
        headers = limited(wayport, holder(budgets=(Budget(max_nano_usd=COST // 2, duration="1d"),)))
        first = await wayport.ask(ASK, headers=headers)
        assert first.status_code == 200
        limit = int(first.headers["x-wayport-output-limit"])
        assert limit < 100
        assert upstream.requests[0].json()["max_tokens"] == limit
        refused = await wayport.ask(ASK, headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_exceeded")
        assert refused.headers["x-should-retry"] == "false"


async def test_with_litellms_config_a_spent_budget_has_its_words_and_status() -> None:
    biller = Biller(failing=0)
    async with Upstream(biller.script()) as upstream:
        file = f"""
model_list:
  - model_name: m
    litellm_params:
      model: openai/up-1
      api_base: {upstream.url}/v1
      api_key: sk-x
      input_cost_per_token: 0.0000025
      output_cost_per_token: 0.00001
    model_info: {{max_output_tokens: 420}}
"""
        async with gateway(file) as wayport:
            team = Holder(scope="team", id="t", name="research", budgets=(Budget(max_nano_usd=COST // 2),))
            headers = limited(wayport, team)
            await wayport.ask(ASK, headers=headers)
            refused = await wayport.ask(ASK, headers=headers)
            assert refused.status_code == 422
            error = refused.json()["error"]
            assert error["type"] == "budget_exceeded"
            assert error["message"].startswith("Budget has been exceeded!")
            headers = {
                "authorization": f"Bearer {wayport.keys.add('sk-other-key-00001', holders=(holder(rates=rates_of(rpm=0)),))}"
            }
            refused = await wayport.ask(ASK, headers=headers)
            assert refused.status_code == 429
            assert "Rate limit exceeded for api_key" in refused.json()["error"]["message"]


async def test_money_that_another_call_has_reserved_is_waited_for_and_then_named() -> None:
    gate = asyncio.Event()
    biller = Biller(failing=0)

    async def held(exchange: Any) -> None:
        await gate.wait()
        await biller.answer(exchange.received)(exchange)

    extra = "limits: {budget_wait_s: 0.05}"
    async with (
        Upstream(by(lambda _: held)) as upstream,
        gateway(config(upstream, more=extra)) as wayport,
    ):
        headers = limited(wayport, holder(budgets=(Budget(max_nano_usd=5 * COST),)))
        first = asyncio.ensure_future(wayport.ask(ASK, headers=headers))
        await upstream.until(lambda: len(upstream.requests) == 1)
        refused = await wayport.ask(ASK, headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_reserved")
        assert refused.headers["x-should-retry"] == "true"
        gate.set()
        assert (await first).status_code == 200
        assert (await wayport.ask(ASK, headers=headers)).status_code == 200


async def test_what_a_call_may_cost_is_spooled_before_it_is_sent() -> None:
    async with Upstream(Biller(failing=0).script()) as upstream, gateway(config(upstream)) as wayport:
        headers = limited(wayport, holder(budgets=(Budget(max_nano_usd=100 * COST, duration="30d"),)))
        await wayport.ask(ASK, headers=headers)
        opening, closing = wayport.records
        assert opening.opened
        assert not closing.opened
        assert opening.call_id == closing.call_id
        assert opening.reserved_nano_usd >= 420 * OUTPUT // 1_000_000
        assert closing.cost_nano_usd == COST
        assert opening.budget_windows == closing.budget_windows
        assert closing.budget_windows[0].startswith("key:k|usd/30d@")


async def test_what_has_no_price_or_no_bound_is_refused_to_a_key_with_a_budget_unless_allowed() -> None:
    biller = Biller(failing=0)
    async with Upstream(biller.script()) as upstream:
        bare = f"""
providers:
  up: {{api_base: {upstream.url}/v1, api_key: sk-upstream-secret}}
models:
  m: {{deployments: [{{provider: up, model: up-1}}]}}
"""
        for extra, status in (("", 400), ("limits: {unpriced: allow}", 200)):
            async with gateway(bare + extra) as wayport:
                headers = limited(wayport, holder(budgets=(Budget(max_nano_usd=COST),)))
                answered = await wayport.ask(ASK, headers=headers)
                assert answered.status_code == status
                if status == 400:
                    assert answered.json()["error"]["code"] == "unpriced"


class _Away:
    async def claim(self, claim: Any) -> Any:
        raise Unavailable("nobody is there")

    def state(self, claim: Any) -> None: ...


@pytest.mark.parametrize(
    ("limit", "status"),
    [
        (holder(budgets=(Budget(max_nano_usd=COST),)), 503),
        (holder(rates=rates_of(rpm=1)), 200),
        (holder(max_parallel=1), 200),
    ],
)
async def test_with_nobody_to_lease_from_budgets_are_closed_and_rates_open(limit: Holder, status: int) -> None:
    extra = "limits: {budget_wait_s: 0.01}"
    async with Upstream(Biller(failing=0).script()) as upstream, gateway(config(upstream, more=extra)) as wayport:
        wayport.worker.admission._lender = _Away()
        headers = limited(wayport, limit)
        for _ in range(3):
            answered = await wayport.ask(ASK, headers=headers)
            assert answered.status_code == status


async def test_end_users_and_tags_are_bound_by_limits_that_the_request_names() -> None:
    class Source:
        def __init__(self) -> None:
            self.asked: list[tuple[str, str]] = []

        async def holder(self, scope: str, holder_id: str) -> Holder | None:
            self.asked.append((scope, holder_id))
            if holder_id == "ann":
                return Holder(scope="end_user", id="ann", rates=(Rate(of="requests", per_s=MINUTE_S, at_most=1),))
            return None

    source = Source()
    async with Upstream(Biller(failing=0).script()) as upstream, gateway(config(upstream)) as wayport:
        wayport.worker.holders._source = source
        headers = limited(wayport, asks=("end_user", "tag"))
        statuses = [
            (await wayport.ask({**ASK, "user": user}, headers=headers)).status_code
            for user in ("ann", "ann", "bob", "bob")
        ]
        assert statuses == [200, 429, 200, 200]
        assert source.asked == [("end_user", "ann"), ("end_user", "bob")]


async def test_a_key_without_limits_leaves_no_trace_among_them() -> None:
    async with Upstream(Biller(failing=0).script()) as upstream, gateway(config(upstream)) as wayport:
        headers = limited(wayport)
        assert (await wayport.ask(ASK, headers=headers)).status_code == 200
        assert wayport.worker.admission.gauges.all() == []
        assert not any(record.opened for record in wayport.records)


async def test_a_call_that_comes_to_nothing_costs_what_the_upstream_may_bill() -> None:
    async with Upstream([cut(whole(b"{" + b" " * 100), after=60)]) as upstream, gateway(config(upstream)) as wayport:
        headers = limited(wayport, holder(budgets=(Budget(max_nano_usd=100 * COST),)))
        assert (await wayport.ask(ASK, headers=headers)).status_code == 502
        closing = wayport.records[-1]
        assert closing.wasted_nano_usd > 0
        used = gauge(wayport, "usd")
        assert used.held - used.free == closing.wasted_nano_usd
        assert used.busy == 0


async def test_another_try_needs_room_for_what_the_first_may_have_cost() -> None:
    # The upstream fails the test when it is asked a second time.
    async with Upstream([cut(whole(b"{" + b" " * 100), after=60)]) as upstream:
        file = config(upstream).replace("num_retries: 0", "num_retries: 1")
        async with gateway(file) as wayport:
            headers = limited(wayport, holder(budgets=(Budget(max_nano_usd=4 * COST),)))
            # Of the budget the worst case of this call leaves less than its input costs.
            assert (await wayport.ask({**ASK, "max_tokens": 415}, headers=headers)).status_code == 502
            assert len(upstream.requests) == 1


async def test_each_ratelimit_header_stands_once_and_is_the_keys_own() -> None:
    """Two of one name would be read as one list by some clients, and as the upstream's by others."""
    upstreams = {"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-tokens": "9s", "x-request-id": "r"}
    async with Upstream(json_answer(WHOLE, headers=upstreams)) as upstream, gateway(openai_at(upstream)) as wayport:
        unlimited = await wayport.ask(ASK)
        assert unlimited.headers.get_list("x-ratelimit-remaining-requests") == ["3"]
        of_key = Holder(scope="key", id="k", rates=rates_of(rpm=100))
        answered = await wayport.ask(
            ASK, headers={"authorization": f"Bearer {wayport.keys.add(KEY, holders=(of_key,))}"}
        )
        assert answered.headers.get_list("x-ratelimit-remaining-requests") == ["99"]
        assert "x-ratelimit-reset-tokens" not in answered.headers
        assert answered.headers["x-request-id"] == "r"


async def test_who_may_use_some_models_only_is_not_told_which_others_there_are() -> None:
    async with Upstream(json_answer(WHOLE)) as upstream, gateway(openai_at(upstream)) as wayport:
        headers = {"authorization": f"Bearer {wayport.keys.add(KEY, models=('m',))}"}
        assert (await wayport.ask({**ASK, "model": "nobody"}, headers=headers)).status_code == 403
        assert (await wayport.ask(ASK, headers=headers)).status_code == 200
        open_to_all = {"authorization": f"Bearer {wayport.keys.add('sk-another-key-000001')}"}
        assert (await wayport.ask({**ASK, "model": "nobody"}, headers=open_to_all)).status_code == 404
