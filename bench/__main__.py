"""`python -m bench`: see `--help`."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import machine, peers, report
from bench.plan import QUICK, Plan
from bench.results import BARS, as_json
from bench.run import Cores, the_whole
from bench.targets import NotUsable

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results" / "latest.json"
PAGE = ROOT / "docs" / "performance.md"


def parser() -> argparse.ArgumentParser:
    names = [peer.name for peer in peers.PEERS]
    made = argparse.ArgumentParser(prog="python -m bench", description="Wayport beside nginx and other gateways.")
    made.add_argument("--quick", action="store_true", help="a look within 40 s; its figures are rough")
    made.add_argument(
        "--only", action="append", default=[], metavar="MEASURE", help="as `calls`, `streams`; repeatable"
    )
    made.add_argument("--write", action="store_true", help=f"renew the table in {PAGE.relative_to(ROOT)}")
    made.add_argument("--key", choices=("virtual", "master"), default="virtual", help="what calls are made with")
    made.add_argument("--peers", default="", metavar="NAMES", help=f"of {','.join(names)}; `all`, `none`")
    made.add_argument("--peers-dir", type=Path, default=peers.CACHE, help="where they are installed")
    made.add_argument("--install-peers", action="store_true", help="install those that are missing, and end")
    made.add_argument("--gateway-core", type=int, default=1)
    made.add_argument("--load-core", type=int, default=0)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    made = parser()
    given = made.parse_args(arguments)
    chosen = _chosen(given.peers, quick=given.quick)
    if unknown := set(chosen) - {peer.name for peer in peers.PEERS}:
        made.error(f"no such peer: {', '.join(sorted(unknown))}")
    if given.install_peers:
        peers.install(chosen, given.peers_dir)
        return 0
    if given.write and (given.quick or given.only):
        made.error("--write wants a whole run")
    if missing := machine.provide_tools():
        return _complain(missing)
    cores = Cores(given.gateway_core, given.load_core)
    if not set(cores) <= os.sched_getaffinity(0) or cores.gateway == cores.load:
        return _complain("The gateway and the load need a core each: --gateway-core, --load-core.")
    if (load := os.getloadavg()[0]) > machine.QUIET_LOAD:
        print(
            f"warning: the machine is not quiet (load {load:.2f}): times will be worse than they are", file=sys.stderr
        )
    try:
        results = the_whole(
            QUICK if given.quick else Plan(),
            cores,
            only=given.only,
            chosen=chosen,
            cache=given.peers_dir,
            virtual_key=given.key == "virtual",
        )
    except NotUsable as error:
        return _complain(str(error))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(as_json(results), indent=1) + "\n")
    print(report.text(results))
    print(f"\nJSON: {RESULTS.relative_to(ROOT)}")
    if given.write:
        report.renew(PAGE, results)
        print(f"renewed {PAGE.relative_to(ROOT)}")
    return 1 if any(bar.verdict(results) == "FAIL" for bar in BARS) else 0


def _chosen(peers_option: str, *, quick: bool) -> list[str]:
    """Without a word about it: all, but not in a quick look."""
    if peers_option == "none" or (not peers_option and quick):
        return []
    if peers_option in {"", "all"}:
        return [peer.name for peer in peers.PEERS]
    return [name.strip() for name in peers_option.split(",")]


def _complain(text: str) -> int:
    print(text, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
