# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2034 # the variables are for the scripts that source this
#
# What the guest image scripts share: messages, checks, scratch space, the table of guest
# architectures and the copying of kernel modules. Sourced, never run.

# mke2fs and debugfs live in the sbin directories, which a user's PATH may lack.
PATH=$PATH:/usr/sbin:/sbin
LC_ALL=C
export PATH LC_ALL
umask 022

# Time stamp of every file in an image: two builds from the same inputs give the same bytes.
epoch=${SOURCE_DATE_EPOCH:-1577836800}

say() {
    printf 'guest: %s\n' "$*"
}

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# need TOOL PACKAGE: stop unless TOOL is installed.
need() {
    command -v "$1" >/dev/null || die "$1 is missing: install the package $2 and run this again"
}

# make_scratch DIR: sets $scratch, a directory inside DIR (so that a result gets into place with
# one rename) that is gone when the script ends, however it ends.
make_scratch() {
    { mkdir -p "$1" && scratch=$(mktemp -d "$1/.tmp.XXXXXX"); } 2>/dev/null ||
        die "cannot write to $1: choose a directory that you may write to"
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# guest_arch ARCH: sets what differs between guest architectures; the names are Debian's.
#   suite         the suite packages come from; "host" is this machine's own, if it runs Debian
#   kernel        the kernel's meta package
#   magic         what tells the kernel's format, at its byte $magic_at: a plain Image and not one
#                 that is compressed or only for EFI; for amd64 a bzImage
#   root_modules  what the kernel must load to reach a root file system on virtio-blk
guest_arch() {
    magic_at=56
    case $1 in
    amd64)
        suite=host
        kernel=linux-image-cloud-amd64
        magic='HdrS' magic_at=514
        root_modules='virtio_mmio virtio_blk ext4'
        ;;
    arm64)
        suite=host
        kernel=linux-image-cloud-arm64
        magic='ARMd'
        root_modules='virtio_mmio virtio_blk ext4'
        ;;
    riscv64)
        suite=trixie # the first that has riscv64
        kernel=linux-image-riscv64
        magic='RSC\005'
        # jbd2 asks the kernel's crypto layer for CRC-32C by name: no "depends" tells of it.
        root_modules='virtio_mmio virtio_blk crc32c_generic ext4'
        ;;
    *)
        die "there are no guest images for the architecture '$1': use amd64, arm64 or riscv64"
        ;;
    esac
}

# first_of PATH...: prints the first PATH that exists.
first_of() {
    for candidate in "$@"; do
        [ -e "$candidate" ] && echo "$candidate" && return
    done
    return 1
}

# busybox_of TREE: prints where the unpacked packages in TREE have their busybox.
busybox_of() {
    first_of "$1/bin/busybox" "$1/usr/bin/busybox" ||
        die "$1 holds no busybox: fill it with fetch-debian.sh"
}

# modules_of TREE: prints the directory with the kernel's modules (in /usr since Debian 13).
modules_of() {
    first_of "$1"/lib/modules/* "$1"/usr/lib/modules/* ||
        die "$1 holds no kernel modules: fill it with fetch-debian.sh"
}

# install_modules TREE DEST NAME...: copies the kernel modules NAME and those they depend on from
# TREE to DEST, uncompressed, and makes the modules.dep that modprobe reads. DEST/etc/modules
# gets the NAMEs in one line. A name that is built into the kernel is left out of both.
#
# A package has no modules.dep, its installation makes one; but each module says in its .modinfo
# section, as a NUL-terminated string "depends=a,b", what it needs.
install_modules() {
    from=$(modules_of "$1")
    to=$2/lib/modules/${from##*/}
    list=$2/etc/modules
    shift 2
    mkdir -p "$to" "${list%/*}"

    todo='' wanted='' table=''
    for name in "$@"; do
        grep -q "/$(module_pattern "$name")\$" "$from/modules.builtin" && continue
        todo="$todo $name" wanted="$wanted $name"
    done
    echo "${wanted# }" >"$list"

    # The table has a line "NAME FILE NEEDED-NAME..." for each module.
    # shellcheck disable=SC2086 # split on purpose
    while set -- $todo && [ $# -gt 0 ]; do
        name=$1
        shift
        todo=$*
        case $table in *"|$name "*) continue ;; esac
        copy_module "$name"
        needs=$(tr '\0' '\n' <"$to/$file" | sed -n 's/^depends=//p' | tr ',' ' ')
        table="$table|$name $file $needs"
        todo="$todo $needs"
    done

    # modules.dep has a line "FILE: FILE..." for each module: all it needs, to be loaded from the
    # right to the left.
    echo "$table" | tr '|' '\n' | awk '
        function visit(name, n, i, need) {
            n = split(needs[name], need)
            for (i = 1; i <= n; i++)
                if (!(need[i] in seen)) {
                    seen[need[i]]
                    visit(need[i])
                    order = " " file[need[i]] order
                }
        }
        NF { name = $1; names[NR] = name; file[name] = $2; $1 = $2 = ""; needs[name] = $0 }
        END {
            for (i = 1; i <= NR; i++)
                if (i in names) {
                    split("", seen)
                    order = ""
                    visit(names[i])
                    print file[names[i]] ":" order
                }
        }' >"$to/modules.dep"
}

# module_pattern NAME: a pattern for the module's file; "-" and "_" are the same in its name.
module_pattern() {
    echo "$1" | sed 's/[-_]/[-_]/g; s/$/.ko/'
}

# copy_module NAME: copies the module from $from to $to; sets $file, its place below both.
copy_module() {
    file=$(cd "$from" && find kernel -name "$(module_pattern "$1")*" | head -n 1)
    [ -n "$file" ] || die "the kernel ${from##*/} has no module named $1"
    mkdir -p "$to/${file%/*}"
    case $file in
    *.ko) cp "$from/$file" "$to/$file" ;;
    *.ko.xz)
        need xz xz-utils
        xz -dc "$from/$file" >"$to/${file%.xz}"
        file=${file%.xz}
        ;;
    *) die "the module $file is compressed in a way that this script does not know" ;;
    esac
}
