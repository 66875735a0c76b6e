"""What of a URL decides where a connection leads."""

import pytest

from wayport.core.net import TlsSettings
from wayport.upstream.origin import Origin, origin_of


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.openai.com/v1", ("https", "api.openai.com", 443, "/v1", "api.openai.com")),
        ("https://API.OpenAI.com:443/v1/", ("https", "api.openai.com", 443, "/v1", "api.openai.com")),
        ("http://localhost:11434", ("http", "localhost", 11434, "", "localhost:11434")),
        ("HTTP://10.0.0.1/", ("http", "10.0.0.1", 80, "", "10.0.0.1")),
        ("https://[2001:db8::1]:8443/x?y=1", ("https", "2001:db8::1", 8443, "/x?y=1", "[2001:db8::1]:8443")),
        ("https://bücher.example/v1", ("https", "xn--bcher-kva.example", 443, "/v1", "xn--bcher-kva.example")),
        ("unix:///run/llm.sock", ("unix", "/run/llm.sock", 0, "", "localhost")),
        ("unix:/run/llm.sock:/v1", ("unix", "/run/llm.sock", 0, "/v1", "localhost")),
    ],
)
def test_reads_an_origin_and_what_is_below_it(url: str, expected: tuple[object, ...]) -> None:
    origin, below = origin_of(url)
    assert (origin.scheme, origin.host, origin.port, below, origin.authority) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.openai.com/v1",
        "ftp://x/y",
        "https://",
        "https:///v1",
        "https://host:port/",
        "https://host:99999/",
        "https://[::1/",
        "unix://relative.sock",
        "https://user:secret@host/v1",
        "https://a b/v1",
        "https://.test/v1",
        "https://a..test/v1",
        f"https://{'a' * 64}.test/v1",
        "https://a\x00b/",
    ],
)
def test_refuses_what_is_no_address_and_shows_no_secret(url: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (each has its own sentence)
        origin_of(url)
    assert "secret" not in str(caught.value)


def test_equal_origins_are_one_key() -> None:
    tls = TlsSettings(ca_file="/a")
    one, two = (origin_of(url, tls=tls)[0] for url in ("https://host/v1", "https://HOST:443/v2"))
    assert {one: 1}[two] == 1
    assert one != origin_of("https://host/v1")[0]
    assert one != origin_of("https://host/v1", tls=tls, proxy="")[0]


def test_tls_settings_of_a_plain_address_mean_nothing() -> None:
    assert origin_of("http://host", tls=TlsSettings(verify=False))[0] == Origin("http", "host", 80)
