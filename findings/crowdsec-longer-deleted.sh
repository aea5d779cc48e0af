#!/usr/bin/env bash
# CrowdSec's decision stream does not say that a target's end has come nearer.
#
# Version:   CrowdSec 1.4.6 (Debian 12, 1.4.6-6~deb12u1+b1)
# Behaviour: two decisions stand about one address, for 4 hours and for 1 hour. A bouncer reads the stream: it is given the
#            longer one. The longer one is deleted. The next answer of the stream is empty, and a bouncer that follows
#            the changes blocks the address for 4 hours. Only a complete answer (startup=true) shows the one of 1 hour.
# Seen:      changes after the deletion: deleted 0, new 0;  complete answer: one decision, under 1 hour
# Why here:  who follows the stream must ask for a complete answer now and then.
set -euo pipefail
work=$(mktemp -d)
trap 'kill "${lapi:-0}" 2>/dev/null || true; rm -rf "$work"' EXIT
chmod 755 "$work"
(cd "$work" && apt-get download -qq 'crowdsec=1.4.6-6~deb12u1+b1' 2>/dev/null && dpkg-deb -x crowdsec_*.deb .)
mkdir -p "$work"/{config/notifications,data,hub,plugins}
echo '{}' > "$work/hub/.index.json"
echo 'simulation: false' > "$work/config/simulation.yaml"
echo 'url: http://127.0.0.1:18080' > "$work/config/local.yaml"
cp "$work/etc/crowdsec/profiles.yaml" "$work/config/"
cat > "$work/config.yaml" <<CONF
common: {daemonize: false, log_media: stdout, log_level: error, working_dir: .}
config_paths: {config_dir: $work/config/, data_dir: $work/data/, simulation_path: $work/config/simulation.yaml, hub_dir: $work/hub/, index_path: $work/hub/.index.json, notification_dir: $work/config/notifications/, plugin_dir: $work/plugins/}
cscli: {output: json}
db_config: {type: sqlite, db_path: $work/data/crowdsec.db}
api:
  client: {credentials_path: $work/config/local.yaml}
  server: {log_level: error, listen_uri: 127.0.0.1:18080, profiles_path: $work/config/profiles.yaml}
prometheus: {enabled: false}
CONF
cscli() { "$work/usr/bin/cscli" -c "$work/config.yaml" "$@" 2>/dev/null; }
cscli machines add host1 --password secret1 -f "$work/config/local.yaml" --force >/dev/null
cscli bouncers add reader -k key1 >/dev/null
"$work/usr/bin/crowdsec" -c "$work/config.yaml" -no-cs >/dev/null 2>&1 & lapi=$!
python3 - "$work" <<'PY'
import json, subprocess, sys, time, urllib.request

work = sys.argv[1]


def stream(startup):
    url = f"http://127.0.0.1:18080/v1/decisions/stream?startup={startup}"
    request = urllib.request.Request(url, headers={"X-Api-Key": "key1"})
    for _ in range(50):
        try:
            answer = json.load(urllib.request.urlopen(request, timeout=5))
            return answer["deleted"] or [], answer["new"] or []
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the local API does not answer")


def cscli(*words):
    subprocess.run([f"{work}/usr/bin/cscli", "-c", f"{work}/config.yaml", *words], check=True, capture_output=True)


stream("true")
cscli("decisions", "add", "--ip", "203.0.113.9", "--duration", "4h")
cscli("decisions", "add", "--ip", "203.0.113.9", "--duration", "1h")
_, given = stream("true")
assert [one["duration"][:2] for one in given] == ["3h"], given
cscli("decisions", "delete", "--id", str(given[0]["id"]))
deleted, new = stream("false")
_, complete = stream("true")
print(f"changes after the deletion: deleted {len(deleted)}, new {len(new)}")
print(f"complete answer: {[one['duration'] for one in complete]}")
assert (deleted, new) == ([], []) and [one["duration"][:2] for one in complete] == ["59"], "this has changed"
PY
