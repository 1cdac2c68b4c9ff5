#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Bare-metal RISC-V guests on hako: a disk driver of one's own, and SBI's calls.

usage: test_riscv.py HAKO KIND ELF [OPTION...]       KIND: disk, sbi, sleep; prints TAP
       test_riscv.py --skip REASON
"""
import os
import subprocess
import sys
import tempfile
import time

LOREM = b"Lorem ipsum dolor sit amet\n"


def hako(*args):
    run = subprocess.run([sys.argv[1], "run", "--kernel", sys.argv[3], "--timeout", "60",
                          "--no-reboot", *args, *sys.argv[4:]], stdin=subprocess.DEVNULL,
                         capture_output=True, timeout=90)
    return run.returncode, run.stdout.decode(errors="replace"), run.stderr.decode()


def disk():
    path = os.path.join(tempfile.mkdtemp(prefix="hako-riscv-"), "lorem.txt")
    with open(path, "wb") as f:
        f.write(LOREM.ljust(2000, b"."))
    try:
        status, out, err = hako("--disk", path)
        with open(path, "rb") as f:
            after = f.read()
    finally:
        os.unlink(path)
        os.rmdir(os.path.dirname(path))
    yield "the guest powered off", status == 0
    yield "the tree is one", "tree d0dfeed\n" in out
    yield "the capacity", "capacity 4\n" in out
    yield "the first sector", "first: Lorem ipsum dolor sit amet\n" in out
    yield "a write", "written\n" in out
    yield "nothing beyond the end", "the end holds\n" in out
    yield "the file has what was written", after[:512] == (
        b"hello from the guest\n" + LOREM.ljust(512, b".")[21:])
    yield "and nothing else", after[512:] == b"." * 1488
    yield from explain(out, err)


def sbi():
    status, out, err = hako("--cpus", "2")
    for line in out.splitlines():
        if line.startswith(("good ", "BAD ")):
            yield line.partition(" ")[2], line.startswith("good ")
    yield "the end was reached", out.endswith("end\n")
    yield "and a reset was asked for", status == 10
    yield from explain(out, err)


def sleep():
    begun = time.monotonic()
    status, out, err = hako()
    # Longer than hako watches a guest that seems dead.
    yield "the guest woke up", out == "woken\n"
    yield "when it was time", time.monotonic() - begun > 2
    yield "and powered off", status == 0
    yield from explain(out, err)


def explain(out, err):
    for line in (out + err).splitlines():
        print("# " + line)
    return ()


def main():
    if sys.argv[1] == "--skip":
        print("1..0 # SKIP " + sys.argv[2])
        return 0
    checks = list({"disk": disk, "sbi": sbi, "sleep": sleep}[sys.argv[2]]())
    print("1..%d" % len(checks))
    for i, (name, good) in enumerate(checks, 1):
        print("%sok %d - %s" % ("" if good else "not ", i, name))
    return 0 if all(good for _, good in checks) else 1


sys.exit(main())
