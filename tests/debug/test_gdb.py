#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A real gdb drives hako: breakpoints, steps, registers, memory, two CPUs, Ctrl-C.

usage: test_gdb.py HAKO ARCH TWO_KERNEL TWO_ELF KERNEL ELF      prints TAP
       test_gdb.py --skip REASON

TWO is tests/debug/two.c, the other the kernel of guest/kernel; each as what is booted, and as an
ELF file. ARCH: arm64, riscv64 or riscv32.
"""
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

PATIENCE = 60  # seconds for anything
checks = []


def check(name, good, *details):
    checks.append(bool(good))
    print("%sok %d - %s" % ("" if good else "not ", len(checks), name))
    if not good:
        for line in "\n".join(map(str, details)).splitlines():
            print("# " + line)


class Hako:
    def __init__(self, kernel, where, *options):
        self.process = subprocess.Popen(
            [HAKO, "run", "--kernel", kernel, "--gdb=" + where, "--mem", "64M", "--timeout", "120",
             *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        # It says when it listens.
        self.said = self.process.stderr.readline().decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def end(self):
        """(Status, output, messages) of a machine that ends by itself."""
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out.decode(), err.decode()


class Gdb:
    """gdb, one command at a time."""

    def __init__(self, elf):
        self.process = subprocess.Popen([GDB, "-nx", "-q", elf], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.n = 0
        for setting in ("pagination off", "confirm off", "width 0", "height 0", "remotetimeout 60"):
            self("set " + setting)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def send(self, command):
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()

    def finish(self):
        """What is said until the command that was sent is over."""
        self.n += 1
        mark = "=mark%d=" % self.n
        self.send("echo %s\\n" % mark)
        text, deadline = "", time.monotonic() + PATIENCE
        while mark + "\n" not in text:
            if not select.select([self.process.stdout], [], [], deadline - time.monotonic())[0]:
                raise TimeoutError(text)
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                raise EOFError(text)
            text += data.decode(errors="replace")
        return text.replace(mark + "\n", "").replace("(gdb) ", "")

    def __call__(self, command):
        self.send(command)
        return self.finish()


def value(text):
    """The number behind "$1 = "."""
    found = re.search(r"\$\d+ = (-?0x[0-9a-f]+|-?\d+)", text)
    return int(found.group(1), 0) if found else None


# By architecture: first instruction's place, FP register and how to see it, a system register that
# the kernel sets, what a CPU is called, the counter of time and its ticks in a second.
ARCH_FACTS = {
    "arm64": ("0x40200000", "v3.u64[0]", "TTBR0_EL1", "CPU", "CNTVCT_EL0", 62.5e6),
    "riscv64": ("0x80200000", "fs0.double", "satp", "hart", "time", 10e6),
    "riscv32": ("0x80200000", "fs0.double", "satp", "hart", "time", 10e6),
}


def test_kernel(tmp):
    """guest/kernel, by one CPU."""
    start, fp, system, cpu = ARCH_FACTS[ARCH][:4]
    where = tmp + "/gdb.sock"
    disk = tmp + "/disk"
    with open(disk, "wb") as f:
        f.truncate(1 << 20)
    with Hako(KERNEL, where, "--disk", disk) as hako, Gdb(ELF) as gdb:
        check("hako says how to connect", f"target remote {where}" in hako.said, hako.said)
        text = gdb("target remote " + where)
        check("connected", "text_start" in text or "start" in text, text)
        check("at the first instruction", value(gdb("print/x $pc")) == int(start, 0))
        text = gdb("info threads")
        check("a CPU is a thread", f"({cpu} 0)" in text, text)

        gdb("break kernel_main")
        text = gdb("continue")
        check("a breakpoint at a function of C", "Breakpoint 1, kernel_main" in text, text)
        text = gdb("backtrace")
        check("who called it", re.search(r"#1 .* in (text_)?start", text), text)
        before = value(gdb("print/x $pc"))
        gdb("stepi")
        after = value(gdb("print/x $pc"))
        check("a step is one instruction", after - before in (2, 4), before, after)
        text = gdb("next") + gdb("next")
        check("a step over lines, and the functions in them", "panic" not in text and
              "tree_read" in text or "text_start" in text, text)
        check("memory", value(gdb("print info.ram_end")) == int(start, 0) - 0x200000 + (64 << 20))
        gdb("set var info.ram_end = info.ram_end - 4096")
        check("memory can be written", value(gdb("print info.ram_end"))
              == int(start, 0) - 0x200000 + (64 << 20) - 4096)
        text = gdb("x/2i $pc")
        check("instructions", "=> 0x" in text and "Cannot access" not in text, text)

        gdb("set var $%s = 5" % fp)
        text = gdb("print $" + fp)
        check("a floating-point register", value(text) == 5, text)
        check("a system register", value(gdb("print/x $" + system)) == 0)
        name = "x18" if ARCH == "arm64" else "gp"
        old = value(gdb("print/x $" + name))
        gdb("set var $%s = 0x1234" % name)
        now = value(gdb("print/x $" + name))
        check("a register can be set", now == 0x1234, now)
        gdb("set var $%s = %d" % (name, old))

        gdb("delete")
        gdb("tbreak disks_init")
        text = gdb("continue")
        check("a breakpoint behind the switch to virtual memory", "disks_init" in text, text)
        check("the system register says so", value(gdb("print/x $" + system)) != 0)
        text = gdb("monitor walk 0x10")
        check("a walk in words", "not valid" in text, text)
        gdb("watch n_disks")
        text = gdb("continue")
        check("a watchpoint", "Old value = 0" in text and "New value = 1" in text, text)
        gdb("delete")
        text = gdb("print *(char *)0x10")
        check("memory that is not there", "Cannot access memory" in text, text)

        gdb("tbreak tarfs_mount")
        text = gdb("continue")
        check("up to its end", "tarfs_mount" in text, text)
        gdb("delete")
        # Code that is written is what runs then: the function returns at once.
        gdb("set var $pc = arch_off")
        text = gdb("detach")
        check("detached", "detached" in text, text)
        status, out, err = hako.end()
        check("and it ran on, to its end", status == 0 and "powered off" in err, status, out, err)
        check("the breakpoints were invisible", "hello from the" in out and "panic" not in out, out)


def counts(gdb, cpu):
    return value(gdb("print counts[%d]" % cpu))


def second_is_met(gdb):
    """What two CPUs do in test_two(): each counts, in a function of its own."""
    gdb("break work_second")
    text = gdb("continue")
    check("the second CPU meets a breakpoint", "Thread 2" in text and "work_second" in text,
          text)
    text = gdb("backtrace")
    check("its stack", "guest_second" in text, text)
    text = gdb("thread 1") + gdb("backtrace")
    check("the first one's", "guest_main" in text, text)
    gdb("delete")


def one_runs(gdb):
    gdb("set scheduler-locking on")
    gdb("thread 1")
    first, second = counts(gdb, 0), counts(gdb, 1)
    gdb("break work_first")
    for _ in range(3):
        gdb("continue")
    check("one CPU runs", counts(gdb, 0) > first)
    check("while the other is held", counts(gdb, 1) == second)
    gdb("delete")
    gdb("set scheduler-locking off")


def run_and_interrupt(gdb):
    gdb.send("continue")
    time.sleep(0.3)
    gdb.process.send_signal(signal.SIGINT)
    return gdb.finish()


def test_two(tmp):
    """two.c, by two CPUs."""
    cpu = ARCH_FACTS[ARCH][3]
    where = tmp + "/gdb.sock"
    with Hako(TWO, where, "--cpus", "2") as hako, Gdb(TWO_ELF) as gdb:
        gdb("target remote " + where)
        text = gdb("info threads")
        check("two threads, one not started", f"({cpu} 1, off)" in text, text)
        second_is_met(gdb)

        # Each stops right behind the access, in the function that did it.
        gdb("watch counts[1]")
        text = gdb("continue")
        check("a watchpoint", "Thread 2" in text and "New value = 2" in text and
              "work_second (" in text, text)
        gdb("delete")
        gdb("rwatch counts[1]")
        text = gdb("continue")
        check("of reads", "Value = 2" in text and "work_second (" in text, text)
        gdb("delete")
        gdb("awatch counts[1]")
        text = gdb("continue")
        check("of both: a write", "Old value = 2" in text and "New value = 4" in text, text)
        text = gdb("continue")
        check("and a read", "Value = 4" in text and "work_second (" in text, text)
        gdb("delete")

        # gdb saves registers, calls, and puts them back.
        gdb("thread 1")
        before = counts(gdb, 0)
        text = gdb("call work_first(1000000)")
        check("a function is called", counts(gdb, 0) >= before + 1000000, text)

        # Two kinds at one place; one of them goes.
        gdb("hbreak work_second")
        gdb("tbreak work_second")
        text = gdb("continue") + gdb("continue")
        check("the one of two breakpoints that is left", text.count("work_second (") == 2, text)
        gdb("delete")

        # More than fits into one packet, with bytes that must be escaped there.
        bytes_ = bytes(i * 7 % 256 for i in range(40000))
        with open(tmp + "/bytes", "wb") as f:
            f.write(bytes_)
        place = "(char*)stacks+0x100000"
        text = gdb("restore %s/bytes binary %s" % (tmp, place))
        text += gdb("dump binary memory %s/back %s %s+40000" % (tmp, place, place))
        with open(tmp + "/back", "rb") as f:
            check("much memory, there and back", f.read() == bytes_, text)

        one_runs(gdb)

        # Steps of one while the other runs
        second = counts(gdb, 1)
        for _ in range(20):
            gdb("stepi")
        check("steps", counts(gdb, 1) >= second)

        text = run_and_interrupt(gdb)
        check("Ctrl-C halts", "SIGINT" in text, text)
        now = counts(gdb, 1)
        check("both had run", now > second, now, second)

        # Code is written: the second CPU's function does nothing any more.
        nop = {"arm64": 0xd65f03c0, "riscv64": 0x00008067, "riscv32": 0x00008067}[ARCH]
        gdb("set var *(unsigned *)work_second = %d" % nop)
        first, second = counts(gdb, 0), counts(gdb, 1)
        run_and_interrupt(gdb)
        # One call may have been under way.
        check("what is written over code is what runs", counts(gdb, 1) <= second + 2
              and counts(gdb, 0) > first)

        text = gdb("monitor reset")
        check("a reset", "reset" in text, text)
        gdb("maintenance flush register-cache")
        text = gdb("info threads")
        check("begins again, halted", f"({cpu} 1, off)" in text, text)
        gdb("tbreak guest_main")
        text = gdb("continue")
        check("and gets there again", "guest_main" in text, text)
        gdb("tbreak work_second")
        gdb("continue")

        # The connection is lost, and another comes.
        gdb.process.kill()
        gdb.process.wait()
        check("hako says so", "stays halted" in hako.process.stderr.readline().decode())
        with Gdb(TWO_ELF) as again:
            text = again("target remote " + where)
            check("a second gdb", "work" in text or "guest" in text, text)
            again("set var done = 1")
            text = again("continue")
            check("it sees the end", "exited normally" in text, text)
        status, out, err = hako.end()
        check("the guest has ended", status == 0 and out.endswith("done\n"), status, out, err)


def test_time(tmp, lost=True):
    """The guest's clock stands still while gdb has the machine. lost: a connection can be."""
    counter, hz = ARCH_FACTS[ARCH][4:]
    where = tmp + "/gdb.sock"

    def now():
        gdb("maintenance flush register-cache")
        return value(gdb("print/x $" + counter)) / hz

    with Hako(TWO, where, "--cpus", "2") as _, Gdb(TWO_ELF) as gdb:
        time.sleep(0.5)
        gdb("target remote " + where)
        check("no time has passed before the first instruction", now() < 0.5, now())
        gdb("break work_second")
        gdb("continue")
        begin = time.monotonic()
        stopped = now()
        time.sleep(0.5)
        check("none passes at a breakpoint", now() == stopped, stopped, now())
        # Whatever the host was busy with: what it stood still for is missing.
        gdb("continue")
        gdb("stepi")
        passed = now() - stopped
        check("it goes on from there", 0 < passed <= time.monotonic() - begin - 0.5, passed)
        if ARCH == "arm64":
            # EL0 may not look at it, a debugger may.
            gdb("set var $cpsr = $cpsr & ~15")
            now()
            # Neither ENABLE nor IMASK; ISTATUS means nothing then.
            check("whatever the exception level", value(gdb("print $CNTV_CTL_EL0")) in (0, 4))
            gdb("set var $cpsr = $cpsr | 5")
        if not lost:
            return
        # It holds it, too.
        stopped = now()
        gdb.process.kill()
        gdb.process.wait()
        time.sleep(0.2)
        with Gdb(TWO_ELF) as gdb:
            gdb("target remote " + where)
            check("nor for the next gdb", now() == stopped, stopped, now())


class Packets:
    """The protocol itself, for what no gdb does."""

    def __init__(self, where):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(where)
        self.socket.settimeout(PATIENCE)
        self.data = b""
        self("QStartNoAckMode")

    def send(self, packet):
        self.socket.sendall(b"$%s#%02x" % (packet.encode(), sum(packet.encode()) & 255))

    def answer(self):
        while not re.search(rb"\$[^#]*#..", self.data):
            data = self.socket.recv(65536)
            if not data:
                raise EOFError(self.data)
            self.data += data
        found = re.search(rb"\$([^#]*)#..", self.data)
        self.data = self.data[found.end():]
        return found.group(1).decode()

    def __call__(self, packet):
        self.send(packet)
        return self.answer()

    def interrupt(self):
        self.socket.sendall(b"\3")
        return self.answer()


# By architecture: what two CPUs execute, and registers by gdb's numbers. The first counts down,
# stores to a flag, and calls the firmware, which resets the machine; the second waits for the flag
# and gets to a NOP then.
RESETS = {
    "arm64": ((0xf1000421, 0x54ffffe1, 0xb9000062, 0xd4000002),
              (0xb9400061, 0x34ffffe1, 0xd503201f, 0x14000000),
              {0: 0x84000009, 1: 1000000, 2: 1, 3: 0x42001000}, 0x42000000),
    "riscv64": ((0xfff60613, 0xfe061ee3, 0x00e6a023, 0x73), (0x0006a603, 0xfe060ee3, 0x13, 0x6f),
                {10: 1, 11: 0, 12: 1000000, 13: 0x82001000, 14: 1, 16: 0, 17: 0x53525354},
                0x82000000),
}
RESETS["riscv32"] = RESETS["riscv64"]


def test_reset(tmp):
    """One CPU resets the machine while another one stops at a breakpoint."""
    where = tmp + "/gdb.sock"
    first, second, regs, place = RESETS[ARCH]
    width = 4 if ARCH == "riscv32" else 8
    good, heard = 0, []
    with Hako(TWO, where, "--cpus", "2"):
        packets = Packets(where)
        for _ in range(2):
            packets.send("vCont;c")
            time.sleep(0.1)
            packets.interrupt()
            for at, code in (place, first), (place + 16, second):
                packets("M%x,10:%s" % (at, b"".join(i.to_bytes(4, "little") for i in code).hex()))
            for thread in 1, 2:
                packets("Hg%d" % thread)
                for reg, val in {**regs, 32: place + 16 * (thread - 1)}.items():
                    packets("P%x=%s" % (reg, val.to_bytes(width, "little").hex()))
            packets("Z0,%x,4" % (place + 24))
            packets.send("vCont;c")
            try:
                packets.socket.settimeout(0.3)
                heard.append(packets.answer())
                good += heard[-1].startswith("T05thread:2")
            except TimeoutError:
                # The reset was first, and the machine runs: then it is Ctrl-C that stops it.
                packets.socket.settimeout(PATIENCE)
                heard.append(packets.interrupt())
                good += heard[-1].startswith("T02")
            packets("z0,%x,4" % (place + 24))
    check("a reset while another CPU stops", good == 2, heard)


def test_port(tmp):
    """A TCP port, and gdb's kill."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with Hako(TWO, str(port)) as hako, Gdb(TWO_ELF) as gdb:
        text = gdb("target remote :%d" % port)
        check("by a port", "start" in text, text)
        again = subprocess.run([HAKO, "run", "--kernel", TWO, "--gdb=%d" % port, "--mem", "64M"],
                               capture_output=True, timeout=PATIENCE)
        check("the port is taken", again.returncode == 1 and b"--gdb=PORT" in again.stderr,
              again.stderr)
        gdb("kill")
        status, _, err = hako.end()
        check("killed", status == 0 and "stopped" in err, status, err)


def main():
    global GDB, HAKO, ARCH, TWO, TWO_ELF, KERNEL, ELF
    if sys.argv[1] == "--skip":
        print("1..0 # SKIP " + sys.argv[2])
        return 0
    GDB = shutil.which("gdb-multiarch")
    if not GDB:
        print("1..0 # SKIP there is no gdb-multiarch; install the package")
        return 0
    HAKO, ARCH, TWO, TWO_ELF, KERNEL, ELF = sys.argv[1:]
    for test in (test_kernel, test_two, test_time, test_reset, test_port):
        with tempfile.TemporaryDirectory(prefix="hako-gdb-") as tmp:
            test(tmp)
    print("1..%d" % len(checks))
    return 0 if all(checks) else 1


if __name__ == "__main__":
    sys.exit(main())
