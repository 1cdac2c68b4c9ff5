#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Usage: drive.sh HAKO IMAGES COMMAND...
#
# Drives a guest as somebody at its terminal would: waits until it is ready, types each COMMAND,
# powers it off, and exits with hako's exit status. IMAGES is the directory that 'make guest' made,
# build/guest/arm64. Its disk is not written to: the guest gets a copy.
#
#   examples/drive.sh build/hako build/guest/arm64 'uname -a' 'cat /proc/partitions'
#
# What is sent before the guest has opened its serial port is lost, as on any serial line. So the
# guest's output is read up to the line that its start-up scripts print last.
set -eu
[ $# -ge 3 ] || { echo 'usage: drive.sh HAKO IMAGES COMMAND...' >&2; exit 2; }
hako=$1 images=$2
shift 2

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cp --sparse=always "$images/root.ext4" "$dir/root.ext4"
mkfifo "$dir/in" "$dir/out"

"$hako" run --kernel "$images/Image" --initrd "$images/initrd.gz" --disk "$dir/root.ext4" \
    --append quiet --timeout 600 <"$dir/in" >"$dir/out" &
exec 3>"$dir/in" 4<"$dir/out"

# Ends without a match when hako ends, whose exit status then says why.
while read -r line <&4; do
    case $line in 'hako guest:'*) break ;; esac
done
for command in "$@" poweroff; do
    echo "$command"
done >&3
cat <&4
wait $!
