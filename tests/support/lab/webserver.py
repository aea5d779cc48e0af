"""A real web server in the victim: nginx in the foreground, with a configuration of its own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from tests.support.lab.namespaces import LabError, Namespace
from tests.support.lab.programs import Program, wait_for
from tests.support.lab.topology import Victim

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
