#!/bin/sh
# Builds the XDP program into target/bpf at the top of the repository, or into SALLYPORT_BPF_TARGET. Not
# into CARGO_TARGET_DIR: that is where the loader is built, which looks for the program here.
#
# Two toolchains can: a rustup nightly with rust-src, where a developer has one, or Debian's rustc-web,
# whose package rust-web-src puts the library's source in place. Both need bpf-linker.
set -eu
cd "$(dirname "$0")"
target=${SALLYPORT_BPF_TARGET:-../../target/bpf}
# The instruction set v3 has atomic operations that return what was there; packets are read at odd addresses.
flags="-Clinker=bpf-linker -Clink-arg=--btf"
flags="$flags -Clink-arg=--cpu-features=+alu32,+allows-misaligned-mem-access"
flags="$flags --cfg bpf_target_arch=\"$(uname -m)\" -Ctarget-cpu=v3"
if command -v rustup >/dev/null 2>&1 && rustup +nightly component list 2>/dev/null | grep -q 'rust-src (installed)'; then
    cargo="rustup run nightly cargo"
elif [ -x /usr/bin/cargo ] && [ -x /usr/bin/rustc ] && [ -d /usr/lib/rustlib/src/rust/library ]; then
    cargo=/usr/bin/cargo
    export RUSTC=/usr/bin/rustc
else
    echo "The XDP program needs a nightly with rust-src, or rustc-web and rust-web-src: make bpf-deps" >&2
    exit 1
fi
export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$target" CARGO_TARGET_BPFEL_UNKNOWN_NONE_RUSTFLAGS="$flags"
exec $cargo build --release --locked --target bpfel-unknown-none -Z build-std=core "$@"
