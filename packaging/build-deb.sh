#!/bin/bash
# Build the Debian package in a tree of Debian 13, twice, and look whether both are the same; then lintian.
#
#   packaging/build-deb.sh [DIRECTORY]
#
# The package comes into DIRECTORY (default: dist/). Exit status 77: it cannot be built here.
set -euo pipefail
. "$(dirname "$0")/tree.sh"
target=${1:-$source/dist}

need_trees
needed=$(sed -n '/^Build-Depends:/,/^[A-Z]/p' "$source/debian/control" |
    sed -n 's/^ \([a-z0-9.+-]*\).*/\1/p' | grep -v '^dh-sequence\|^debhelper-compat' | paste -sd,)
make_tree build "build-essential,debhelper,dh-python,fakeroot,lintian,systemd,$needed"
in_tree build sh -c 'id builder >/dev/null 2>&1 || useradd --create-home builder'

# build DIRECTORY UMASK TZ: what must not matter differs.
build() {
    copy_source "$work/build/$1/gptproxy"
    in_tree build chown -R builder: "/$1"
    echo "building in /$1"
    in_tree build --user=builder --chdir="/$1/gptproxy" --setenv=TZ="$3" \
        sh -c "umask $2 && dpkg-buildpackage --unsigned-source --unsigned-changes --build=full" \
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
said=$(in_tree build --user=builder --chdir=/first sh -c 'lintian --display-info --pedantic --display-experimental *.changes') || status=$?
if [ -n "$said" ] || [ "$status" != 0 ]; then
    echo "$said" >&2
    echo "lintian has something to say" >&2
    exit 1
fi
echo "lintian: nothing"
mkdir -p "$target"
cp "$work"/build/first/*.deb "$target/"
ls -l "$target"/*.deb
