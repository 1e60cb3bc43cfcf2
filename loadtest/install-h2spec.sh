#!/bin/sh
# Builds h2spec, which asks a server 146 questions about HTTP/2, into target/tools, and prints where it is. Without Go,
# or where its modules cannot be had, it prints nothing.
set -eu
version=v2.2.1+incompatible
tools=$(cd "$(dirname "$0")/.." && pwd)/target/tools
if [ ! -x "$tools/h2spec" ]; then
    command -v go >/dev/null 2>&1 || { echo "h2spec needs Go, which is not here" >&2; exit 0; }
    mkdir -p "$tools"
    GOBIN=$tools go install "github.com/summerwind/h2spec/cmd/h2spec@$version" >&2 ||
        { echo "h2spec could not be built: its test says that it is skipped" >&2; exit 0; }
fi
echo "$tools/h2spec"
