#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""fio in a Linux guest with KVM: blocks with checksums, written, read back, trimmed and flushed, for
the ways to serve a disk (tests/lib/fio.py), inside a machine that QEMU emulates.

usage: test_matrix.py ARCH HAKO IMAGES [--all]       prints TAP

As tests/linux/test_fio.py, which has the software CPU, with less to write; and what the guest reads
of each disk at the end is compared with its file. 12 ways are tested, in which every two choices go
together; --all is for all 48.
"""
import os
import re
import subprocess
import sys

from outer import ARCHES, TSC_TOLERANCE, Outer  # first: it says where console.py is
from console import assert_clean, blank_disk, run_tests  # pylint: disable=wrong-import-order
import fio  # pylint: disable=wrong-import-order

ARCH = sys.argv[1]
HAKO, IMAGES = (os.path.abspath(name) for name in sys.argv[2:4])
if "HAKO_GUEST" in os.environ:  # the folder of another architecture, beside ours
    IMAGES = os.path.join(os.path.dirname(os.path.abspath(os.environ["HAKO_GUEST"])), ARCH)
PROMPT = re.compile(rb"hako:~# ")
LETTERS = "cdefghijklmn"
AT_ONCE = len(LETTERS)  # disks of one guest, beside the root and fio: an x86 machine has 16
PART = 16  # of fio's job: what matters is each way, and all is emulated


def run_ways(outer, ways):
    """One guest, with a disk for each way."""
    names = ["vd" + letter for letter, _ in zip(LETTERS, ways)]
    for name in names:
        outer.sh("rm -f /ways/%s; dd if=/dev/zero of=/ways/%s bs=1 seek=%d count=0 2>/dev/null"
                 % (name, name, fio.SIZE))
    disks = ["/dev/vda", "/dev/vdb,ro"]
    disks += ["/ways/" + name + fio.options(way) for name, way in zip(names, ways)]
    outer.start("./hako run --engine kvm --kernel Image --initrd initrd.gz --cpus %d --append '%s' "
                "--lint-report /tmp/lint.json --disk %s"
                % (max(fio.QUEUES), "quiet " + ARCHES[ARCH].get("guest_append", ""),
                   " --disk ".join(disks)))
    outer.login(PROMPT)
    fio.set_up(outer, "vdb", PART)
    for name, way in zip(names, ways):
        fio.run(outer, name, way)
    sums = "for d in %s; do head -c %dk %%s$d | md5sum; done" \
        % (" ".join(names), fio.WHOLE["size"] // PART)
    seen = outer.sh(sums % "/dev/")
    outer.write(b"poweroff\n")
    status, said = outer.end()
    assert status == 0 and "powered off" in said, "status %d: %s" % (status, said)
    assert outer.sh(sums % "/ways/") == seen and len(set(seen.split("\n"))) == len(ways), seen
    assert '"findings": []' in outer.sh("cat /tmp/lint.json")


def fio_finds_what_it_wrote():
    # Copies: an image that one QEMU may write to, no other takes.
    disks = ["root.ext4", "fio.ext4", "ways.ext4"]
    fio.image(IMAGES)
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    ways = list(fio.everything() if "--all" in sys.argv else fio.covering())
    files = {"hako": HAKO}
    files.update((name, os.path.join(IMAGES, name)) for name in ("Image", "initrd.gz"))
    for name in disks[:2]:
        subprocess.run(["cp", "--sparse=always", os.path.join(IMAGES, name), name], check=True)
    blank_disk(disks[2], (AT_ONCE + 1) * fio.SIZE)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", disks[2]],
                   check=True, env=dict(os.environ, PATH=path))
    with Outer(ARCH, IMAGES, files, disks=disks, seconds=3600) as outer:
        if ARCH == "amd64":  # to the worst for us
            outer.sh("echo 0 >" + TSC_TOLERANCE)
        outer.sh("mkdir /ways; mount /dev/vdc /ways")
        for first in range(0, len(ways), AT_ONCE):
            run_ways(outer, ways[first:first + AT_ONCE])
        outer.sh("umount /ways; sync")
    assert_clean(disks[0])
    assert_clean(disks[2])


for needed, how in ((HAKO, "'make static' makes it"),
                    (os.path.join(IMAGES, "Image"), "'make guest' makes it")):
    if not os.path.exists(needed):
        print("1..0 # SKIP there is no %s: %s" % (needed, how))
        sys.exit(0)
run_tests([fio_finds_what_it_wrote], "hako-nested-")
