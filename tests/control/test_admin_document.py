"""Schemathesis over the OpenAPI document: whatever fits it, or does not, no answer is a 500."""

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.fakes.admin import Admin, admin_app

from wayport.control.admin.sound import check
from wayport.core.errors import BadRequest
from wayport.storage.address import Address

_EXAMPLES = 3
NONE_THERE = "/cache/"
"""503 as LiteLLM has it where nothing is cached"""
_QUIET = settings(
    max_examples=_EXAMPLES,
    phases=[Phase.generate],
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def _cases(document: dict[str, Any]) -> list[Any]:
    """A few requests for each route, those that fit the document and those that do not."""
    found: list[Any] = []
    schema = schemathesis.openapi.from_dict(document)
    modes = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
    for each in schema.get_all_operations():
        operation = each.ok()  # type: ignore[union-attr]  # FastAPI's document has no invalid operation
        for mode in modes:
            strategy = operation.as_strategy(generation_mode=mode)

            @_QUIET
            @given(case=strategy)
            def collect(case: Any) -> None:
                found.append(case)

            try:
                collect()
            except schemathesis.errors.SchemathesisError:
                # A route without parameters cannot be called wrongly.
                continue
            except BaseException as error:
                if "Unsatisfiable" not in type(error).__name__ and "Skip" not in type(error).__name__:
                    raise
    return found


async def _send(admin: Admin, case: Any) -> str | None:
    """What is wrong with the answer."""
    arguments: dict[str, Any] = {"params": case.query or None}
    if case.media_type == "application/json":
        arguments["json"] = case.body
    try:
        request = admin.client.build_request(case.method, case.formatted_path, **arguments)
    except (ValueError, TypeError):
        # No client can send it: a number that JSON lacks, half a character.
        return None
    try:
        answer = await admin.client.send(request)
    except Exception as error:  # noqa: BLE001 (the app is called directly: what it lets through is its 500)
        return f"{case.method} {case.formatted_path} {case.query} {case.body}: {error!r}"
    if answer.status_code >= 500 and not case.formatted_path.startswith(NONE_THERE):
        return f"{case.method} {case.formatted_path} {case.query} {case.body}: {answer.text}"
    return None


@pytest.mark.timeout(180)
async def test_no_request_ends_in_a_500(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        document = (await admin.client.get("/openapi.json")).json()
        cases = _cases(document)
        assert len(cases) > len(document["paths"]) * 3
        wrong = [told for case in cases if (told := await _send(admin, case)) is not None]
        assert not wrong, "\n".join(wrong)


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_a_body_is_sound_or_refused(body: bytes) -> None:
    try:
        check(body)
    except BadRequest:
        return
    assert "\0" not in body.decode()
