#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""--trace mmio, irq and insn: what is told of the kernel in guest/kernel, reading and writing a disk.

usage: test_trace.py HAKO ARCH KERNEL ELF      prints TAP
"""
import re
import subprocess
import sys
import tempfile

HAKO, ARCH, KERNEL, ELF = sys.argv[1:]
ARM = ARCH == "arm64"


def run(trace, *options):
    with tempfile.NamedTemporaryFile(prefix="hako-trace-") as disk:
        disk.write(b"Lorem ipsum dolor sit amet\n".ljust(65536, b"\0"))
        disk.flush()
        r = subprocess.run([HAKO, "run", "--kernel", KERNEL, "--mem", "64M", "--disk", disk.name,
                            "--append", "story", "--no-reboot", "--timeout", "60", "--trace", trace,
                            "--virtio-mmio", "modern", *options],
                           stdin=subprocess.DEVNULL, capture_output=True, timeout=90)
    return r.returncode, r.stdout.decode(errors="replace"), r.stderr.decode()


def main():
    checks = []

    def check(name, good):
        checks.append((name, bool(good)))

    status, out, err = run("mmio,irq")
    check("the guest powers off", status == 0 and "Lorem" in out)
    check("a read of a register", re.search(
        r"^hako: mmio: read 4 bytes from 0x\w+ \(blk0\+0x0\): 0x74726976$", err, re.M))
    check("a write of one", re.search(
        r"^hako: mmio: write 4 bytes to 0x\w+ \(blk0\+0x70\): 0x1$", err, re.M))
    check("the notification", re.search(r"write 4 bytes to 0x\w+ \(blk0\+0x50\): 0x0", err))
    line = r"blk0, pin \d+: "
    check("the disk's line goes up and down", re.search(
        rf"^hako: irq: {line}raised$[^$]*^hako: irq: {line}lowered$", err, re.M))
    cpu = "cpu0, " + ("IRQ" if ARM else "supervisor external") + ": "
    check("and the CPU's", re.search(rf"irq: {cpu}raised$[^$]*irq: {cpu}lowered$", err, re.M))
    check("no more than was asked for", "cpu0: 0x" not in err)

    status, out, err = run("insn", *(["--symbols", ELF] if ARM else []))
    insns = re.findall(r"^hako: cpu0: 0x(\w+)  ([0-9a-f ]{8})  (\S+)\s+(\S+)$", err, re.M)
    check("it powers off, traced", status == 0 and "Lorem" in out)
    check("a hundred instructions", len(insns) == 100)
    check("the last is the call of the firmware",
          insns and insns[-1][2] == ("HVC" if ARM else "ECALL"))
    check("each has a name, and a place", all(i[2] != "?" for i in insns))
    check("nothing else", "mmio" not in err and "irq:" not in err)

    for i, (name, good) in enumerate(checks, 1):
        print("%sok %d - %s" % ("" if good else "not ", i, name))
    print("1..%d" % len(checks))
    if not all(good for _, good in checks):
        for text in (out + err).splitlines()[-60:]:
            print("# " + text)
    return 0 if all(good for _, good in checks) else 1


sys.exit(main())
