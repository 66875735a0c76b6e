"""Which headers go upstream and which come back."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayport import __version__
from wayport.core.errors import CredentialMissing
from wayport.providers.provider import AuthStyle
from wayport.upstream.headers import BACK_BYTES, CLIENT_HEADERS, _comes_back, forwarded, head_for, passed_on
from wayport.upstream.heads import Headers

URL = "https://api.openai.com/v1/chat/completions"


def head(url: str = URL, *, auth: AuthStyle | None = None, credential: str = "sk-1", **headers: str) -> str:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return head_for(method="POST", url=url, auth=auth or AuthStyle(), credential=credential, headers=named).decode()


# ------------------------------------------------------------------------------------------------------------ going up
def test_the_constant_head_has_all_that_every_request_needs() -> None:
    assert head() == (
        "POST /v1/chat/completions HTTP/1.1\r\n"
        "host: api.openai.com\r\n"
        f"user-agent: wayport/{__version__}\r\n"
        "accept: */*\r\n"
        "accept-encoding: identity\r\n"
        "content-type: application/json\r\n"
        "authorization: Bearer sk-1\r\n"
    )


def test_a_credential_may_go_in_another_header_or_in_the_query_or_nowhere() -> None:
    assert "\r\nx-api-key: sk-1\r\n" in head(auth=AuthStyle(name="x-api-key", prefix=""))
    query = AuthStyle(where="query", name="key")
    assert head("https://h/v1?a=b", auth=query, credential="s k&1").startswith(
        "POST /v1?a=b&key=s%20k%261 HTTP/1.1\r\n"
    )
    assert head("https://h/v1", auth=query).startswith("POST /v1?key=sk-1 HTTP/1.1\r\n")
    assert "sk-1" not in head(auth=AuthStyle(where="none"))
    assert "authorization" not in head(credential="")


def test_a_credential_with_a_line_end_around_it_is_still_one() -> None:
    assert "\r\nauthorization: Bearer sk-1\r\n" in head(credential=" sk-1\r\n")


def test_configured_headers_win_over_our_own_and_stand_once() -> None:
    made = head(Authorization="Basic x", User_Agent="mine", X_Own="1", Accept_Encoding="gzip", Host="other.test")
    assert made.count("authorization") == 1
    assert "\r\nauthorization: Basic x\r\n" in made
    assert "\r\nuser-agent: mine\r\n" in made
    assert "\r\nx-own: 1\r\n" in made
    assert "\r\naccept-encoding: gzip\r\n" in made
    assert made.split("\r\n")[1] == "host: other.test"
    assert made.count("host: ") == 1


@pytest.mark.parametrize("name", ["content-length", "Transfer-Encoding", "connection", "x y", "x:y", "x\r\ny", ""])
def test_headers_that_would_break_the_request_are_refused(name: str) -> None:
    with pytest.raises(CredentialMissing):
        head_for(method="POST", url=URL, auth=AuthStyle(), credential="", headers={name: "1"})


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "a\rb", "a\0b", "a\x1bb"])
def test_values_that_would_break_the_request_are_refused_without_showing_them(value: str) -> None:
    with pytest.raises(CredentialMissing) as caught:
        head(x_own=value)
    assert "x-own" in caught.value.message
    assert "evil" not in caught.value.message
    with pytest.raises(CredentialMissing):
        head(credential=value)


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("https://h", "POST / HTTP/1.1"),
        ("https://h/a b/ü?q=x y&z=%20#gone", "POST /a%20b/%C3%BC?q=x%20y&z=%20 HTTP/1.1"),
        (
            "https://h/v1/models/gemini:generateContent?alt=sse",
            "POST /v1/models/gemini:generateContent?alt=sse HTTP/1.1",
        ),
        ("https://h/x\r\nevil: 1", "POST /xevil:%201 HTTP/1.1"),
        ("unix:///run/s:/v1/x?y=1", "POST /v1/x?y=1 HTTP/1.1"),
        ("unix:///run/s", "POST / HTTP/1.1"),
    ],
)
def test_the_request_line_is_one_line(url: str, line: str) -> None:
    assert head(url).split("\r\n")[0] == line


def test_the_port_stands_in_the_host_header_where_it_is_not_the_usual_one() -> None:
    assert "\r\nhost: h:8000\r\n" in head("http://h:8000/v1")
    assert "\r\nhost: [::1]:8000\r\n" in head("http://[::1]:8000/v1")
    assert "\r\nhost: localhost\r\n" in head("unix:///run/s:/v1")


CLIENT: Mapping[bytes, bytes] = {
    b"authorization": b"Bearer sk-wayport",
    b"x-api-key": b"sk-wayport",
    b"cookie": b"session=1",
    b"connection": b"keep-alive",
    b"x-forwarded-for": b"192.0.2.1",
    b"user-agent": b"OpenAI/Python",
    b"x-stainless-lang": b"python",
    b"idempotency-key": b"1",
    b"openai-organization": b"org",
    b"traceparent": b"00-1-1-01",
    b"anthropic-version": b"2023-06-01",
    b"anthropic-beta": b"context-1m-2025-08-07, files-api-2025-04-14",
    b"openai-beta": b"x=1",
    b"content-length": b"5",
}


def test_of_the_clients_headers_only_those_of_the_upstreams_dialect_go_up() -> None:
    assert forwarded("anthropic_messages", CLIENT.get) == (
        b"anthropic-beta: context-1m-2025-08-07, files-api-2025-04-14\r\n"
    )
    assert forwarded("openai_chat", CLIENT.get) == b"openai-beta: x=1\r\n"
    assert forwarded("gemini_content", CLIENT.get) == b""
    assert forwarded("openai_chat", lambda _: None) == b""


def test_no_list_names_what_must_stay_here() -> None:
    named = {name for names in CLIENT_HEADERS.values() for name in names}
    stays = set(CLIENT) - {b"anthropic-beta", b"openai-beta"}
    assert not named & stays


def test_a_header_that_goes_anyway_is_not_sent_twice() -> None:
    taken = head_for(method="POST", url=URL, auth=AuthStyle(), credential="", headers={"Anthropic-Beta": "x"})
    assert forwarded("anthropic_messages", CLIENT.get, taken=taken) == b""
    assert forwarded("anthropic_messages", CLIENT.get, taken=b"anthropic-beta: x\r\n") == b""


def test_betas_that_the_target_does_not_know_are_left_out() -> None:
    lines = forwarded("anthropic_messages", CLIENT.get, betas=lambda beta: beta == "files-api-2025-04-14")
    assert lines == b"anthropic-beta: files-api-2025-04-14\r\n"
    assert forwarded("anthropic_messages", CLIENT.get, betas=lambda _: False) == b""


@pytest.mark.parametrize("value", [b"a\r\nevil: 1", b"a\nb", b"a\0b"])
def test_a_clients_value_with_a_line_break_does_not_go_up(value: bytes) -> None:
    assert forwarded("openai_chat", {b"openai-beta": value}.get) == b""


# --------------------------------------------------------------------------------------------------------- coming back
UPSTREAM = [
    (b"date", b"today"),
    (b"content-type", b"application/json"),
    (b"content-length", b"5"),
    (b"transfer-encoding", b"chunked"),
    (b"connection", b"keep-alive"),
    (b"set-cookie", b"__cf_bm=secret"),
    (b"retry-after", b"3"),
    (b"retry-after-ms", b"2500"),
    (b"x-should-retry", b"true"),
    (b"x-request-id", b"req_1"),
    (b"request-id", b"req_2"),
    (b"x-ratelimit-remaining-tokens", b"7"),
    (b"anthropic-ratelimit-requests-limit", b"8"),
    (b"openai-processing-ms", b"12"),
]
BACK = (
    b"retry-after: 3\r\nretry-after-ms: 2500\r\nx-should-retry: true\r\nx-request-id: req_1\r\nrequest-id: req_2\r\n"
    b"x-ratelimit-remaining-tokens: 7\r\nanthropic-ratelimit-requests-limit: 8\r\n"
)


def test_retry_hints_request_ids_and_rate_limits_come_back() -> None:
    assert passed_on(Headers.of(UPSTREAM), compat=False) == BACK


def test_those_who_come_from_litellm_get_the_rest_too() -> None:
    lines = passed_on(Headers.of(UPSTREAM), compat=True)
    assert lines.startswith(BACK)
    assert b"\r\nllm_provider-openai-processing-ms: 12\r\n" in lines
    assert b"\r\nllm_provider-x-request-id: req_1\r\n" in lines
    for never in (b"set-cookie", b"transfer-encoding", b"connection", b"content-length"):
        assert never not in lines


def test_they_never_take_more_than_their_room_and_the_important_ones_come_first() -> None:
    many = [(b"x-%d" % n, b"v" * 100) for n in range(100)] + UPSTREAM
    lines = passed_on(Headers.of(many), compat=True)
    assert len(lines) <= BACK_BYTES
    assert lines.startswith(BACK)
    huge = passed_on(Headers.of([(b"x-request-id", b"v" * 5000), (b"retry-after", b"1")]), compat=False)
    assert huge == b"retry-after: 1\r\n"


def test_an_upstream_that_makes_up_long_names_fills_no_memory() -> None:
    name = b"x-ratelimit-" + b"n" * 10_000
    for _ in range(2):
        assert (
            passed_on(Headers.of([(name, b"v" * 5000), (b"retry-after", b"1")]), compat=False) == b"retry-after: 1\r\n"
        )
    assert name not in _comes_back


@given(st.lists(st.tuples(st.sampled_from([b"x-request-id", b"x-other"]), st.binary(max_size=40)), max_size=20))
def test_no_value_breaks_out_of_its_line(headers: list[tuple[bytes, bytes]]) -> None:
    lines = passed_on(Headers.of(headers), compat=True)
    for line in lines.split(b"\r\n")[:-1]:
        assert b": " in line
        assert not {b"\r", b"\n", b"\0"} & {line[n : n + 1] for n in range(len(line))}
