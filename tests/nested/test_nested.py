#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""hako with KVM, inside a machine that QEMU emulates: Debian's kernel boots from a disk, resets in
place and ends as it does on the software CPU.

usage: test_nested.py SYSTEM HAKO IMAGES KERNEL [GUEST...]       prints TAP

SYSTEM is one of outer.py; HAKO static and for its architecture; IMAGES the folder with guest images
for it; KERNEL our own small kernel, for arm64 where there is none for ARCH; each GUEST a bare-metal
program of tests/guest, and the last of tests/debug, which run on arm64, for riscv64 our own kernel for riscv32, or for amd64 the
program of tests/kvm. Beside those for arm64 are their ELF files.
"""
import functools
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

from outer import ARCHES, TSC_TOLERANCE, Outer, Skip  # first: it says where console.py is
from console import assert_clean, run_tests  # pylint: disable=wrong-import-order

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../guest"))
import run_guest  # noqa: E402 pylint: disable=wrong-import-position
from remote_gdb import Bridge, test_gdb, use  # noqa: E402 pylint: disable=wrong-import-position

SYSTEM = sys.argv[1]
HAKO, IMAGES, KERNEL, *GUESTS = (os.path.abspath(name) for name in sys.argv[2:])
ARCH = SYSTEM.partition("-")[0]
if "HAKO_GUEST" in os.environ:  # the folder of another architecture, beside ours
    IMAGES = os.path.join(os.path.dirname(os.path.abspath(os.environ["HAKO_GUEST"])), ARCH)

DIFFERENCES = os.path.join(os.path.dirname(os.path.abspath(run_guest.__file__)), "differences.txt")
PROMPT = re.compile(rb"hako:~# ")
MACHINE = {"amd64": "x86_64", "arm64": "aarch64", "riscv64": "riscv64"}[ARCH]
HELLO = rb"hello from the %s kernel" % {"amd64": "arm64"}.get(ARCH, ARCH).encode()
FILES = {"hako": HAKO, "kernel.img": KERNEL, "Image": os.path.join(IMAGES, "Image"),
         "initrd.gz": os.path.join(IMAGES, "initrd.gz")}
FILES.update((os.path.basename(guest), guest) for guest in GUESTS)
LIBRARIES = {}
if ARCH == "amd64" and GUESTS:  # the dynamic linker among them
    found = re.findall(r"/\S+\.so\S*", subprocess.check_output(["ldd", GUESTS[0]], text=True))
    LIBRARIES = {os.path.basename(name): name for name in found}
    FILES.update(LIBRARIES)
# Folders that a test leaves are gone with it, and the outer system's disk lives longer.
DISK = os.path.abspath("nested-%s-%d.ext4" % (SYSTEM, os.getpid()))
GUEST_DISK = DISK + ".guest"  # the outer system's second


class System:
    """The outer system, booted when a test needs it and again when one has failed."""

    def __init__(self):
        self.outer = self.bridge = self.folder = None
        self.append = ""  # to its kernel's command line

    def get(self):
        if not self.outer:
            self.folder = self.folder or tempfile.mkdtemp(prefix="hako-nested-")
            self.bridge = Bridge(self.folder + "/gdb.sock").__enter__()
            self.outer = Outer(SYSTEM, IMAGES, FILES, disks=[DISK, GUEST_DISK],
                               port=self.bridge.port, append=self.append)
            if ARCH == "amd64":  # to the worst for us
                self.outer.sh("echo 0 >" + TSC_TOLERANCE)
        return self.outer

    def drop(self, why=None):
        if self.outer:
            self.outer.__exit__(why, None, None)
        if self.bridge:
            self.bridge.__exit__()
        self.outer = self.bridge = None

    def end(self):
        self.drop()
        if self.folder:
            shutil.rmtree(self.folder)


system = System()


def in_outer(test):
    """A test whose argument is the outer system, shared with the tests before it."""
    @functools.wraps(test)
    def run():
        try:
            test(system.get())
        except Skip:
            raise
        except BaseException as why:
            system.drop(type(why))
            raise
    return run


def boot(outer, *options, append="quiet"):
    """Boot Debian's kernel on hako to its shell, which then has the console."""
    outer.start("./hako run --engine kvm --kernel Image --initrd initrd.gz --disk /dev/vda "
                "--append '%s %s' %s"
                % (append, ARCHES[SYSTEM].get("guest_append", ""), " ".join(options)))
    outer.login(PROMPT)


def power_off(outer):
    outer.write(b"poweroff\n")
    status, said = outer.end()
    assert status == 0 and "powered off" in said, "status %d: %s" % (status, said)
    outer.sync()
    assert_clean(DISK)
    return said


# ---- The tests

@in_outer
def the_software_cpu_runs_here_too(outer):
    outer.start("./hako run --engine soft --kernel kernel.img --mem 64M")
    outer.expect(HELLO)
    outer.write(b"halt\n")
    status, said = outer.end()
    assert status == 0 and "powered off" in said, said


@in_outer
def kvm_is_the_engine_of_choice(outer):
    said = outer.sh("./hako doctor")
    assert re.search(r"(?m)^ *kvm +yes ", said) and "slow" not in said, said
    status, said = outer.run("./hako run --kernel Image --timeout 1 -v 2>&1 </dev/null")
    assert status == 12 and "engine: kvm runs the CPUs" in said, said


@in_outer
def the_engine_alone(outer):
    """tests/kvm, on a KVM that runs its guests on the CPU; that of the host may not."""
    if not GUESTS:
        raise Skip("tests/kvm is not built for this system here")
    linker = next(name for name in LIBRARIES if name.startswith("ld-"))
    status, said = outer.run("CMOCKA_MESSAGE_OUTPUT=TAP ./%s --library-path . ./%s 2>&1"
                             % (linker, os.path.basename(GUESTS[0])))
    assert status == 0 and "the guests are skipped" not in said, said


@in_outer
def our_kernel_runs(outer):
    """It knows no device tree: interrupts are levels to it. There is none for x86."""
    outer.sh("dd if=/dev/zero of=/tmp/blank bs=1M count=1 2>/dev/null")
    outer.start("./hako run --engine kvm --kernel kernel.img --mem 64M --disk /tmp/blank "
                "--virtio-mmio legacy")
    outer.expect(HELLO + rb".*> ")
    outer.write(b"poll off\n")
    outer.expect(rb"> ")
    outer.write(b"bench\n")
    outer.expect(rb"reads/s.*> ")
    outer.write(b"halt\n")
    status, said = outer.end()
    assert status == 0 and "powered off" in said, said


@in_outer
def boots_from_disk_and_resets_in_place(outer):
    boot(outer)
    assert outer.sh("uname -m") == MACHINE
    assert outer.sh("nproc") == "1"
    log = outer.sh("dmesg")
    assert re.search(r"virtio_blk virtio0: .*\[vda\] 131072 512-byte logical blocks", log), log
    mounts = [line.split()[:3] for line in outer.sh("cat /proc/mounts").splitlines()]
    assert ["/dev/vda", "/", "ext4"] in mounts, mounts
    assert re.search(r"(?m)[Ee]dge +virtio0$", outer.sh("cat /proc/interrupts"))
    if ARCH == "amd64":  # its disks are found by ACPI
        assert "ACPI: DSDT " in log, log
        assert outer.run("ls /sys/bus/acpi/devices/LNRO0005:00")[0] == 0
    outer.sh("echo first >/root/kept")
    outer.write(b"reboot\n")
    outer.login(PROMPT)
    assert outer.sh("cat /root/kept") == "first"
    outer.sh("echo second >>/root/kept")
    power_off(outer)


@in_outer
def a_second_run_with_two_cpus(outer):
    boot(outer, "--cpus", "2")
    assert outer.sh("cat /root/kept") == "first\nsecond"
    assert outer.sh("nproc") == "2"
    # Both at once, each with a part of the disk.
    assert outer.sh("(for i in 0 1; do (dd if=/dev/zero of=/root/z$i bs=64k count=64 2>/dev/null; "
                    "taskset $((i + 1)) md5sum </root/z$i) & done; wait)") \
        == "\n".join(["b5cfa9d6c8febd618f91ac2843d50a1c  -"] * 2)
    outer.write(b"reboot\n")
    outer.login(PROMPT)
    assert outer.sh("nproc") == "2"
    power_off(outer)


@in_outer
def two_harts_boot_and_reset_in_place(outer):
    """Also SBI's console, which the kernel passes on, and harts that stop and start by its SBI."""
    reads = 500
    boot(outer, "--cpus", "2", "--timing=json", append="quiet earlycon=sbi keep_bootcon")
    assert outer.sh("uname -m") == MACHINE
    assert outer.sh("nproc") == "2"
    outer.sh("echo '<0>twice' >/dev/kmsg; echo 0 >/sys/devices/system/cpu/cpu1/online")
    assert outer.sh("nproc") == "1"
    outer.sh("echo 1 >/sys/devices/system/cpu/cpu1/online")
    outer.sh("(taskset 1 md5sum /bin/busybox & taskset 2 dd if=/dev/vda of=/dev/null bs=4k count=%d "
             "iflag=direct; wait) >/dev/null 2>&1" % reads)
    interrupts = outer.sh("cat /proc/interrupts")
    assert re.search(r"(?m)PLIC +1 +Edge +virtio0$", interrupts), interrupts
    outer.sh("echo first >/root/kept")
    outer.write(b"reboot\n")
    outer.login(PROMPT)
    assert outer.sh("nproc; cat /root/kept") == "2\nfirst"
    counters = json.loads(power_off(outer).strip().splitlines()[-1])["counters"]
    assert counters["kvm_mmio_in_kernel"] >= reads, counters  # kicks
    assert counters["firmware_call"] > 0, counters


@in_outer
def a_second_run_with_one_hart(outer):
    boot(outer)
    assert outer.sh("nproc; cat /root/kept") == "1\nfirst"
    power_off(outer)


@in_outer
def disks_of_every_kind(outer):
    """All ways in which a ring can be laid out and served, at once; and a disk that grows while its
    driver is at work."""
    kinds = ["", ",packed=off", ",packed=off,event-idx=off,indirect=off", ",transport=legacy",
             ",queues=4,aio=threads"]
    names = "bcdef"[:len(kinds)]
    for name in names:
        outer.sh("dd if=/dev/zero of=/tmp/%s.img bs=1M count=4 2>/dev/null" % name)
    outer.sh("(until grep -q grow /tmp/b.img; do sleep 1; done; "
             "dd if=/dev/zero of=/tmp/b.img bs=1M seek=6 count=0 2>/dev/null; "
             "kill -HUP $(pidof hako)) >/dev/null 2>&1 &")
    boot(outer, "--cpus", "2", "--lint-report /tmp/lint.json",
         *("--disk /tmp/%s.img%s" % disk for disk in zip(names, kinds)))
    bits = {n: outer.sh("cat /sys/block/vd%s/device/features" % n) for n in names}
    # VERSION_1, EVENT_IDX and RING_PACKED (virtio 1.2, 6)
    assert [bits[n][32] + bits[n][29] + bits[n][34] for n in names] == \
        ["111", "110", "100", "010", "111"], bits
    outer.sh("dd if=/dev/urandom of=/root/data bs=64k count=32 2>/dev/null")
    outer.sh("(for d in %s; do (dd if=/root/data of=/dev/vd$d bs=64k oflag=direct; "
             "dd if=/dev/vd$d of=/dev/null bs=4k count=512 iflag=direct) 2>/dev/null & done; wait)"
             % " ".join(names))
    sums = {outer.sh("head -c 2097152 %s | md5sum" % name)
            for name in ["/root/data"] + ["/dev/vd" + name for name in names]}
    assert len(sums) == 1, sums
    assert outer.sh("cat /sys/block/vdb/size") == "8192"
    outer.sh("echo grow | dd of=/dev/vdb bs=512 seek=8000 conv=sync oflag=direct 2>/dev/null")
    outer.sh("until [ $(cat /sys/block/vdb/size) = 12288 ]; do sleep 1; done")
    assert outer.sh("dd if=/dev/vdb bs=4k count=512 iflag=direct 2>/dev/null | md5sum") in sums
    power_off(outer)
    assert {outer.sh("head -c 2097152 /tmp/%s.img | md5sum" % name) for name in names} == sums
    assert json.loads(outer.sh("cat /tmp/lint.json"))["findings"] == []


@in_outer
def a_panic_is_a_reset(outer):
    boot(outer, "--no-reboot", "--cpus", "2", append="quiet panic=-1")
    outer.write(b"echo c >/proc/sysrq-trigger\n")
    status, said = outer.end()
    assert status == 10 and "Kernel panic" in said, said


@in_outer
def a_triple_fault_is_a_reset(outer):
    boot(outer, "--no-reboot", append="quiet reboot=t")
    outer.write(b"reboot\n")
    status, said = outer.end()
    assert status == 10 and "asked for a reset" in said, "status %d: %s" % (status, said)


@in_outer
def a_guest_that_has_halted_is_found(outer):
    boot(outer, "--cpus", "2")
    outer.write(b"halt -f\n")
    status, said = outer.end()
    assert status == 11 and "can never run again" in said, "status %d: %s" % (status, said)


@in_outer
def what_a_read_leaves_the_guest_for(outer):
    """For its kick, which the kernel deals with, and to acknowledge the interrupt. Interrupts come
    without leaving it, and InterruptStatus is read from memory."""
    reads = 2000
    boot(outer, "--timing=json")
    outer.sh("dd if=/dev/vda of=/dev/null bs=4k count=%d iflag=direct 2>/dev/null" % reads)
    outer.write(b"poweroff\n")
    status, said = outer.end()
    counters = json.loads(said.strip().splitlines()[-1])["counters"]
    # The boot and the console add less than one for each read.
    assert status == 0 and 1 <= counters["mmio"] / reads < 2, counters
    assert ARCH != "arm64" or counters["kvm_mmio_in_kernel"] >= reads, counters  # kicks


def bare_metal(name, cpus=1):
    """A test of one of tests/guest's programs, which must find what it finds on the software CPU, but
    for what differences.txt says of kvm."""
    class Args:
        machine = "hako"  # whose exit statuses they are
        guest = name

    @in_outer
    def test(outer):
        if "guest-%s.img" % name not in FILES:
            raise Skip("guests are built with clang, lld and llvm-objcopy")
        patterns = run_guest.read_differences(DIFFERENCES, "kvm", name)
        result, status = run_guest.Run(), None
        run_guest.make_disk(os.path.dirname(GUEST_DISK), os.path.basename(GUEST_DISK))
        outer.sh("echo 3 >/proc/sys/vm/drop_caches")
        outer.start("./hako run --quiet --engine kvm --kernel guest-%s.img --mem 128M --cpus %d "
                    "--no-reboot --disk /dev/vdb --timeout 200" % (name, cpus))
        while status is None:
            line = outer.expect(rb"([^\n]*)\n").group(1).decode(errors="replace").replace("\r", "")
            end = re.search(r"<(\d+)\|%d>$" % outer.started, line)
            if end:
                status = int(end.group(1))
            elif line:
                result.line(line, lambda text: outer.write(text.encode()))
        outer.sync()
        with open(GUEST_DISK, "rb") as f:
            wrong = run_guest.judge(Args, result, status, patterns, f.read())
        assert not wrong, "\n".join(wrong)

    test.__name__ = "guest_%s_with_%d_cpus" % (name, cpus)
    return test


def gdb_module(outer):
    """What tests/debug has to drive a guest, for one in the outer system."""
    test_gdb.GDB = shutil.which("gdb-multiarch")
    if not test_gdb.GDB:
        raise Skip("there is no gdb-multiarch; install the package")
    test_gdb.PATIENCE = 100
    return use(test_gdb, outer)


@in_outer
def gdb_drives_a_guest(outer):
    """More breakpoints than the CPU has, in our kernel; and the breakpoints of a guest's own. arm64
    only: a guest of QEMU's SVM has no debug registers, and its INT3 is not intercepted."""
    module = gdb_module(outer)
    check, value, where = module.check, module.value, system.folder + "/gdb.sock"
    with module.Hako("kernel.img", where, "--disk /dev/vdb") as hako, module.Gdb(KERNEL[:-4] + ".elf") as gdb:
        text = gdb("target remote " + where)
        check("at the first instruction", value(gdb("print/x $pc")) == 0x40200000, text)
        before = gdb("x/2wx kernel_main")
        for n in range(8):
            gdb("break *%#x" % (0x40000000 + 4 * n))
        gdb("break kernel_main")
        text = gdb("continue")
        check("a breakpoint in memory", re.search(r"Breakpoint 9, .*kernel_main", text), text)
        check("is not seen", gdb("x/2wx kernel_main") == before)
        gdb("delete")
        pc = value(gdb("print/x $pc"))
        gdb("stepi")
        check("a step", value(gdb("print/x $pc")) != pc)
        gdb("set var $cpsr = $cpsr & ~0xc0")
        before = value(gdb("print/x $cpsr"))
        gdb("stepi 3")
        check("interrupts are as they were after steps", value(gdb("print/x $cpsr")) & 0xc0 == 0,
              before)
        gdb("set var $pc = kernel_main")
        word = value(gdb("print *(unsigned *)$pc"))
        gdb("set var *(unsigned *)$pc = 0xd2800540")  # mov x0, #42
        gdb("stepi")
        check("an instruction that gdb has written", value(gdb("print $x0")) == 42)
        gdb("set var *(unsigned *)kernel_main = %d" % word)
        gdb("set var $pc = %d" % pc)
        gdb("set var $v3.u64[0] = 5")
        check("a vector register", value(gdb("print $v3.u64[0]")) == 5)
        gdb("tbreak disks_init")
        text = gdb("continue")
        check("the CPU's own breakpoint", "disks_init" in text, text)
        text = gdb("monitor walk 0x10") + gdb("info registers cpsr TTBR0_EL1 SP_EL1")
        check("translation", "tables at" in text and re.search(r"TTBR0_EL1 +0x[1-9a-f]", text), text)
        gdb("watch n_disks")
        text = gdb("continue")
        check("a watchpoint", "n_disks" in text and "New value = " in text, text)
        gdb("delete")
        gdb("set var $pc = arch_off")
        gdb("detach")
        status, _, said = hako.end()
        check("it runs on", status == 0 and "powered off" in said, status, said)
    with module.Hako("guest-exceptions.img", where, "--no-reboot") as hako, \
            module.Gdb(GUESTS[0].rpartition("/")[0] + "/guest-exceptions.elf") as gdb:
        gdb("target remote " + where)
        for n in range(8):
            gdb("break *%#x" % (0x40000000 + 4 * n))
        gdb("continue")
        said = hako.end()[2]
        for name in ("brk at EL1: ELR is the brk's own address", "brk #0"):
            check(name, re.search(r"(?m)^ok.* %s\r?$" % name, said), said)


@in_outer
def time_stands_still_while_gdb_looks(outer):
    module = gdb_module(outer)
    module.ARCH, module.TWO, module.TWO_ELF = "arm64", GUESTS[-1], GUESTS[-1][:-4] + ".elf"
    module.test_time(system.folder, lost=False)
    outer.write(b"\x01x")
    assert outer.end()[0] == 0


@in_outer
def what_cannot_be_is_refused(outer):
    run = "./hako run --kernel Image --initrd initrd.gz --disk /dev/vda "
    refused = [
        # what goes before, the options, the sentence
        ("", "--engine kvm --cpus 9", r"CPUs"),
        ("mv /dev/kvm /dev/away;", "--engine kvm", r"/dev/kvm does not exist.*modprobe"),
        ("mv /dev/away /dev/kvm; chmod 600 /dev/kvm; chmod 666 /dev/vda; su guest -c ", "--engine kvm",
         r"may not open /dev/kvm.*group"),
    ]
    outer.sh("echo root:x:0:0::/:/bin/sh >/etc/passwd; echo guest:x:99:99::/:/bin/sh >>/etc/passwd")
    for before, options, sentence in refused:
        command = run + options
        if before.endswith("-c "):
            command = '"cd /hako; %s"' % command
        status, said = outer.run("%s %s 2>&1 </dev/null" % (before, command))
        assert status in (1, 2) and re.search(sentence, said) and said.count("\n") == 1, \
            "%s: status %d: %s" % (options, status, said)
    # Without KVM, the software CPU takes over and says so; but it is not for x86.
    status, said = outer.run("mv /dev/kvm /dev/away; timeout 20 ./hako run --kernel Image "
                             "--timeout 2 2>&1 </dev/null; mv /dev/away /dev/kvm")
    assert ("no engine here can run the kernel, which is for x86-64" if ARCH == "amd64"
            else "soft runs the CPUs (") in said and "/dev/kvm does not exist" in said, said


@in_outer
def a_hart_that_waits_for_nothing_is_found(outer):
    """WFI, and again: a program of two instructions. KVM itself would leave it at that."""
    elf = struct.pack("<16sHHIQQQIHHHHHH IIQQQQQQ II", b"\x7fELF\2\1\1", 2, 243, 1, 0x80200000, 64, 0, 0,
                      64, 56, 1, 0, 0, 0, 1, 5, 120, 0x80200000, 0x80200000, 8, 8, 4,
                      0x10500073, 0xffdff06f)
    outer.sh("printf '%s' >/tmp/wfi.elf" % "".join("\\%03o" % byte for byte in elf))
    status, said = outer.run("./hako run --engine kvm --kernel /tmp/wfi.elf --mem 64M --cpus 2 "
                             "--timeout 60 2>&1 </dev/null")
    assert status == 11 and "can never run again" in said, "status %d: %s" % (status, said)


@in_outer
def what_only_the_software_cpu_can(outer):
    """On RISC-V hosts: it is chosen, with a line that says why, and KVM refuses."""
    for options, why in (("--kernel kernel.img --firmware none", "begin in M-mode"),
                         ("--kernel kernel-riscv32.elf", "runs riscv64 guests and no others")):
        run = "./hako run --timeout 1 -v %s %s 2>&1 </dev/null"
        status, said = outer.run(run % (options, ""))
        assert status == 12 and re.search(r"soft runs the CPUs \(.*%s" % why, said), said
        status, said = outer.run(run % (options, "--engine kvm"))
        assert status == 1 and re.search("'kvm' cannot.*%s.*'soft' can\n" % why, said), said
    status, said = outer.run("./hako run --engine kvm --kernel kernel.img --gdb 2>&1 </dev/null")
    assert status == 1 and "use --engine soft" in said, said


@in_outer
def time_goes_on_where_the_tsc_was_measured_twice(outer):
    """KVM takes the rate that it was loaded with for that of guests (outer.py, TSC_TOLERANCE). Linux
    takes no second that is 1 % off."""
    mhz = re.findall(r"tsc: .* ([\d.]+) MHz", outer.sh("dmesg"))[-1]
    system.drop()
    system.append = "tsc_early_khz=%d" % (float(mhz) * 1000 * 1.005)
    outer = system.get()
    outer.sh("cd /sys/devices/system/clocksource/clocksource0;"
             " while grep early current_clocksource; do sleep 0.1; done; cd /hako")
    if not re.search(r"kvm: .*Refined TSC", outer.sh("dmesg"), re.S):
        print("# on this busy host, KVM was loaded too late for that")
    boot(outer)
    ticks = "sed -n 's/^ *LOC: *\\([0-9]*\\).*/\\1/p' /proc/interrupts"
    before, *_, after = outer.sh("%s; sleep 1; %s" % (ticks, ticks)).split("\n")
    assert int(after) - int(before) > 50, (before, after)  # of 250
    power_off(outer)


@in_outer
def the_outer_system_ends(outer):
    outer.write(b"exit\n")
    assert outer.wait() == 0, outer.said()
    system.drop()


# Which systems a test is for; None: all of them.
TESTS = [
    (the_software_cpu_runs_here_too, ["amd64", "riscv64"]),
    (kvm_is_the_engine_of_choice, None),
    (the_engine_alone, ["amd64"]),
    (our_kernel_runs, ["arm64", "arm64-gicv2", "riscv64"]),
    (bare_metal("devices"), ["arm64"]),
    (bare_metal("gic"), ["arm64"]),
    (bare_metal("smp", 2), ["arm64"]),
    (bare_metal("ends_reset"), ["arm64"]),
    (bare_metal("ends_off", 2), ["arm64"]),
    (bare_metal("ends_wfi", 2), ["arm64"]),
    (boots_from_disk_and_resets_in_place, ["amd64", "arm64", "arm64-gicv2"]),
    (a_second_run_with_two_cpus, ["amd64", "arm64", "arm64-gicv2"]),
    (two_harts_boot_and_reset_in_place, ["riscv64"]),
    (a_second_run_with_one_hart, ["riscv64"]),
    (disks_of_every_kind, ["amd64", "arm64", "arm64-gicv2"]),
    (a_panic_is_a_reset, ["amd64", "arm64", "arm64-gicv2"]),
    (a_triple_fault_is_a_reset, ["amd64"]),
    (a_guest_that_has_halted_is_found, ["amd64"]),
    (what_a_read_leaves_the_guest_for, ["amd64", "arm64"]),
    (gdb_drives_a_guest, ["arm64"]),
    (time_stands_still_while_gdb_looks, ["arm64"]),
    (what_cannot_be_is_refused, ["amd64", "arm64", "riscv64"]),
    (a_hart_that_waits_for_nothing_is_found, ["riscv64"]),
    (what_only_the_software_cpu_can, ["riscv64"]),
    (time_goes_on_where_the_tsc_was_measured_twice, ["amd64"]),
    (the_outer_system_ends, None),
]


def why_not():
    if os.path.exists(IMAGES + ".why"):  # riscv64 is not on every mirror
        with open(IMAGES + ".why", encoding="utf-8") as f:
            return "there are no guest images: " + f.read().strip().rpartition("\n")[2]
    for path, how in ((HAKO, "'make static' makes it"),
                      (KERNEL, "it is built with clang, lld and llvm-objcopy"),
                      (os.path.join(IMAGES, "Image"), "'make guest' makes it"),
                      (os.path.join(IMAGES, "root.ext4"), "'make guest' makes it")):
        if not os.path.exists(path):
            return "there is no %s: %s" % (path, how)
    return None


if why_not():
    print("1..0 # SKIP " + why_not())
    sys.exit(0)
run_guest.make_disk(os.path.dirname(GUEST_DISK), os.path.basename(GUEST_DISK))
subprocess.run(["cp", "--sparse=always", os.path.join(IMAGES, "root.ext4"), DISK], check=True)
try:
    only = os.environ.get("HAKO_NESTED", "").split()  # names of tests, to run no others
    run_tests([test for test, where in TESTS if (not where or SYSTEM in where) and
               (not only or test.__name__ in only)], "hako-nested-")
finally:
    system.end()
    os.unlink(DISK)
    os.unlink(GUEST_DISK)
