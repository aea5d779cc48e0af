#!/usr/bin/env bash
# ExaBGP answers "done" to a withdrawal that withdraws nothing.
#
# Version:   ExaBGP 4.2.21 (PyPI)
# Behaviour: a FlowSpec route is announced with "destination-port [ =80 =443 ]" and withdrawn with
#            "destination-port [ =443 =80 ]". The two match the same packets. The answer is "done", as for a withdrawal
#            that works, and the route stays in the outgoing table. Named in the first order, it is withdrawn.
# Seen:      after the withdrawal in the other order: 1 route;  after the withdrawal in the same order: 0 routes
# Why here:  who speaks to ExaBGP's process API must write a route one way only, and cannot trust "done".
set -euo pipefail
work=$(mktemp -d)
trap 'kill "${exabgp:-0}" 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check exabgp==4.2.21
mkdir -p "$work/run"
mkfifo -m 600 "$work/run/exabgp.in" "$work/run/exabgp.out"
cat > "$work/exabgp.conf" <<'CONF'
neighbor 127.0.0.1 {
  router-id 127.0.0.1;
  local-address 127.0.0.1;
  local-as 65001;
  peer-as 65002;
  passive true;
  family { ipv4 flow; }
}
CONF
(cd "$work" && exec env exabgp.api.cli=true exabgp.api.pipename=exabgp exabgp.daemon.user="$(id -un)" \
  exabgp.tcp.bind= exabgp.log.all=false exabgp.log.destination="$work/log" \
  "$work/venv/bin/exabgp" --root "$work" "$work/exabgp.conf" >/dev/null 2>&1) & exabgp=$!
python3 - "$work/run" <<'PY'
import os, select, sys, time

run = sys.argv[1]
for _ in range(100):
    try:
        into = os.open(f"{run}/exabgp.in", os.O_WRONLY | os.O_NONBLOCK)
        break
    except OSError:
        time.sleep(0.1)
out = os.open(f"{run}/exabgp.out", os.O_RDONLY | os.O_NONBLOCK)


def say(command):
    os.write(into, f"{command}\n".encode())
    text, ends = "", time.time() + 5
    while time.time() < ends and not text.endswith(("done\n", "error\n")):
        select.select([out], [], [], 0.1)
        try:
            text += os.read(out, 65536).decode()
        except BlockingIOError:
            pass
        time.sleep(0.02)
    return text


def route(ports):
    return f"flow route {{ match {{ destination 192.0.2.2/32; protocol tcp; destination-port [ {ports} ]; }} then {{ discard; }} }}"


def held():
    return say("show adj-rib out").count("192.0.2.2/32")


assert say("announce " + route("=80 =443")) == "done\n"
assert held() == 1, "the route was not announced"
other, after_other = say("withdraw " + route("=443 =80")), held()
same, after_same = say("withdraw " + route("=80 =443")), held()
print(f"other order: answered {other.strip()!r}, {after_other} route stays")
print(f"same order:  answered {same.strip()!r}, {after_same} routes stay")
assert (other, after_other, same, after_same) == ("done\n", 1, "done\n", 0), "this has changed"
PY
