# SPDX-License-Identifier: MIT
"""Debian's fio in a Linux guest (scripts/guest/make-fio.sh): what it is to do with a disk, and how
it is started.

    image = fio.image(GUEST)
    ...                                     the guest has it as a disk, read-only
    fio.set_up(vm, "vdb")
    status, output = vm.run(fio.command("vdc"))
"""
import os

from console import Skip

SIZE = 32 << 20  # of the disk: what the job takes

# Each process has a part of the disk to itself. "trims" frees each block before it writes it; what
# "holes" frees need not read as anything. Blocks that overlap wait for one another, for a disk is
# free to do what is in flight in any order, and does so after a server was killed.
JOB = """[global]
filename=${DISK}
direct=1
ioengine=libaio
iodepth=16
serialize_overlap=1
size=8M
verify=crc32c
verify_fatal=1
verify_backlog=128
verify_state_save=0

[blocks]
rw=randwrite
bsrange=512-64k
io_size=4M
fsync=32

[trims]
rw=randtrimwrite
bs=4k
io_size=1M
offset=8M
fdatasync=16

[mixed]
rw=randrw
bs=8k
io_size=2M
offset=16M
fsync=64

[holes]
rw=randtrim
bs=32k
verify=0
offset=24M
"""


def image(guest):
    """The file system with fio, of the guest whose directory that is."""
    path, why = (os.path.join(guest, "fio." + end) for end in ("ext4", "why"))
    if not os.path.exists(path):
        reason = open(why, encoding="utf-8").read().strip() if os.path.exists(why) else \
            "'make test-guests' makes it"
        raise Skip("there is no fio for the guest: " + reason)
    return path


def set_up(vm, disk):
    """Have fio and its job at /mnt; `disk` is the one with the image."""
    vm.sh("mount -o ro /dev/%s /mnt && mount -t devtmpfs dev /mnt/dev"
          " && mount -t tmpfs none /mnt/tmp" % disk)
    vm.sh("cat >/mnt/tmp/job <<'END'\n%sEND" % JOB)


def command(disk):
    """What runs it in the guest, on a disk whose contents it overwrites."""
    return "DISK=/dev/%s chroot /mnt fio --eta=never /tmp/job 2>&1" % disk
