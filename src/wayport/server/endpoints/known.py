"""What the catalogue and the operator say of a model, as lists of models show it. Values stay JSON text: lists are long."""

from collections.abc import Iterable

import msgspec
from msgspec import Raw

from wayport.routing.snapshot import Deployment, Model

FACTS = (
    "display_name",
    "mode",
    "max_input_tokens",
    "max_output_tokens",
    "input_cost_per_token",
    "output_cost_per_token",
)
_CAPABILITY = "supports_"
_NULL = Raw(b"null")


def listed(model: Model) -> dict[str, object]:
    """What a list of models says beyond OpenAI's four keys: only what is known, of the first target that is known."""
    info = next((each.info for each in model.deployments if each.info), None)
    if info is None:
        return {}
    told: dict[str, object] = {key: info[key] for key in FACTS if key in info}
    if capabilities := [key.removeprefix(_CAPABILITY) for key in info if _is_able(key, info[key])]:
        told["capabilities"] = capabilities
    return told


def together(deployments: Iterable[Deployment]) -> dict[str, object]:
    """The same of several deployments, with unknown as null. Of prices and windows the largest counts."""
    infos = [each.info for each in deployments]
    shown: dict[str, object] = {key: _most([info[key] for info in infos if key in info]) for key in FACTS}
    for key in sorted({key for info in infos for key in info if key.startswith(_CAPABILITY)}):
        shown[key] = any(_is_able(key, info.get(key, _NULL)) for info in infos)
    return shown


def _is_able(key: str, value: Raw) -> bool:
    return key.startswith(_CAPABILITY) and bytes(value) == b"true"


def _most(values: list[Raw]) -> object:
    if len(values) < 2:
        return values[0] if values else None
    decoded = [value for each in values if (value := msgspec.json.decode(each)) is not None]
    if decoded and all(isinstance(value, int | float) for value in decoded):
        return max(decoded)
    return decoded[0] if decoded else None
