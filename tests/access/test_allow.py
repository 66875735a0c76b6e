import pytest

from wayport.access.allow import ROUTE_GROUPS, allow, allow_route, may_call, may_use
from wayport.access.principal import Principal
from wayport.core.errors import PermissionDenied


def _key(*models: str, routes: tuple[str, ...] = ()) -> Principal:
    return Principal(kind="key", models=models, routes=routes)


@pytest.mark.parametrize(
    ("models", "name", "expected"),
    [
        ((), "anything", True),
        (("gpt-4o",), "gpt-4o", True),
        (("gpt-4o",), "gpt-4o-mini", False),
        (("*",), "anything", True),
        (("all-proxy-models",), "anything", True),
        (("no-default-models",), "anything", False),
        (("openai/*",), "openai/gpt-4o", True),
        (("openai/*",), "azure/openai/gpt-4o", False),
        (("bedrock/anthropic.*",), "bedrock/anthropic.claude", True),
        (("bedrock/anthropic.*",), "bedrock/anthropicXclaude", False),
        (("*-mini",), "gpt-4o-mini", True),
        (("a[b]*",), "a[b]c", True),
        (("a[b]*",), "abc", False),
        (("a.c",), "abc", False),
    ],
)
def test_models(models: tuple[str, ...], name: str, expected: bool) -> None:
    assert may_use(_key(*models), name) is expected


def test_a_model_may_be_allowed_by_either_of_its_names_or_by_its_group() -> None:
    allow(_key("fast"), "fast", "gpt-4o-mini")
    allow(_key("gpt-4o-mini"), "fast", "gpt-4o-mini")
    allow(_key("beta"), "fast", "gpt-4o-mini", groups=["beta"])
    with pytest.raises(PermissionDenied) as denied:
        allow(_key("gpt-4o"), "fast", "gpt-4o-mini", groups=["beta"])
    assert (denied.value.status, denied.value.param, denied.value.code) == (403, "model", "model_not_allowed")
    assert "'fast'" in denied.value.message
    assert "gpt-4o" in denied.value.message


def test_litellms_wording_of_a_denied_model() -> None:
    with pytest.raises(
        PermissionDenied, match=r"key not allowed to access model\. .*models=\['a'\]\. Tried to access b"
    ) as denied:
        allow(_key("a"), "b", compat="litellm")
    assert (denied.value.status, denied.value.type) == (403, "key_model_access_denied")


@pytest.mark.parametrize(
    ("routes", "path", "expected"),
    [
        ((), "/key/generate", True),
        (("/v1/chat/completions",), "/v1/chat/completions", True),
        (("/v1/chat/completions",), "/chat/completions", True),
        (("/chat/completions",), "/v1/embeddings", False),
        (("llm_api_routes",), "/v1/chat/completions", True),
        (("llm_api_routes",), "/v1/images/generations", True),
        (("llm_api_routes",), "/key/generate", False),
        (("management_routes",), "/key/generate", True),
        (("management_routes",), "/v1/chat/completions", False),
        (("info_routes",), "/key/info", True),
        (("info_routes",), "/key/delete", False),
        (("/team/*",), "/team/new", True),
        (("/team/*",), "/teams", False),
    ],
)
def test_routes(routes: tuple[str, ...], path: str, expected: bool) -> None:
    principal = _key(routes=routes)
    assert may_call(principal, path) is expected
    if not expected:
        with pytest.raises(PermissionDenied, match=path):
            allow_route(principal, path)


def test_no_group_of_routes_is_empty() -> None:
    assert all(ROUTE_GROUPS.values())
