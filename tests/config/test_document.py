"""YAML with places; everything that is not plain data is refused with a line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayport.config.document import parse_document, read_document
from wayport.config.problems import ConfigError


def problem_of(text: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_document(text.encode() if isinstance(text, str) else text, "c.yaml")
    return str(caught.value)


def test_remembers_the_line_of_every_key_and_item() -> None:
    document = parse_document(b"a: 1\nb:\n  c:\n    - x\n    - d: 2\n", "c.yaml")
    assert document.root == {"a": 1, "b": {"c": ["x", {"d": 2}]}}
    assert document.place(("b", "c", 1, "d")) == "c.yaml:5"
    assert document.place(("b", "c", 0)) == "c.yaml:4"


def test_what_is_not_in_the_file_stands_where_its_nearest_relative_does() -> None:
    document = parse_document(b"a: 1\nb:\n  c: 2\n", "c.yaml")
    assert document.place(("b", "x", 3)) == "c.yaml:2"


def test_dates_and_versions_stay_text() -> None:
    assert parse_document(b"api_version: 2024-10-21\n", "c").root == {"api_version": "2024-10-21"}


def test_keys_are_text_whatever_they_look_like() -> None:
    assert parse_document(b"4: a\non: b\n3.5: c\n", "c").root == {"4": "a", "on": "b", "3.5": "c"}


def test_anchors_and_merges() -> None:
    document = parse_document(b"base: &b {x: 1, y: 2}\nmine:\n  <<: *b\n  y: 3\n", "c.yaml")
    assert document.root["mine"] == {"x": 1, "y": 3}


def test_a_repeated_key_is_noticed() -> None:
    document = parse_document(b"a: 1\nb: 2\na: 3\n", "c.yaml")
    assert document.root["a"] == 3
    assert document.repeated == [("a",)]
    assert document.place(("a",)) == "c.yaml:3"


def test_an_empty_file_is_an_empty_mapping() -> None:
    assert parse_document(b"# nothing\n", "c").root == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [1, 2\nb: 3\n", "c.yaml:2: not valid YAML"),
        ("a: !!python/object:os.system x\n", "tags are not used here"),
        ("- a\n- b\n", "must be a mapping"),
        ("a: &x [*x]\n", "contains itself"),
        ("{[1]: 2}\n", "must be a single word"),
        ("a: 1\n---\nb: 2\n", "not valid YAML"),
        (b"a: \xff\xfe\n", "not valid YAML"),
        ("a: " + "[" * 20000, "c.yaml"),
    ],
)
def test_refuses(text: str | bytes, told: str) -> None:
    assert told in problem_of(text)


def test_refuses_aliases_that_unfold_without_end() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 10) + "]" for n in range(1, 9)]
    assert "too many values" in problem_of("\n".join(lines))


def test_a_syntax_error_does_not_show_the_line() -> None:
    assert "sk-secret" not in problem_of("key: 'sk-secret\nother: x\n")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_document(tmp_path / "nowhere.yaml")


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_a_document_or_a_config_error(data: bytes) -> None:
    try:
        parse_document(data, "c.yaml")
    except ConfigError as error:
        told = str(error)
    else:
        told = "c.yaml"
    assert told.startswith("c.yaml")
