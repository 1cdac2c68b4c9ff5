#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Usage: build.sh ARCH DIR
#
# Makes a Debian guest for architecture ARCH in DIR/ARCH:
#
#   Image            the kernel, unmodified (for amd64 a bzImage)
#   initrd.gz        loads the modules for a virtio disk and mounts it (guest/image/init)
#   root.ext4        a small BusyBox system with a shell on the console (guest/image/root); a guest
#                    writes to its disk, so whoever wants it pristine boots a copy
#   bench-initrd.gz  says "hako-bench: init" and powers off (guest/image/bench-init)
#   debian/          the packages all this is made from, unpacked
#
# What is there is kept for as long as what it is made from stays the same; remove DIR/ARCH to
# fetch newer packages. Each file appears whole or not at all.
#
# Environment: HAKO_ROOT_SIZE, the size of root.ext4 (default 64M); HAKO_DEBIAN_MIRROR, see
# fetch-debian.sh.
set -eu
here=$(dirname "$0")
# shellcheck source=scripts/guest/common.sh
. "$here/common.sh"

[ $# -eq 2 ] || die 'usage: build.sh ARCH DIR'
arch=$1 dir=${2%/}/$1
guest_arch "$arch"
# All that the steps need, before anything is fetched.
need apt-get apt
need dpkg-deb dpkg
need cpio cpio
need mke2fs e2fsprogs
need debugfs e2fsprogs
make_scratch "$dir"
mkdir -p "$dir/.keys"

# key WORD... -- PATH...: prints what stands for these words and files (below the source's root).
key() {
    words=
    while [ "$1" != -- ]; do
        words="$words $1"
        shift
    done
    shift
    (
        cd "$here/../.."
        echo "$words"
        find "$@" -type f -printf '%m ' -exec sha256sum {} \; | sort -k 3
    ) | sha256sum
}

# cached NAME KEY: is DIR/ARCH/NAME there, and made from what KEY stands for?
cached() {
    [ -e "$dir/$1" ] && [ "$(cat "$dir/.keys/$1" 2>/dev/null)" = "$2" ] && say "$1: cached"
}

# build NAME KEY COMMAND...: runs COMMAND to make DIR/ARCH/NAME unless it is cached.
build() {
    name=$1 made_from=$2
    shift 2
    cached "$name" "$made_from" && return
    say "$name: making"
    rm -f "$dir/.keys/$name"
    "$@"
    echo "$made_from" >"$scratch/key"
    mv "$scratch/key" "$dir/.keys/$name"
}

copy_kernel() {
    vmlinuz=$(first_of "$tree"/boot/vmlinu[xz]-*) ||
        die "the packages have no kernel: remove $dir and run this again"
    [ "$(dd if="$vmlinuz" bs=1 skip="$magic_at" count=4 2>/dev/null | od -An -c)" = \
        "$(printf '%b' "$magic" | od -An -c)" ] ||
        die "$vmlinuz is not the kind of $arch kernel that is expected: give hako another one"
    cp "$vmlinuz" "$scratch/Image"
    mv "$scratch/Image" "$dir/Image"
}

image=$here/../../guest/image
tree=$dir/debian
size=${HAKO_ROOT_SIZE:-64M}
build debian "$suite $kernel" "$here/fetch-debian.sh" "$arch" "$tree"
packages=$(cat "$tree/packages")

build Image "$packages" copy_kernel
# shellcheck disable=SC2086 # the modules are words
build initrd.gz "$(key "$packages" "$epoch" "$root_modules" -- \
    scripts/guest/common.sh scripts/guest/make-initramfs.sh guest/image/init)" \
    "$here/make-initramfs.sh" "$tree" "$image/init" "$dir/initrd.gz" $root_modules
build bench-initrd.gz "$(key "$packages" "$epoch" -- \
    scripts/guest/common.sh scripts/guest/make-initramfs.sh guest/image/bench-init)" \
    "$here/make-initramfs.sh" "$tree" "$image/bench-init" "$dir/bench-initrd.gz"
build root.ext4 "$(key "$packages" "$epoch" "$size" -- \
    scripts/guest/common.sh scripts/guest/make-rootfs.sh guest/image/root)" \
    "$here/make-rootfs.sh" "$tree" "$image/root" "$dir/root.ext4" "$size"
