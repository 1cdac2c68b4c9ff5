#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian guests of QEMU, arm64 and amd64, with their disks on hako's vhost-user server.

usage: test_qemu.py HAKO GUEST

GUEST is the directory of the arm64 guest that 'make guest' makes, with that of the amd64 guest
beside it; HAKO_GUEST in the environment names another. TMPDIR should have 200 MB of room.
"""
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
sys.path.insert(0, os.path.join(TOP, "tests/lib"))
from console import Console, Skip, assert_clean, blank_disk, run_tests  # noqa: E402
import fio  # noqa: E402

HAKO = os.path.abspath(sys.argv[1])
GUESTS = os.path.dirname(os.path.abspath(os.environ.get("HAKO_GUEST") or sys.argv[2]))
PROMPT = re.compile(rb"hako:~# ")

class Machine:
    """QEMU's emulation of one: arm64 with disks on virtio-mmio, amd64 with disks on PCI, since its
    machine without (microvm) has no clock to measure the TSC by, which on a busy host means no
    boot."""

    def __init__(self, arch):
        arm = arch == "arm64"
        self.qemu = "qemu-system-aarch64" if arm else "qemu-system-x86_64"
        self.machine = "virt" if arm else "q35"
        self.cpu = "max,pauth-impdef=on" if arm else "max"
        self.console = "ttyAMA0" if arm else "ttyS0"
        self.disk = "vhost-user-blk" if arm else "vhost-user-blk-pci"
        self.own_disk = "virtio-blk-device" if arm else "virtio-blk-pci"
        self.folder = os.path.join(GUESTS, arch)
        self.initrd = os.path.join(self.folder, "initrd.gz")
        if not shutil.which(self.qemu):
            raise Skip("there is no %s: install qemu-system-%s"
                       % (self.qemu, "arm" if arm else "x86"))
        if not os.path.exists(self.initrd):
            raise Skip("there is no guest in %s: 'make guest' makes it" % self.folder)
        if not arm:  # hako has no PCI, so 'make guest' leaves out the modules for it
            self.initrd = "initrd.gz"
            subprocess.run([os.path.join(TOP, "scripts/guest/make-initramfs.sh"),
                            os.path.join(self.folder, "debian"),
                            os.path.join(TOP, "guest/image/init"), self.initrd,
                            "virtio_pci", "virtio_blk", "ext4"], check=True)
        shutil.copyfile(os.path.join(self.folder, "root.ext4"), "root.img")

    def start(self, servers, device="", more=()):
        """Its virtio-mmio tells guests that queues may have 1024 entries, whatever the device says,
        so that is what the device is told too."""
        disks = []
        for s in servers:
            disks += ["-chardev", "socket,id=%s,path=%s.sock,reconnect=1" % (s.name, s.name),
                      "-device", "%s,chardev=%s,num-queues=2,queue-size=1024%s"
                      % (self.disk, s.name, device)]
        return Console([
            self.qemu, "-M", self.machine + ",memory-backend=mem", "-cpu", self.cpu, "-smp", "2",
            "-m", "256", "-object", "memory-backend-memfd,id=mem,size=256M,share=on",
            "-kernel", os.path.join(self.folder, "Image"), "-initrd", self.initrd,
            "-append", "console=%s root=LABEL=hako quiet cryptomgr.notests" % self.console,
            "-global", "virtio-mmio.force-legacy=false", *disks, *more,
            "-nographic", "-nodefaults", "-serial", "stdio", "-monitor", "none"])


class Server:
    """hako vhost-user-blk on NAME.img. In the guest, NAME is the disk's serial number."""

    def __init__(self, name, *options):
        self.name = name
        self.disk = ",".join((name + ".img", "serial=" + name) + options)
        self.log = open(name + ".log", "ab")
        self.process = None
        self.start()

    def start(self):
        self.begun = os.path.getsize(self.log.name)
        self.process = subprocess.Popen(
            [HAKO, "vhost-user-blk", "-v", "--socket", self.name + ".sock", "--disk", self.disk],
            stderr=self.log)

    def wait_for_queues(self):
        """Both of them run. A server that is killed while QEMU begins with it is not asked again:
        QEMU 7.2 connects, and then says nothing."""
        end = time.monotonic() + 120
        while any("queue %d runs" % q not in self.said()[self.begun:] for q in (0, 1)):
            assert time.monotonic() < end, "QEMU does not come back to the server"
            time.sleep(0.05)

    def kill(self):
        self.process.kill()
        assert self.process.wait() == -signal.SIGKILL

    def end(self):
        self.process.terminate()
        assert self.process.wait(60) == 0, self.said()
        assert not os.path.exists(self.name + ".sock")

    def said(self):
        with open(self.log.name, encoding="utf-8") as f:
            return f.read()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind and kind is not Skip:
            print("# the server said, at last:\n# " + "\n# ".join(self.said().splitlines()[-12:]))
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.close()


def disk_of(vm, name):
    """What the guest calls the disk with that serial number."""
    return vm.sh("grep -l '^%s$' /sys/block/vd*/serial" % name).split("/")[3]


def end(vm):
    """Power off; nothing is lost by then."""
    vm.write(b"sync; poweroff\n")
    assert vm.wait() == 0


def root_file_system(arch):
    machine = Machine(arch)
    with Server("root") as server, machine.start([server]) as vm:
        vm.login(PROMPT)
        assert vm.sh("ls /sys/block/vda/mq").split() == ["0", "1"]
        assert vm.sh("cat /sys/block/vda/cache_type") == "write back"
        assert vm.sh("cat /sys/block/vda/serial") == "root"
        vm.sh("dd if=/dev/urandom of=/file bs=64k count=128")
        before = vm.sh("md5sum /file")
        vm.sh("sync; echo 3 >/proc/sys/vm/drop_caches")
        assert vm.sh("md5sum /file") == before
        vm.sh("fstrim -v /")
        assert vm.sh("md5sum /file") == before
        # The guest's reboot: QEMU and the server stay.
        vm.write(b"sync; reboot\n")
        vm.login(PROMPT)
        assert vm.sh("md5sum /file") == before
        end(vm)
        server.end()
        assert "error" not in server.said(), server.said()
    assert_clean("root.img")


def arm64_has_its_root_file_system():
    root_file_system("arm64")


def amd64_has_its_root_file_system():
    root_file_system("amd64")


# Two processes that write files of known contents, drop what the guest has in memory of them, and
# compare, so that requests meet; and fio on a disk of its own, which then has new file systems.
# Each says what went wrong.
LOAD = r"""
work() {
    for i in 1 2 3 4; do
        dd if=/dev/urandom of=/tmp-$1 bs=16k count=100 2>/dev/null
        cp /tmp-$1 /data-$1-$i
        sync
        md5sum </tmp-$1 >/sum-$1-$i
        echo 3 >/proc/sys/vm/drop_caches
        md5sum </data-$1-$i | cmp - /sum-$1-$i || echo "$1-$i differs"
        fstrim /
    done
    echo "done $1"
}
new_fs() {
    mke2fs -F /dev/$1 >/dev/null && mount -t ext4 /dev/$1 /fs &&
        cp /bin/busybox /fs && umount /fs && mount -t ext4 /dev/$1 /fs &&
        cmp /bin/busybox /fs/busybox && rm /fs/busybox && fstrim /fs && umount /fs
}
blocks() {
    FIO >/tmp/fio || { tail -n 20 /tmp/fio; echo "fio: error"; }
    for i in 1 2; do
        new_fs $1 || echo "mkfs: error"
    done
    echo "done blocks"
}
"""


def restarted_under_load(arch, device=""):
    machine = Machine(arch)
    image = fio.image(machine.folder)
    blank_disk("blocks.img", fio.SIZE)
    with contextlib.ExitStack() as stack:
        # Slow enough that something is in flight when a server is killed, after half of the second
        # that it may be ahead.
        servers = [stack.enter_context(Server(name, "bps=" + bps))
                   for name, bps in (("root", "1M"), ("blocks", "512K"))]
        vm = stack.enter_context(machine.start(servers, device, [
            "-drive", "id=fio,if=none,format=raw,readonly=on,file=" + image,
            "-device", machine.own_disk + ",drive=fio,serial=fio"]))
        vm.login(PROMPT)
        blocks = disk_of(vm, "blocks")
        features = vm.sh("cat /sys/block/%s/device/features" % blocks)
        assert features[34] == ("1" if device else "0"), features
        fio.set_up(vm, disk_of(vm, "fio"))
        vm.sh("mount -t tmpfs none /tmp; mkdir /fs; " + LOAD.replace("FIO", fio.command(blocks)))
        vm.write(b"work a & work b & blocks %s & wait; echo all-over\n" % blocks.encode())
        kills = ends = 0
        while kills + ends < 16:
            for s in servers:
                s.wait_for_queues()
            time.sleep(0.5)
            vm.read(0)
            if b"all-over" in vm.text:
                break
            orderly = kills > ends
            for s in servers:
                s.end() if orderly else s.kill()
                s.start()
            kills, ends = kills + (not orderly), ends + orderly
        text = vm.expect(rb"all-over").string.decode(errors="replace")
        assert "differs" not in text and "rror" not in text, text
        assert ends >= 2, "the guest was over before the servers were restarted"
        for s in servers:
            again = s.said().count("were in flight, and are done again")
            print("# %s: killed %d times, ended %d times, %d queues had something in flight"
                  % (s.name, kills, ends, again))
            assert again, "nothing was ever in flight"
        for who in "ab":
            for i in range(1, 5):
                vm.sh("md5sum </data-%s-%d | cmp - /sum-%s-%d" % (who, i, who, i))
        assert "I/O error" not in vm.sh("dmesg"), vm.sh("dmesg | tail -20")
        end(vm)
        for s in servers:
            s.end()
            assert "error:" not in s.said(), s.said()
    assert_clean("root.img")
    assert_clean("blocks.img")


def arm64_loses_nothing_when_the_server_is_restarted_under_load():
    restarted_under_load("arm64")


def nor_does_amd64_with_packed_rings():
    restarted_under_load("amd64", ",packed=on")


def another_size():
    machine = Machine("arm64")
    with Server("root") as server, machine.start([server]) as vm:
        vm.login(PROMPT)
        size = os.path.getsize("root.img")
        assert int(vm.sh("cat /sys/block/vda/size")) == size // 512
        os.truncate("root.img", 2 * size)
        server.process.send_signal(signal.SIGHUP)
        vm.sh("while [ $(cat /sys/block/vda/size) != %d ]; do sleep 0.1; done" % (2 * size // 512))
        end(vm)
        server.end()


run_tests([
    arm64_has_its_root_file_system,
    amd64_has_its_root_file_system,
    arm64_loses_nothing_when_the_server_is_restarted_under_load,
    nor_does_amd64_with_packed_rings,
    another_size,
], prefix="hako-peer-")
