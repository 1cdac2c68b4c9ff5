#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""lldb drives hako, too: two CPUs, breakpoints, a step, a watchpoint, memory, the end.

usage: test_lldb.py HAKO TWO_KERNEL TWO_ELF      prints TAP; TWO is tests/debug/two.c
"""
import re
import shutil
import socket
import subprocess
import sys

COMMANDS = """
gdb-remote 127.0.0.1:%d
breakpoint set --name work_first
continue
register read pc
thread step-inst
breakpoint disable 1
breakpoint set --name work_second
continue
thread list
breakpoint disable 2
memory read --format unsigned --size 4 --count 1 &counts[1]
watchpoint set expression -w write -s 4 -- &counts[1]
continue
watchpoint delete -f
memory write --size 4 &done 1
continue
"""

# What must have been said, in this order.
SAID = [
    ("connected, at the first instruction", r"stop reason = signal SIGTRAP"),
    ("a breakpoint in C", r"stop reason = breakpoint 1\.1\n.*`work_first"),
    ("a register", r"\n +pc = 0x\w+ .*`work_first"),
    ("a step", r"stop reason = instruction step"),
    ("the other CPU", r"thread #2, stop reason = breakpoint 2\.1\n.*`work_second"),
    ("both are threads", r"\n +thread #1: [^\n]*\n\* thread #2: "),
    ("memory", r"\n0x\w+: \d+\n"),
    ("a watchpoint", r"thread #2, stop reason = watchpoint 1\n.*`work_second"),
    ("the end", r"exited with status = 0"),
]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def main():
    hako, kernel, elf = sys.argv[1:]
    if not shutil.which("lldb"):
        print("1..0 # SKIP there is no lldb: install lldb")
        return 0
    port = free_port()
    with subprocess.Popen([hako, "run", "--kernel", kernel, "--cpus", "2", "--mem", "64M",
                           "--gdb=%d" % port, "--timeout", "60"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as guest:
        guest.stderr.readline()  # It says when it listens.
        lines = [x for x in (COMMANDS % port).splitlines() if x]
        said = subprocess.run(["lldb", "--no-lldbinit", "--batch",
                               *(w for x in lines for w in ("-o", x)), elf],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=90, check=False).stdout.decode()
        guest.terminate()
        out, _ = guest.communicate(timeout=30)
    at, good = 0, []
    for name, pattern in SAID:
        found = re.compile(pattern).search(said, at)
        good.append((name, bool(found)))
        at = found.end() if found else at
    good.append(("the guest went on to its end", out == b"counting\ndone\n"))
    print("1..%d" % len(good))
    for i, (name, ok) in enumerate(good, 1):
        print("%sok %d - %s" % ("" if ok else "not ", i, name))
    if not all(ok for _, ok in good):
        print("\n".join("# " + x for x in said.splitlines() + [repr(out)]))
    return 0 if all(ok for _, ok in good) else 1


sys.exit(main())
