"""A worker asks a deployment whether it answers; what was found shows in /health and, if wanted, in routing."""

from tests.fakes.gateway import Gateway, gateway
from tests.fakes.upstream import Upstream, by, json_answer
from tests.pipeline.test_attempts_failures import ASK, GOOD
from tests.pipeline.test_routing import named, said

from wayport.core.probe import Probed

BROKEN = json_answer({"error": {"message": "on fire"}}, status=500)


def config(upstream: Upstream, models: str, checks: str = "background: true, route: true") -> str:
    return f"""
providers:
  up: {{api_base: {upstream.url}/v1, api_key: k}}
models:
{models}
router: {{num_retries: 0}}
health_checks: {{{checks}}}
"""


def ids(wayport: Gateway) -> dict[str, str]:
    """Deployments by the upstream's name of their model."""
    snapshot = wayport.worker.pipeline.table.snapshot
    groups = (*snapshot.models.values(), *snapshot.wildcards)
    return {d.upstream_model: d.id for model in groups for d in model.deployments}


async def test_a_probe_asks_one_deployment_once_and_moves_no_breaker() -> None:
    async with Upstream(by(lambda _: BROKEN)) as upstream, gateway(config(upstream, "  m: [up/a, up/b]")) as wayport:
        probing = wayport.worker.probing
        for _ in range(6):
            probed = await probing.probe(ids(wayport)["a"], 5.0)
            assert (probed.error, probed.kind, probed.status) == ("on fire", "server", 500)
        assert [received.json()["model"] for received in upstream.requests] == ["a"] * 6
        assert wayport.worker.health.quiet


async def test_a_probe_reaches_who_is_left_alone_and_is_accounted_for() -> None:
    async with Upstream([*[BROKEN] * 3, GOOD]) as upstream, gateway(config(upstream, "  m: up/a")) as wayport:
        for _ in range(4):
            assert (await wayport.ask(ASK)).status_code >= 500
        assert len(upstream.requests) == 3
        assert (await wayport.worker.probing.probe(ids(wayport)["a"], 5.0)).error is None
        record = wayport.records[-1]
        assert (record.route, record.key_alias, record.status) == ("/health", "wayport-health-check", "success")
        assert upstream.requests[-1].json()["max_tokens"] == 16


async def test_a_wildcard_is_asked_by_the_model_that_is_named_for_it() -> None:
    models = '  "x/*": {model: "up/*", health_check: {model: small, max_tokens: 3}}'
    async with Upstream([GOOD]) as upstream, gateway(config(upstream, models)) as wayport:
        assert (await wayport.worker.probing.probe(ids(wayport)["*"], 5.0)).error is None
        asked = upstream.requests[0].json()
        assert (asked["model"], asked["max_tokens"]) == ("small", 3)


async def test_one_that_is_gone_is_no_accident() -> None:
    async with Upstream([]) as upstream, gateway(config(upstream, "  m: up/a")) as wayport:
        assert "no such deployment" in str((await wayport.worker.probing.probe("gone", 5.0)).error)


async def test_who_did_not_answer_gets_nothing_until_it_does() -> None:
    async with Upstream(by(named)) as upstream, gateway(config(upstream, "  m: [up/a, up/b]")) as wayport:
        probing, a = wayport.worker.probing, ids(wayport)["a"]
        probing.hear(a, Probed(error="on fire", kind="server", status=500))
        assert await said(wayport, ASK) == "b"
        assert "did not answer when last asked: on fire" in wayport.records[-1].routing[0].removed[a]
        probing.hear(a, Probed())
        assert await said(wayport, ASK) == "a"
        probing.hear(a, Probed(error="on fire"))
        probing.hear(a, None)
        assert await said(wayport, ASK) == "a"


async def test_where_all_have_failed_a_call_finds_out_for_itself() -> None:
    async with Upstream(by(named)) as upstream, gateway(config(upstream, "  m: [up/a, up/b]\n  n: up/c")) as wayport:
        for deployment_id in ids(wayport).values():
            wayport.worker.probing.hear(deployment_id, Probed(error="on fire"))
        assert await said(wayport, ASK) == "a"
        assert await said(wayport, {**ASK, "model": "n"}) == "c"


async def test_an_old_result_says_nothing() -> None:
    checks = "background: true, route: true, stale_after_s: 60"
    async with Upstream(by(named)) as upstream, gateway(config(upstream, "  m: [up/a, up/b]", checks)) as wayport:
        probing, a = wayport.worker.probing, ids(wayport)["a"]
        probing.hear(a, Probed(error="on fire", age_s=61))
        assert await said(wayport, ASK) == "a"
        probing.hear(a, Probed(error="on fire", age_s=30))
        assert await said(wayport, ASK) == "b"


async def test_results_lead_nobody_unless_that_is_wanted_and_a_429_may_be_forgiven() -> None:
    refused = Probed(error="slow down", kind="rate_limit", status=429)
    for checks, expected in (
        ("background: true", "a"),
        ("background: true, route: true", "b"),
        ("background: true, route: true, ignore_transient: true", "a"),
    ):
        async with Upstream(by(named)) as upstream, gateway(config(upstream, "  m: [up/a, up/b]", checks)) as wayport:
            wayport.worker.probing.hear(ids(wayport)["a"], refused)
            assert await said(wayport, ASK) == expected


async def test_health_is_told_from_what_the_background_has_found() -> None:
    async with Upstream([]) as upstream, gateway(config(upstream, "  m: [up/a, up/b]")) as wayport:
        found = ids(wayport)
        wayport.worker.probing.hear(found["a"], Probed(error="on fire", age_s=4))
        wayport.worker.probing.hear(found["b"], Probed())
        report = (await wayport.http.get("/health")).json()
        assert [each["model"] for each in report["healthy_endpoints"]] == ["up/b"]
        told = report["unhealthy_endpoints"][0]
        assert (told["model_id"], told["error"]) == (found["a"], "on fire")
        assert told["checked_s_ago"] >= 4
        assert upstream.requests == []


async def test_health_tells_a_key_of_the_models_that_it_may_use_and_not_what_went_wrong() -> None:
    async with Upstream([]) as upstream, gateway(config(upstream, "  m: [up/a, up/b]\n  secret: up/c")) as wayport:
        wayport.worker.probing.hear(ids(wayport)["a"], Probed(error="on fire at 10.0.0.7"))
        key = wayport.keys.add("sk-small-key-00000000000000", models=("m",))
        answered = await wayport.http.get("/health", headers={"authorization": f"Bearer {key}"})
        report = answered.json()
        assert [each["model"] for each in report["healthy_endpoints"]] == ["up/b"]
        assert [each["model"] for each in report["unhealthy_endpoints"]] == ["up/a"]
        assert (report["healthy_count"], report["unhealthy_count"]) == (1, 1)
        assert "on fire" not in answered.text
        asked = {"model": "secret"}
        hidden = await wayport.http.get("/health", params=asked, headers={"authorization": f"Bearer {key}"})
        assert (hidden.json()["healthy_count"], hidden.json()["unhealthy_count"]) == (0, 0)


async def test_health_of_one_model_or_one_deployment() -> None:
    models = "  m: [up/a, up/b]\n  n: up/c\n  p: {model: up/d, mode: image_generation}"
    for checks in ("background: true", "background: false"):
        async with Upstream(by(named)) as upstream, gateway(config(upstream, models, checks)) as wayport:
            for query, expected in (
                ({"model": "m"}, ["up/a", "up/b"]),
                ({"model": "up/c"}, ["up/c"]),
                ({"model_id": ids(wayport)["b"]}, ["up/b"]),
                ({"model": "nobody"}, []),
                ({}, ["up/a", "up/b", "up/c", "up/d"]),
            ):
                report = (await wayport.http.get("/health", params=query)).json()
                assert [each["model"] for each in report["healthy_endpoints"]] == expected
            # Nobody is asked to draw for it.
            assert "d" not in [received.json()["model"] for received in upstream.requests]


async def test_litellms_spelling() -> None:
    text = """
model_list:
  - model_name: "openai/*"
    litellm_params: {model: "openai/*", api_key: k}
    model_info: {health_check_model: openai/gpt-4o-mini, health_check_timeout: 7}
  - model_name: m
    litellm_params: {model: openai/gpt-4o, api_key: k}
    model_info: {disable_background_health_check: true}
general_settings:
  background_health_checks: true
  health_check_interval: 30
  health_check_concurrency: 3
  enable_health_check_routing: true
  health_check_staleness_threshold: 90
router_settings: {background_health_check_model_groups: [m]}
"""
    async with gateway(text) as wayport:
        checks = wayport.settings.health_checks
        assert (checks.background, checks.every_s, checks.at_once, checks.route) == (True, 30, 3, True)
        assert (checks.stale_s, checks.models) == (90, ("m",))
        snapshot = wayport.worker.pipeline.table.snapshot
        way = snapshot.wildcards[0].deployments[0].probe
        assert (way.model, way.timeout_s, way.off) == ("gpt-4o-mini", 7, False)
        assert snapshot.models["m"].deployments[0].probe.off
        assert not [warning for warning in snapshot.warnings if "health" in warning]
