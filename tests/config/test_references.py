"""`${VAR}`, `${VAR:-default}`, `${file:…}`, `os.environ/VAR`: replaced everywhere, and never left behind."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayport.config.secrets import expand, resolve

ENVIRON = {"SET": "value", "EMPTY": "", "OTHER": "two"}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("plain", "plain"),
        ("${SET}", "value"),
        ("a ${SET} b ${OTHER}", "a value b two"),
        ("${UNSET:-fallback}", "fallback"),
        ("${EMPTY:-fallback}", "fallback"),
        ("${SET:-fallback}", "value"),
        ("${UNSET:-}", ""),
        ("${UNSET:-http://x/y?z=1}", "http://x/y?z=1"),
        ("os.environ/SET", "value"),
        ("see os.environ/SET", "see os.environ/SET"),
        ("$${SET}", "${SET}"),
        ("$SET {SET} ${} ${1A} ${SET", "$SET {SET} ${} ${1A} ${SET"),
    ],
)
def test_expands(written: str, value: str) -> None:
    assert expand(written, ENVIRON).value == value


@pytest.mark.parametrize(
    "written", ["${UNSET}", "${EMPTY}", "os.environ/UNSET", "https://${UNSET}/v1", "${SET}${UNSET}"]
)
def test_an_unset_variable_leaves_nothing_behind_and_is_named(written: str) -> None:
    expanded = expand(written, ENVIRON)
    assert expanded.value is None
    assert expanded.missing in {("UNSET",), ("EMPTY",)}


def test_says_where_a_value_came_from() -> None:
    assert expand("${SET}", ENVIRON).references == ("env SET",)
    assert expand("os.environ/SET", ENVIRON).references == ("env SET",)
    assert expand("literal", ENVIRON).references == ()


def test_reads_a_file_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-file\n")
    expanded = expand("${file:key}", {}, folder=tmp_path)
    assert expanded.value == "from-file"
    assert expanded.references == ("file key",)
    assert expanded.files == (str(tmp_path / "key"),)


def test_a_missing_file_is_an_unset_value(tmp_path: Path) -> None:
    assert expand("${file:nowhere}", {}, folder=tmp_path).missing == ("file nowhere",)


def test_resolves_a_whole_document_and_remembers_places() -> None:
    values, references = resolve({"a": {"b": ["${SET}", 1, None, True]}, "c": "${UNSET}"}, ENVIRON)
    assert values == {"a": {"b": ["value", 1, None, True]}, "c": None}
    assert references.unset(("c",)) == ("UNSET",)
    assert references.unset(("a", "b", 0)) == ()
    assert references.source(("a", "b", 0)) == "env SET"
    assert references.source(("a", "b", 1)) == "config"


pieces = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["${", "}", "$", "$$", "${A}", "${B}", "${A:-", ":-", "os.environ/", "${file:", "/", "\0", "${file:\0}"]
    ),
)
variables = st.dictionaries(st.sampled_from(["A", "B", "C"]), st.text(max_size=5))


@given(st.lists(pieces, max_size=8).map("".join), variables)
def test_expansion_is_total(written: str, environ: dict[str, str]) -> None:
    expanded = expand(written, environ)
    assert (expanded.value is None) == bool(expanded.missing)


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.lists(pieces, max_size=4).map("".join)),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
        max_leaves=10,
    ),
    variables,
)
def test_resolution_is_total(value: object, environ: dict[str, str]) -> None:
    resolve({"root": value}, environ)
