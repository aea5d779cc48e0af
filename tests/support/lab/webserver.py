"""A real web server in the victim: nginx in the foreground, with a configuration of its own."""

from __future__ import annotations

import http.server
import shutil
import socket
import sys
from pathlib import Path
from typing import Final

from tests.support.lab.namespaces import LabError, Namespace
from tests.support.lab.programs import Program, wait_for
from tests.support.lab.topology import Victim
from tests.support.lab.warm import lab_program

PAGE: Final = b"served\n"

_CONFIG: Final = """\
daemon off;
master_process on;
worker_processes 1;
worker_rlimit_nofile 65536;
user root;
pid {prefix}/nginx.pid;
error_log {prefix}/error.log warn;
events {{ worker_connections {places}; multi_accept on; }}
http {{
    access_log off;
    client_body_temp_path {prefix}/body;
    proxy_temp_path {prefix}/proxy;
    fastcgi_temp_path {prefix}/fastcgi;
    uwsgi_temp_path {prefix}/uwsgi;
    scgi_temp_path {prefix}/scgi;
    keepalive_timeout 300s;
    keepalive_requests 1000000;
    client_header_timeout 120s;
    server {{
{listens}
        location / {{ default_type text/plain; return 200 "{page}"; }}
    }}
}}
"""


def start_nginx(victim: Namespace, workdir: Path, ports: tuple[int, ...], tuning: Victim) -> Program:
    """Start nginx on these ports, IPv4 and IPv6, and wait until every one of them listens.

    Raises:
        LabError: nginx is not installed, or did not come up; says its own words.
    """
    prefix = workdir / "nginx"
    prefix.mkdir()
    (prefix / "nginx.conf").write_text(nginx_config(prefix, ports, tuning))
    command = nginx_command(prefix)
    versions = (6,) if tuning.dual_stack else (4, 6)
    return _ready(Program(victim, command, workdir, "nginx"), victim, ports, versions)


def nginx_config(prefix: Path, ports: tuple[int, ...], tuning: Victim) -> str:
    """Return what ``nginx.conf`` says of these ports; everything that nginx writes goes under ``prefix``."""
    listens = "\n".join(_listen(port, tuning) for port in ports)
    page = PAGE.decode().replace("\n", "\\n")
    return _CONFIG.format(prefix=prefix, listens=listens, page=page, places=tuning.places)


def nginx_command(prefix: Path) -> list[str]:
    """Return the command line that serves ``prefix/nginx.conf`` in the foreground.

    Raises:
        LabError: nginx is not installed.
    """
    binary = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if binary is None:
        raise LabError("nginx is not installed: the lab serves real pages; install nginx-light")
    return [binary, "-p", str(prefix), "-c", str(prefix / "nginx.conf"), "-e", str(prefix / "error.log")]


def _listen(port: int, tuning: Victim) -> str:
    options = f"backlog={tuning.backlog}"
    if tuning.dual_stack:
        return f"        listen [::]:{port} ipv6only=off {options};"
    return f"        listen {port} {options}; listen [::]:{port} ipv6only=on {options};"


def start_stdlib(victim: Namespace, workdir: Path, port: int, backlog: int) -> Program:
    """Start the standard library's web server instead, IPv4 only: slower than nginx, asked for by name only."""
    command = lab_program("webserver", str(port), str(backlog))
    return _ready(Program(victim, command, workdir, "stdlib-web"), victim, (port,), (4,))


def _ready(server: Program, victim: Namespace, ports: tuple[int, ...], versions: tuple[int, ...]) -> Program:
    wanted = [(port, version) for port in ports for version in versions]

    def listening() -> bool:
        if not server.running:
            raise LabError(f"{server.label} did not start: {server.stderr.strip()}")
        flags = {4: "-4", 6: "-6"}
        found = {version: victim.run(["ss", "-Hltn", flag]) for version, flag in flags.items()}
        return all(f":{port} " in found[version] for port, version in wanted)

    wait_for(listening, f"{server.label} to listen", every=0.03)
    return server


class _Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
        """Say nothing: one line per request would be the server's main work."""


def main() -> None:
    """Serve the page: ``python -m tests.support.lab.webserver PORT BACKLOG``."""
    port, backlog = int(sys.argv[1]), int(sys.argv[2])
    http.server.ThreadingHTTPServer.request_queue_size = backlog
    http.server.ThreadingHTTPServer.address_family = socket.AF_INET
    http.server.ThreadingHTTPServer(("", port), _Page).serve_forever()


if __name__ == "__main__":
    main()
