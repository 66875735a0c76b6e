"""What AWS's own code says of Converse: botocore's service model, and its check of a request before it is sent."""

import base64
import re
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel, Shape
from botocore.validate import ParamValidator

SERVICE = ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))

# Patterns that say nothing, or that are of no concern here (the model's name stands in the path).
_LOOSE = frozenset({"ConversationalModelId", "NonBlankString"})


def members(shape: str) -> set[str]:
    """The members of a union or structure."""
    found: set[str] = set(SERVICE.shape_for(shape).members)
    return found


def words(shape: str) -> set[str]:
    return set(SERVICE.shape_for(shape).enum)


def accept(body: dict[str, Any]) -> None:
    """Raises `AssertionError` for what botocore would not send, and for what breaks a stated enum, pattern or union."""
    shape = SERVICE.operation_model("Converse").input_shape
    params = _params(shape, {**body, "modelId": "m"})
    report = ParamValidator().validate(params, shape)
    assert not report.has_errors(), report.generate_report()


def _params(shape: Shape, value: Any) -> Any:
    """The JSON of a body as botocore's caller would give it: bytes for base64."""
    kind = shape.type_name
    if getattr(shape, "is_document_type", False):
        return value
    if kind == "structure" and isinstance(value, dict):
        if getattr(shape, "is_tagged_union", False):
            assert len(value) == 1, f"{shape.name} has members {list(value)}"
        known = shape.members
        return {name: _params(known[name], item) if name in known else item for name, item in value.items()}
    if kind == "list" and isinstance(value, list):
        return [_params(shape.member, item) for item in value]
    if kind == "map" and isinstance(value, dict):
        return {name: _params(shape.value, item) for name, item in value.items()}
    if kind == "blob" and isinstance(value, str):
        return base64.b64decode(value, validate=True)
    if kind == "string" and isinstance(value, str):
        _accept_text(shape, value)
    return value


def _accept_text(shape: Shape, value: str) -> None:
    assert not shape.enum or value in shape.enum, f"{shape.name} knows no {value!r}"
    pattern = shape.metadata.get("pattern")
    if pattern is not None and shape.name not in _LOOSE:
        assert re.fullmatch(pattern, value), f"{shape.name} takes no {value!r}"
    assert len(value) <= shape.metadata.get("max", len(value)), f"{shape.name} is too long: {value!r}"


def keeps_the_rules(body: dict[str, Any]) -> None:
    """The rules that AWS states in prose, or by its refusals."""
    waiting: list[str] = []
    used: set[str] = set()
    names: set[str] = set()
    speakers = [message["role"] for message in body["messages"] if message["role"] != "system"]
    assert speakers == [("user", "assistant")[number % 2] for number in range(len(speakers))]
    for message in body["messages"]:
        content = message["content"]
        assert content
        results = [block["toolResult"]["toolUseId"] for block in content if "toolResult" in block]
        assert results == waiting, "every call is answered in the very next message, in order"
        waiting = [block["toolUse"]["toolUseId"] for block in content if "toolUse" in block]
        assert not used.intersection(waiting), "ids are unique"
        assert len(set(waiting)) == len(waiting), "ids are unique"
        used.update(waiting)
        assert all(block["text"].strip() for block in content if "text" in block), "no text is blank"
        _documents_keep_the_rules(content, names)
        assert message["role"] == "user" or "reasoningContent" not in content[-1], "no turn ends in a thought"
    assert not waiting
    assert not used or body["toolConfig"]["tools"], "a conversation with calls has tools"
    assert _cache_points(body) <= 4


def _documents_keep_the_rules(content: list[dict[str, Any]], names: set[str]) -> None:
    for number, block in enumerate(content):
        if "cachePoint" in block:
            assert number
            assert not {"document", "video", "cachePoint"} & content[number - 1].keys()
        if "document" in block:
            name = block["document"]["name"]
            assert name not in names, "names of documents are unique"
            assert re.fullmatch(r"(?:[A-Za-z0-9\-()\[\]]+ )*[A-Za-z0-9\-()\[\]]+", name), name
            names.add(name)
            assert any("text" in each for each in content), "a document has a text beside it"


def _cache_points(body: dict[str, Any]) -> int:
    places = [body.get("system", []), body.get("toolConfig", {}).get("tools", [])]
    places += [message["content"] for message in body["messages"]]
    return sum("cachePoint" in block for blocks in places for block in blocks)
