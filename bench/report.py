"""The results as tables: the same on a terminal and in the documentation."""

from collections.abc import Sequence
from pathlib import Path

from bench.machine import QUIET_CORES, QUIET_LOAD
from bench.peers import PEERS
from bench.results import BARS, MEMORY_STATES, Figure, Results

BEGIN, END = "<!-- measured: python -m bench --write -->", "<!-- end of measured text -->"

TITLES = {"upstream": "the upstream itself", "nginx": "nginx", "wayport": "Wayport"}
TITLES["wayport, two workers"] = "Wayport, two workers"
TITLES |= {peer.name: peer.title for peer in PEERS}
Row = Sequence[str]


def table(header: Row, rows: Sequence[Row]) -> str:
    """Markdown whose columns stand straight; empty without rows."""
    if not rows:
        return ""
    widths = [max(len(cells[column]) for cells in (header, *rows)) for column in range(len(header))]

    def line(cells: Row) -> str:
        padded = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = "|".join("-" * (width + 1) + ("-" if column == 0 else ":") for column, width in enumerate(widths))
    return "\n".join([line(header), f"|{rule}|", *map(line, rows)])


def shown(figure: Figure | None, *, digits: int = 0, spread: bool = True) -> str:
    """The median, and between which values the rounds were."""
    if figure is None:
        return "–"
    middle = f"{figure.median:,.{digits}f}"
    if not spread or figure.least == figure.most:
        return middle
    return f"{middle} ({figure.least:,.{digits}f}–{figure.most:,.{digits}f})"


def times(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}×" if value < 100 else f"{value:,.0f}×"


class Page:
    def __init__(self, results: Results) -> None:
        self._results = results

    def _targets(self, measure: str) -> list[str]:
        found = self._results.measures.get(measure, {})
        return [name for name in TITLES if name in found]

    def _cell(self, measure: str, target: str, figure: str, *, digits: int = 0, spread: bool = True) -> str:
        return shown(self._results.find(measure, target, figure), digits=digits, spread=spread)

    def _to_nginx(self, measure: str, figure: str, target: str) -> str:
        return times(self._results.ratio(measure, figure, of=target))

    def _percent(self, measure: str, target: str, figure: str) -> str:
        value = self._results.median(measure, target, figure)
        return "–" if value is None else f"{value:.0%}"

    def _carried(self, measure: str, target: str) -> str:
        """Events per second if the core had nothing else to do: what arrived, by the share of it that this took."""
        events, share = (self._results.median(measure, target, each) for each in ("events_per_s", "core_share"))
        return "–" if events is None or not share else f"{events / share:,.0f}"

    # ------------------------------------------------------------------------------------------------------- tables
    def _calls(self, measure: str) -> list[Row]:
        rows: list[Row] = []
        for name in self._targets(measure):
            drain = self._cell("journal", name, "drain_cpu_us", digits=1) if measure == "calls" else "–"
            rows.append(
                [
                    TITLES[name],
                    self._cell(measure, name, "calls_per_s"),
                    self._to_nginx(measure, "calls_per_s", name),
                    self._cell(measure, name, "cpu_us", digits=1),
                    self._to_nginx(measure, "cpu_us", name),
                    self._percent(measure, name, "core_share"),
                    drain,
                    self._cell(measure, name, "failed", spread=False),
                ]
            )
        return rows

    def _calls_table(self, measure: str) -> str:
        header = [
            "", "requests/s", "to nginx", "CPU µs per request", "to nginx", "core busy",
            "journal's drain, CPU µs per call's record", "failed",
        ]  # fmt: skip
        return table(header, self._calls(measure))

    def _workers_table(self) -> str:
        rows = [
            [
                TITLES[name],
                self._cell("workers", name, "calls_per_s"),
                self._cell("workers", name, "cpu_us", digits=1),
                self._percent("workers", name, "core_share"),
                self._cell("workers", name, "failed", spread=False),
            ]
            for name in self._targets("workers")
        ]
        return table(["", "requests/s", "CPU µs per request", "core busy", "failed"], rows)

    def _latency_table(self, measure: str) -> str:
        rows = [
            [
                TITLES[name],
                self._cell(measure, name, "added_p50_us"),
                self._cell(measure, name, "added_p99_us"),
                self._cell(measure, name, "p50_us"),
                self._cell(measure, name, "p99_us"),
            ]
            for name in self._targets(measure)
        ]
        return table(["", "added median µs", "added p99 µs", "median µs", "p99 µs"], rows)

    def _streams_table(self, measure: str) -> str:
        rows = []
        for name in self._targets(measure):
            completed, streams = (self._results.median(measure, name, each) for each in ("completed", "streams"))
            rows.append(
                [
                    TITLES[name],
                    self._cell(measure, name, "cpu_us", digits=1),
                    self._to_nginx(measure, "cpu_us", name),
                    self._cell(measure, name, "steady_cpu_us", digits=1),
                    self._cell(measure, name, "events_per_s"),
                    self._cell(measure, name, "offered_per_s", spread=False),
                    self._percent(measure, name, "core_share"),
                    self._carried(measure, name),
                    f"{completed:.0f} of {streams:.0f}" if completed is not None else "–",
                ]
            )
        header = [
            "", "CPU µs per event", "to nginx", "the same, between first and last call", "events/s", "offered",
            "core busy", "a whole core would carry", "streams that ended well",
        ]  # fmt: skip
        return table(header, rows)

    def _memory_table(self) -> str:
        states = [name for name in (*MEMORY_STATES, "memory: with TLS streams") if name in self._results.measures]
        names = list(dict.fromkeys(name for state in states for name in self._results.measures[state]))

        def cell(state: str, name: str) -> str:
            rss, pss = (self._results.median(state, name, figure) for figure in ("rss_mb", "pss_mb"))
            return "–" if rss is None or pss is None else f"{rss:.1f} / {pss:.1f}"

        header = ["RSS / PSS in MB", *(state.removeprefix("memory: ") for state in states)]
        rows = [[_title_of(name), *(cell(state, name) for state in states)] for name in names]
        return table(header, rows)

    def _per_stream(self) -> str:
        """What one more stream over TLS takes, without what the worker had already."""
        before, open_ = (
            self._results.median(f"memory: {each} TLS streams", "wayport worker", "rss_mb")
            for each in ("before", "with")
        )
        streams = self._results.median("TLS streams", "wayport", "streams")
        if before is None or open_ is None or not streams:
            return ""
        return f"A stream over TLS to the upstream takes {(open_ - before) / streams * 1024:.0f} KB in the worker."

    def _start_table(self) -> str:
        rows = [
            [
                TITLES[name],
                self._cell("cold start", name, "first_answer_s", digits=2),
                self._cell("cold start", name, "alive_s", digits=2),
                self._cell("cold start", name, "cpu_s", digits=2),
            ]
            for name in self._targets("cold start")
        ]
        return table(
            ["seconds from exec", "to the first answered call", "to /health/liveliness", "CPU by then, all processes"],
            rows,
        )

    def _bars_table(self) -> str:
        rows = []
        for bar in BARS:
            value = bar.value(self._results)
            limit = f"{'≤' if bar.at_most else '≥'} {bar.limit:,g}{bar.unit}"
            rows.append(
                [
                    bar.what,
                    limit,
                    "–" if value is None else f"{value:,.{0 if value >= 1000 else 2}f}{bar.unit}",
                    bar.verdict(self._results),
                ]
            )
        return table(["", "bar", "measured", "verdict"], rows)

    # -------------------------------------------------------------------------------------------------------- whole
    def _machine(self) -> str:
        machine, run = self._results.machine, self._results.run
        load = float(machine["load_average"])
        noise = [] if load <= QUIET_LOAD else [f"the machine was not quiet at the start (load {load:.2f})"]
        for what, who in (("others_cores", "other programs"), ("stolen_cores", "other machines on the same hardware")):
            if (cores := float(str(run[what]))) > QUIET_CORES:
                noise.append(f"{who} took {cores:.2f} of {machine['cores']} cores during the run")
        where = (
            f"{machine['date']}: {machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, "
            f"Python {machine['python']}, {machine['nginx']}, wrk {machine['wrk']}; Wayport {machine['wayport']}."
        )
        how = (
            f"Rounds: {run['call_rounds']} of {run['call_s']} s (calls), {run['stream_rounds']} (streams). "
            "A figure is the median over the rounds; in brackets the least and the most."
        )
        lines = [where, how]
        if noise:
            lines.append(f"**{'; '.join(noise)}.**")
        return "\n".join(lines)

    def _peers(self) -> str:
        versions = {peer.name: self._results.run.get(f"{peer.name}_version") for peer in PEERS}
        return "\n".join(
            f"- {peer.title} {versions[peer.name]} ({peer.origin}): {peer.note}."
            for peer in PEERS
            if versions[peer.name]
        )

    def sections(self) -> list[tuple[str, str]]:
        run = self._results.run
        found = [
            ("Machine and run", self._machine()),
            ("Bars", self._bars_table()),
            ("Whole calls: 64 connections, a chat call of 1 KB", self._calls_table("calls")),
            ("The same over TLS to the upstream", self._calls_table("calls, TLS upstream")),
            (
                "The same with answers of 23 headers, eight of which are others each time",
                self._calls_table("calls, stamped answers"),
            ),
            (
                "Translated: OpenAI's chat to an upstream with Anthropic's messages",
                self._calls_table("translated calls"),
            ),
            ("One worker, and two of them on the same core", self._workers_table()),
            ("One call at a time: what is added", self._latency_table("latency")),
            ("Time to the first content event of a stream: what is added", self._latency_table("first token")),
            (f"Streams: {run.get('streams')} at once, paced", self._streams_table("streams")),
            ("Streams, as fast as the upstream and the client can", self._streams_table("streams flat out")),
            ("Translated streams, paced", self._streams_table("translated streams")),
            ("Streams over TLS to the upstream, paced", self._streams_table("streams, TLS upstream")),
            (f"{run.get('tls_streams')} streams over TLS to the upstream", self._streams_table("TLS streams")),
            ("Memory", f"{self._memory_table()}\n\n{self._per_stream()}".strip()),
            ("Start", self._start_table()),
            ("What was on", "\n".join(f"- {name}: {text}" for name, text in self._results.checks.items())),
            ("Peers", self._peers()),
            ("Not measured", "\n".join(f"- {name}: {why}" for name, why in self._results.not_measured.items())),
        ]
        return [(title, text) for title, text in found if text]


def _title_of(name: str) -> str:
    first, _, role = name.partition(" ")
    return f"{TITLES.get(first, first)}{': ' + role if role else ''}"


def text(results: Results) -> str:
    return "\n\n".join(f"{title}\n\n{body}" for title, body in Page(results).sections())


def markdown(results: Results) -> str:
    return "\n\n".join(f"### {title}\n\n{body}" for title, body in Page(results).sections())


def renew(page: Path, results: Results) -> None:
    """Puts the tables between the marks. Raises ValueError when the page has no marks."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no marks for the table")
    page.write_text(f"{before}{BEGIN}\n{markdown(results)}\n{END}{after}")
