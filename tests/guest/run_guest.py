#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run one bare-metal guest on one machine and judge what it printed.

usage: run_guest.py --machine hako|qemu --program FILE [--engine NAME] [--cpus N] [--cpu MODEL]
                    [--differences FILE] GUEST IMAGE
       run_guest.py --skip REASON

A guest prints TAP on its UART and ends by PSCI SYSTEM_OFF. The run is good when the plan was
reached, every check passed but those that the table of differences names for this machine, and the
machine ended with the status that the guest calls for. Lines of a guest that direct the runner:

    # expect-status N      the machine's exit status, where it is not 0 (hako)
    # send TEXT            write TEXT to the UART, once the guest has printed this
    # disk N has HEX       sector N of the disk must be full of this at the end

Exits with 0, 1, or 77 when the machine is not there.
"""
import argparse
import fnmatch
import os
import re
import subprocess
import sys
import tempfile
import threading

PATIENCE = 60  # seconds for a guest
SECTOR = 512
DISK_SECTORS = 256


def read_differences(path, machine, guest):
    """Patterns of checks that fail, and of those that may: (pattern, always)."""
    patterns = []
    for line in open(path, encoding="utf-8"):
        if not line.strip() or line[0] in "#\t":
            continue
        fields = re.split(r"  +", line.strip(), maxsplit=2)
        if len(fields) != 3:
            sys.exit("%s: not three fields: %s" % (path, line))
        if fields[0].rstrip("?") == machine and fnmatch.fnmatch(guest, fields[1]):
            patterns.append((fields[2], not fields[0].endswith("?")))
    return patterns


def make_disk(directory, name="disk.img"):
    """A disk whose sector n begins with n; what devices.c knows about it."""
    path = os.path.join(directory, name)
    with open(path, "wb") as f:
        for n in range(DISK_SECTORS):
            f.write(n.to_bytes(4, "little") * (SECTOR // 4))
    return path


def command(args, disk):
    if args.machine == "hako":
        return [args.program, "run", "--quiet", "--engine", args.engine, "--kernel", args.image,
                "--mem", "128M", "--cpus", str(args.cpus), "--no-reboot", "--disk", disk,
                "--timeout", str(PATIENCE)]
    return [args.program, "-M", "virt,gic-version=3", "-cpu", args.cpu, "-accel", "tcg", "-m", "128M",
            "-smp", str(args.cpus), "-display", "none", "-nodefaults", "-serial", "stdio",
            "-no-reboot", "-kernel", args.image, "-global", "virtio-mmio.force-legacy=false",
            "-drive", "if=none,format=raw,id=d,file=" + disk, "-device", "virtio-blk-device,drive=d"]


class Run:
    """What a guest printed, judged line by line."""

    def __init__(self):
        self.lines = []
        self.checks = []  # (passed, name)
        self.plan = None
        self.status = 0
        self.bail = None
        self.disk = []  # (sector, what it is full of)

    def line(self, text, send):
        self.lines.append(text)
        m = re.match(r"(not )?ok (\d+) - (.*?)( # SKIP.*)?$", text)
        if m:
            self.checks.append((not m.group(1), m.group(3)))
            if int(m.group(2)) != len(self.checks):
                self.bail = "check %s is not number %d" % (m.group(2), len(self.checks))
        elif re.match(r"1\.\.\d+$", text):
            self.plan = int(text[3:])
        elif text.startswith("Bail out!"):
            self.bail = text
        elif text.startswith("# expect-status "):
            self.status = int(text.split()[2])
        elif re.match(r"# disk \d+ has [0-9a-f]+$", text):
            self.disk.append((int(text.split()[2]), bytes.fromhex(text.split()[4])))
        elif text.startswith("# send "):
            send(text[len("# send "):])


def run(args, disk):
    result = Run()
    child = subprocess.Popen(command(args, disk), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
    timer = threading.Timer(PATIENCE + 10, child.kill)
    timer.start()

    def send(text):
        child.stdin.write(text.encode())
        child.stdin.flush()

    errors = []
    reader = threading.Thread(target=lambda: errors.append(child.stderr.read()))
    reader.start()
    for raw in child.stdout:
        result.line(raw.decode(errors="replace").strip("\r\n"), send)
    status = child.wait()
    timer.cancel()
    reader.join()
    child.stdin.close()
    return result, status, errors[0].decode(errors="replace")


def judge(args, result, status, patterns, disk):
    """What is wrong, as lines."""
    wrong = []
    for number, (passed, name) in enumerate(result.checks, 1):
        listed = any(fnmatch.fnmatchcase(name, p) for p, _ in patterns)
        if not passed and not listed:
            wrong.append("check %d failed: %s" % (number, name))
    for p, always in patterns:
        names = [ok for ok, name in result.checks if fnmatch.fnmatchcase(name, p)]
        if always and names and all(names):
            wrong.append("the table of differences says that this fails: " + p)
    if result.bail:
        wrong.append(result.bail)
    elif result.plan is None:
        wrong.append("the guest did not reach its plan, after %d checks" % len(result.checks))
    elif result.plan != len(result.checks):
        wrong.append("%d checks of %d" % (len(result.checks), result.plan))
    for sector, fill in result.disk:
        if disk[sector * SECTOR:][:SECTOR] != fill * (SECTOR // len(fill)):
            wrong.append("sector %d of the disk is not full of %s" % (sector, fill.hex()))
    want = result.status if args.machine == "hako" else 0
    if status != want:
        wrong.append("exit status %d and not %d" % (status, want))
    return wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--skip")
    parser.add_argument("--machine", choices=["hako", "qemu"], default="hako")
    parser.add_argument("--program")
    parser.add_argument("--engine", default="soft")
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--cpu", default="cortex-a76")
    parser.add_argument("--differences")
    parser.add_argument("guest", nargs="?")
    parser.add_argument("image", nargs="?")
    args = parser.parse_args()
    if args.skip:
        print("skipped: " + args.skip)
        return 77
    patterns = []
    if args.differences:
        patterns = read_differences(args.differences, args.machine, args.guest)
    with tempfile.TemporaryDirectory() as directory:
        disk = make_disk(directory)
        result, status, errors = run(args, disk)
        with open(disk, "rb") as f:
            contents = f.read()
    print("\n".join(result.lines))
    if errors:
        print(errors, file=sys.stderr)
    wrong = judge(args, result, status, patterns, contents)
    for line in wrong:
        print("%s on %s: %s" % (args.guest, args.machine, line), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
