#!/bin/sh
# Builds the example guests into target/guests at the top of the repository, as NAME_rust.wasm,
# NAME_as.wasm and NAME_go.wasm.
#
# For the guests in Rust two toolchains will do: a rustup toolchain with a WebAssembly target, where a
# developer has one, or Debian's rustc-web with its library's source. Those in AssemblyScript need
# Node.js and npm, that in Go needs Go 1.24, which is not installed. What else is missing is installed, and what has not changed is not built again.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$root/target/guests-build
out=$root/target/guests
guests="header body auth rogue"
mkdir -p "$work" "$out"

# Tests may call this side by side.
if [ -z "${GUESTS_LOCKED:-}" ] && command -v flock >/dev/null 2>&1; then
    export GUESTS_LOCKED=1
    exec flock "$work/lock" sh "$here/build.sh"
fi

# Whether OUTPUT is missing or older than anything in FOLDER or this script.
stale() {
    [ -e "$1" ] || return 0
    [ -n "$(find "$2" "$here/build.sh" -name node_modules -prune -o -name target -prune -o \
        -type f -newer "$1" -print | head -n 1)" ]
}

install_tools() {
    sh "$root/loadtest/install-tools.sh" "$@"
}

rustup_target() {
    command -v rustup >/dev/null 2>&1 || return 0
    rustup target list --installed 2>/dev/null |
        grep -x -e wasm32-unknown-unknown -e wasm32-wasip1 | head -n 1
}

cargo_build() {
    target=$1
    shift
    (cd "$here/rust" && CARGO_TARGET_DIR=$work "$@" build --quiet --release --locked --target "$target")
    for guest in $guests; do
        cp "$work/$target/release/$guest.wasm" "$out/${guest}_rust.wasm.new"
        mv "$out/${guest}_rust.wasm.new" "$out/${guest}_rust.wasm"
    done
}

build_rust() {
    # They would replace the flags below.
    unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
    target=$(rustup_target)
    if [ -n "$target" ]; then
        cargo_build "$target" "${CARGO:-cargo}"
        return
    fi
    install_tools /usr/bin/rustc:rustc-web /usr/bin/cargo:cargo-web \
        /usr/lib/rustlib/src/rust/library:rust-web-src /usr/bin/wasm-ld-22:lld-22
    export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
    export CARGO_UNSTABLE_BUILD_STD=std,panic_abort
    export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=/usr/bin/wasm-ld-22
    export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS=-Clinker-flavor=wasm-ld
    cargo_build wasm32-unknown-unknown /usr/bin/cargo
}

build_assemblyscript() {
    install_tools node:nodejs npm:npm
    cd "$here/assemblyscript"
    if stale node_modules/.package-lock.json package-lock.json; then
        npm ci --silent
        touch node_modules/.package-lock.json
    fi
    for guest in $guests; do
        node node_modules/assemblyscript/bin/asc "$guest.ts" -b "$out/${guest}_as.wasm.new" \
            --use abort=abort_proc_exit -O3s
        mv "$out/${guest}_as.wasm.new" "$out/${guest}_as.wasm"
    done
}

# Go 1.24 was the first that builds modules of this kind, and Debian's is older: it is used where a
# developer has it, and nothing is installed. The tests of what a runtime in Go asks for do without.
has_go() {
    command -v go >/dev/null 2>&1 || return 1
    version=$(go env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
    [ "${version:-0}" -ge 24 ]
}

build_go() {
    cd "$here/go"
    GOOS=wasip1 GOARCH=wasm GOFLAGS=-mod=mod go build -buildmode=c-shared -trimpath \
        -ldflags="-s -w" -o "$out/header_go.wasm.new" ./header
    mv "$out/header_go.wasm.new" "$out/header_go.wasm"
}

# All guests of a language are built together; the last one to be written tells how old they are.
if stale "$out/rogue_rust.wasm" "$here/rust"; then
    echo "Building the guests in Rust"
    (build_rust)
fi
if stale "$out/rogue_as.wasm" "$here/assemblyscript"; then
    echo "Building the guests in AssemblyScript"
    (build_assemblyscript)
fi
if ! has_go; then
    echo "SKIPPED: the guest in Go: there is no Go 1.24 or later here"
elif stale "$out/header_go.wasm" "$here/go"; then
    echo "Building the guest in Go"
    (build_go)
fi
