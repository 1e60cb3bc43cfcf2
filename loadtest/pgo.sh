#!/bin/sh
# Builds the gateway by profile: an instrumented build is loaded as a gateway is (train.sh), and what ran often
# is laid out for speed in the build that follows. Prints where that build is: target/pgo/PROFILE/sallyport.
# Argument: the cargo profile to build, dist if left out.
set -eu
profile=${1:-dist}
root=$(cd "$(dirname "$0")/.." && pwd)
work=$root/target/pgo
triple=$(rustc -vV | sed -n 's/^host: //p')
# The same major version as the compiler's LLVM: profiles are not read across them.
llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
sh "$root/loadtest/install-tools.sh" "llvm-profdata-$llvm:llvm-$llvm" wrk:wrk curl:curl \
    h2load:nghttp2-client >&2
profiles=$(mktemp -d)
trap 'rm -rf "$profiles"' EXIT
trap 'exit 1' INT TERM

build() {
    RUSTFLAGS="$1" cargo build --manifest-path "$root/Cargo.toml" --locked --profile "$profile" \
        --target "$triple" --target-dir "$work/$2" -p sallyport >&2
    built=$work/$2/$triple/$profile/sallyport
}

export LLVM_PROFILE_FILE="$profiles/%p-%m.profraw"
build "-Cprofile-generate=$profiles" instrumented
sh "$root/loadtest/train.sh" "$built" >&2
"llvm-profdata-$llvm" merge -o "$work/sallyport.profdata" "$profiles"/*.profraw
build "-Cprofile-use=$work/sallyport.profdata" optimised
mkdir -p "$work/$profile"
cp "$built" "$work/$profile/sallyport"
echo "$work/$profile/sallyport"
