#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Usage: make-initramfs.sh TREE INIT OUT [MODULE...]
#
# Makes the initramfs OUT (a cpio archive, compressed if its name ends in ".gz") from the packages
# that fetch-debian.sh unpacked in TREE: INIT as /init, busybox, and each kernel MODULE with what it
# depends on. The same inputs give the same bytes. No root and no device nodes are needed: the
# kernel's own built-in initramfs has /dev/console, and /init mounts devtmpfs for the others.
#
# There is no link for each busybox command: its shell finds them by itself (it starts
# /proc/self/exe), which keeps the archive small and unpacking it quick.
set -eu
here=$(dirname "$0")
# shellcheck source=scripts/guest/common.sh
. "$here/common.sh"

[ $# -ge 3 ] || die 'usage: make-initramfs.sh TREE INIT OUT [MODULE...]'
tree=${1%/} init=$2 out=$3
shift 3
need cpio cpio

case $out in
/*) ;;
*) out=$PWD/$out ;;
esac
make_scratch "${out%/*}"
root=$scratch/root
mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys" "$root/root"
busybox=$(busybox_of "$tree")
cp "$busybox" "$root/bin/busybox"
ln -s busybox "$root/bin/sh"
cp "$init" "$root/init"
chmod 755 "$root/bin/busybox" "$root/init"
[ $# -eq 0 ] || install_modules "$tree" "$root" "$@"

find "$root" -exec touch -h -d "@$epoch" {} +
(cd "$root" && find . | sort | cpio -o -H newc --quiet --reproducible --owner 0:0) >"$scratch/cpio"
case $out in
*.gz) gzip -9nc "$scratch/cpio" >"$scratch/out" ;;
*) mv "$scratch/cpio" "$scratch/out" ;;
esac
mv "$scratch/out" "$out"
