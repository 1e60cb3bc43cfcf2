#!/bin/sh
# Boots a Debian with systemd as its first process (debootstrap, systemd-nspawn), installs the gateway of the
# folder $1 with the unit that ships, and tries there what only a service manager does: readiness, a reload, an
# upgrade, a process that is killed, a worker that hangs, and sockets that systemd opens. Needs root; nothing
# outside target/ and a temporary folder is changed.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
base="$root/target/debian-booted"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

if [ ! -e "$base/etc/debian_version" ]; then
    debootstrap --variant=minbase --include=init-system-helpers,systemd,systemd-sysv,dbus,procps bookworm "$base" \
        >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; echo "FAIL: debootstrap" >&2; exit 1; }
fi
debian="$work/root"
cp -a "$base" "$debian"
install -Dm755 "$1/sallyport" "$debian/usr/bin/sallyport"
install -Dm644 "$root/systemd/sallyport.service" "$debian/etc/systemd/system/sallyport.service"
install -Dm644 "$root/systemd/sallyport.sysusers" "$debian/usr/lib/sysusers.d/sallyport.conf"
install -Dm755 "$here/booted-inside.sh" "$debian/root/inside.sh"
install -d "$debian/etc/sallyport"
cat >"$debian/etc/sallyport/sallyport.yaml" <<'YAML'
listeners: [ { name: web, address: "127.0.0.1:8080" } ]
admin: { address: "127.0.0.1:9901" }
virtual_hosts:
  - name: all
    domains: ["*"]
    routes: [ { name: ok, respond: { status: 200, body: first } } ]
YAML
cat >"$debian/etc/systemd/system/inside.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/bash /root/inside.sh
StandardOutput=file:/root/said
StandardError=file:/root/said
ExecStopPost=/bin/systemctl --no-block poweroff
[Install]
WantedBy=multi-user.target
UNIT
ln -s /etc/systemd/system/inside.service "$debian/etc/systemd/system/default.target.wants/" 2>/dev/null || {
    install -d "$debian/etc/systemd/system/multi-user.target.wants"
    ln -s /etc/systemd/system/inside.service "$debian/etc/systemd/system/multi-user.target.wants/inside.service"
}
sed -i 's/^After=multi-user.target//' "$debian/etc/systemd/system/inside.service"
timeout -k 5 300 systemd-nspawn -q -D "$debian" -b --register=no --keep-unit --private-network \
    --machine="sallyport-test-$$" >"$work/console" 2>&1 </dev/null || true
cat "$debian/root/said" 2>/dev/null || { tail -n 30 "$work/console" >&2; echo "FAIL: it did not boot" >&2; exit 1; }
grep -q "^systemd: all passed" "$debian/root/said"
