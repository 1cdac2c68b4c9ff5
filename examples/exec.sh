#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Usage: exec.sh HAKO IMAGES COMMAND
#
# Runs one shell COMMAND in a guest, prints what it prints, and exits with its exit status; with 125
# if the guest did not get so far. IMAGES is a directory that 'make guest' made: build/guest/arm64,
# build/guest/riscv64 or, with KVM, build/guest/amd64.
#
#   examples/exec.sh build/hako build/guest/arm64 'uname -m; test -b /dev/vda'
#
# The command travels in the kernel command line (guest/image/root/etc/init.d/rcS looks for
# hako.exec), so it may have no double quotes. The disk is read-only and can be shared: any number
# of these may run at once.
set -eu
[ $# -eq 3 ] || { echo 'usage: exec.sh HAKO IMAGES COMMAND' >&2; exit 2; }
hako=$1 images=$2 command=$3

status=125
output=$("$hako" run --quiet --kernel "$images/Image" --initrd "$images/initrd.gz" \
    --disk "$images/root.ext4,ro" --append "quiet hako.exec=\"$command\"" \
    --timeout 600 </dev/null | tr -d '\r')
while read -r line; do
    case $line in
    'hako.exec: exit status '*)
        status=${line##* }
        break
        ;;
    esac
    printf '%s\n' "$line"
done <<END
$output
END
exit "$status"
