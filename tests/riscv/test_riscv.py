#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Bare-metal RISC-V guests on hako: a disk driver of one's own, and SBI's calls.

usage: test_riscv.py HAKO KIND ELF [OPTION...]       KIND: disk, slips, silent, sbi, flood,
                                                     sleep, clint, priv; prints TAP
       test_riscv.py --skip REASON
"""
import fcntl
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

F_SETPIPE_SZ = 1031  # fcntl's, from Python 3.10 on
LOREM = b"Lorem ipsum dolor sit amet\n"


def hako(*args):
    run = subprocess.run([sys.argv[1], "run", "--kernel", sys.argv[3], "--timeout", "60",
                          "--no-reboot", *args, *sys.argv[4:]], stdin=subprocess.DEVNULL,
                         capture_output=True, timeout=90)
    return run.returncode, run.stdout.decode(errors="replace"), run.stderr.decode()


def disk():
    with tempfile.TemporaryDirectory(prefix="hako-riscv-") as folder:
        path, plain, sarif = (os.path.join(folder, n) for n in ("lorem.txt", "r.json", "r.sarif"))
        with open(path, "wb") as f:
            f.write(LOREM.ljust(2000, b"."))
        status, out, err = hako("--disk", path, "--lint=deep", "--lint-report", plain)
        with open(path, "rb") as f:
            after = f.read()
        hako("--disk", path, "--lint=deep", "--lint-report", sarif)
        with open(plain, encoding="utf-8") as f:
            plain = json.load(f)
        with open(sarif, encoding="utf-8") as f:
            sarif = json.load(f)
    yield "the guest powered off", status == 0
    yield "the tree is one", "tree d0dfeed\n" in out
    yield "the capacity", "capacity 4\n" in out
    yield "the first sector", "first: Lorem ipsum dolor sit amet\n" in out
    yield "a write", "written\n" in out
    yield "nothing beyond the end", "the end holds\n" in out
    yield "the file has what was written", after[:512] == (
        b"hello from the guest\n" + LOREM.ljust(512, b".")[21:])
    yield "and nothing else", after[512:] == b"." * 1488
    yield from report(plain, sarif)
    yield from explain(out, err)


def report(plain, sarif):
    """The guest looks what is beyond the end, which the lint finds."""
    beyond = [f for f in plain["findings"] if f["rule"] == "V502"]
    yield "the report is ours", plain["schema"] == "hako-lint-report-1"
    yield "it says how the run ended", plain["outcome"] == "poweroff"
    yield "it has the finding, once", len(beyond) == 1
    yield "with its place", beyond[0]["device"] == "blk0" and beyond[0]["queue"] == 0
    yield "with its rule", beyond[0]["level"] == "MUST" and beyond[0]["section"] == "5.2.6.1"
    yield "with what was seen", "sector 4 of 4" in beyond[0]["saw"]
    yield "and is counted", plain["counts"]["MUST"] >= beyond[0]["count"] >= 1
    run = sarif["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    yield "SARIF of its version", sarif["version"] == "2.1.0"
    yield "with the same findings", ([r["ruleId"] for r in run["results"]] ==
                                     [f["rule"] for f in plain["findings"]])
    yield "whose rules are there", all(rules[r["ruleIndex"]]["id"] == r["ruleId"]
                                       for r in run["results"])


# What the lint finds in a driver with SLIPS (disk.c). Two words are two accesses on 32 bits.
SLIPS = {"V112": "features", "V302": "QueueNumMax", "V603": "QueueAlign", "V213": "InterruptACK",
         "V430": "no barrier between"}
SLIPS_64 = {**SLIPS, "V207": "configuration"}


def findings():
    """(Status, rules, messages) of a run. The guest looks what is beyond the end: V502."""
    with tempfile.NamedTemporaryFile(prefix="hako-riscv-") as f:
        f.write(bytes(2048))
        f.flush()
        status, _, err = hako("--disk", f.name, "--lint=deep")
    return status, set(re.findall(r"lint (V\d+) ", err)) - {"V502"}, err


def slips():
    """It works all the same; each slip is told with its rule, and nothing else is."""
    yield from disk()
    status, rules, err = findings()
    wanted = SLIPS_64 if "64" in os.path.basename(sys.argv[3]) else SLIPS
    yield "it powers off", status == 0
    for rule, what in wanted.items():
        line = next((x for x in err.splitlines() if "lint " + rule in x), "")
        yield f"{rule}: {what}", what in line and ("MUST" in line or "SHOULD" in line)
    yield "nothing but these", rules == set(wanted)
    yield from explain("", err)


def silent():
    _, rules, err = findings()
    yield "the driver breaks no rule", not rules
    yield from explain("", err)


def sbi():
    status, out, err = hako("--cpus", "2")
    yield from told(out)
    yield "the end was reached", out.endswith("end\n")
    yield "and a reset was asked for", status == 10
    yield from explain(out, err)


def flood():
    """Nobody reads for a while, and meanwhile the machine is held to look at it."""
    ours, its = os.pipe()
    fcntl.fcntl(ours, F_SETPIPE_SZ, 4096)
    with open(ours, "rb") as console, \
         subprocess.Popen([sys.argv[1], "run", "--kernel", sys.argv[3], *sys.argv[4:]],
                          stdin=subprocess.DEVNULL, stdout=its, stderr=subprocess.PIPE) as run:
        os.close(its)
        time.sleep(0.5)
        for _ in range(5):
            run.send_signal(signal.SIGUSR1)
            time.sleep(0.05)
        out = console.read()
        _, err = run.communicate(timeout=60)
    yield "it was looked at", err.count(b"ECALL") > 5
    yield "every character came", out == b"".join(b"%07x\n" % i for i in range(12000))
    yield "and it powered off", run.returncode == 0


def clint():
    status, out, err = hako()
    yield from told(out)
    yield "the end was reached", out.endswith("end\n")
    yield "and it powered off", status == 0
    yield from explain(out, err)


# Each kind of access with each value of an entry's low bits, as in priv.c: 4 is of an AMO.
AMOS = re.compile(r"^(\S.* 4: )((?:[0-9a-f][0adb]){256})$")


def amos(line, fault):
    """Its faults are stores' (volume I, 14.4), and A stays as it was; QEMU 7.2 says load's, or sets A."""
    found = AMOS.match(line)
    return line if not found else found[1] + re.sub("([0-9a-f])([0adb])", lambda m: (
        "f0" if m[1] in fault else m[0]), found[2])


def priv():
    """What the guest finds is what it finds on QEMU, line by line."""
    width = re.search("riscv(32|64)", os.path.basename(sys.argv[3]))[1]
    status, out, err = hako()
    lines = out.splitlines()
    yield "it powers off", status == 0
    yield "the end was reached", lines[-1:] == ["end"]
    found = [m[2] for m in map(AMOS.match, lines) if m]
    yield "an AMO's fault is a store's", found and not any("d" in x[::2] for x in found)
    qemu = shutil.which("qemu-system-riscv" + width)
    if qemu:
        there = subprocess.run([qemu, "-M", "virt", "-nographic", "-bios", "none", "-kernel",
                                sys.argv[3]], stdin=subprocess.DEVNULL, capture_output=True,
                               timeout=90).stdout.decode().splitlines()
        here, there = ([amos(x, "df") for x in each] for each in (lines, there))
        yield "and so it was on QEMU", here == there
        for a, b in zip(here, there):
            if a != b:
                print("# hako: %s\n# QEMU: %s" % (a, b))
    else:
        yield "and on QEMU # SKIP it is a cross-check only: install qemu-system-misc", True
    with tempfile.NamedTemporaryFile(prefix="hako-riscv-") as f:
        f.write(flat(sys.argv[3]))
        f.flush()
        run = subprocess.run([sys.argv[1], "run", "--kernel", "none", "--firmware", f.name, "--machine",
                              "riscv" + width, "--timeout", "60"], stdin=subprocess.DEVNULL,
                             capture_output=True, timeout=90)
    yield "bytes as firmware with no kernel behind it end there too", \
        (run.returncode, run.stdout.decode().splitlines()[-1:]) == (0, ["end"])
    yield from explain("", err + run.stderr.decode())


def flat(path):
    """What objcopy -O binary makes of an ELF file."""
    with open(path, "rb") as f:
        elf = f.read()
    wide = elf[4] == 2
    phoff = struct.unpack_from("<Q", elf, 32)[0] if wide else struct.unpack_from("<I", elf, 28)[0]
    size, count = struct.unpack_from("<HH", elf, 54 if wide else 42)
    memory = bytearray()
    for at in range(phoff, phoff + size * count, size):
        kind, off, _, addr, length = struct.unpack_from("<I4xQQQQ" if wide else "<IIIII", elf, at)
        if kind == 1 and length:  # PT_LOAD
            addr -= 0x80000000
            memory.extend(bytes(max(0, addr + length - len(memory))))
            memory[addr:addr + length] = elf[off:off + length]
    return bytes(memory)


def sleep():
    begun = time.monotonic()
    status, out, err = hako()
    # Longer than hako watches a guest that seems dead.
    yield "the guest woke up", out == "woken\n"
    yield "when it was time", time.monotonic() - begun > 2
    yield "and powered off", status == 0
    yield "a run that is stopped has a report too", stopped_report() == "stopped"
    yield from explain(out, err)


def stopped_report():
    with tempfile.TemporaryDirectory(prefix="hako-riscv-") as folder:
        path = os.path.join(folder, "r.json")
        with subprocess.Popen([sys.argv[1], "run", "--kernel", sys.argv[3], "--lint-report", path,
                               *sys.argv[4:]], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as run:
            time.sleep(1)
            run.send_signal(signal.SIGTERM)
            run.wait(60)
        with open(path, encoding="utf-8") as f:
            return json.load(f)["outcome"]


def told(out):
    """The guest's own checks."""
    for line in out.splitlines():
        if line.startswith(("good ", "BAD ")):
            yield line.partition(" ")[2], line.startswith("good ")


def explain(out, err):
    for line in (out + err).splitlines():
        print("# " + line)
    return ()


def main():
    if sys.argv[1] == "--skip":
        print("1..0 # SKIP " + sys.argv[2])
        return 0
    checks = list({"disk": disk, "slips": slips, "silent": silent, "sbi": sbi, "flood": flood,
                    "sleep": sleep, "clint": clint, "priv": priv}[sys.argv[2]]())
    print("1..%d" % len(checks))
    for i, (name, good) in enumerate(checks, 1):
        print("%sok %d - %s" % ("" if good else "not ", i, name))
    return 0 if all(good for _, good in checks) else 1


sys.exit(main())
