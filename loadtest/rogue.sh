#!/bin/sh
# How much the requests of other routes notice of a rogue guest (plugins/examples/*/rogue): their p99
# beside a guest that loops, allocates, traps and recurses, over their p99 beside the same guest when it
# behaves, in turns, both at the same fixed rates. Ends with 1 if the median of the ratios is over 1.2, or
# if any request of theirs fails.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
rounds=${1:-7}
gateway=$root/target/release/sallyport
folder=$(mktemp -d)
started=
trap 'for pid in $started; do kill "$pid" 2>/dev/null || true; done; rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM

# Starts a program in the background and waits for the address that its log names.
start() {
    log=$folder/$1.log
    shift
    XDG_CACHE_HOME=$folder "$@" 2>"$log" &
    started="$started $!"
    for _ in $(seq 200); do
        grep -q 'address=' "$log" && return
        sleep 0.05
    done
    cat "$log" >&2
    exit 1
}

address() { sed -n "s/.*name=\"\{0,1\}$2\"\{0,1\} address=\([0-9.:]*\).*/\1/p" "$folder/$1.log" | head -n 1; }

start origin "$gateway" origin --address 127.0.0.1:0
cat >"$folder/gateway.yaml" <<YAML
listeners: [{ name: web, address: 127.0.0.1:0 }]
upstreams: [{ name: up, endpoints: [{ address: "$(address origin origin)" }] }]
virtual_hosts:
  - name: all
    domains: ["*"]
    routes:
      - name: guest
        match: { path: { prefix: /guest } }
        filters: [{ wasm: { module: $root/target/guests/rogue_rust.wasm, memory: 8MiB } }]
        forward: { upstream: up }
      - { name: plain, forward: { upstream: up } }
YAML
start gateway "$gateway" run --threads 2 --config "$folder/gateway.yaml"
web=$(address gateway web)

# 1,000 requests a second to the guest, a quarter for each of four words.
beside() {
    pids=
    for word in $1; do
        h2load --h1 -c 1 --rps=250 -D 4 -H "x-rogue: $word" "http://$web/guest" >/dev/null 2>&1 &
        pids="$pids $!"
    done
}

# 2,000 requests a second to the other route; prints their p99 in microseconds.
p99() {
    rm -f "$folder/times"
    h2load --h1 -c 8 --rps=250 -D 3 --log-file="$folder/times" "http://$web/plain" >/dev/null 2>&1
    awk '$2 != 200 { exit 1 }' "$folder/times" || { echo "a request failed" >&2; exit 1; }
    awk '{ print $3 }' "$folder/times" | sort -n |
        awk '{ times[NR] = $1 } END { print times[int(NR * 0.99)] }'
}

for round in $(seq "$rounds"); do
    beside "no no no no"
    calm=$(p99)
    wait $pids
    beside "loop allocate trap nested"
    rogue=$(p99)
    wait $pids
    awk "BEGIN { printf \"%.3f\n\", $rogue / $calm }" >>"$folder/ratios"
    echo "round $round/$rounds: p99 $calm us beside a calm guest, $rogue us beside a rogue one"
done
median=$(sort -n "$folder/ratios" | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }')
echo "p99 beside a rogue guest over p99 beside a calm one: $median (median of $rounds; at most 1.2)"
awk "BEGIN { exit !($median <= 1.2) }"
