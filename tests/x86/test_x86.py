#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A bare-metal x86 guest on hako, with this host's KVM.

usage: test_x86.py HAKO KIND FILE        KIND: elf, pvh, bzimage (FILE is what goes into one)
       test_x86.py --skip REASON         prints TAP

Every guest's last word on its command line tells it what to do (guest.c).
"""
import os
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20
INITRD = b"hello, this is an initrd"


def bzimage(code):
    """A bzImage of that code (Linux, Documentation/arch/x86/boot.rst)."""
    code = code.ljust(-(-len(code) // 16) * 16, b"\0")
    setup = bytearray(1024)
    fields = [(0x1f1, 1, 1), (0x1f4, len(code) // 16, 4), (0x1fe, 0xaa55, 2), (0x200, 0x6aeb, 2),
              (0x202, 0x53726448, 4), (0x206, 0x20c, 2), (0x22c, 0x7fffffff, 4),
              (0x236, 1, 2), (0x238, 255, 4), (0x258, MIB, 8), (0x260, 4 * MIB, 4)]
    for off, value, size in fields:
        setup[off:off + size] = value.to_bytes(size, "little")
    return bytes(setup) + code


class Tests:
    def __init__(self, hako, kind, path, folder):
        self.hako, self.kind, self.folder = hako, kind, folder
        self.kernel = path
        if kind == "bzimage":
            with open(path, "rb") as f:
                self.kernel = self.write("kernel", bzimage(f.read()))

    def write(self, name, data):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as f:
            f.write(data)
        return path

    def run(self, word, *args):
        """Status and output of a run, and the output's lines as a dictionary of lists."""
        run = subprocess.run([self.hako, "run", "--kernel", self.kernel, "--engine", "kvm",
                              "--timeout", "60", "--append", "@" + word, *args],
                             stdin=subprocess.DEVNULL, capture_output=True, timeout=90, check=False)
        lines = {}
        for line in run.stdout.decode(errors="replace").splitlines():
            name, _, rest = line.partition(" ")
            lines.setdefault(name, []).append(rest)
        for line in (run.stdout + run.stderr).decode(errors="replace").splitlines():
            print("# " + line)
        return run.returncode, lines, run.stderr.decode()

    def boot(self):
        status, said, _ = self.run("b", "--mem", "64M", "--cpus", "3",
                                   "--initrd", self.write("initrd", INITRD))
        yield "it powered off by ACPI", status == 0 and "end" in said
        yield "the tables are those of its kind", \
            said["magic"] == ["336ec578" if self.kind == "pvh" else "53726448"]
        yield "memory", said["map"] == ["0 9fc00 1", "9fc00 400 2", "e0000 20000 2",
                                        "100000 3f00000 1"]
        yield "the initrd", (said["initrd-size"] == ["%x" % len(INITRD)] and
                             said["initrd-text"] == ["hello"] and
                             int(said["initrd"][0], 16) % 4096 == 0)
        yield "the command line", said["cmdline"] == ["console=ttyS0 cryptomgr.notests @b"]
        yield "ACPI", said["rsdp"] == ["RSD PTR"] and said["cpus"] == ["3"]

    def memory(self):
        status, said, _ = self.run("b", "--mem", "5G")
        yield "memory above 4 GiB", status == 0 and said["map"][3:] == [
            "100000 cff00000 1", "100000000 70000000 1"]
        yield "no initrd", said["initrd"] == ["0"] and said["initrd-size"] == ["0"]

    def slots(self):
        disks = [self.write("disk%d" % i, bytes(4096)) for i in range(16)]
        args = [a for d in disks for a in ("--disk", d)]
        parameters = ["virtio_mmio.device=4K@0xd000%x000:%d" % (i, gsi) for i, gsi in
                      enumerate([5, 6, 7, 9, 10, 11] + list(range(14, 24)))]
        line = "console=ttyS0 root=/dev/vda rw cryptomgr.notests @b"
        if self.kind == "bzimage":  # it takes 255 characters
            args, parameters = args[:4], parameters[:2]
        # The ELF file for 64 bits does not look for ACPI, the one for PVH does, and of a bzImage
        # nobody knows.
        status, said, _ = self.run("b", *args)
        yield "slots on the command line", status == 0 and said["cmdline"] == [
            " ".join([line] + (parameters if self.kind == "elf" else []))]
        status, said, err = self.run("b noapic acpi=off", *args)
        yield "with acpi=off always", status == 0 and said["cmdline"] == [
            " ".join([line, "noapic", "acpi=off"] + parameters)] and "noapic" not in err
        status, _, err = self.run("b noapic")
        yield "no interrupts without the APIC", status == 0 and "take the word out" in err
        if self.kind == "bzimage":
            status, _, err = self.run("b " + "x" * 250)
            yield "a longer one is refused", status == 1 and "takes at most 255" in err
            return
        status, _, err = self.run("b", *args, "--disk", self.write("disk16", bytes(512)))
        yield "one disk too many", status == 1 and "17 disks" in err and "16" in err

    def devices(self):
        high = ["--mem", "4G"] if self.kind != "pvh" else []
        before = int(time.time())
        status, said, _ = self.run("d" + ("h" if high else ""), *high)
        century, *now = (int(n) for n in said["time"][0].split())
        window = [time.gmtime(t) for t in range(before, int(time.time()) + 1)]
        yield "it powered off", status == 0
        yield "the time", century == 20 and now in [
            [t.tm_year % 100, *t[1:6]] for t in window]
        yield "nobody answers", (said["port"], said["ports"], said["memory"], said["slot"]) == (
            ["ff"], ["ffffffff"], ["ffffffff"], ["ffffffff"])
        if high:
            yield "a word at 4 GiB", said["high"] == ["0", "123456789abcdef"]

    def resets(self):
        for how, name in (("a", "ACPI"), ("k", "the keyboard controller"), ("t", "triple fault")):
            status, said, _ = self.run("r" + how, "--no-reboot")
            yield "reset by %s ends the run" % name, status == 10 and "end" not in said
            status, said, _ = self.run("r" + how)
            yield "or boots again", (status == 0 and "end" in said and "first" in said and
                                     "second" in said)


def main():
    if sys.argv[1] == "--skip":
        print("1..0 # SKIP " + sys.argv[2])
        return 0
    doctor = subprocess.run([sys.argv[1], "doctor"], capture_output=True, text=True, check=False)
    kvm = [line.split(None, 2) for line in doctor.stdout.splitlines() if line.startswith("  kvm ")]
    if not kvm or kvm[0][1] != "yes" or "x86-64" not in kvm[0][2]:
        print("1..0 # SKIP no KVM for x86-64 here: " + (kvm[0][2] if kvm else doctor.stderr))
        return 0
    with tempfile.TemporaryDirectory(prefix="hako-x86-") as folder:
        tests = Tests(*sys.argv[1:4], folder)
        count = failed = 0
        for test in (tests.boot, tests.memory, tests.slots, tests.devices, tests.resets):
            for name, good in test():
                count += 1
                failed += not good
                print("%sok %d - %s" % ("" if good else "not ", count, name))
    print("1..%d" % count)
    return 1 if failed else 0


sys.exit(main())
