#!/bin/sh
# Builds the gateway by profile: an instrumented build is loaded as a gateway is (small answers, bodies both
# ways, a large table, filters, new connections, an edit), and what ran often is laid out for speed in the build
# that follows. Prints where that build is: target/pgo/PROFILE/sallyport.
# Argument: the cargo profile to build, dist if left out.
set -eu
profile=${1:-dist}
root=$(cd "$(dirname "$0")/.." && pwd)
work=$root/target/pgo
triple=$(rustc -vV | sed -n 's/^host: //p')
# The same major version as the compiler's LLVM: profiles are not read across them.
llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
sh "$root/loadtest/install-tools.sh" "llvm-profdata-$llvm:llvm-$llvm" wrk:wrk curl:curl >&2
profiles=$(mktemp -d)
started=
trap 'for pid in $started; do kill "$pid" 2>/dev/null || true; done; rm -rf "$profiles"' EXIT
trap 'exit 1' INT TERM

build() {
    RUSTFLAGS="$1" cargo build --manifest-path "$root/Cargo.toml" --locked --profile "$profile" \
        --target "$triple" --target-dir "$work/$2" -p sallyport >&2
    built=$work/$2/$triple/$profile/sallyport
}

# Starts a program in the background and waits for the address that its log names.
start() {
    log=$profiles/$1.log
    shift
    "$@" 2>"$log" &
    started="$started $!"
    for _ in $(seq 200); do
        grep -q 'address=' "$log" && return
        sleep 0.05
    done
    cat "$log" >&2
    exit 1
}

address() { sed -n "s/.*name=\"\{0,1\}$2\"\{0,1\} address=\([0-9.:]*\).*/\1/p" "$profiles/$1.log" | head -n 1; }

configuration() {
    cat <<YAML
listeners: [{ name: web, address: 127.0.0.1:0 }]
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

load() { wrk -t 1 -c "$1" -d "$2" ${4:+-H "$4"} "http://$web/$3" >/dev/null; }

export LLVM_PROFILE_FILE="$profiles/%p-%m.profraw"
build "-Cprofile-generate=$profiles" instrumented
start origin "$built" origin --address 127.0.0.1:0 --body-bytes 1024
start large "$built" origin --address 127.0.0.1:0 --body-bytes 65536
configuration >"$profiles/gateway.yaml"
start gateway "$built" run --threads 1 --config "$profiles/gateway.yaml"
web=$(address gateway web)
load 64 10 r1000/x
load 64 3 r2000/x
load 16 3 large
load 64 3 filtered
load 64 3 r1000/x 'Connection: close'
head -c 1048576 /dev/zero | curl -s -o /dev/null --data-binary @- "http://$web/r7/x"
echo "# edited" >>"$profiles/gateway.yaml"
load 64 3 r1000/x
# Profiles are written at a regular end.
for pid in $started; do kill -INT "$pid"; done
for pid in $started; do wait "$pid" || true; done
started=
"llvm-profdata-$llvm" merge -o "$work/sallyport.profdata" "$profiles"/*.profraw
build "-Cprofile-use=$work/sallyport.profdata" optimised
mkdir -p "$work/$profile"
cp "$built" "$work/$profile/sallyport"
echo "$work/$profile/sallyport"
