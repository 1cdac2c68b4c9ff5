#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""fio in a Linux guest: blocks with checksums, written, read back, trimmed and flushed by several
processes at once, for every way that hako has to serve a disk.

usage: test_fio.py HAKO IMAGES [--all]          prints TAP

A way is a ring, a number of queues, who asks the host's disk and a cache mode. Every two of these
go together in one of the 12 ways that are tested; --all is for all 48.
"""
import itertools
import os
import sys
import time

from vm import GUEST, Vm, blank_disk, main, root_disk
import fio

RINGS = {
    "legacy": "transport=legacy",
    "split": "transport=modern,packed=off",
    "packed": "transport=modern",
}
QUEUES = [1, 4]
AIOS = ["io_uring", "threads"]
CACHES = ["writeback", "writethrough", "none", "unsafe"]
CPUS = 4
AT_ONCE = 24  # disks of one guest
MIB = 1 << 20


def covering():
    """Ways in which any two values go together, in some way at least once."""
    for (r, ring), (c, cache) in itertools.product(enumerate(RINGS), enumerate(CACHES)):
        yield ring, QUEUES[(r + c) % 2], AIOS[(r + c // 2) % 2], cache


def everything():
    yield from itertools.product(RINGS, QUEUES, AIOS, CACHES)


def direct_io():
    """Can files here do without the page cache?"""
    blank_disk("direct.img", MIB)
    try:
        os.close(os.open("direct.img", os.O_RDONLY | os.O_DIRECT))
        return True
    except OSError:
        return False


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


def run_ways(ways):
    disks = [blank_disk("fio%d.img" % n, fio.SIZE) + options(way) for n, way in enumerate(ways)]
    with Vm("--cpus", str(CPUS),
            disks=[root_disk(), fio.image(GUEST) + ",ro"] + disks) as vm:
        vm.login()
        fio.set_up(vm, "vdb")
        for n, way in enumerate(ways):
            name = "vd" + chr(ord("c") + n)
            is_as_asked(vm, name, way)
            start = time.monotonic()
            status, output = vm.run(fio.command(name), patience=300)
            assert status == 0, "%s: %s" % (way, output[-2000:])
            print("# %-6s %d queue%s %-8s %-12s %.1f s"
                  % (way[0], way[1], " " if way[1] == 1 else "s", way[2], way[3],
                     time.monotonic() - start))
            sys.stdout.flush()
        assert vm.poweroff() == 0
    for n in range(len(ways)):
        os.unlink("fio%d.img" % n)


def fio_finds_what_it_wrote():
    ways = list(everything() if "--all" in sys.argv else covering())
    if not direct_io():
        print("# without cache=none: files here cannot do without the page cache")
        ways = [way for way in ways if way[3] != "none"]
    for first in range(0, len(ways), AT_ONCE):
        run_ways(ways[first:first + AT_ONCE])


main([fio_finds_what_it_wrote])
