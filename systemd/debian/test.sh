#!/bin/sh
# Builds the packages of the binaries in the folder $1, has lintian look at them, and installs, upgrades
# and purges them in a Debian of their own (debootstrap). Needs root; nothing outside target/ and a
# temporary folder is changed.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
base="$root/target/debian-root"
work=$(mktemp -d)
# What is tested does not depend on how well it is compressed.
export DEB_COMPRESSION="-Zgzip -z1"
trap 'rm -rf "$work"' EXIT INT TERM

fail() {
    echo "FAIL: $1" >&2
    exit 1
}

# Says what must hold, and that it does.
holds() {
    local what="$1"
    shift
    "$@" >"$work/said" 2>&1 || { cat "$work/said" >&2; fail "$what"; }
    echo "ok: $what"
}

holds "two builds give the same bytes" sh -c "
    '$here/build.sh' '$1' '$work/one' && '$here/build.sh' '$1' '$work/two' && diff -r '$work/one' '$work/two'"
for package in "$work"/one/*.deb; do
    holds "lintian finds nothing in $(basename "$package")" \
        lintian --allow-root --fail-on error,warning "$package"
done

if [ ! -e "$base/etc/debian_version" ]; then
    debootstrap --variant=minbase --include=init-system-helpers,systemd bookworm "$base" >"$work/log" 2>&1 ||
        { tail -n 20 "$work/log" >&2; fail "debootstrap"; }
fi
debian="$work/root"
cp -a "$base" "$debian"
cp "$work"/one/sallyport_*.deb "$work"/one/sallyport-classifier_*.deb "$debian/root/"
in_root() {
    # With nothing of this machine's environment, which names files that are not there.
    chroot "$debian" /usr/bin/env -i DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
}
install_all() {
    in_root sh -c 'dpkg --force-confold -i /root/sallyport_*.deb /root/sallyport-classifier_*.deb'
}

holds "both packages install" in_root sh -c 'cd /root && dpkg -i sallyport_*.deb sallyport-classifier_*.deb'
holds "the gateway's user is there" in_root getent passwd sallyport
holds "the classifier's user is there" in_root getent passwd sallyport-classifier
holds "the configuration is good" in_root sallyport check /etc/sallyport/sallyport.yaml
holds "the classifier's configuration is good" \
    in_root sallyport-classifier check /etc/sallyport/classifier.yaml
holds "the gateway's service is enabled" \
    test -L "$debian/etc/systemd/system/multi-user.target.wants/sallyport.service"
holds "the classifier's service is not" \
    test ! -e "$debian/etc/systemd/system/multi-user.target.wants/sallyport-classifier.service"
holds "files belong to root and nobody else may write them" sh -c "
    chroot '$debian' dpkg -L sallyport sallyport-classifier | while read -r file; do
        [ -L \"$debian\$file\" ] || [ ! -e \"$debian\$file\" ] ||
            [ -z \"\$(find \"$debian\$file\" -maxdepth 0 \\( ! -uid 0 -o -perm /022 \\))\" ] || exit 1
    done"

echo "# edited by the operator" >>"$debian/etc/sallyport/sallyport.yaml"
holds "an upgrade installs" install_all
holds "and keeps what the operator has edited" \
    grep -q "edited by the operator" "$debian/etc/sallyport/sallyport.yaml"

holds "both are removed" in_root dpkg --remove sallyport sallyport-classifier
holds "and leave their configuration" test -e "$debian/etc/sallyport/sallyport.yaml"
holds "both are purged" in_root dpkg --purge sallyport sallyport-classifier
for file in etc/sallyport etc/logrotate.d/sallyport usr/bin/sallyport usr/share/doc/sallyport var/log/sallyport \
    etc/systemd/system/multi-user.target.wants/sallyport.service etc/systemd/system/sallyport.service; do
    holds "nothing is left at /$file" test ! -e "$debian/$file"
done
echo "packages: all passed"
