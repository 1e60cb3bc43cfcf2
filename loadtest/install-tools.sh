#!/bin/sh
# Installs the Debian packages of what is missing.
# Arguments: COMMAND:PACKAGE ... or /FILE:PACKAGE ...
set -eu
missing=""
for pair in "$@"; do
    wanted=${pair%%:*}
    case "$wanted" in
        /*) [ -e "$wanted" ] && continue ;;
        *) { command -v "$wanted" >/dev/null 2>&1 || [ -x "/usr/sbin/$wanted" ]; } && continue ;;
    esac
    missing="$missing ${pair#*:}"
done
[ -n "$missing" ] || exit 0
echo "Installing:$missing"
if ! command -v apt-get >/dev/null 2>&1; then
    echo "There is no apt-get here. Please install these yourself:$missing" >&2
    exit 1
fi
as_root=""
[ "$(id -u)" = 0 ] || as_root=sudo
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
# A package that starts a service would take ports that the tests and the user expect free.
# shellcheck disable=SC2086
RUNLEVEL=1 $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
