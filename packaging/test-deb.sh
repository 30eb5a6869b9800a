#!/bin/bash
# Install the package in clean trees of Debian 13 with real systemd, and do to it what an administrator and bad luck do.
#
#   packaging/test-deb.sh [PACKAGE [OLDER]]
#
# Builds the package where none is named; OLDER is an earlier build to upgrade from. With GPTPROXY_DEB_AHEAD=1 the machine
# goes before everything else that runs here (chrt): where others want the cores, too, waits would be theirs. Exit status
# 77: it cannot be tested here.
set -euo pipefail
. "$(dirname "$0")/tree.sh"

need_trees
package=${1:-}
if [ -z "$package" ]; then
    "$source/packaging/build-deb.sh" "$work/out"
    package=$(ls -t "$work"/out/gptproxy_*_all.deb | head -n 1)
fi
depends=$(dpkg-deb -f "$package" Depends | tr -d ' ' | tr ',' '\n' | sed 's/|.*//; s/(.*//; s/:any//' | paste -sd,)
make_tree run "systemd-sysv,dbus,ca-certificates,curl,procps,iproute2,python3-openssl,$depends"

# The tree is shared and stays as it is: changes go to memory, and are gone with the machine.
start_machine() {
    ${GPTPROXY_DEB_AHEAD:+chrt --rr 5} systemd-nspawn --quiet --directory="$work/run" --volatile=overlay --boot --register=no --keep-unit \
        --private-network --console=pipe --bind-ro="$work/share:/mnt" >"$work/boot.log" 2>&1 </dev/null &
    nspawn=$!
    for _ in $(seq 100); do
        init=$(pgrep -P "$nspawn" || true)
        if [ -n "$init" ] && within systemctl is-system-running --wait >/dev/null 2>&1; then return; fi
        kill -0 "$nspawn" 2>/dev/null || break
        sleep 0.2
    done
    stop_machine
    tail -n 5 "$work/boot.log" >&2
    skip "systemd does not boot in systemd-nspawn here"
}

within() {
    nsenter --target "$init" --all -- "$@"
}

stop_machine() {
    if [ -n "${nspawn:-}" ] && kill -0 "$nspawn" 2>/dev/null; then
        within systemctl poweroff >/dev/null 2>&1 || kill "$nspawn" 2>/dev/null || true
        wait "$nspawn" 2>/dev/null || true
    fi
    nspawn=
}
trap stop_machine EXIT

rm -rf --one-file-system "$work/share"
mkdir -p "$work/share"
cp "$package" "$work/share/gptproxy.deb"
if [ -n "${2:-}" ]; then cp "$2" "$work/share/gptproxy-older.deb"; fi
cp "$source"/packaging/{load,streams}.py "$source/packaging/inside.sh" "$work/share/"
# The same package with a later number: what an upgrade does, whatever has changed.
rm -rf --one-file-system "$work/later"
dpkg-deb -R "$package" "$work/later"
sed -i 's/^Version: .*/&+later/' "$work/later/DEBIAN/control"
dpkg-deb --root-owner-group -b "$work/later" "$work/share/gptproxy-later.deb" >/dev/null

start_machine
status=0
within bash /mnt/inside.sh || status=$?
stop_machine
exit "$status"
