"""docs/providers.md says what the data says."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_the_page_is_what_the_data_makes_of_it() -> None:
    spec = importlib.util.spec_from_file_location(
        "generate_provider_docs", ROOT / "tools" / "generate_provider_docs.py"
    )
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    written = (ROOT / "docs" / "providers.md").read_text()
    assert written == program.page(), "run `python tools/generate_provider_docs.py`"
