#!/usr/bin/env bash
# CrowdSec's local API takes a decision of scope "ip" and never gives it to a bouncer.
#
# Version:   CrowdSec 1.4.6 (Debian 12, 1.4.6-6~deb12u1+b1)
# Behaviour: two alerts, each with one decision about an address, are posted. They differ in one letter: scope "Ip" and
#            "ip". Both are answered 201, and both decisions are stored. The stream that a bouncer reads with
#            scopes=Ip,Range, as CrowdSec's own do, holds the first alone.
# Seen:      answers: 201, 201;  stream: ['203.0.113.1']
# Why here:  who reports decisions must write Ip and Range exactly so; the answer does not tell.
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
python3 - <<'PY'
import datetime, json, time, urllib.request

base = "http://127.0.0.1:18080"


def ask(path, body=None, **headers):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(base + path, data, {"Content-Type": "application/json", "User-Agent": "example/1", **headers})
    for _ in range(50):
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.URLError as error:
            if isinstance(error, urllib.error.HTTPError):
                raise
            time.sleep(0.2)
    raise SystemExit("the local API does not answer")


def alert(value, scope):
    now = datetime.datetime.now(datetime.timezone.utc).isoformat().replace("+00:00", "Z")
    decision = {"duration": "1h", "origin": "example", "scenario": "example/flood", "scope": scope, "type": "ban", "value": value}
    return {
        "scenario": "example/flood", "scenario_hash": "", "scenario_version": "", "message": "", "events_count": 1, "events": [],
        "start_at": now, "stop_at": now, "capacity": 0, "leakspeed": "0", "simulated": False, "decisions": [decision],
        "source": {"scope": scope, "value": value, "ip": value},
    }


login = ask("/v1/watchers/login", {"machine_id": "host1", "password": "secret1", "scenarios": ["example/flood"]})[1]
bearer = {"Authorization": f"Bearer {login['token']}"}
answers = [ask("/v1/alerts", [alert(value, scope)], **bearer)[0] for value, scope in (("203.0.113.1", "Ip"), ("203.0.113.2", "ip"))]
streamed = [one["value"] for one in ask("/v1/decisions/stream?startup=true&scopes=Ip,Range", **{"X-Api-Key": "key1"})[1]["new"]]
print(f"answers: {answers}; stream: {streamed}")
assert (answers, streamed) == ([201, 201], ["203.0.113.1"]), "this has changed"
PY
