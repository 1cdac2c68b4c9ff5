#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Usage: make-rootfs.sh TREE SKELETON OUT [SIZE]
#
# Makes OUT, an ext4 image of SIZE (default 64M): the files of SKELETON, busybox from the packages
# that fetch-debian.sh unpacked in TREE with a link for each of its commands, and the modules of
# further virtio devices. No root is needed, and the same inputs give the same bytes.
set -eu
here=$(dirname "$0")
# shellcheck source=scripts/guest/common.sh
. "$here/common.sh"

[ $# -eq 3 ] || [ $# -eq 4 ] || die 'usage: make-rootfs.sh TREE SKELETON OUT [SIZE]'
tree=${1%/} skeleton=${2%/} out=$3 size=${4:-64M}
need mke2fs e2fsprogs
need debugfs e2fsprogs

case $out in
/*) ;;
*) out=$PWD/$out ;;
esac
make_scratch "${out%/*}"
root=$scratch/root
image=$scratch/image

# One directory for all programs; the other customary places are links to it.
mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys" "$root/run" "$root/tmp" \
    "$root/root" "$root/mnt" "$root/var" "$root/usr" "$root/etc"
cp -R "$skeleton/." "$root"
chmod -R u=rwX,go=rX "$root"
chmod 700 "$root/root"
chmod 1777 "$root/tmp"
ln -s bin "$root/sbin"
ln -s ../bin "$root/usr/bin"
ln -s ../bin "$root/usr/sbin"
ln -s ../run "$root/var/run"
ln -s ../tmp "$root/var/tmp"
ln -s /proc/mounts "$root/etc/mtab"

busybox=$(busybox_of "$tree")
cp "$busybox" "$root/bin/busybox"
chmod 755 "$root/bin/busybox"
# A foreign busybox cannot be asked for its commands here, but it has their names in one table:
# NUL-terminated, sorted, from "[" and "[[" on. Before the "[" can be any bytes; the next thing in
# the file after the table is no command's name.
commands=$(tr '\0' '\n' <"$busybox" | awk '
    last ~ /\[$/ && $0 == "[[" { table = 1; print "[" }
    table && !(/^[a-z0-9_.[-]+$/ && $0 > last) { exit }
    table { print }
    { last = $0 }')
for command in $commands; do
    [ "$command" = busybox ] || ln -s busybox "$root/bin/$command"
done
for command in init mount sh umount; do
    [ -L "$root/bin/$command" ] || die "$busybox lacks the command $command (or its table moved)"
done

install_modules "$tree" "$root" virtio_net virtio_console virtio-rng virtio_balloon
rm "$root/etc/modules"

# The features are named one by one, and mke2fs.conf is left out, so that the image does not
# depend on this machine's defaults. The name and the seed are arbitrary but fixed.
uuid=68616b6f-0000-4000-8000-000000000001
find "$root" -exec touch -h -d "@$epoch" {} +
E2FSPROGS_FAKE_TIME=$epoch MKE2FS_CONFIG=/dev/null mke2fs -q -F -d "$root" -L hako \
    -b 4096 -I 256 -i 16384 -m 0 -U $uuid \
    -E "hash_seed=$uuid,root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0,nodiscard" \
    -O none,64bit,dir_index,dir_nlink,ext_attr,extent,extra_isize,filetype,flex_bg,has_journal \
    -O huge_file,large_file,metadata_csum,resize_inode,sparse_super \
    "$image" "$size" >/dev/null 2>"$scratch/errors" ||
    die "could not make a file system of $size: $(grep . "$scratch/errors" | tail -n 1)"

# The files in the image belong to who built it, and their inodes say when: neither shall be seen.
(cd "$root" && find . | sort) | while read -r path; do
    for field in 'uid 0' 'gid 0' "atime @$epoch" "ctime @$epoch" "crtime @$epoch"; do
        echo "sif \"${path#.}\" $field"
    done
done | sed 's|sif ""|sif "/"|' >"$scratch/commands"
E2FSPROGS_FAKE_TIME=$epoch debugfs -w -f "$scratch/commands" "$image" >/dev/null 2>"$scratch/errors"
[ "$(sed 1d "$scratch/errors")" = "" ] ||
    die "could not set the owner of the files: $(sed -n 2p "$scratch/errors")"
mv "$image" "$out"
