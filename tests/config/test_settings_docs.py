"""docs/configuration.md says everything that the schema and the list of variables say."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
from pydantic import BaseModel

from wayport.config import schema
from wayport.config.environment import TABLE, TOLD
from wayport.dialects.neutral import DialectName

ROOT = Path(__file__).parent.parent.parent
TOOL = ROOT / "tools" / "generate_settings_docs.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_settings_docs", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sections() -> list[type[BaseModel]]:
    return [
        value
        for value in vars(schema).values()
        if isinstance(value, type) and issubclass(value, schema.Section) and value is not schema.Section
    ]


def test_the_page_is_current() -> None:
    done = subprocess.run([sys.executable, TOOL, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_setting_is_explained(tool: ModuleType) -> None:
    silent = [
        f"{model.__name__}.{name}" for model in sections() for name in model.model_fields if not tool.told(model, name)
    ]
    assert silent == []


def test_every_section_is_on_the_page(tool: ModuleType) -> None:
    shown = {model for _, model in tool.SECTIONS} | {schema.ConfigIn, schema.ReachIn, schema.RatesIn}
    assert set(sections()) <= shown


def test_every_variable_is_on_the_page() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    names = [name for variable in (*TABLE, *TOLD) for name in variable.names]
    assert [name for name in names if f"`{name}`" not in page] == []


def test_a_page_that_is_not_current_is_noticed(tool: ModuleType) -> None:
    page = tool.PAGE.read_text()
    assert tool.with_tables(page.replace("| `port` |", "| `prot` |")) == page


def test_the_dialects_are_those_that_wayport_speaks() -> None:
    assert set(get_args(schema.Dialect)) == set(get_args(DialectName))
