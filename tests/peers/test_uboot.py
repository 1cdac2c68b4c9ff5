#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""U-Boot, as Debian builds it for QEMU's RISC-V machine, on hako's: its own virtio-blk driver reads
and writes a disk, and it boots Debian's kernel from one.

usage: test_uboot.py HAKO GUEST

GUEST is the folder of the riscv64 guest that 'make guest-riscv64' makes.
"""
import os
import re
import sys
import zlib

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
sys.path.insert(0, os.path.join(TOP, "tests/lib"))
from console import Console, Skip, random_disk, run_tests  # noqa: E402

HAKO, GUEST = (os.path.abspath(name) for name in sys.argv[1:3])
if "HAKO_GUEST" in os.environ:  # the folder of another architecture, beside ours
    GUEST = os.path.join(os.path.dirname(os.path.abspath(os.environ["HAKO_GUEST"])), "riscv64")
# By who starts it: hako, as its SBI, in S-mode; or nobody, in M-mode.
PROGRAMS = {
    "sbi": ["--kernel", "/usr/lib/u-boot/qemu-riscv64_smode/uboot.elf"],
    "m-mode": ["--kernel", "/usr/lib/u-boot/qemu-riscv64/uboot.elf", "--firmware", "none"],
}
PROMPT = re.compile(rb"=> ")
AT = 0x84000000  # in memory, away from U-Boot, which is at its ends
BLOCK = 512


class UBoot(Console):
    def __init__(self, way, disks, *more):
        if not os.path.exists(PROGRAMS[way][1]):
            raise Skip("there is no U-Boot: install u-boot-qemu")
        command = [HAKO, "run", *PROGRAMS[way], "--lint=off", "--no-reboot", *more]
        super().__init__(command + [arg for disk in disks for arg in ("--disk", disk)])

    def prompt(self):
        self.expect(rb"Hit any key")
        self.write(b"\n")
        self.command_("version")

    def command_(self, command):
        """What it says to a command. It echoes; the marker is typed so that the echo has it not."""
        self.write(command.encode() + b"; echo en''d\n")
        return self.expect(rb"\r?\n(.*?)end\r?\n").group(1).decode(errors="replace")

    def end_by_reset(self):
        self.write(b"reset\n")
        assert self.wait() == 10, self.said()


def reads_and_writes(way, transport):
    random_disk("disk", 1000 * BLOCK)
    with open("disk", "rb") as f:
        before = f.read()
    with UBoot(way, ["disk"], "--virtio-mmio", transport) as u:
        u.prompt()
        assert "Capacity: 0.4 MB = 0.0 GB (1000 x 512)" in u.command_("virtio info")
        assert "1000 blocks read: OK" in u.command_("virtio read %x 0 3e8" % AT)
        said = u.command_("crc32 %x %x" % (AT, len(before)))
        assert "%08x" % zlib.crc32(before) in said, said
        # The last block, and one in the middle, with the first one's bytes.
        assert "1 blocks written: OK" in u.command_("virtio write %x 3e7 1" % AT)
        assert "1 blocks written: OK" in u.command_("virtio write %x 100 1" % AT)
        assert "read: ERROR" in u.command_("virtio read %x 3e8 1" % AT)  # there is none
        u.end_by_reset()
    with open("disk", "rb") as f:
        after = f.read()
    first, middle = before[:BLOCK], 0x100 * BLOCK
    assert after == before[:middle] + first + before[middle + BLOCK:-BLOCK] + first


def reads_and_writes_a_modern_disk():
    reads_and_writes("sbi", "modern")


def reads_and_writes_a_legacy_disk_in_m_mode():
    reads_and_writes("m-mode", "legacy")


def boots_linux_from_a_disk():
    kernel, initrd = (os.path.join(GUEST, name) for name in ("Image", "initrd.gz"))
    if not os.path.exists(kernel):
        raise Skip("there is no guest in %s: 'make guest-riscv64' makes it" % GUEST)
    sizes = []
    with open("boot", "wb") as disk:
        for name in (kernel, initrd):
            with open(name, "rb") as f:
                data = f.read()
            sizes.append(len(data))
            disk.write(data + bytes(-len(data) % BLOCK))
    blocks = [-(-size // BLOCK) for size in sizes]
    root = os.path.join(GUEST, "root.ext4")
    with UBoot("sbi", ["boot,ro", root + ",ro"], "--cpus", "2") as u:
        u.prompt()
        u.command_("virtio read 84000000 0 %x" % blocks[0])
        u.command_("virtio read 90000000 %x %x" % (blocks[0], blocks[1]))
        u.command_("setenv bootargs console=ttyS0 root=/dev/vdb ro")
        u.write(b"booti 84000000 90000000:%x ${fdtcontroladdr}\n" % sizes[1])
        u.login(re.compile(rb"hako:~# "))
        assert u.sh("cat /proc/cmdline") == "console=ttyS0 root=/dev/vdb ro"
        assert u.sh("grep -c ^processor /proc/cpuinfo") == "2"
        u.write(b"poweroff\n")
        assert u.wait() == 0, u.said()


run_tests([
    reads_and_writes_a_modern_disk,
    reads_and_writes_a_legacy_disk_in_m_mode,
    boots_linux_from_a_disk,
], prefix="hako-peer-")
