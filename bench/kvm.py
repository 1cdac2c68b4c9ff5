# SPDX-License-Identifier: MIT
"""hako with KVM against QEMU with KVM, for bench/run: both inside one machine that QEMU emulates
(tests/nested/outer.py), which has KVM whatever the host has.

The emulated CPU is some 20 times slower than the host's, and what leaves a guest is dearer still:
of times, only the ratios mean something. Exits and memory are what they are anywhere.

So are instructions: with `counted`, the machine's clock goes on by a nanosecond with each that its
CPU executes (QEMU's -icount), whatever else this host does, and where a boot's time goes is told
by KVM's own tracepoints: before the guest's first instruction, in the guest, out of it.
"""
import contextlib
import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(TOP, "tests/nested"))
import outer  # noqa: E402 pylint: disable=wrong-import-position

MEM_MIB = 512

# What both run, and QEMU's side of it. The machines are the smallest that boot from a virtio-mmio
# disk: microvm without option ROMs, which nothing here uses, but with a clock, for which Debian's
# kernel waits in vain otherwise (rtc=off makes its boot twice as long).
ARCHES = {
    "amd64": {
        "machine_name": "x86_64",
        "console": "ttyS0",
        "qemu": "qemu-system-x86_64",
        "machine": "-M microvm,accel=kvm,x-option-roms=off,rtc=on -cpu host",
        "firmware": ["bios-microvm.bin"],
        "reason": "exit_reason",
        "device": r"exit_reason: +1024\b",  # nested page fault (APM volume 2, appendix C)
    },
    "arm64": {
        "machine_name": "aarch64",
        "console": "ttyAMA0",
        "qemu": "qemu-system-aarch64",
        "machine": "-M virt,gic-version=3,accel=kvm -cpu host",
        "firmware": [],
        "reason": "esr_ec",
        "device": r"esr_ec: +36\b",  # data abort from a lower level (Arm ARM, ESR_EL2.EC)
    },
}
TRACING = "/sys/kernel/tracing"
EVENT = TRACING + "/events/kvm/kvm_exit"
# Of a trace's lines: microseconds before the guest, in it and out of it.
PARTS = r"""
match($0, /[0-9]+\.[0-9]+: [a-z_]+:/) {
    split(substr($0, RSTART, RLENGTH), field, ": ?")
    now = field[1] * 1e6
    if (field[2] == "sched_process_exec") start = now
    if (field[2] == "kvm_entry" && !before) before = now - start
    else if (field[2] == "kvm_entry" && left) out += now - left
    if (field[2] == "kvm_exit") { guest += now - entered; left = now }
    entered = now
}
END { printf "%d %d %d\n", before, guest, out }
"""
QEMU_OPTIONS = ("-nodefaults -no-user-config -display none -serial stdio -no-reboot"
                " -global virtio-mmio.force-legacy=false")


def run(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def files_of_qemu(arch, folder, fetched):
    """Copies what QEMU needs to run in the outer system. On another architecture than this
    machine's, that comes from Debian, in the packages that have it here; they go to `fetched`."""
    path = shutil.which(ARCHES[arch]["qemu"])
    if not path:
        raise outer.Skip(f"there is no {ARCHES[arch]['qemu']}")
    libraries = re.findall(r"/\S+(?= \(0x)", run("ldd", path))
    names = [path, *libraries]
    if os.uname().machine != ARCHES[arch]["machine_name"]:
        here = [f"*/{os.uname().machine}-linux-gnu/*{os.path.basename(name)}" for name in libraries]
        owners = run("dpkg", "-S", path, *[name for name in here if "/ld-linux" not in name])
        packages = {line.partition(":")[0] for line in owners.splitlines()}
        if not os.path.exists(fetched):
            run(os.path.join(TOP, "scripts/guest/fetch-debian.sh"), arch, fetched, *sorted(packages))
        wanted = {os.path.basename(name) for name in names if "/ld-linux" not in name}
        names = [os.path.join(where, name) for where, _, files in os.walk(fetched)
                 for name in files if name in wanted or name.startswith("ld-linux")]
    firmware = ["/usr/share/qemu/" + name for name in ARCHES[arch]["firmware"]]
    for name in [*names, *firmware]:
        shutil.copy(name, folder)


class Kvm:
    """An outer system with both programs in it, and one guest at a time."""

    def __init__(self, arch, hako, guest, first, diskio, work, counted=False):
        self.arch = arch
        tree = os.path.join(work, "qemu")
        os.mkdir(tree)
        files_of_qemu(arch, tree, guest + "-qemu")
        disks = [os.path.join(work, name) for name in ("qemu.ext4", "root.ext4")]
        run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", tree, disks[0], "192M")
        run("cp", "--sparse=always", os.path.join(guest, "root.ext4"), disks[1])
        for command in (f"write {diskio} diskio", "sif diskio mode 0100755"):
            run("debugfs", "-w", "-R", command, disks[1])
        files = {"hako": hako, "first": first}
        files.update((name, os.path.join(guest, name))
                     for name in ("Image", "initrd.gz", "bench-initrd.gz"))
        home = os.getcwd()
        os.chdir(work)  # the outer system's own files
        try:
            self.outer = outer.Outer(arch, guest, files, disks=disks, options=(
                ["-icount", "shift=0,sleep=off"] if counted else []))
        finally:
            os.chdir(home)
        if arch == "amd64":  # or QEMU's guests may be left without a timer
            self.outer.sh("echo 500000 >" + outer.TSC_TOLERANCE)
        # Into the page cache: neither program waits for its own files.
        self.outer.sh("mkdir /q && mount -o ro /dev/vda /q && cat /q/*.* /q/qemu* /dev/vdb >/dev/null")
        self.outer.sh("mount -t tracefs none /sys/kernel/tracing")

    def close(self):
        self.outer.__exit__(None, None, None)

    def command(self, who, kernel, initrd=None, disk=None, append=""):
        words = [f"console={ARCHES[self.arch]['console']} quiet", append,
                 outer.ARCHES[self.arch].get("guest_append", "")]
        words = " ".join(word for word in words if word)
        if who == "hako":
            argv = f"./hako run --engine kvm --quiet --mem {MEM_MIB}M --kernel {kernel}"
            argv += f" --initrd {initrd}" if initrd else ""
            argv += f" --disk {disk}" if disk else ""
            return argv + f" --no-reboot --cmdline '{words}'"
        argv = f"/q/ld-linux* --library-path /q /q/{ARCHES[self.arch]['qemu']} -L /q"
        argv += f" {ARCHES[self.arch]['machine']} -m {MEM_MIB} {QEMU_OPTIONS} -kernel {kernel}"
        argv += f" -initrd {initrd}" if initrd else ""
        if disk:
            argv += f" -drive if=none,id=disk,format=raw,file={disk}"
            argv += " -device virtio-blk-device,drive=disk"
        return argv + f" -append '{words}'"

    def to_init(self, who, append=""):
        """Seconds from the start until the guest's first process speaks."""
        command = self.command(who, "Image", "bench-initrd.gz", append=append)
        start = time.monotonic()
        self.outer.start(command + " </dev/null")
        self.outer.expect(rb"hako-bench: init")
        elapsed = time.monotonic() - start
        status, said = self.outer.end()
        if status != 0:
            raise RuntimeError(f"{who} ended with status {status}: {said}")
        return elapsed

    def parts(self, who):
        """Where a boot's time goes, to init and off, in ms: before the guest's first instruction, in
        the guest, and out of it. In a `counted` machine, millions of instructions."""
        sh = self.outer.sh
        events = "kvm/kvm_entry kvm/kvm_exit sched/sched_process_exec"
        sh(f"cat >parts <<'END'\n{PARTS}END")
        sh(f"cd {TRACING}; echo 8192 >buffer_size_kb; echo >trace; cd /hako")
        sh(f"for e in {events}; do echo 1 >{TRACING}/events/$e/enable; done")
        self.to_init(who)
        sh(f"for e in {events}; do echo 0 >{TRACING}/events/$e/enable; done")
        said = sh(f"grep -e kvm_ -e 'filename=.*/\\(hako\\|ld-linux\\)' {TRACING}/trace | awk -f parts")
        return [int(n) / 1000 for n in said.split()]

    @contextlib.contextmanager
    def guest(self, who):
        """A guest at its shell, whose console is the files in and out; its process."""
        sh = self.outer.sh
        command = self.command(who, "Image", "initrd.gz", "/dev/vdb", "root=/dev/vda rw")
        sh("rm -f in out; mkfifo in")
        sh(f"{command} <in >out 2>err & exec 3>in; echo $! >pid")
        sh("until grep -q 'type poweroff' out; do sleep 0.2; done")
        yield int(sh("cat pid"))
        sh("echo poweroff >&3; wait $(cat pid)")

    def own_memory(self, pid):
        """MiB of a process that are not the guest's RAM, told by its size: resident, and shared by
        how many have them (Pss)."""
        program = ('/^[0-9a-f]+-/ { ram = 0 }'
                   f' /^Size:/ {{ ram = $2 >= {MEM_MIB << 10} && $2 < {MEM_MIB + 4 << 10} }}'
                   ' /^Pss:/ && !ram { pss += $2 } END { print pss }')
        return int(self.outer.sh(f"awk '{program}' /proc/{pid}/smaps")) / 1024

    def start_cpu(self, who, runs=10):
        """Milliseconds of CPU for a run that ends with the guest's first instructions."""
        command = self.command(who, "first")
        # Not every start of a process is as dear: the first reads the program's pages in.
        self.outer.sh(f"cat >runs <<'END'\nfor i in $(seq {runs}); do {command} "
                      "</dev/null >/dev/null 2>&1; done\nEND")
        said = self.outer.sh("time sh runs 2>&1; true")
        spent = re.findall(r"(?m)^(?:user|sys)\s+(\d+)m ([\d.]+)s", said)
        if len(spent) != 2:
            raise RuntimeError(f"{who}: {said}")
        return sum(60 * int(m) + float(s) for m, s in spent) / runs * 1000

    def exits(self):
        """How often the guest's CPU has been left since the last call: for a device, and at all."""
        arch = ARCHES[self.arch]
        said = self.outer.sh(f"cat {EVENT}/hist; echo '!hist:keys={arch['reason']}' >{EVENT}/trigger;"
                             f" echo 'hist:keys={arch['reason']}' >{EVENT}/trigger")
        device = every = 0
        for key, n in re.findall(r"\{(.*?)\} hitcount: +(\d+)", said):
            every += int(n)
            device += int(n) if re.search(arch["device"], key) else 0
        return device, every

    def ask(self, test, n):
        """Let the guest do n reads."""
        self.outer.sh(f"echo /diskio {test}:{n} >&3;"
                      f" until grep -q 'diskio {test} {n * 4096} ' out; do sleep 0.2; done")

    def exits_each(self, test, few=500, many=2500):
        """Exits for a device, and all, of one read more: the difference of two lengths."""
        counts = []
        for n in (few, many):
            self.exits()
            self.ask(test, n)
            counts.append(self.exits())
        return [(b - a) / (many - few) for a, b in zip(*counts)]
