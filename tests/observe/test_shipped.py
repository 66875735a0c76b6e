"""What is shipped for Prometheus and Grafana names only metrics and labels that exist."""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from tests.fakes.databases import opened
from tests.fakes.manual_clock import ManualClock

from wayport.access.callbacks_store import TeamCallbackStore
from wayport.config.settings import CallbackSettings, Settings
from wayport.control.facts import Place
from wayport.control.observing import Observing
from wayport.core.secret import Secret
from wayport.core.tasks import Tasks
from wayport.ledger.drain import Drain
from wayport.observe.metric_names import COUNTERS, HISTOGRAMS
from wayport.observe.vitals import Vitals
from wayport.storage.address import read_address
from wayport.storage.cipher import Cipher

ROOT = Path(__file__).parent.parent.parent
_METRIC = re.compile(r"\b(?:wayport|litellm)_\w+")


async def _gauges(tmp_path: Path) -> set[str]:
    clock = ManualClock()
    vitals = Vitals(worker=0, pid=1, at_s=clock.now_s())
    settings = Settings(callbacks=(CallbackSettings(name="nobody"),))
    async with opened(read_address(None, tmp_path)) as database, Tasks() as tasks:
        observing = Observing(
            settings,
            data_dir=tmp_path,
            database=database,
            team_callbacks=TeamCallbackStore(database, Cipher(Secret("salt"), purpose="test"), clock=clock),
            drain=Drain(tmp_path / "spool", database, clock=clock),
            clock=clock,
            tasks=tasks,
            deployments=lambda: [Place("d", "p", "m")],
            vitals=lambda: [vitals],
        )
        return {gauge.name for gauge in observing.gauges()}


def _made_of_records() -> set[str]:
    names = {f"{counter.name.removesuffix('_total')}_total" for counter in COUNTERS}
    for histogram in HISTOGRAMS:
        names |= {f"{histogram.name}{end}" for end in ("", "_bucket", "_sum", "_count")}
    return names


_BUDGETS = {
    f"litellm_{which}"
    for name in ("api_key", "team", "user")
    for which in (f"remaining_{name}_budget_metric", f"{name}_max_budget_metric")
}


async def test_the_dashboard_and_the_alerts_name_metrics_that_exist(tmp_path: Path) -> None:
    known = _made_of_records() | await _gauges(tmp_path) | _BUDGETS | {"wayport_metrics_overflow_total"}
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "wayport.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    rules: Any = yaml.safe_load((ROOT / "deploy" / "alerts.yaml").read_text())
    asked += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    named = {name for expression in asked for name in _METRIC.findall(expression)}
    assert named <= known, named - known
    assert len(asked) > 25


async def test_every_metric_is_documented(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "observability.md").read_text()
    names = {counter.name for counter in COUNTERS} | {histogram.name for histogram in HISTOGRAMS}
    missing = sorted(name for name in names | await _gauges(tmp_path) | _BUDGETS if f"`{name}`" not in page)
    assert not missing, missing


def test_every_field_of_the_payload_is_documented() -> None:
    from wayport.observe.payload import Payload

    page = (ROOT / "docs" / "observability.md").read_text()
    missing = [name for name in Payload.__annotations__ if f"`{name}`" not in page]
    assert not missing, missing


def test_every_column_of_the_tables_and_views_is_documented() -> None:
    from wayport.storage.tables import calls, rollups

    page = (ROOT / "docs" / "sql.md").read_text()
    for table in (calls, rollups):
        assert table.name in page
        missing = [column.name for column in table.columns if f"`{column.name}`" not in page]
        assert not missing, missing
