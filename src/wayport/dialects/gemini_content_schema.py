"""Schemas: Google's OpenAPI subset to JSON schema, which the neutral form speaks, and back for targets that know no more.

https://ai.google.dev/api/caching#Schema lists what the subset has; everything else is refused with a 400 there.
"""

from typing import Any

import msgspec
from msgspec import Raw

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode

Schema = dict[str, Any]

# int64 fields, which Google's JSON writes as strings.
_COUNTS = frozenset({"maxItems", "minItems", "maxLength", "minLength", "maxProperties", "minProperties"})
_KEPT = ("title", "description", "pattern", "minimum", "maximum")
_FORMATS = {
    "string": {"date-time", "enum"},
    "number": {"float", "double"},
    "integer": {"int32", "int64"},
}
_MAX_DEPTH = 24
# Definitions written in place may multiply: a schema must not grow without bound.
_MAX_NODES = 4000


# ------------------------------------------------------------------------------------------------- to JSON schema
def to_json_schema(raw: Raw) -> Raw:
    """Google's OpenAPI subset as JSON schema: lower-case types, `nullable` as a type, counts as numbers."""
    return Raw(_encode(_json_schema(_decode(raw))))


def _json_schema(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    out: Schema = {}
    for key, value in node.items():
        match key:
            case "type":
                if isinstance(value, str) and value != "TYPE_UNSPECIFIED":
                    out["type"] = value.lower()
                elif isinstance(value, list):
                    out["type"] = value
            case "properties" | "$defs" | "defs" if isinstance(value, dict):
                name = "$defs" if key == "defs" else key
                out[name] = {inner: _json_schema(schema) for inner, schema in value.items()}
            case "items":
                out["items"] = _json_schema(value)
            case "anyOf" | "any_of" if isinstance(value, list):
                out["anyOf"] = [_json_schema(inner) for inner in value]
            case "ref":
                out["$ref"] = value
            case "nullable" | "propertyOrdering" | "property_ordering":
                pass
            case "format" if value == "enum":
                pass
            case "example":
                out["examples"] = [value]
            case _ if key in _COUNTS:
                out[key] = int(value) if isinstance(value, str) and value.isdigit() else value
            case _:
                out[key] = value
    return _nullable(out) if node.get("nullable") is True else out


def _nullable(schema: Schema) -> Schema:
    if isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
        if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
    elif isinstance(schema.get("anyOf"), list):
        schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]
    return schema


# ------------------------------------------------------------------------------------------------------ to OpenAPI
def to_openapi(raw: Raw) -> Raw | None:
    """JSON schema reduced to Google's subset; None for an object without properties, which must be left out whole."""
    schema = _decode(raw)
    if not isinstance(schema, dict):
        return None
    out = _Reduction(schema).reduce(schema)
    if out.get("type") == "OBJECT" and not out.get("properties"):
        return None
    return Raw(_encode(out))


class _Reduction:
    """One schema on its way to the subset, with its definitions at hand."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._following: list[str] = []
        self._nodes = 0

    def reduce(self, node: Any, depth: int = 0) -> Schema:
        self._nodes += 1
        if depth > _MAX_DEPTH or self._nodes > _MAX_NODES:
            return {"type": "OBJECT"}
        if not isinstance(node, dict):
            return {"type": "STRING"}
        if isinstance(node.get("$ref"), str):
            return self._follow(node, depth)
        if isinstance(node.get("allOf"), list):
            node = self._merged(node, 0)
        out: Schema = {key: node[key] for key in _KEPT if key in node}
        out.update({key: value for key, value in node.items() if key in _COUNTS})
        self._choose_type(node, out, depth)
        self._bounds(node, out)
        self._values(node, out)
        self._children(node, out, depth)
        return out

    def _follow(self, node: Schema, depth: int) -> Schema:
        """Definitions are written in place; one that is inside itself ends there as an object of any kind."""
        reference = node["$ref"]
        target = self._resolve(reference)
        if target is None or reference in self._following:
            note = node.get("description") or (target or {}).get("description")
            return {"type": "OBJECT", **({"description": note} if isinstance(note, str) else {})}
        self._following.append(reference)
        beside = {key: value for key, value in node.items() if key != "$ref"}
        out = self.reduce({**target, **beside}, depth + 1)
        self._following.pop()
        return out

    def _resolve(self, reference: str) -> Schema | None:
        if not reference.startswith("#"):
            return None
        at: Any = self._root
        for step in reference.removeprefix("#").strip("/").split("/"):
            if not step:
                continue
            name = step.replace("~1", "/").replace("~0", "~")
            at = at.get(name) if isinstance(at, dict) else None
        return at if isinstance(at, dict) else None

    def _merged(self, node: Schema, depth: int) -> Schema:
        out = {key: value for key, value in node.items() if key != "allOf"}
        for part in node["allOf"]:
            seen: list[str] = []
            while isinstance(part, dict) and isinstance(part.get("$ref"), str) and part["$ref"] not in seen:
                seen.append(part["$ref"])
                part = self._resolve(part["$ref"]) or {}
            self._nodes += 1
            if not isinstance(part, dict) or depth > _MAX_DEPTH or self._nodes > _MAX_NODES:
                continue
            inner = self._merged(part, depth + 1) if isinstance(part.get("allOf"), list) else part
            for key, value in inner.items():
                if key == "properties" and isinstance(value, dict):
                    out["properties"] = {**value, **out.get("properties", {})}
                elif key == "required" and isinstance(value, list):
                    out["required"] = [*out.get("required", []), *value]
                else:
                    out.setdefault(key, value)
        return out

    def _choose_type(self, node: Schema, out: Schema, depth: int) -> None:
        kinds = node.get("type")
        branches = node.get("anyOf") or node.get("oneOf")
        if isinstance(kinds, list):
            if "null" in kinds:
                out["nullable"] = True
            rest = [kind for kind in kinds if isinstance(kind, str) and kind != "null"]
            if len(rest) == 1:
                out["type"] = rest[0].upper()
            elif rest:
                out["anyOf"] = [self.reduce({**_only(node, kind), "type": kind}, depth + 1) for kind in rest]
        elif isinstance(kinds, str):
            out["type"] = kinds.upper()
        elif isinstance(branches, list) and branches:
            self._branches(branches, out, depth)
        elif "properties" in node:
            out["type"] = "OBJECT"
        elif "items" in node or "prefixItems" in node:
            out["type"] = "ARRAY"
        elif "enum" not in node and "const" not in node:
            out["type"] = "STRING"

    def _branches(self, branches: list[Any], out: Schema, depth: int) -> None:
        solid = [branch for branch in branches if not (isinstance(branch, dict) and branch.get("type") == "null")]
        if len(solid) < len(branches):
            out["nullable"] = True
        if len(solid) == 1:
            out.update({key: value for key, value in self.reduce(solid[0], depth + 1).items() if key not in out})
        elif solid:
            out["anyOf"] = [self.reduce(branch, depth + 1) for branch in solid]

    @staticmethod
    def _bounds(node: Schema, out: Schema) -> None:
        step = 1 if out.get("type") == "INTEGER" else 0
        low, high = node.get("exclusiveMinimum"), node.get("exclusiveMaximum")
        if isinstance(low, int | float) and not isinstance(low, bool):
            out.setdefault("minimum", low + step)
        if isinstance(high, int | float) and not isinstance(high, bool):
            out.setdefault("maximum", high - step)
        form = node.get("format")
        if isinstance(form, str) and form in _FORMATS.get(str(out.get("type", "")).lower(), set()):
            out["format"] = form

    @staticmethod
    def _values(node: Schema, out: Schema) -> None:
        """Only strings may be enumerated; other values are told in words."""
        values = [node["const"]] if "const" in node else node.get("enum")
        if not isinstance(values, list) or not values:
            return
        if None in values:
            out["nullable"] = True
        words = [value for value in values if isinstance(value, str)]
        if len(words) == len([value for value in values if value is not None]):
            out["type"] = "STRING"
            if words:
                out["enum"] = words
            return
        if "type" not in out:
            first = next(value for value in values if value is not None)
            out["type"] = _TYPE_OF.get(type(first), "OBJECT")
        told = "One of: " + ", ".join(_encode(value).decode() for value in values)
        out["description"] = f"{out['description']} {told}" if isinstance(out.get("description"), str) else told

    def _children(self, node: Schema, out: Schema, depth: int) -> None:
        if out.get("type") == "ARRAY":
            items = node.get("items", node.get("prefixItems"))
            if isinstance(items, list):
                items = {"anyOf": items} if len(items) > 1 else items[0] if items else None
            out["items"] = self.reduce(items if isinstance(items, dict) else None, depth + 1)
        properties = node.get("properties")
        if out.get("type") == "OBJECT" and isinstance(properties, dict) and properties:
            out["properties"] = {name: self.reduce(inner, depth + 1) for name, inner in properties.items()}
            needed = node.get("required")
            if isinstance(needed, list):
                names = [name for name in dict.fromkeys(needed) if name in properties]
                if names:
                    out["required"] = names


_TYPE_OF: dict[type, str] = {bool: "BOOLEAN", int: "INTEGER", float: "NUMBER", list: "ARRAY", str: "STRING"}


def _only(node: Schema, kind: str) -> Schema:
    """What of a schema with several types belongs to one of them."""
    belongs = {"array": ("items", "prefixItems"), "object": ("properties", "required")}.get(kind, ())
    return {key: node[key] for key in belongs if key in node}
