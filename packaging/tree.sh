# Shell functions for the scripts beside: Debian 13 trees, and commands run in them. Not for itself.
#
# GPTPROXY_DEB_DIR   where trees and builds are kept (default: /tmp/deb-gptproxy); nothing is written elsewhere
# DEBIAN_MIRROR      default: http://deb.debian.org/debian

# What another Python put first in PATH would break dpkg-buildpackage.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL=C.UTF-8
# nspawn complains about its own tidying up.
export SYSTEMD_LOG_LEVEL=crit
unset PYTHONPATH VIRTUAL_ENV
work=${GPTPROXY_DEB_DIR:-/tmp/deb-gptproxy}
mkdir -p "$work"
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
source=$(cd "$(dirname "$0")/.." && pwd)

# Say why nothing was done; 77 is what test harnesses take for "skipped".
skip() {
    echo "SKIPPED: $*" >&2
    exit 77
}

# What trees cannot be made without, and status 1; nothing, and 0, where all is there.
trees_missing() {
    [ "$(id -u)" = 0 ] || { echo "it needs root, for trees of Debian 13"; return 1; }
    local tool
    for tool in mmdebstrap systemd-nspawn; do
        command -v "$tool" >/dev/null ||
            { echo "$tool is not installed (apt install mmdebstrap systemd-container)"; return 1; }
    done
}

need_trees() {
    local missing
    missing=$(trees_missing) || skip "$missing"
}

# make_tree NAME PACKAGE,PACKAGE...: once, and again when it needs other packages.
make_tree() {
    if [ "$(cat "$work/$1/.complete" 2>/dev/null)" != "$2" ]; then
        rm -rf --one-file-system "${work:?}/$1"
        mkdir -p "$work"
        echo "making the tree $1"
        mmdebstrap --quiet --variant=minbase --include="$2" trixie "$work/$1" "$mirror" >"$work/$1.log" 2>&1 ||
            { tail -n 5 "$work/$1.log" >&2; skip "mmdebstrap cannot make a tree of Debian 13 here"; }
        echo "$2" >"$work/$1/.complete"
    fi
}

# in_tree NAME [OPTION...] COMMAND: without any network but loopback.
in_tree() {
    tree=$1
    shift
    systemd-nspawn --quiet --directory="$work/$tree" --register=no --keep-unit --private-network --pipe \
        --setenv=LC_ALL=C.UTF-8 "$@"
}

# copy_source DIRECTORY: what belongs to the source, and nothing that lies about beside it.
copy_source() {
    rm -rf "$1"
    mkdir -p "$1"
    if git -C "$source" rev-parse --git-dir >/dev/null 2>&1; then
        (cd "$source" && git -c safe.directory='*' ls-files -z --cached --others --exclude-standard |
            while IFS= read -r -d '' file; do [ -e "$file" ] && printf '%s\0' "$file"; done |
            tar --null --no-recursion --files-from=- -cf -) | tar -C "$1" -xf -
    else
        tar -C "$source" --exclude=./.venv --exclude='*/__pycache__' --exclude=./dist --exclude=./.git -cf - . |
            tar -C "$1" -xf -
    fi
}
