# SPDX-License-Identifier: MIT
"""The outer system of a nested test: Debian's kernel in QEMU's emulation of a machine that has
hardware virtualization, so that KVM is there, whatever the host has.

    with Outer(arch, guest, {"hako": path, ...}, disks=[image]) as outer:
        outer.sh("hako/hako doctor")

The system is an initramfs: busybox, the modules that KVM needs, and the given files in /hako, which
is where its shell is. Disks are host files, the outer system's /dev/vda and so on.
"""
import os
import re
import shutil
import stat
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.join(HERE, "../..")
sys.path.insert(0, os.path.join(HERE, "../lib"))
from console import Console, Ended, Skip  # noqa: E402

# The machine's own KVM would be used by nobody: the emulation is what provides it inside.
ARCHES = {
    "amd64": {
        "qemu": "qemu-system-x86_64",
        "package": "qemu-system-x86",
        "machine": ["-M", "q35", "-cpu", "EPYC,+svm,+npt"],
        "console": "ttyS0",
        "disk": "virtio-blk-pci",
        # kvm-amd needs ccp and, through kvm, irqbypass.
        "modules": ["kvm-amd", "virtio_pci", "virtio_blk"],
        # On a busy host, the emulation's timer looks broken to the kernel, which then panics.
        "append": " no_timer_check",
        # When the CPU has left a guest between STI and HLT, the emulation enters it without what
        # forbids an interrupt there (int_state, APM volume 2, 15.21.5; helper_vmrun() of QEMU 7.2
        # does not load it). The guest then halts although the interrupt has given it something to
        # do, and sleeps until the next; so there is one.
        "guest_append": "nohz=off",
    },
    "arm64": {
        "qemu": "qemu-system-aarch64",
        "package": "qemu-system-arm",
        # QARMA5, the emulation's other algorithm for pointer authentication, takes a third of all.
        "machine": ["-M", "virt,virtualization=on,gic-version=3", "-cpu", "max,pauth-impdef=on"],
        "console": "ttyAMA0",
        # Linux names disks by address; QEMU alone would give the first the highest.
        "disk": "virtio-blk-device,bus=virtio-mmio-bus.%d",
        "serial": "virtio-serial-device,bus=virtio-mmio-bus.31",
        "modules": ["virtio_mmio", "virtio_blk", "virtio_console"],
    },
    "riscv64": {
        "qemu": "qemu-system-riscv64",
        "package": "qemu-system-misc",
        "machine": ["-M", "virt", "-cpu", "rv64,h=true"],
        "console": "ttyS0",
        # Here Linux names disks by address downwards, as QEMU places them.
        "disk": "virtio-blk-device",
        "modules": ["kvm", "virtio_mmio", "virtio_blk"],
    },
}
# The same with the other interrupt controller that arm64 hosts have.
ARCHES["arm64-gicv2"] = dict(ARCHES["arm64"], machine=[
    "-M", "virt,virtualization=on,gic-version=2", "-cpu", "max,pauth-impdef=on"])
# How many ppm a guest's TSC may be off the host's before KVM scales it; 250. Linux gives guests the
# first rate that it has measured, which on a busy host is off the second by more now and then. As it
# cannot scale here, their timers are then lost, unless the VMM has asked for the host's rate
# (kvm_arch_create() in src/engine/kvm/x86_64.c).
TSC_TOLERANCE = "/sys/module/kvm/parameters/tsc_tolerance_ppm"
SECONDS = 900  # after which QEMU is killed, whatever the test does, if it says nothing else
PROMPT = re.compile(rb"outer:# ")


def cpio(files):
    """A cpio archive in the kernel's format (buffer-format.rst) of files in /hako: name to path."""
    def entry(number, mode, name, data):
        name = name.encode() + b"\0"
        fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0]
        yield b"070701" + b"".join(b"%08X" % f for f in fields) + name
        yield bytes(-(110 + len(name)) % 4) + data + bytes(-len(data) % 4)

    yield from entry(1, stat.S_IFDIR | 0o755, "hako", b"")
    for number, (name, path) in enumerate(files.items(), 2):
        with open(path, "rb") as f:
            yield from entry(number, stat.S_IFREG | 0o755, "hako/" + name, f.read())
    yield from entry(0, 0, "TRAILER!!!", b"")


def make_initrd(out, tree, files, modules):
    """The outer system: scripts/guest's initramfs with our init, and a second archive behind it."""
    subprocess.run([os.path.join(TOP, "scripts/guest/make-initramfs.sh"), tree,
                    os.path.join(HERE, "init"), out] + modules, check=True)
    with open(out, "ab") as f:
        f.writelines(cpio(files))


class Outer(Console):
    patience = 300

    def __init__(self, arch, guest, files, disks=(), memory="2048", cpus=1, port=None,
                 seconds=SECONDS, options=(), append=""):
        a = ARCHES[arch]
        if not shutil.which(a["qemu"]):
            raise Skip("there is no %s: install %s" % (a["qemu"], a["package"]))
        make_initrd("outer.cpio", os.path.join(guest, "debian"), files, a["modules"])
        # Whoever kills timeout, kills QEMU with it.
        command = ["timeout", "-k", "5", str(seconds), "setpriv", "--pdeathsig", "KILL",
                   a["qemu"], "-accel", "tcg", *a["machine"], *options,
                   "-m", memory, "-smp", str(cpus), "-nodefaults", "-nographic",
                   "-serial", "stdio", "-no-reboot",
                   "-kernel", os.path.join(guest, "Image"), "-initrd", "outer.cpio",
                   "-append", "console=%s quiet panic=-1 cryptomgr.notests%s %s"
                   % (a["console"], a.get("append", ""), append)]
        for i, disk in enumerate(disks):
            command += ["-drive", "if=none,id=d%d,format=raw,file=%s" % (i, disk),
                        "-device", "%s,drive=d%d" % (a["disk"].replace("%d", str(i)), i)]
        if port and "serial" in a:  # a serial port, to the socket of that name
            command += ["-chardev", "socket,id=port,path=" + port, "-device", a["serial"],
                        "-device", "virtserialport,chardev=port"]
        super().__init__(command)
        try:
            self.login(PROMPT)
        except BaseException as why:
            self.__exit__(type(why))
            raise

    def __exit__(self, kind, *rest):
        # What has started QEMU passes a request to end on, but not a kill.
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
        super().__exit__(kind, *rest)

    # ---- An inner guest has the same console: while it runs, sh() and expect() are its own.

    def start(self, command):
        """Begin a command that will use the console itself."""
        self.count += 1
        self.started = self.count
        self.write(b"%s; echo \"<$?|%d>\"\n" % (command.encode(), self.count))

    def end(self):
        """Wait for the command's end; its status and what it has printed."""
        match = self.expect(rb"(.*?)<(\d+)\|%d>\r?\n" % self.started)
        return int(match.group(2)), match.group(1).decode(errors="replace").replace("\r\n", "\n")

    def sync(self):
        """All that was written to disks is in their files on the host."""
        self.sh("sync")


__all__ = ["ARCHES", "Ended", "Outer", "Skip", "TSC_TOLERANCE"]
