#!/bin/sh
# Holds the admin listener against the description that it gives of itself (schemathesis): requests that are made
# up of it, good and bad ones, are answered with the statuses, types and bodies that it names, and never with 500.
# Arguments: the gateway's binary, and how many requests are made up for each operation.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
binary=$1
examples=${2:-20}
tools=$(sh "$root/loadtest/install-python.sh" schemathesis 4.32.5)
work=$(mktemp -d)
gateway=
trap '[ -z "$gateway" ] || kill "$gateway" 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

cat >"$work/gateway.yaml" <<'YAML'
listeners: [{ name: web, address: 127.0.0.1:0 }]
admin: { address: 127.0.0.1:0 }
upstreams: [{ name: api, endpoints: [{ address: 127.0.0.1:9 }] }]
virtual_hosts:
  - name: shop
    domains: ["*"]
    routes:
      - { name: checkout, match: { path: { prefix: /checkout } }, forward: { upstream: api } }
      - { name: rest, respond: { status: 200 } }
YAML
"$binary" run --config "$work/gateway.yaml" 2>"$work/log" &
gateway=$!
for _ in $(seq 600); do
    admin=$(sed -n 's/.*admin.* address=\([0-9.:]*\).*/\1/p' "$work/log" | head -n 1)
    [ -z "$admin" ] || break
    sleep 0.1
done
[ -n "$admin" ] || { cat "$work/log" >&2; exit 1; }

# Not asked: a stream that does not end, and what would start another process.
(cd "$work" && PYTHONPATH=$tools python3 -c 'from schemathesis.cli import schemathesis; schemathesis()' \
    --config-file "$here/schemathesis.toml" run "http://$admin/openapi.json" --no-color --continue-on-failure \
    --exclude-path-regex '^/(live|upgrade)$' --max-examples "$examples" --seed 1 \
    --request-timeout 60) >"$work/said" 2>&1 || { cat "$work/said" >&2; exit 1; }
tail -n 12 "$work/said"
kill -0 "$gateway" || { cat "$work/log" >&2; echo "FAIL: the gateway is gone" >&2; exit 1; }
