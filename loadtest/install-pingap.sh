#!/bin/sh
# Builds Pingap from crates.io into target/tools and prints where it is. It asks for a newer compiler
# than the gateway does; where there is none, and where the build fails, it says so on standard error and
# prints nothing: the comparison then says why Pingap is absent.
set -eu
version=0.16.1 needs=96
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$root/target/tools/pingap-$version
binary=$folder/bin/pingap
if [ -x "$binary" ]; then
    echo "$binary"
    exit 0
fi

# The minor version of a compiler of version 1.
minor() { { "$1" --version 2>/dev/null || true; } | sed -n 's/^rustc 1\.\([0-9]*\).*/\1/p'; }

# The compiler of the search path first, then the one that Debian packages.
new_enough() {
    for rustc in rustc /usr/bin/rustc; do
        found=$(minor "$rustc")
        if [ "${found:-0}" -ge "$needs" ]; then
            echo "$rustc"
            return
        fi
    done
}

rustc=$(new_enough)
if [ -z "$rustc" ]; then
    sh "$root/loadtest/install-tools.sh" /usr/bin/rustc:rustc-web /usr/bin/cargo:cargo-web >&2 || true
    rustc=$(new_enough)
fi
if [ -z "$rustc" ]; then
    echo "Pingap $version needs Rust 1.$needs, and there is none here: it is left out" >&2
    exit 0
fi
case "$rustc" in
    /*) cargo=${rustc%rustc}cargo ;;
    *) cargo=cargo ;;
esac
sh "$root/loadtest/install-tools.sh" protoc:protobuf-compiler cmake:cmake cc:gcc >&2 || true
# cargo installs the binary whole or not at all.
if RUSTC=$rustc "$cargo" install pingap --version "$version" --locked --quiet \
    --target-dir "$root/target/tools/pingap-build" --root "$folder" >&2 && [ -x "$binary" ]; then
    rm -rf "$root/target/tools/pingap-build"
    echo "$binary"
else
    echo "Pingap $version could not be built: it is left out" >&2
fi
