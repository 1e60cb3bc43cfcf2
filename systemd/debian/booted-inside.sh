#!/bin/bash
# What `booted.sh` runs in the Debian that it boots.
set -u

fail() {
    echo "FAIL: $1"
    systemctl status --no-pager sallyport
    journalctl --no-pager -n 40 -u sallyport
    exit 1
}

# The body of the answer at port $1, if there is one.
ask() {
    exec 9<>"/dev/tcp/127.0.0.1/$1" || return 1
    printf 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&9
    tail -n 1 <&9
    exec 9>&-
}

# Waits up to 30 s until the rest of the line holds; says that it does.
holds() {
    local what="$1"
    shift
    for _ in $(seq 300); do
        if "$@" >/dev/null 2>&1; then
            echo "ok: $what"
            return
        fi
        sleep 0.1
    done
    fail "$what"
}

says() {
    [ "$(ask "$1" 2>/dev/null)" = "$2" ]
}

main_pid() {
    systemctl show -P MainPID sallyport
}

replaced() {
    [ "$(main_pid)" != "$1" ] && [ "$(main_pid)" != 0 ] && systemctl is-active -q sallyport
}

systemd-sysusers || fail "the user"
systemctl daemon-reload
systemctl start sallyport || fail "the service starts"
echo "ok: the service is ready"
holds "it answers" says 8080 first

sed -i 's/first/second/' /etc/sallyport/sallyport.yaml
systemctl reload sallyport || fail "a reload"
holds "a reload is in force" says 8080 second

before=$(main_pid)
/usr/bin/sallyport upgrade --admin 127.0.0.1:9901 || fail "an upgrade"
holds "systemd follows an upgrade to the new process" replaced "$before"
holds "it answers after the upgrade" says 8080 second

holds "systemd keeps its sockets" [ "$(systemctl show -P NFileDescriptorStore sallyport)" -ge 2 ]
before=$(main_pid)
kill -9 "$before"
# Nobody is refused meanwhile: the socket is there, whoever accepts.
says 8080 second || fail "a request just after kill -9"
echo "ok: a request just after kill -9 is answered"
holds "systemd has started another" replaced "$before"

# A process that is stopped feeds no watchdog.
mkdir -p /etc/systemd/system/sallyport.service.d
printf '[Service]\nWatchdogSec=2s\n' >/etc/systemd/system/sallyport.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart sallyport || fail "a restart"
sleep 5
before=$(main_pid)
[ "$before" != 0 ] || fail "it runs under the watchdog"
[ "$(systemctl show -P NRestarts sallyport)" = "$(systemctl show -P NRestarts sallyport)" ]
kill -STOP "$before"
holds "the watchdog replaces a process that hangs" replaced "$before"
holds "it answers after the watchdog" says 8080 second

systemctl stop sallyport || fail "a stop"
cat >/etc/systemd/system/sallyport.socket <<'UNIT'
[Socket]
ListenStream=127.0.0.1:80
FileDescriptorName=low
UNIT
printf '[Service]\nAmbientCapabilities=\nCapabilityBoundingSet=\n' \
    >/etc/systemd/system/sallyport.service.d/capabilities.conf
sed -i 's/127.0.0.1:8080/127.0.0.1:80/' /etc/sallyport/sallyport.yaml
systemctl daemon-reload
systemctl start sallyport.socket || fail "the socket"
holds "a connection starts the service, which serves a low port without a capability" says 80 second
systemctl stop sallyport.socket sallyport || fail "the end"
echo "systemd: all passed"
