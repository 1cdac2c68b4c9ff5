#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Usage: make-fio.sh ARCH DIR
#
# Makes DIR/ARCH/fio.ext4, a file system with Debian's fio and what it needs to run in a chroot:
#
#   mount /dev/vdb /mnt && mount --bind /dev /mnt/dev && chroot /mnt fio ...
#
# Debian's fio is linked with libraries for storage over networks, 80 MB with all that they depend
# on. Tests of a disk use none of it, so one small library with the names of all their functions,
# each of which stops the program, stands for them.
#
# What is there is kept. Environment: HAKO_DEBIAN_MIRROR, see fetch-debian.sh.
set -eu
here=$(dirname "$0")
# shellcheck source=scripts/guest/common.sh
. "$here/common.sh"

[ $# -eq 2 ] || die 'usage: make-fio.sh ARCH DIR'
arch=$1 dir=${2%/}/$1
guest_arch "$arch"
need apt-get apt
need dpkg-deb dpkg
need mke2fs e2fsprogs
need clang clang
need ld.lld lld
need llvm-readelf llvm
case $arch in
amd64) triple=x86_64-linux-gnu trap=ud2 ;;
arm64) triple=aarch64-linux-gnu trap='brk #0' ;;
*) die "there is no fio for the architecture '$arch': use amd64 or arm64" ;;
esac
made_from=$(sha256sum "$0" | cut -d ' ' -f 1)
[ -e "$dir/fio.ext4" ] && [ "$(cat "$dir/.keys/fio.ext4" 2>/dev/null)" = "$made_from" ] &&
    say 'fio.ext4: cached' && exit
make_scratch "$dir"
mkdir -p "$dir/.keys"
say 'fio.ext4: making'
"$here/fetch-debian.sh" "$arch" "$scratch/tree" fio libc6 libaio1 zlib1g libgcc-s1
tree=$scratch/tree
root=$scratch/root
fio=$tree/usr/bin/fio

# Every library in one folder, which is where the program looks.
mkdir -p "$root/bin" "$root/dev" "$root/tmp" "$root/lib/$triple" "$root/etc"
cp "$fio" "$root/bin/fio"
find "$tree/lib" "$tree/usr/lib" -name '*.so*' -path "*/$triple/*" ! -type d ! -path '*/gconv/*' \
    -exec cp -P {} "$root/lib/$triple/" \;
interpreter=$(llvm-readelf -l "$fio" | sed -n 's/.*program interpreter: \(.*\)].*/\1/p')
mkdir -p "$root${interpreter%/*}"
[ -e "$root$interpreter" ] || cp -L "$root/lib/$triple/${interpreter##*/}" "$root$interpreter"

# What stands for the libraries that are not there: the functions that fio takes from them, each in
# the version that it wants. Those without a version may be anywhere.
missing=$(llvm-readelf -d "$fio" | sed -n 's/.*(NEEDED).*\[\(.*\)\].*/\1/p' | while read -r name; do
    [ -e "$root/lib/$triple/$name" ] || echo "$name"
done)
echo "$missing" | grep -q . || die 'fio needs nothing but what is there: this script is out of date'
versions=$(llvm-readelf -V "$fio" | awk -v missing="$missing" '
    BEGIN { split(missing, names); for (i in names) wanted[names[i]] }
    / File: / { sub(/.* File: /, ""); here = $1 in wanted }
    / Name: / && here { sub(/.* Name: /, ""); print $1 }')
provided=$(for name in "$root/lib/$triple"/*.so*; do
    llvm-nm -D --defined-only "$name" 2>/dev/null | sed 's/.* //; s/@.*//'
done)
llvm-nm -D --undefined-only "$fio" | awk -v versions="$versions" -v provided="$provided" \
    -v trap="$trap" -v code="$scratch/stub.s" -v script="$scratch/stub.ver" '
    BEGIN {
        split(versions, v)
        for (i in v) ours[v[i]]
        split(provided, p)
        for (i in p) have[p[i]]
    }
    $1 == "U" {
        split($2, name, /@+/)
        if (name[2] == "" ? name[1] in have : !(name[2] in ours))
            next
        print ".globl " name[1] "\n.type " name[1] ", %function\n" name[1] ": " trap > code
        if (name[2] != "")
            list[name[2]] = list[name[2]] " " name[1] ";"
    }
    END {
        for (version in list)
            print version " { global:" list[version] " };" > script
    }'
clang --target="$triple" -nostdlib -shared -fuse-ld=lld -Wl,-soname,none.so \
    -Wl,--version-script="$scratch/stub.ver" -o "$root/lib/$triple/none.so" "$scratch/stub.s" ||
    die 'could not make the library that stands for those that fio is linked with'
for name in $missing; do
    ln -s none.so "$root/lib/$triple/$name"
done

find "$root" -exec touch -h -d "@$epoch" {} +
E2FSPROGS_FAKE_TIME=$epoch MKE2FS_CONFIG=/dev/null mke2fs -q -F -t ext4 -d "$root" -b 4096 -m 0 \
    -O ^has_journal,^metadata_csum,extent -E root_owner=0:0 \
    "$scratch/image" 24M >/dev/null 2>"$scratch/errors" ||
    die "could not make a file system: $(grep . "$scratch/errors" | tail -n 1)"
mv "$scratch/image" "$dir/fio.ext4"
echo "$made_from" >"$dir/.keys/fio.ext4"
