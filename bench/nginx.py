"""nginx twice: as the instant upstream of whole answers, and as the floor: the least that a proxy costs."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench import wording
from bench.certificates import Certificates
from bench.machine import tool
from bench.processes import Started
from bench.targets import answers, wait_for

_MAIN = """\
{user}
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  keepalive_timeout 600s;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
{inside}
}}
"""

_UPSTREAM = """\
  server {{
    listen 127.0.0.1:{plain} backlog=4096;
    listen 127.0.0.1:{tls} ssl backlog=4096;
    ssl_certificate {certificates.chain};
    ssl_certificate_key {certificates.key};
    default_type application/json;
    location / {{ return 200 '{openai}'; }}
    location ~ /messages$ {{ return 200 '{anthropic}'; }}
  }}
  server {{
    listen 127.0.0.1:{stamped} backlog=4096;
    default_type application/json;
{stamps}
    location / {{ return 200 '{openai}'; }}
  }}
"""

_STAMPS = {
    "x-request-id": "req_$request_id", "cf-ray": "$request_id-FRA", "openai-processing-ms": "$msec",
    "x-ratelimit-remaining-requests": "$connection_requests", "x-ratelimit-remaining-tokens": "$connection_requests",
    "x-ratelimit-reset-requests": "$msec", "x-ratelimit-reset-tokens": "$msec", "set-cookie": "__cf_bm=$request_id; HttpOnly",
    "x-ratelimit-limit-requests": "10000", "x-ratelimit-limit-tokens": "2000000", "openai-version": "2020-10-01",
    "openai-organization": "an-organization", "openai-project": "a-project", "cf-cache-status": "DYNAMIC",
    "access-control-expose-headers": "X-Request-ID", "x-content-type-options": "nosniff", "alt-svc": "h3; ma=86400",
    "strict-transport-security": "max-age=31536000; includeSubDomains; preload",
}  # fmt: skip
"""what a large provider's answers say beside their content, more or less: eight of them are others each time"""

_FLOOR = """\
  upstream to_{to} {{ server 127.0.0.1:{to}; keepalive 4096; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass {scheme}://to_{to};
      proxy_http_version 1.1;
      proxy_set_header connection "";
      proxy_set_header host localhost;
      proxy_buffering off;
      proxy_ssl_verify on;
      proxy_ssl_trusted_certificate {ca};
      proxy_ssl_name localhost;
    }}
  }}
"""


@contextmanager
def _started(inside: str, directory: Path, *, core: int, port: int) -> Iterator[Started]:
    directory.mkdir()
    config = directory / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(_MAIN.format(directory=directory, inside=inside, user=user))
    command = [tool("nginx"), "-p", str(directory), "-e", str(directory / "error.log"), "-c", str(config)]
    with Started(command, log=directory / "log", core=core) as process:
        wait_for("nginx", lambda: answers(port, "GET", "/"), at_most_s=10, alive=process.alive)
        yield process


@contextmanager
def upstream(
    directory: Path, *, core: int, plain: int, tls: int, stamped: int, certificates: Certificates
) -> Iterator[Started]:
    inside = _UPSTREAM.format(
        plain=plain,
        tls=tls,
        stamped=stamped,
        stamps="\n".join(f'    add_header {name} "{value}";' for name, value in _STAMPS.items()),
        certificates=certificates,
        openai=wording.OPENAI_WHOLE.decode(),
        anthropic=wording.ANTHROPIC_WHOLE.decode(),
    )
    with _started(inside, directory, core=core, port=plain) as process:
        yield process


@contextmanager
def floor(
    directory: Path, *, core: int, to: Mapping[int, tuple[str, int]], certificates: Certificates
) -> Iterator[Started]:
    """Listens on each port of `to` and passes everything on to `(scheme, port)`."""
    inside = "".join(
        _FLOOR.format(port=port, scheme=scheme, to=target, ca=certificates.ca) for port, (scheme, target) in to.items()
    )
    with _started(inside, directory, core=core, port=next(iter(to))) as process:
        yield process
