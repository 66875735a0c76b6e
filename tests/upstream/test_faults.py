"""Answers that are not what their dialect says, as facts that a person can act on."""

import json

import pytest

from wayport.core.errors import Fault
from wayport.dialects.dialect import Headers, Profile
from wayport.upstream.faults import TransportFault, masked, refusal, stated_error, unexpected

PROFILE = Profile()


class AnswerHead:
    def __init__(self, status: int, content_type: str | None = "application/json", **headers: str) -> None:
        self.status = status
        pairs = {"content-type": content_type, **headers} if content_type else headers
        self.headers = [(name.replace("_", "-").encode(), str(value).encode()) for name, value in pairs.items()]

    def header(self, name: bytes) -> bytes | None:
        return dict(self.headers).get(name)


def decode_error(status: int, headers: Headers, body: bytes, _: Profile) -> Fault:
    retry = headers.get("retry-after")
    return Fault(
        kind="rate_limit" if status == 429 else "server",
        status=status,
        message=body.decode() or "nothing",
        retry_after_s=float(retry) if retry else None,
    )


PAGE = b"<!DOCTYPE html>\n<html><head><title>\n 502 Bad &amp; Gateway\n</title></head><body>long text</body></html>"


def test_an_error_in_its_dialect_is_read_by_its_dialect() -> None:
    fault = refusal(AnswerHead(429, retry_after="3"), b'{"error": 1}', decode_error, PROFILE)
    assert (fault.kind, fault.message, fault.retry_after_s) == ("rate_limit", '{"error": 1}', 3.0)


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "TEXT/HTML", None, "text/plain"])
def test_a_page_of_something_in_between_is_told_by_its_title_and_kept_its_facts(content_type: str | None) -> None:
    fault = refusal(AnswerHead(429, content_type, retry_after="3"), PAGE, decode_error, PROFILE)
    assert (fault.kind, fault.status, fault.retry_after_s) == ("rate_limit", 429, 3.0)
    assert fault.message == (
        "The upstream answered 429 with a web page titled “502 Bad & Gateway” instead of its API's error."
    )


def test_a_page_without_a_title_is_a_page() -> None:
    fault = refusal(AnswerHead(503, "text/html"), b"<p>busy</p>", decode_error, PROFILE)
    assert fault.message == "The upstream answered 503 with a web page instead of its API's error."


@pytest.mark.parametrize(
    ("content_type", "body", "said"),
    [
        ("application/json", b"", "with an empty body"),
        ("application/json", b" \n", "with an empty body"),
        ("text/html", PAGE, "titled “502 Bad & Gateway”; is the base URL right, with its `/v1`?"),
        ("text/plain", b"Ollama is  running", "with what is not JSON (text/plain): Ollama is running"),
        (None, b"x" * 1000, f"with what is not JSON (no content type): {'x' * 200}…"),
        ("application/json", b'{"cut": ', "with what is not JSON (application/json)"),
        ("application/json", b'{"a": 1}', 'with JSON that is not of its dialect (field missing): {"a": 1}'),
    ],
)
def test_a_good_status_with_a_foreign_body_is_malformed(content_type: str | None, body: bytes, said: str) -> None:
    fault = unexpected(AnswerHead(200, content_type), body, ValueError("field missing"))
    assert (fault.kind, fault.status, fault.body_sent) == ("malformed", 200, True)
    assert said in fault.message


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"message": "m", "code": 502}, 502),
        ({"message": "m", "code": "429"}, 429),
        ({"message": "m", "status_code": 404}, 404),
        ({"message": "m", "code": "rate_limit"}, 500),
        ({"message": "m", "code": True}, 500),
        ({"message": "m", "code": 200}, 500),
        ("just words", 500),
    ],
)
def test_an_error_under_a_good_status_is_found_with_the_status_that_it_names(error: object, status: int) -> None:
    fault = stated_error(json.dumps({"id": "x", "error": error}).encode(), decode_error, PROFILE)
    assert fault is not None
    assert fault.status == status


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"not json",
        b'{"choices": []}',
        b'{"error": null, "choices": []}',
        b'{"error": {}}',
        b'{"error": ""}',
        b'{"error": ' + b"[" * 100_000,
    ],
)
def test_what_holds_no_error_is_none(body: bytes) -> None:
    assert stated_error(body, decode_error, PROFILE) is None


def test_no_credential_is_told_again() -> None:
    body = b'{"error": "Incorrect API key provided: my-own-secret-key, or sk-proj-abcdefghijkl"}'
    for fault in (
        refusal(AnswerHead(401), body, decode_error, PROFILE, "my-own-secret-key"),
        stated_error(body, decode_error, PROFILE, "my-own-secret-key"),
        masked(Fault(kind="server", status=500, message=body.decode()), "my-own-secret-key"),
    ):
        assert fault is not None
        assert "secret" not in fault.message
        assert "sk-proj" not in fault.message
    assert "sk-proj" not in unexpected(AnswerHead(200), body, ValueError("x")).message
    page = b"<title>key sk-proj-abcdefghijkl</title>"
    assert "sk-proj" not in refusal(AnswerHead(401, "text/html"), page, decode_error, PROFILE).message


def test_a_fault_without_credentials_stays_as_it_is() -> None:
    fault = Fault(kind="server", status=500, message="busy")
    assert masked(fault, "secret-key") is fault


def test_a_transport_fault_carries_facts() -> None:
    fault = TransportFault("connect", "no", body_sent=False)
    assert (fault.fault.kind, fault.fault.status, fault.fault.body_sent) == ("connect", 0, False)
    assert (fault.after_sending().fault.body_sent, str(fault)) == (True, "no")
