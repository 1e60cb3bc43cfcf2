#!/bin/sh
# Puts a Python package and what it needs into target/tools, and prints the folder, which is for PYTHONPATH.
# Nothing outside that folder is changed.
# Arguments: PACKAGE VERSION.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$root/target/tools/$1-$2
if [ ! -d "$folder" ]; then
    sh "$root/loadtest/install-tools.sh" python3:python3 >&2
    python3 -m pip --version >/dev/null 2>&1 ||
        sh "$root/loadtest/install-tools.sh" pip3:python3-pip >&2
    # Made beside its place and moved there whole, so that an interrupted download leaves nothing.
    mkdir -p "$root/target/tools"
    new=$(mktemp -d "$root/target/tools/$1.XXXXXX")
    trap 'rm -rf "$new"' EXIT
    PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check \
        --target "$new" "$1==$2" >&2
    chmod 755 "$new"
    mv -T "$new" "$folder" 2>/dev/null || [ -d "$folder" ]
fi
echo "$folder"
