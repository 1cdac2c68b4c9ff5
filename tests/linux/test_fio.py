#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""fio in a Linux guest: blocks with checksums, written, read back, trimmed and flushed by several
threads at once, for every way that hako has to serve a disk.

usage: test_fio.py HAKO IMAGES [--all]          prints TAP

12 ways are tested, in which every two choices go together; --all is for all 48 (tests/lib/fio.py).
"""
import os
import sys

from vm import GUEST, Vm, blank_disk, main, root_disk
import fio

CPUS = 4
AT_ONCE = 24  # disks of one guest
MIB = 1 << 20


def direct_io():
    """Can files here do without the page cache?"""
    blank_disk("direct.img", MIB)
    try:
        os.close(os.open("direct.img", os.O_RDONLY | os.O_DIRECT))
        return True
    except OSError:
        return False


def run_ways(ways):
    disks = [blank_disk("fio%d.img" % n, fio.SIZE) + fio.options(way) for n, way in enumerate(ways)]
    with Vm("--cpus", str(CPUS),
            disks=[root_disk(), fio.image(GUEST) + ",ro"] + disks) as vm:
        vm.login()
        fio.set_up(vm, "vdb")
        for n, way in enumerate(ways):
            fio.run(vm, "vd" + chr(ord("c") + n), way, patience=300)
        assert vm.poweroff() == 0
    for n in range(len(ways)):
        os.unlink("fio%d.img" % n)


def fio_finds_what_it_wrote():
    ways = list(fio.everything() if "--all" in sys.argv else fio.covering())
    if not direct_io():
        print("# without cache=none: files here cannot do without the page cache")
        ways = [way for way in ways if way[3] != "none"]
    for first in range(0, len(ways), AT_ONCE):
        run_ways(ways[first:first + AT_ONCE])


main([fio_finds_what_it_wrote])
