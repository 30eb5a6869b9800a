#!/bin/bash
# Build the Debian package in a tree of Debian 13, twice, and look whether both are the same; then lintian.
#
#   packaging/build-deb.sh [DIRECTORY]
#
# The package comes into DIRECTORY (default: dist/). On Debian 13 without mmdebstrap or systemd-nspawn, or without being root,
# it is built in the place itself, where what it needs is installed. Exit status 77: it cannot be built here.
set -euo pipefail
. "$(dirname "$0")/tree.sh"
target=${1:-$source/dist}

if missing=$(trees_missing); then
    needed=$(sed -n '/^Build-Depends:/,/^[A-Z]/p' "$source/debian/control" |
        sed -n 's/^ \([a-z0-9.+-]*\).*/\1/p' | grep -v '^dh-sequence\|^debhelper-compat' | paste -sd,)
    make_tree build "build-essential,debhelper,dh-python,fakeroot,lintian,systemd,$needed"
    in_tree build sh -c 'id builder >/dev/null 2>&1 || useradd --create-home builder'
    # at DIRECTORY COMMAND...: as an ordinary user, in the tree.
    at() {
        in_tree build chown -R builder: "/${1%%/*}"
        in_tree build --user=builder --chdir="/$1" --setenv=TZ="${TZ:-UTC}" "${@:2}"
    }
else
    # shellcheck disable=SC1091
    [ "$(. /etc/os-release; echo "$ID $VERSION_ID")" = "debian 13" ] || skip "$missing"
    for tool in dpkg-buildpackage lintian; do
        command -v "$tool" >/dev/null || skip "$missing; and here, $tool is not installed (apt install build-essential lintian)"
    done
    lacking=$(cd "$source" && dpkg-checkbuilddeps 2>&1) || skip "$missing; and here: $lacking (apt build-dep .)"
    echo "building without a tree: $missing"
    at() { (cd "$work/build/$1" && "${@:2}"); }
fi

# build DIRECTORY UMASK TZ: what must not matter differs.
build() {
    copy_source "$work/build/$1/gptproxy"
    echo "building in $1"
    TZ=$3 at "$1/gptproxy" sh -c "umask $2 && dpkg-buildpackage --unsigned-source --unsigned-changes --build=full" \
        >"$work/build-${1%%/*}.log" 2>&1 || { tail -n 60 "$work/build-${1%%/*}.log" >&2; echo "the whole: $work/build-${1%%/*}.log" >&2; exit 1; }
}

build first 022 UTC
grep -E '[0-9]+ (passed|failed)' "$work/build-first.log" || true
if [ -z "${GPTPROXY_DEB_ONCE:-}" ]; then
    build second/deeper 002 Pacific/Auckland
    for file in "$work"/build/first/*.deb "$work"/build/first/*.dsc "$work"/build/first/*.tar.xz; do
        if ! cmp "$file" "$work/build/second/deeper/$(basename "$file")"; then
            command -v diffoscope >/dev/null &&
                diffoscope "$file" "$work/build/second/deeper/$(basename "$file")" | head -n 60 >&2
            echo "two builds of one source differ" >&2
            exit 1
        fi
    done
    echo "two builds are the same"
fi
# With --fail-on its exit status would count what is overridden, too.
status=0
said=$(at first sh -c 'lintian --display-info --pedantic --display-experimental *.changes') || status=$?
if [ -n "$said" ] || [ "$status" != 0 ]; then
    echo "$said" >&2
    echo "lintian has something to say" >&2
    exit 1
fi
echo "lintian: nothing"
mkdir -p "$target"
cp "$work"/build/first/*.deb "$target/"
ls -l "$target"/*.deb
