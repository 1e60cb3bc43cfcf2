#!/bin/sh
# Packs binaries that are built already into Debian packages: sallyport, sallyport-classifier, and a
# package of debug symbols for each.
#
#   build.sh BINARIES OUT [PACKAGE...]
#
# BINARIES holds `sallyport` and `sallyport-classifier`; the packages are written into OUT. The same
# binaries and commit give the same bytes: times are the commit's, names are sorted, owners are root.
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
binaries=$(cd "$1" && pwd)
mkdir -p "$2"
out=$(cd "$2" && pwd)
shift 2
[ $# -gt 0 ] || set -- sallyport sallyport-classifier

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/Cargo.toml" | head -n 1)
arch=$(dpkg --print-architecture)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
maintainer=${DEB_MAINTAINER:-"Sallyport <packages@sallyport.invalid>"}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

# put MODE SOURCE TREE PATH
put() {
    install -D -m "$1" "$2" "$3$4"
}

# The oldest C library and the other shared libraries that a binary asks for.
dependencies() {
    mkdir -p "$work/shlibs/debian"
    printf 'Source: %s\n\nPackage: %s\nArchitecture: any\n' "$1" "$1" >"$work/shlibs/debian/control"
    (cd "$work/shlibs" && dpkg-shlibdeps -O "$2" 2>/dev/null) | sed -n 's/^shlibs:Depends=//p'
}

summary() {
    case "$1" in
        sallyport) echo "edge gateway that routes, balances and counts HTTP requests" ;;
        sallyport-classifier) echo "XDP packet classifier in front of the Sallyport gateway" ;;
    esac
}

description() {
    case "$1" in
        sallyport) cat <<'TEXT'
 One YAML file says which host and path go to which origins; it is followed
 while the gateway runs, so that an edit moves traffic without a dropped
 request. Every route has its own latencies and errors in Prometheus. Filters
 change, limit, authenticate and log requests, among them WebAssembly modules
 written for proxy-wasm.
TEXT
            ;;
        sallyport-classifier) cat <<'TEXT'
 An XDP program that sees packets before the network stack does: it drops what
 screens, networks and verdicts say, and hands hints about sources and
 connections to the gateway through pinned BPF maps. It needs Linux 5.15 or
 later and is not started by its installation, since its file names interfaces.
TEXT
            ;;
    esac
}

# Debian's changelog of a package that is built from its own repository.
changelog() {
    printf '%s (%s) stable; urgency=medium\n\n  * Built from the repository; see CHANGELOG.gz.\n\n -- %s  %s\n' \
        "$1" "$version" "$maintainer" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")"
}

documents() {
    local name="$1" tree="$2" doc pages page
    doc="$tree/usr/share/doc/$name"
    mkdir -p "$doc"
    changelog "$name" | gzip -9n >"$doc/changelog.gz"
    chmod 644 "$doc/changelog.gz"
    put 644 "$here/copyright" "$tree" "/usr/share/doc/$name/copyright"
    case "$name" in
        *-dbgsym) return ;;
        sallyport) pages=$(cd "$root/docs" && ls -- *.md | grep -v '^classifier.md$') ;;
        sallyport-classifier) pages=classifier.md ;;
    esac
    "$root/systemd/sbom.py" "$name" >"$doc/$name.spdx.json"
    chmod 644 "$doc/$name.spdx.json"
    gzip -9n <"$root/CHANGELOG.md" >"$doc/CHANGELOG.md.gz"
    chmod 644 "$doc/CHANGELOG.md.gz"
    for page in $pages; do
        put 644 "$root/docs/$page" "$tree" "/usr/share/doc/$name/$page"
    done
}

# Manual pages and completions, as the binary itself prints them.
command_line() {
    local name="$1" tree="$2" binary="$binaries/$1" shell
    mkdir -p "$tree/usr/share/man/man1"
    "$binary" man --folder "$tree/usr/share/man/man1"
    gzip -9n "$tree"/usr/share/man/man1/*.1
    for shell in bash zsh fish; do
        "$binary" completions "$shell" >"$work/completions"
        case "$shell" in
            bash) put 644 "$work/completions" "$tree" "/usr/share/bash-completion/completions/$name" ;;
            zsh) put 644 "$work/completions" "$tree" "/usr/share/zsh/vendor-completions/_$name" ;;
            fish) put 644 "$work/completions" "$tree" "/usr/share/fish/vendor_completions.d/$name.fish" ;;
        esac
    done
}

# The binary without its symbols, which go into a tree of their own by their build id.
binary() {
    local name="$1" tree="$2" symbols="$3" id debug
    put 755 "$binaries/$name" "$tree" "/usr/bin/$name"
    id=$(readelf -n "$tree/usr/bin/$name" | sed -n 's/^ *Build ID: //p')
    if [ -n "$id" ]; then
        debug="/usr/lib/debug/.build-id/$(echo "$id" | cut -c1-2)/$(echo "$id" | cut -c3-).debug"
        mkdir -p "$symbols$(dirname "$debug")"
        objcopy --only-keep-debug --compress-debug-sections=zlib "$tree/usr/bin/$name" "$symbols$debug"
        chmod 644 "$symbols$debug"
    fi
    strip --strip-all --remove-section=.comment --remove-section=.note "$tree/usr/bin/$name"
}

# control NAME TREE SECTION DEPENDS SUMMARY; the long description on standard input.
control() {
    mkdir -p "$2/DEBIAN"
    {
        echo "Package: $1"
        echo "Version: $version"
        echo "Architecture: $arch"
        echo "Maintainer: $maintainer"
        echo "Installed-Size: $(du -k -s --apparent-size --exclude=DEBIAN "$2" | cut -f1)"
        [ -z "$4" ] || echo "Depends: $4"
        # Origins and authorities are verified by the system's roots, where a file names no others.
        [ "$1" != sallyport ] || printf 'Recommends: ca-certificates\nSuggests: sallyport-classifier\n'
        echo "Section: $3"
        echo "Priority: optional"
        echo "Description: $5"
        cat
    } >"$2/DEBIAN/control"
}

checksums() {
    (cd "$1" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 -r md5sum) \
        >"$1/DEBIAN/md5sums"
}

scripts() {
    local name="$1" tree="$2" starts="$3" script
    for script in postinst prerm postrm; do
        sed -e "s/@NAME@/$name/g" -e "s/@STARTS@/$starts/g" "$here/$script" >"$tree/DEBIAN/$script"
        chmod 755 "$tree/DEBIAN/$script"
    done
    (cd "$tree" && find etc -type f -printf '/%p\n' | sort) >"$tree/DEBIAN/conffiles"
}

finish() {
    checksums "$2"
    find "$2" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    # shellcheck disable=SC2086
    dpkg-deb --root-owner-group ${DEB_COMPRESSION:--Zxz} --build "$2" "$out/${1}_${version}_$arch.deb" >/dev/null
    echo "$out/${1}_${version}_$arch.deb"
}

pack() {
    local name="$1" tree="$work/$1" symbols="$work/$1-dbgsym" depends starts
    mkdir -p "$tree" "$symbols"
    binary "$name" "$tree" "$symbols"
    put 644 "$root/systemd/$name.service" "$tree" "/usr/lib/systemd/system/$name.service"
    put 644 "$root/systemd/$name.sysusers" "$tree" "/usr/lib/sysusers.d/$name.conf"
    command_line "$name" "$tree"
    documents "$name" "$tree"
    depends="$(dependencies "$name" "$binaries/$name"), init-system-helpers (>= 1.54), systemd | systemd-standalone-sysusers"
    case "$name" in
        sallyport)
            put 644 "$root/conf/sallyport.yaml" "$tree" /etc/sallyport/sallyport.yaml
            put 644 "$here/logrotate" "$tree" /etc/logrotate.d/sallyport
            put 644 "$here/lintian-overrides" "$tree" /usr/share/lintian/overrides/sallyport
            starts=yes ;;
        sallyport-classifier)
            put 644 "$root/conf/classifier.yaml" "$tree" /etc/sallyport/classifier.yaml
            put 644 "$root/systemd/sallyport-classifier.tmpfiles" "$tree" /usr/lib/tmpfiles.d/sallyport-classifier.conf
            starts=no ;;
    esac
    description "$name" | control "$name" "$tree" net "$depends" "$(summary "$name")"
    scripts "$name" "$tree" "$starts"
    finish "$name" "$tree"
    [ -d "$symbols/usr" ] || return 0
    documents "$name-dbgsym" "$symbols"
    printf ' What a debugger and a profiler need to name the functions of\n %s.\n' "$name" |
        control "$name-dbgsym" "$symbols" debug "$name (= $version)" "debug symbols of $name"
    finish "$name-dbgsym" "$symbols"
}

for package in "$@"; do
    pack "$package"
done
