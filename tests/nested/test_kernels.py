#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's amd64 kernel as a vmlinux: by PVH and by the 64-bit boot protocol, with KVM inside
QEMU's emulation of it. That it boots as a bzImage is tested by test_nested.py.

usage: test_kernels.py HAKO IMAGES        prints TAP
"""
import functools
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

from outer import ARCHES, Outer, Skip  # first: it says where console.py is
from console import run_tests  # pylint: disable=wrong-import-order

HAKO, IMAGES = (os.path.abspath(name) for name in sys.argv[1:3])
if "HAKO_GUEST" in os.environ:  # the folder of another architecture, beside ours
    IMAGES = os.path.join(os.path.dirname(os.path.abspath(os.environ["HAKO_GUEST"])), "amd64")
APPEND = "quiet " + ARCHES["amd64"]["guest_append"]
PROMPT = re.compile(rb"hako:~# ")
# Xen's note 18 with a descriptor of 8 bytes names the PVH entry.
NOTE = struct.pack("<III4s", 4, 8, 18, b"Xen")


def unpack(image):
    """The vmlinux in a bzImage that is packed with LZ4 (boot.rst, payload_offset)."""
    with open(image, "rb") as f:
        data = f.read()
    at, size = struct.unpack_from("<II", data, 0x248)
    at += (data[0x1f1] + 1) * 512
    # Behind the packed data is the size of what was packed.
    run = subprocess.run(["lz4", "-dc"], input=data[at:at + size - 4], capture_output=True,
                         check=False)
    assert run.stdout.startswith(b"\x7fELF"), run.stderr
    return run.stdout


class Kernels:
    """The outer system, with the kernels in it."""

    def __init__(self, folder):
        self.outer = None
        self.folder = folder

    def write(self, name, data):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as f:
            f.write(data)
        return path

    def start(self):
        vmlinux = unpack(os.path.join(IMAGES, "Image"))
        assert vmlinux.count(NOTE) == 1
        disk = os.path.join(self.folder, "root.ext4")
        subprocess.run(["cp", "--sparse=always", os.path.join(IMAGES, "root.ext4"), disk],
                       check=True)
        self.outer = Outer("amd64", IMAGES, {
            "hako": HAKO,
            "initrd.gz": os.path.join(IMAGES, "initrd.gz"),
            "pvh": self.write("pvh", vmlinux),
            "long": self.write("long", vmlinux.replace(NOTE, NOTE.replace(b"\x12", b"\x13"))),
        }, disks=[disk])
        return self.outer

    def boots(self, kernel, *options):
        """To a shell, which says how much memory there is, and off again."""
        outer = self.outer or self.start()
        try:
            return self.boots_in(outer, kernel, *options)
        except BaseException as why:
            outer.__exit__(type(why), why, None)
            self.outer = None
            raise

    @staticmethod
    def boots_in(outer, kernel, *options):
        outer.start("./hako run --engine kvm --kernel %s --initrd initrd.gz --disk /dev/vda "
                    "--append '%s' %s" % (kernel, APPEND, " ".join(options)))
        outer.login(PROMPT)
        # By ACPI: a kernel that has it is told of its disks by nothing else.
        assert outer.sh("cat /proc/cmdline") == "console=ttyS0 root=/dev/vda rw cryptomgr.notests " + APPEND
        assert outer.sh("ls /sys/bus/acpi/devices | grep -c LNRO0005") == "1"
        mib = int(outer.sh("awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo"))
        outer.write(b"poweroff\n")
        status, said = outer.end()
        assert status == 0 and "powered off" in said, "status %d: %s" % (status, said)
        return mib


def a_vmlinux_boots_by_pvh(kernels):
    assert 400 < kernels.boots("pvh") < 512


def a_vmlinux_boots_by_the_64_bit_protocol(kernels):
    """With memory on both sides of the hole below 4 GiB."""
    assert 4700 < kernels.boots("long", "--mem 5G", "--cpus 2") < 5120


def main():
    for path, how in ((HAKO, "'make static' makes it"),
                      (os.path.join(IMAGES, "Image"), "'make guest' makes it"),
                      (os.path.join(IMAGES, "debian"), "'make guest' makes it")):
        if not os.path.exists(path):
            print("1..0 # SKIP there is no %s: %s" % (path, how))
            return
    if not shutil.which("lz4"):
        print("1..0 # SKIP there is no lz4, with which the kernel is packed: install lz4")
        return
    with tempfile.TemporaryDirectory(prefix="hako-kernels-") as folder:
        kernels = Kernels(folder)
        tests = [functools.wraps(test)(functools.partial(test, kernels))
                 for test in (a_vmlinux_boots_by_pvh, a_vmlinux_boots_by_the_64_bit_protocol)]
        try:
            run_tests(tests, "hako-nested-")
        finally:
            if kernels.outer:
                kernels.outer.__exit__(None, None, None)


try:
    main()
except Skip as why:
    print("1..0 # SKIP %s" % why)
