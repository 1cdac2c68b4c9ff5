# SPDX-License-Identifier: MIT
"""Debian's fio in a Linux guest (scripts/guest/make-fio.sh): what it is to do with a disk, and how
it is started.

    image = fio.image(GUEST)
    ...                                     the guest has it as a disk, read-only
    fio.set_up(vm, "vdb")
    status, output = vm.run(fio.command("vdc"))     or fio.run(vm, "vdc", way)

And the ways to serve a disk that are tested with it. A way is a ring, a number of queues, who asks
the host's disk and a cache mode.
"""
import itertools
import os
import sys
import time

from console import Skip

RINGS = {
    "legacy": "transport=legacy",
    "split": "transport=modern,packed=off",
    "packed": "transport=modern",
}
QUEUES = [1, 4]
AIOS = ["io_uring", "threads"]
CACHES = ["writeback", "writethrough", "none", "unsafe"]

SIZE = 32 << 20  # of the disk: what the job takes

# Each thread has a part of the disk to itself. "trims" frees each block before it writes it; what
# "holes" frees need not read as anything. Blocks that overlap wait for one another, for a disk is
# free to do what is in flight in any order, and does so after a server was killed.
JOB = """[global]
thread=1
filename=${DISK}
direct=1
ioengine=libaio
iodepth=16
serialize_overlap=1
size=%(size)dk
verify=crc32c
verify_fatal=1
verify_backlog=%(backlog)d
verify_state_save=0

[blocks]
rw=randwrite
bsrange=512-64k
io_size=%(blocks)dk
fsync=%(flush)d

[trims]
rw=randtrimwrite
bs=4k
io_size=%(trims)dk
offset=8M
fdatasync=%(sync)d

[mixed]
rw=randrw
bs=8k
io_size=%(mixed)dk
offset=16M
fsync=%(flush)d

[holes]
rw=randtrim
bs=32k
io_size=%(holes)dk
verify=0
offset=24M
"""
WHOLE = {"size": 8192, "blocks": 4096, "trims": 1024, "mixed": 2048, "holes": 8192,  # KiB
         "backlog": 128, "flush": 32, "sync": 16}


def image(guest):
    """The file system with fio, of the guest whose directory that is."""
    path, why = (os.path.join(guest, "fio." + end) for end in ("ext4", "why"))
    if not os.path.exists(path):
        reason = open(why, encoding="utf-8").read().strip() if os.path.exists(why) else \
            "'make test-guests' makes it"
        raise Skip("there is no fio for the guest: " + reason)
    return path


def set_up(vm, disk, part=1):
    """Have fio and its job at /mnt; `disk` is the one with the image. It does one `part`th of all,
    and flushes as often."""
    vm.sh("mount -o ro /dev/%s /mnt && mount -t devtmpfs dev /mnt/dev"
          " && mount -t tmpfs none /mnt/tmp" % disk)
    job = JOB % {name: n // part for name, n in WHOLE.items()}
    vm.sh("cat >/mnt/tmp/job <<'END'\n%sEND" % job)


def command(disk):
    """What runs it in the guest, on a disk whose contents it overwrites."""
    return "DISK=/dev/%s chroot /mnt fio --eta=never /tmp/job 2>&1" % disk


def run(vm, name, way, patience=None):
    """Have it find what it wrote, on a disk that is served this way; and say how long that took."""
    is_as_asked(vm, name, way)
    start = time.monotonic()
    status, output = vm.run(command(name), patience)
    assert status == 0, "%s: %s" % (way, output[-2000:])
    print("# %-6s %d queue%s %-8s %-12s %.1f s"
          % (way[0], way[1], " " if way[1] == 1 else "s", way[2], way[3],
             time.monotonic() - start))
    sys.stdout.flush()


def covering():
    """Ways in which any two values go together, in some way at least once."""
    for (r, ring), (c, cache) in itertools.product(enumerate(RINGS), enumerate(CACHES)):
        yield ring, QUEUES[(r + c) % 2], AIOS[(r + c // 2) % 2], cache


def everything():
    yield from itertools.product(RINGS, QUEUES, AIOS, CACHES)


def options(way):
    ring, queues, aio, cache = way
    return ",%s,queues=%d,aio=%s,cache=%s" % (RINGS[ring], queues, aio, cache)


def is_as_asked(vm, name, way):
    """The driver has the ring and the queues that it was to get: feature bits 32 and 34."""
    ring, queues, _, _ = way
    features = vm.sh("cat /sys/block/%s/device/features" % name)
    modern, packed = features[32] == "1", features[34] == "1"
    assert (modern, packed) == (ring != "legacy", ring == "packed"), (way, features)
    assert vm.sh("ls /sys/block/%s/mq" % name).split() == [str(n) for n in range(queues)], way
