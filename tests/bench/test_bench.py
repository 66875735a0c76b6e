"""The harness's own arithmetic, and that its mock upstream says what it counts. Nothing is timed here."""

import json
import os
import re
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

import pytest
from bench.plan import QUICK, Plan
from bench.processes import Started, command_line, cpu_s, free_ports, memory
from bench.results import BARS, Bar, Results, as_json
from bench.run import World, measure_peers
from bench.streams import EventCount
from bench.targets import NotUsable, Target, wait_for
from bench.wording import Pace

from bench import certificates, checks, latency, load, measures, peers, report, streams, upstream, wording


class Mocks(NamedTuple):
    plain: int
    tls: int
    ca: Path
    pid: int


@pytest.fixture(scope="module")
def mocks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mocks]:
    directory = tmp_path_factory.mktemp("mocks")
    made = certificates.make(directory)
    plain, tls = free_ports(2)
    command = [sys.executable, "-m", "bench.upstream"]
    secure = ["--cert", str(made.chain), "--key", str(made.key)]
    with (
        Started([*command, str(plain)], log=directory / "plain.log") as first,
        Started([*command, str(tls), *secure], log=directory / "tls.log") as second,
    ):
        for each in (first, second):
            wait_for("the mock", partial(_is_ready, each), at_most_s=10, alive=each.alive)
        yield Mocks(plain, tls, made.ca, first.pid)


def _is_ready(process: Started) -> bool:
    return b"ready" in process.log.read_bytes()


# ------------------------------------------------------------------------------------------------------------- mock
def test_a_whole_answer_is_that_of_an_openai_server(mocks: Mocks) -> None:
    Target(name="mock", port=mocks.plain).check()


def test_a_path_of_anthropics_is_answered_in_its_dialect(mocks: Mocks) -> None:
    status, _, body = Target(name="mock", port=mocks.plain, path="/v1/messages").ask()
    assert status == 200
    assert json.loads(body)["content"][0]["text"] == wording.TEXT


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_every_event_of_every_stream_is_counted(mocks: Mocks, path: str) -> None:
    target = Target(name="mock", port=mocks.plain, path=path, pids=lambda: [mocks.pid])
    found = streams.run(target, count=4, pace=Pace(12, 2))
    assert (found.streams, found.completed, found.events) == (4, 4, 48)
    assert found.offered_per_s == 2000


def test_models_take_turns(mocks: Mocks) -> None:
    targets = [Target(name="mock", port=mocks.plain, path=path) for path in ("/v1/chat/completions", "/v1/messages")]
    assert streams.run(targets[0], others=targets[1:], count=3, pace=Pace(2, 1)).events == 6


def test_what_does_not_stream_is_no_result(mocks: Mocks) -> None:
    with pytest.raises(NotUsable):
        streams.run(Target(name="mock", port=mocks.plain), count=1, pace=Pace(0, 1))


def test_the_mock_speaks_tls(mocks: Mocks) -> None:
    context = ssl.create_default_context(cafile=str(mocks.ca))
    with urllib.request.urlopen(f"https://localhost:{mocks.tls}/", context=context) as answer:
        assert answer.read() == wording.OPENAI_WHOLE


def test_calls_are_taken_in_turns(mocks: Mocks) -> None:
    targets = [Target(name=name, port=mocks.plain) for name in ("one", "two")]
    assert set(latency.whole_calls(targets, calls=25)) == {"one", "two"}
    assert set(latency.first_contents(targets, calls=25, pace=Pace(2, 0))) == {"one", "two"}


def test_a_wrong_answer_is_no_latency(mocks: Mocks) -> None:
    target = Target(name="mock", port=mocks.plain, headers={"transfer-encoding": "nonsense"})
    with pytest.raises((NotUsable, OSError)):
        latency.whole_calls([target], calls=25)


# ------------------------------------------------------------------------------------------------------- arithmetic
def test_events_are_counted_however_the_bytes_are_cut() -> None:
    data = upstream.OPENAI.begin + upstream.OPENAI.content * 3 + upstream.OPENAI.end
    for cut in range(1, len(data)):
        count = EventCount()
        assert count.feed(data[:cut]) + count.feed(data[cut:]) == 3
    byte_by_byte = EventCount()
    assert sum(byte_by_byte.feed(data[i : i + 1]) for i in range(len(data))) == 3


def test_a_call_has_one_kilobyte_and_carries_its_pace() -> None:
    for pace in (None, Pace(7, 2.5)):
        body = wording.chat_body("some-model", pace)
        assert len(body) == wording.BODY_BYTES
        assert json.loads(body)["model"] == "some-model"
        assert wording.asked_pace(body) == pace


def test_an_answer_is_complete_by_its_framing() -> None:
    by_length = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    assert [latency.complete(by_length + body) for body in (b"", b"1", b"12")] == [False, False, True]
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n"
    assert not latency.complete(chunked)
    assert latency.complete(chunked + b"0\r\n\r\n")
    assert not latency.complete(by_length[:-2])


def test_wrks_last_line_is_read() -> None:
    assert load.parse("Running 1s test\ndone 100 2000000 3 4\n") == (100, 2.0, 7)
    with pytest.raises(NotUsable, match="unable to connect"):
        load.parse("unable to connect to 127.0.0.1")


def test_wrk_sends_what_the_target_wants() -> None:
    target = Target(name="x", port=1, path="/p", headers={"authorization": "Bearer k"})
    script = load.script(target)
    assert 'wrk.path = "/p"' in script
    assert 'wrk.headers["authorization"] = "Bearer k"' in script
    assert target.body().decode() in script


def test_a_loads_figures_follow_from_its_counts() -> None:
    found = load.Load(calls=1000, wall_s=2.0, failed=0, cpu_s=0.5)
    assert (found.calls_per_s, found.cpu_us_per_call, found.core_share) == (500, 500, 0.25)


def test_streams_figures_follow_from_their_counts() -> None:
    found = streams.Streams(
        streams=2, completed=2, events=100, wall_s=4.0, cpu_s=0.001, steady_events=50, steady_s=1.0,
        steady_cpu_s=0.0002, offered_per_s=60,
    )  # fmt: skip
    assert found.cpu_us_per_event == pytest.approx(10)
    assert found.steady_cpu_us_per_event == pytest.approx(4)
    assert (found.events_per_s, found.core_share) == (50, 0.0002)
    without = found._replace(steady_events=0, steady_s=0.0, steady_cpu_s=0.0)
    assert (without.events_per_s, without.core_share) == (25, 0.00025)


def test_quantiles_are_those_of_the_times() -> None:
    found = latency.quantiles_of([i / 1e6 for i in range(1, 101)])
    assert found.p50_us == pytest.approx(50.5)
    assert 98 < found.p99_us <= 100


def test_the_kernels_account_of_a_process_is_read() -> None:
    assert cpu_s([os.getpid()]) > 0
    found = memory([os.getpid()])
    assert 0 < found.pss_mb <= found.rss_mb
    assert "pytest" in command_line(os.getpid())
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert cpu_s([gone.pid]) == 0


# ---------------------------------------------------------------------------------------------------------- results
def measured() -> Results:
    results = Results(
        machine={
            "date": "today", "cpu": "a CPU", "cores": 2, "kernel": "6", "python": "3", "nginx": "n", "wrk": "w",
            "wayport": "0", "load_average": 0.1,
        },
        run={"others_cores": 0.0, "stolen_cores": 0.0, "call_rounds": 3, "call_s": 1, "stream_rounds": 1},
    )  # fmt: skip
    for nginx, wayport in ((10.0, 35.0), (12.0, 30.0), (20.0, 90.0)):
        results.add("calls", "nginx", cpu_us=nginx, calls_per_s=70_000, core_share=1, failed=0)
        results.add("calls", "wayport", cpu_us=wayport, calls_per_s=25_000, core_share=1, failed=0)
    return results


def test_medians_and_their_spread_are_over_rounds() -> None:
    results = measured()
    assert results.find("calls", "wayport", "cpu_us") == (35.0, 30.0, 90.0)
    assert results.ratio("calls", "cpu_us") == pytest.approx(35 / 12)
    assert results.find("calls", "nobody", "cpu_us") is None
    assert results.ratio("calls", "cpu_us", to="nobody") is None


@pytest.mark.parametrize(
    ("limit", "at_most", "verdict"),
    [(35, True, "pass"), (34, True, "FAIL"), (35, False, "pass"), (36, False, "FAIL")],
)
def test_a_bar_is_passed_or_not(limit: float, verdict: str, *, at_most: bool) -> None:
    bar = Bar("", lambda results: results.median("calls", "wayport", "cpu_us"), limit, at_most=at_most, unit="")
    assert bar.verdict(measured()) == verdict
    assert bar.verdict(Results()) == "not measured"


def test_nothing_measured_passes_no_bar() -> None:
    assert {bar.verdict(Results()) for bar in BARS} == {"not measured"}


def test_the_memory_bar_takes_the_largest_state() -> None:
    results = Results()
    results.add("memory: idle", "wayport worker", rss_mb=30, pss_mb=20)
    results.add("memory: streams open", "wayport worker", rss_mb=51, pss_mb=40)
    (bar,) = [bar for bar in BARS if "data worker" in bar.what]
    assert bar.value(results) == 51
    assert bar.verdict(results) == "FAIL"


def test_a_page_is_renewed_between_its_marks_only(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.renew(page, measured())
    text = page.read_text()
    assert text.startswith(f"before\n{report.BEGIN}\n")
    assert text.endswith(f"{report.END}\nafter\n")
    assert "old" not in text
    assert re.search(r"\| Wayport +\| +25,000 \|", text)
    assert "35.0 (30.0–90.0)" in text
    report.renew(page, measured())
    assert page.read_text() == text
    page.write_text("no marks")
    with pytest.raises(ValueError, match="no marks"):
        report.renew(page, measured())


def test_a_disturbed_run_says_so() -> None:
    results = measured()
    assert "**" not in report.markdown(results)
    results.run["others_cores"] = 0.5
    assert "other programs took 0.50 of 2 cores" in report.markdown(results)


def test_results_can_be_kept() -> None:
    kept = json.loads(json.dumps(as_json(measured())))
    assert kept["measures"]["calls"]["nginx"]["cpu_us"] == [10.0, 12.0, 20.0]
    assert kept["bars"][0]["verdict"] == "pass"


def test_a_peer_that_is_not_there_has_no_figures(tmp_path: Path) -> None:
    results = Results()
    nowhere = cast("World", None)  # nothing is started
    measure_peers([peer.name for peer in peers.PEERS], tmp_path, nowhere, Plan(), results)
    assert set(results.not_measured) == {peer.title for peer in peers.PEERS}
    assert not results.measures


def test_a_quick_run_is_quicker() -> None:
    whole = Plan()
    assert QUICK.call_rounds * QUICK.call_s < whole.call_rounds * whole.call_s
    assert QUICK.streams == whole.streams
    assert QUICK.pace.pace_ms == whole.pace.pace_ms


def test_streams_without_a_common_time_have_no_figure_of_it() -> None:
    results = Results()
    found = streams.Streams(1, 1, 1, 1.0, 1.0, 0, 0.0, 0.0, 1.0)
    measures.add_streams(results, "streams", "x", found)
    assert results.find("streams", "x", "steady_cpu_us") is None
    assert results.median("streams", "x", "cpu_us") == 1e6


def test_calls_that_left_no_trace_are_told() -> None:
    well = checks.kept(100, arrived=164, log_lines=164, in_database=200)
    assert not any("NOT" in text for text in well.values())
    lost = checks.kept(100, arrived=99, log_lines=98, in_database=200)
    assert lost["journal"].endswith("NOT AS MANY")
    assert lost["call log"].endswith("NOT ALL")


# ---------------------------------------------------------------------------------------------------------- profile
@pytest.mark.parametrize("options", [[], ["--stream"], ["--model", "translated", "--stream"]], ids=str)
def test_one_calls_logic_can_be_profiled(options: list[str]) -> None:
    command = [sys.executable, "-m", "bench.profile_call", "--calls", "5", "--top", "3", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "function calls per call" in done.stdout
