#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Usage: drive.sh HAKO IMAGES COMMAND...
#
# Drives a guest as somebody at its terminal would: types each COMMAND, powers it off, and exits
# with hako's exit status. IMAGES is a directory that 'make guest' made, build/guest/arm64,
# build/guest/riscv64 or, with KVM, build/guest/amd64. Its disk is not written to: the guest gets a
# copy.
#
#   examples/drive.sh build/hako build/guest/arm64 'uname -a' 'cat /proc/partitions'
#
# Nothing has to be waited for: hako holds its input back until the guest listens.
set -eu
[ $# -ge 3 ] || { echo 'usage: drive.sh HAKO IMAGES COMMAND...' >&2; exit 2; }
hako=$1 images=$2
shift 2

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cp --sparse=always "$images/root.ext4" "$dir/root.ext4"

printf '%s\n' "$@" poweroff |
    "$hako" run --kernel "$images/Image" --initrd "$images/initrd.gz" --disk "$dir/root.ext4" \
        --append quiet --timeout 600
