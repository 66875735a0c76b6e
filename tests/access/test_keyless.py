import pytest

from wayport.access.keyless import guard
from wayport.core.errors import PermissionDenied, UnsupportedMediaType

JSON = {b"content-type": b"application/json"}


@pytest.mark.parametrize(
    "host", [b"localhost:4000", b"127.0.0.1:4000", b"[::1]:4000", b"LOCALHOST", b"localhost.:4000"]
)
def test_programs_on_this_machine_are_served(host: bytes) -> None:
    guard({b"host": host, **JSON}.get, has_body=True)


@pytest.mark.parametrize(
    "host", [b"attacker.example:4000", b"localhost.attacker.example", b"127.0.0.1.nip.io", b"192.168.0.5:4000", b""]
)
def test_another_host_name_is_refused(host: bytes) -> None:
    """A page of an attacker whose name resolves to 127.0.0.1 sends that name."""
    with pytest.raises(PermissionDenied):
        guard({b"host": host, **JSON}.get, has_body=True)
    with pytest.raises(PermissionDenied):
        guard(lambda _: None, has_body=False)


@pytest.mark.parametrize(
    "origin", [b"https://evil.example", b"null", b"http://localhost:3000", b"http://127.0.0.1:4000"]
)
def test_a_foreign_origin_is_refused(origin: bytes) -> None:
    with pytest.raises(PermissionDenied):
        guard({b"host": b"localhost:4000", b"origin": origin, **JSON}.get, has_body=True)


def test_our_own_pages_and_listed_origins_are_served() -> None:
    guard({b"host": b"localhost:4000", b"origin": b"http://localhost:4000", **JSON}.get, has_body=True)
    listed = {b"http://localhost:5173"}
    guard(
        {b"host": b"localhost:4000", b"origin": b"http://localhost:5173", **JSON}.get,
        has_body=True,
        allowed_origins=listed,
    )


@pytest.mark.parametrize(
    "kind", [b"text/plain", b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x", b""]
)
def test_what_a_page_may_send_without_asking_is_refused(kind: bytes) -> None:
    headers = {b"host": b"localhost:4000", b"content-type": kind}
    with pytest.raises(UnsupportedMediaType):
        guard(headers.get, has_body=True)
    guard(headers.get, has_body=False)


@pytest.mark.parametrize("kind", [b"application/json; charset=utf-8", b"Application/JSON", b"application/problem+json"])
def test_every_spelling_of_json_is_served(kind: bytes) -> None:
    guard({b"host": b"localhost:4000", b"content-type": kind}.get, has_body=True)
