#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A real gdb drives an x86-64 guest on this host's KVM: debug registers, breakpoints in memory,
steps, registers of all kinds, two CPUs, Ctrl-C, resets.

usage: test_gdb_x86.py HAKO ELF       prints TAP
       test_gdb_x86.py --skip REASON

ELF is tests/debug/x86.c.
"""
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

import test_gdb
from test_gdb import (Gdb, Hako, check, checks, counts, one_runs, run_and_interrupt, second_is_met,
                      value)

NAMES = "abcdef"


def go(gdb):
    """Continue, for two seconds at most."""
    stop = threading.Timer(2, gdb.process.send_signal, [signal.SIGINT])
    stop.start()
    text = gdb("continue")
    stop.cancel()
    return text


def test_points(tmp):
    where = tmp + "/gdb.sock"
    with Hako(ELF, where) as hako, Gdb(ELF) as gdb:
        text = gdb("target remote " + where)
        check("connected, at the first instruction", " start" in text, text, hako.said)
        text = gdb("show architecture")
        check("gdb knows what it is", "i386:x86-64" in text, text)
        text = gdb("info threads")
        check("a CPU is a thread", "(CPU 0)" in text, text)
        bytes_before = gdb("x/8bx a")

        gdb("break guest_main")
        text = gdb("continue")
        check("a breakpoint at a function of C", "Breakpoint 1, guest_main" in text, text)
        text = gdb("backtrace")
        check("who called it", re.search(r"#1 .* in start", text), text)
        text = gdb("info registers eflags") + gdb("info registers cs")
        check("flags by name, and a selector", re.search(r"eflags +0x\w+ +\[.*\]", text) and
              re.search(r"cs +0x10 ", text), text)
        check("control registers", value(gdb("print/x $cr0")) & 0x80000001 == 0x80000001 and
              value(gdb("print/x $efer")) == 0x500)
        text = gdb("monitor walk 0x100000")
        check("a walk in words", "4-level paging" in text and "2 MiB at 0x0" in text and
              "physical address 0x100000\n" in text, text)
        text = gdb("print *(char *)0x7fffffffff00")
        check("memory that is not there", "Cannot access memory" in text, text)

        gdb("tbreak steps")
        gdb("continue")
        text = gdb("print $xmm3.v2_double")
        check("SSE", "{2, 4}" in text, text)
        gdb("set var $xmm3.v2_double[1] = 7.5")
        text = gdb("print $xmm3.v2_double")
        check("and it can be set", "{2, 7.5}" in text, text)
        gdb("set var $fctrl = 0x27f")
        gdb("set var $st0 = 1.25")
        text = gdb("print $st0") + gdb("print $mxcsr")
        check("the FPU's", value(gdb("print/x $fctrl")) == 0x27f and "1.25" in text and
              "IM DM ZM OM UM PM" in text, text)
        gdb("set var $r15 = 0x123456789abcdef0")
        gdb("set var $fs_base = 0x1234")
        check("general ones, and the base of a segment",
              value(gdb("print/x $r15")) == 0x123456789abcdef0 and
              value(gdb("print/x $fs_base")) == 0x1234)
        pcs = []
        for _ in range(9):
            pcs.append(value(gdb("print/x $pc")))
            gdb("stepi")
        check("steps", len(set(pcs)) > 3 and len(set(pcs)) < 9, pcs)
        check("that the guest does not see: TF is clear", value(gdb("print $rax & 0x100")) == 0)

        gdb("delete")
        for name in NAMES:
            gdb("break " + name)
        text = gdb("continue")
        check("a breakpoint after another", re.search(r", a \(", text), text)
        check("memory does not show what is in it", gdb("x/8bx a") == bytes_before)
        seen = "".join(re.search(r", (\w) \(", gdb("continue")).group(1) for _ in NAMES[1:])
        check("six breakpoints, with four debug registers", seen == NAMES[1:], seen)

        gdb("set var resets_left = 1")
        seen = "".join(re.search(r", (\w) \(", gdb("continue")).group(1) for _ in NAMES)
        check("the guest resets itself, and they are still there", seen == NAMES, seen)

        gdb("delete")
        gdb("watch wide")
        text = go(gdb)
        if "SIGINT" in text:
            check("a watchpoint # SKIP this KVM does not watch data", True)
        else:
            check("a watchpoint", "Old value = 0" in text and "New value = 1" in text, text)
            gdb("delete")
            gdb("awatch counts[0]")
            text = gdb("continue") + gdb("continue")
            check("reads and writes are watched", "Value = 0" in text or "Old value = 0" in text,
                  text)
        gdb("delete")
        gdb("watch *(char (*)[64])stacks")
        text = gdb("continue")
        check("a watchpoint that is too wide is refused", "not insert" in text, text)
        gdb("delete")
        gdb("set var done = 1")
        text = gdb("continue")
        check("the end", "exited normally" in text, text)
        status, out, err = hako.end()
        check("the guest has ended", status == 0 and "done" in out, status, out, err)


def test_own(tmp):
    """Breakpoints in memory only, as others have all debug registers; and one of the guest's own."""
    where = tmp + "/gdb.sock"
    with Hako(ELF, where) as hako, Gdb(ELF) as gdb:
        gdb("target remote " + where)
        for n in range(4):  # gdb sets them in the order of addresses
            gdb("break *%#x" % (0x60000 + n))
        gdb("break guest_main")
        text = gdb("continue")
        check("a breakpoint in memory", "guest_main" in text, text)
        pc = value(gdb("print/x $pc"))
        gdb("stepi")
        check("a step from it", 0 < value(gdb("print/x $pc")) - pc < 16)
        gdb("set var with_own = 1")
        gdb("break a")
        text = gdb("continue")
        if "exited" in text and "emulation" in hako.end()[2]:
            check("a breakpoint of the guest's own # SKIP this KVM does not know INT3", True)
            return
        check("a breakpoint of the guest's own", re.search(r", a \(", text), text)
        check("is the guest's", value(gdb("print own_breakpoints")) == 1)
        gdb("set var resets_left = 1")
        text = gdb("continue")
        check("a reset of the guest's, and it is still there", "guest_main" in text, text)
        gdb("kill")
        hako.end()


def test_two(tmp):
    where = tmp + "/gdb.sock"
    with Hako(ELF, where, "--cpus", "2") as hako, Gdb(ELF) as gdb:
        gdb("target remote " + where)
        second_is_met(gdb)

        one_runs(gdb)

        first, second = counts(gdb, 0), counts(gdb, 1)
        text = run_and_interrupt(gdb)
        check("Ctrl-C halts", "SIGINT" in text, text)
        check("both had run", counts(gdb, 0) > first and counts(gdb, 1) > second)

        text = gdb("monitor reset")
        check("a reset", "reset" in text, text)
        gdb("maintenance flush register-cache")
        gdb("tbreak work_second")
        text = gdb("continue")
        check("and it gets there again", "work_second" in text, text)
        gdb("set var done = 1")
        text = gdb("detach")
        status, out, err = hako.end()
        check("detached, it ends by itself", status == 0 and "powered off" in err, status, out, err)


def main():
    global ELF
    if sys.argv[1] == "--skip":
        print("1..0 # SKIP " + sys.argv[2])
        return 0
    test_gdb.GDB = shutil.which("gdb-multiarch")
    if not test_gdb.GDB:
        print("1..0 # SKIP there is no gdb-multiarch; install the package")
        return 0
    test_gdb.HAKO, ELF = sys.argv[1:]
    first = subprocess.run([test_gdb.HAKO, "run", "--kernel", ELF, "--gdb=0/", "--timeout", "1"],
                           capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if "/dev/kvm" in first.stderr or "KVM_CAP_SET_GUEST_DEBUG" in first.stderr:
        print("1..0 # SKIP " + first.stderr.strip())
        return 0
    for test in (test_points, test_own, test_two):
        with tempfile.TemporaryDirectory(prefix="hako-gdb-") as tmp:
            test(tmp)
    print("1..%d" % len(checks))
    return 0 if all(checks) else 1


if __name__ == "__main__":
    sys.exit(main())
