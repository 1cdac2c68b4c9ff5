#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What --debug-guest says of a guest that is lost: the sentences, the names, the walk.

usage: test_lost.py HAKO CASE ARCH KERNEL ELF      prints TAP; CASE as LOST_* in lost.c
"""
import re
import subprocess
import sys

HAKO, CASE, ARCH, KERNEL, ELF = sys.argv[1:]
ARM = ARCH == "arm64"
UNIT = "CPU 0" if ARM else "hart 0"
MODE = "EL1" if ARM else "S-mode"
VECTOR = "VBAR_EL1" if ARM else "stvec"
# The level at which the lowest addresses have an entry behind the first table
DEEP = {"arm64": 2, "riscv64": 1, "riscv32": 0}[ARCH]
TOP = {"arm64": 1, "riscv64": 2, "riscv32": 1}[ARCH]
NOWHERE = "neither memory nor a device is at physical address "
STORE = rf"store to 0x10 in {MODE}: "
HANGS = "the guest hangs: it goes round in a loop in which nothing changes, .* can interrupt it"
MASKED = "interrupts: PSTATE.I is 1, PSTATE.F is 1; " if ARM else \
    r"interrupts: sstatus.SIE is 0; enabled in sie: .*; pending in sip: "
NOTHING_PENDING = "none is pending" if ARM else "none"

# What must be in the report, in this order, and the exit status. 11: it can never run again.
CASES = {
    "NO_VECTOR": (11, [
        rf"a trap of {UNIT} has no handler: {VECTOR} is 0x0; it was never set",
        STORE + NOWHERE + "0x10",
        r"by the instruction at pc 0x\w+ store_to\+0x",
        r"then, at the handler: instruction fetch at 0x\w+ in " + MODE,
        r"write 4 bytes to 0x10: no device is there: 0x1" if not ARM
        else r"write 4 bytes to 0x9000000 \(PL011 UART\+0x0\): 0xa",
    ]),
    "ILLEGAL": (11, [
        rf"a trap of {UNIT} has no handler",
        ("undefined" if ARM else "illegal") + r" instruction 0x0 \(zeros are no code\)",
        r"by the instruction at pc 0x\w+ lost",
    ]),
    "M_MODE": (11, [
        rf"a trap of {UNIT} has no handler",
        r"illegal instruction 0xf14\w+ in S-mode",
        "M-mode only: .* --firmware none",
    ]),
    "EL2": (11, [
        rf"a trap of {UNIT} has no handler",
        r"undefined instruction 0xd51c\w+ in EL1",
        "EL2 or EL3 only: CPUs begin at EL1",
    ]),
    "BAD_HANDLER": (11, [
        rf"the trap handler of {UNIT} faults itself, at the same place each time",
        rf"store to 0x8 in {MODE}: {NOWHERE}0x8",
        r"by the instruction at pc 0x\w+ handler\+0x",
    ]),
    "RETRY": (11, [
        rf"the trap handler of {UNIT} returns to the instruction that faulted",
        STORE + NOWHERE + "0x10",
        r"by the instruction at pc 0x\w+ store_to",
    ]),
    # It resets, and does so for ever: that is told of a few times only.
    "JUMPS": (12, [rf"{UNIT} jumps to where no instruction is"]),
    # The handler powers off: that is not taken from it.
    "JUMP": (0, [
        rf"{UNIT} jumps to where no instruction is",
        rf"instruction fetch at 0x1234560 in {MODE}: {NOWHERE}0x1234560",
        r"the return address is 0x\w+ lost",
    ]),
    "PANIC": (0, [
        rf"the guest powers off in the handler of a trap of {UNIT}, which has not returned",
        STORE + NOWHERE + "0x10",
        r"by the instruction at pc 0x\w+ store_to",
        "registers as they are now, in the handler",
    ]),
    "SPIN": (11, [
        HANGS,
        rf"{UNIT} spins at pc 0x\w+ wait_for_used",
        MASKED + NOTHING_PENDING,
    ]),
    "WAIT": (11, [
        "the guest waits, and nothing can wake it",
        rf"{UNIT} waits \(\w+\) at pc 0x\w+ lost",
    ]),
    "HANDLER_SPINS": (11, [
        HANGS,
        rf"{UNIT} spins at pc 0x\w+ handler",
        "it is in the handler of a trap, and has not returned from it",
        STORE + NOWHERE + "0x10",
        r"by the instruction at pc 0x\w+ store_to",
    ]),
    # Its handler goes round for ever.
    "NULL": (11, [
        rf"{UNIT} jumps to where no instruction is: by a null pointer\?",
        rf"instruction fetch at 0x0 in {MODE}: {NOWHERE}0x0",
        r"the return address is 0x\w+ lost",
        HANGS,
        rf"{UNIT} spins at pc 0x\w+ handler",
    ]),
    "SELF": (11, [
        HANGS,
        rf"{UNIT} spins at pc 0x\w+ lost",
        "PSTATE.I is 0" if ARM else "sstatus.SIE is 1; enabled in sie: none",
    ]),
    "LOCK": (11, [
        HANGS,
        rf"{UNIT} spins at pc 0x\w+ take_lock",
        MASKED + NOTHING_PENDING,
        rf"{UNIT[:-1]}1 waits \(\w+\) at pc 0x\w+ guest_second",
    ]),
    "MASKED": (11, [
        HANGS,
        rf"{UNIT} spins at pc 0x\w+ lost",
        MASKED + ("an IRQ is pending" if ARM else "supervisor software"),
    ]),
    "DEAF": (11, [
        "the guest waits, and nothing can wake it",
        rf"{UNIT} waits \(\w+\) at pc 0x\w+ lost",
        "though a timer raises its own: the GIC does not let it through" if ARM else
        "enabled in sie: none; pending in sip: supervisor timer",
    ]),
    "PLIC": (11, [
        HANGS,
        rf"{UNIT} waits \(\w+\) at pc 0x\w+ lost",
        "sstatus.SIE is 1; enabled in sie: none",
    ]),
    "ZEROS": (11, [
        rf"the trap handler of {UNIT} faults itself, at the same place each time",
        ("undefined" if ARM else "illegal") + r" instruction 0x0 \(zeros are no code\)",
        r"by the instruction at pc 0x\w+ zeros\+0x200",
        "it was there because of this:",
        STORE + NOWHERE + "0x10",
        rf"{VECTOR} is 0x\w+$",
    ]),
    "TURNS": (11, [
        rf"the trap handler of {UNIT} faults itself, and so never gets to its end",
        rf"(load from|store to) 0x8 in {MODE}: {NOWHERE}0x8",
        r"by the instruction at pc 0x\w+ handler\+0x",
    ]),
    "STACK": (11, [
        rf"the trap handler of {UNIT} faults itself, at the same place each time",
        rf"store to 0x\w+ in {MODE}: {NOWHERE}0x\w+",
        r"by the instruction at pc 0x\w+ handler",
        r"that is at the stack pointer, 0x\w+: has the stack overflowed",
        "it was there because of this:",
        r"by the instruction at pc 0x\w+ deeper",
    ]),
    "STORM": (0, [
        rf"an interrupt of {UNIT} comes again as soon as its handler returns, 100000 times",
        "IRQ" if ARM else "supervisor timer interrupt in S-mode",
        r"it came at pc 0x\w+ lost",
        "a timer set to a later time",
    ]),
    # These are not lost.
    "POLL": (0, []),
    "OFF_ON": (0, []),
    "COUNT": (12, []),
    "CALLS": (12, []),
    "IDLE": (12, []),
    "PAGING": (11, [
        rf"a trap of {UNIT} has no handler",
        rf"instruction fetch at 0x\w+ in {MODE}: the level-{TOP} entry is not valid",
        "which follows the one that changed the address translation",
        rf"level {TOP}: entry at 0x\w+ is 0x0+: not valid",
    ]),
    "UNMAPPED": (11, [
        rf"a trap of {UNIT} has no handler",
        STORE + f"the level-{DEEP} entry is not valid",
        r"by the instruction at pc 0x\w+ store_to",
        r"translation of 0x10: .*tables at 0x",
        rf"level {TOP}: entry at 0x\w+ is 0x\w+: a table at 0x",
        rf"level {DEEP}: entry at 0x\w+ is 0x0+: not valid",
    ]),
    "READ_ONLY": (11, [
        STORE + (r"it is read-only \(AP\[2\] = 1\)" if ARM else r"the page is not writable \(W = 0\)"),
        rf"level {DEEP}: entry at 0x\w+ is 0x\w+: \d \wiB at 0x",
    ]),
}

# What is said without --debug-guest, in one sentence.
SHORT = {
    "NO_VECTOR": rf"a trap has no handler .*{VECTOR} is 0\): {STORE}{NOWHERE}0x10, by .*tells more",
    "M_MODE": "a trap has no handler .*illegal instruction 0xf14.*--firmware none",
    "EL2": "a trap has no handler .*undefined instruction.*CPUs begin at EL1",
    "BAD_HANDLER": "its trap handler faults itself",
    "ZEROS": rf"a trap has no handler .*{VECTOR} is 0x\w+\): {STORE}",
    "STACK": rf"its trap handler faults itself.*store to 0x[37]f",
    "POLL": None,
    "OFF_ON": None,
}


def said(*options):
    """The first sentence about the guest, without --debug-guest: of some, there is none."""
    with subprocess.Popen([HAKO, "run", "--kernel", KERNEL, "--mem", "64M", "--timeout", "20",
                           *options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE) as p:
        for line in p.stderr:
            if b"guest: " in line:
                p.terminate()
                return line.decode()
    return None


def run(*options):
    r = subprocess.run([HAKO, "run", "--kernel", KERNEL, "--mem", "64M", "--timeout",
                        "1" if CASE in ("COUNT", "CALLS", "IDLE", "JUMPS") else "20", *options],
                       stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    return r.returncode, r.stdout.decode(), r.stderr.decode()


def main():
    options = ["--symbols", ELF] if ARM else []
    if CASE in ("LOCK", "OFF_ON"):
        options += ["--cpus", "2"]
    status, out, err = run("--debug-guest", *options)
    wanted, sentences = CASES[CASE]
    if CASE == "JUMPS":
        ran = out.startswith("lost\nlost\n")
    else:
        ran = out == ("lost\nfound\n" if CASE in ("POLL", "OFF_ON") else "lost\n")
    checks = [("the guest ran", ran), (f"status {wanted}", status == wanted)]
    at = 0
    for sentence in sentences:
        found = re.compile(sentence, re.M).search(err, at)
        checks.append((sentence.replace("#", ""), bool(found)))
        at = found.end() if found else at
    if sentences:
        checks.append(("registers", re.search(r" (x2|gp) [0-9a-f]{8}", err)))
        checks.append(("device accesses", "device" in err))
    else:
        checks.append(("no word of it", "guest: " not in err))
    if CASE == "JUMPS":
        checks.append(("a few times", 1 < err.count("jumps to where") <= 4 and
                       err.count("did it panic") <= 4))
    else:
        checks.append(("nothing twice", err.count("guest: ") < 60))
    if CASE in SHORT:
        sentence, text = SHORT[CASE], said(*options)
        checks.append((f"without --debug-guest: {sentence}",
                       bool(re.search(sentence, text or "")) if sentence else text is None))
    if CASE == "M_MODE":
        # The other way round: what has printed is a kernel for S-mode.
        text = said("--firmware", "none") or ""
        checks.append(("an SBI call in M-mode", re.search(
            r"a trap has no handler .*\(mtvec is 0\): ecall in M-mode.*leave out --firmware", text)))
    for i, (name, good) in enumerate(checks, 1):
        print("%sok %d - %s" % ("" if good else "not ", i, name))
    print("1..%d" % len(checks))
    for line in err.splitlines():
        print("# " + line)
    return 0 if all(good for _, good in checks) else 1


sys.exit(main())
