#!/bin/sh
# Makes images of the binaries in the folder $1, has skopeo and umoci read them, and runs what is in the
# gateway's as an engine would: by its user, in namespaces of its own, with nothing else of this machine. Needs
# root; nothing outside a temporary folder is changed.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
binary=$1/sallyport
work=$(mktemp -d)
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

# Says what a figure of the image's configuration must be.
is() {
    local found
    found=$(python3 -c "
import json, sys
print(json.dumps(eval('config' + sys.argv[2], {'config': json.load(open(sys.argv[1]))}), sort_keys=True))
" "$work/config.json" "$2")
    [ "$found" = "$3" ] || fail "$1: $found, not $3"
    echo "ok: $1"
}

holds "an image is made" "$here/build.py" "$binary" "$work/one/image"
holds "and another of the same bytes" sh -c "
    '$here/build.py' '$binary' '$work/two/image' && diff -r '$work/one' '$work/two'"
rm -r "$work/two"
tag=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$here/../../Cargo.toml" | head -n 1)
image="$work/one/image:$tag"

# What is read is checked against its digests on the way.
holds "skopeo reads every blob" skopeo copy --insecure-policy "oci:$image" "dir:$work/copy"
holds "and the archive" skopeo copy --insecure-policy "oci-archive:$work/one/image.tar:$tag" "dir:$work/archive"
skopeo inspect --config "oci:$image" >"$work/config.json"
is "its user is not root" "['config']['User']" '"65532:65532"'
is "it runs the gateway" "['config']['Entrypoint']" '["/usr/bin/sallyport"]'
is "with the configuration that is there" "['config']['Cmd']" '["run", "--config", "/etc/sallyport/sallyport.yaml"]'
is "its ports need no privilege" "['config']['ExposedPorts']" '{"8080/tcp": {}, "8443/tcp": {}}'
is "it is stopped by a signal that drains it" "['config']['StopSignal']" '"SIGTERM"'
is "it says its version" "['config']['Labels']['org.opencontainers.image.version']" "\"$tag\""
is "and its licence" "['config']['Labels']['org.opencontainers.image.licenses']" '"Apache-2.0"'
is "and the commit" "['config']['Labels']['org.opencontainers.image.revision']" \
    "\"$(git -C "$here" rev-parse HEAD)\""
is "each layer has its history" "['history'].__len__() - len(config['rootfs']['diff_ids'])" 0

holds "umoci unpacks it" umoci unpack --image "$image" "$work/bundle"
rootfs="$work/bundle/rootfs"
# A file that others may write, or that lends its owner's rights, has no place in it.
holds "no file lends rights, and none can be written by others" test -z "$(
    find "$rootfs" ! -type l \( -perm /6000 -o -type f -perm /022 -o -type d -perm /002 ! -name tmp \))"
holds "what is not the state's folders is root's" test -z "$(
    find "$rootfs" ! -uid 0 ! -path "$rootfs/var/*/sallyport" ! -path "$rootfs/run/sallyport")"
holds "there is no shell" test ! -e "$rootfs/bin/sh"
holds "its bill of materials is there" python3 -c "
import json
document = json.load(open('$rootfs/usr/share/doc/sallyport/sallyport.spdx.json'))
assert document['spdxVersion'] == 'SPDX-2.3' and len(document['packages']) > 100"
size=$(stat -c %s "$rootfs/usr/bin/sallyport")
echo "   the binary has $((size / 1024 / 1024)) MiB"

cat >"$work/inside.sh" <<'INSIDE'
set -eu
ip link set lo up
mount -t proc proc "$1/proc"
chroot --userspec=65532:65532 "$1" /usr/bin/sallyport check /etc/sallyport/sallyport.yaml
chroot --userspec=65532:65532 "$1" /usr/bin/sallyport run --config /etc/sallyport/sallyport.yaml &
gateway=$!
attempt=0
until answer=$(curl -s --max-time 5 http://127.0.0.1:8080/); do
    attempt=$((attempt + 1))
    [ $attempt -lt 600 ] && kill -0 $gateway || { echo "it does not answer"; exit 1; }
    sleep 0.1
done
echo "$answer" | grep -q "Sallyport runs"
curl -s --max-time 5 --unix-socket "$1/run/sallyport/admin.sock" http://localhost/readyz
kill -TERM $gateway
wait $gateway
echo "it ended by itself"
INSIDE
mkdir -p "$rootfs/proc"
holds "it checks its file, answers, is ready and ends on the signal" \
    unshare --net --mount --pid --fork sh "$work/inside.sh" "$rootfs"

holds "there is one of the classifier as well" "$here/build.py" "$1/sallyport-classifier" "$work/three/image"
holds "which umoci unpacks" umoci unpack --image "$work/three/image:$tag" "$work/classifier"
holds "and which checks a file" chroot "$work/classifier/rootfs" \
    /usr/bin/sallyport-classifier check /etc/sallyport/classifier.yaml
echo "image: all passed"
