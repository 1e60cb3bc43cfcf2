#!/bin/sh
# Loads a gateway as gateways are loaded, so that a profile of it says which code runs often: small answers
# in clear text, over TLS and over HTTP/2, bodies both ways, a large table, filters, new connections, an edit.
# Takes a minute, and ends every process by a signal that has it write what it has recorded.
# Argument: the gateway's binary. SECONDS_EACH is how long each load takes; 3 if left out.
set -eu
binary=$1
each=${SECONDS_EACH:-3}
work=$(mktemp -d)
started=
trap 'for pid in $started; do kill "$pid" 2>/dev/null || true; done; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

# Starts a program in the background and waits for the last of the addresses that its log names.
# Arguments: a name for its log, how many addresses, the program.
start() {
    log=$work/$1.log
    count=$2
    shift 2
    "$@" 2>"$log" &
    started="$started $!"
    for _ in $(seq 600); do
        [ "$(grep -c 'address=' "$log")" -lt "$count" ] || return 0
        sleep 0.05
    done
    cat "$log" >&2
    exit 1
}

address() { sed -n "s/.*name=\"\{0,1\}$2\"\{0,1\} address=\([0-9.:]*\).*/\1/p" "$work/$1.log" | head -n 1; }

configuration() {
    cat <<YAML
listeners:
  - { name: web, address: 127.0.0.1:0 }
  - { name: prior, address: 127.0.0.1:0, protocols: [http2] }
  - name: tls
    address: 127.0.0.1:0
    tls: { certificates: [{ self_signed: true, domains: [localhost] }] }
upstreams:
  - name: up
    load_balancing: { policy: maglev, hash_on: source_ip }
    endpoints: [{ address: "$(address origin origin)" }]
  - { name: large, endpoints: [{ address: "$(address large origin)" }] }
virtual_hosts:
  - name: all
    domains: ["*"]
    routes:
      - { name: large, match: { path: { prefix: /large } }, forward: { upstream: large } }
      - name: filtered
        match: { path: { prefix: /filtered } }
        filters:
          - headers: { request: { set: { x-edge: "1" } }, response: { remove: [server] } }
          - rate_limit: { key: source, requests: 1000000, per: 1s }
        forward: { upstream: up }
YAML
    for route in $(seq 2000); do
        echo "      - { name: r$route, match: { path: { prefix: /r$route/ } }, forward: { upstream: up } }"
    done
}

# A load that is not answered would train the gateway to refuse.
answers() { curl -fsSk -o /dev/null "$@"; }

# Arguments: connections, seconds, URL, and a field of requests.
by_wrk() {
    answers "$3"
    wrk -t 1 -c "$1" -d "$2" ${4:+-H "$4"} "$3" >/dev/null
}

# Arguments: connections, streams of each, seconds, URL.
by_h2load() {
    h2load -c "$1" -m "$2" -D "$3" "$4" >"$work/h2load"
    grep -q '^requests: .* 0 failed, 0 errored' "$work/h2load" || { cat "$work/h2load" >&2; exit 1; }
}

start origin 1 "$binary" origin --address 127.0.0.1:0 --body-bytes 1024
start large 1 "$binary" origin --address 127.0.0.1:0 --body-bytes 65536
configuration >"$work/gateway.yaml"
start gateway 3 "$binary" run --threads 1 --config "$work/gateway.yaml"
web=http://$(address gateway web)
tls=https://$(address gateway tls)
prior=http://$(address gateway prior)
by_wrk 64 $((each * 3)) "$web/r1000/x"
by_wrk 64 "$each" "$web/r2000/x"
by_wrk 16 "$each" "$web/large"
by_wrk 64 "$each" "$web/filtered"
by_wrk 64 "$each" "$web/r1000/x" 'Connection: close'
by_wrk 64 "$each" "$tls/r1000/x"
by_wrk 16 "$each" "$tls/large"
by_wrk 64 "$each" "$tls/r1000/x" 'Connection: close'
by_h2load 16 10 $((each * 2)) "$prior/r1000/x"
by_h2load 16 10 "$each" "$tls/r1000/x"
head -c 1048576 /dev/zero | answers --data-binary @- "$web/r7/x"
echo "# edited" >>"$work/gateway.yaml"
by_wrk 64 "$each" "$web/r1000/x"
# Profiles are written at a regular end.
for pid in $started; do kill -INT "$pid"; done
for pid in $started; do wait "$pid" || true; done
started=
