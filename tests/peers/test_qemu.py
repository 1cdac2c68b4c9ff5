#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A Debian guest of QEMU with its root file system on hako's vhost-user server.

usage: test_qemu.py HAKO GUEST

GUEST is the directory of the arm64 guest that 'make guest' makes; HAKO_GUEST in the environment
names another. TMPDIR should have 200 MB of room.
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from console import Console, Skip, assert_clean, run_tests  # noqa: E402

HAKO = os.path.abspath(sys.argv[1])
GUEST = os.path.abspath(os.environ.get("HAKO_GUEST") or sys.argv[2])
QEMU = shutil.which("qemu-system-aarch64")
PROMPT = re.compile(rb"hako:~# ")


class Server:
    """hako vhost-user-blk on the root file system's image."""

    def __init__(self, *options):
        self.options = options
        self.log = open("server.log", "ab")
        self.process = None
        self.start()

    def start(self):
        self.begun = os.path.getsize("server.log")
        self.process = subprocess.Popen(
            [HAKO, "vhost-user-blk", "-v", "--socket", "disk.sock",
             "--disk", ",".join(("root.ext4",) + self.options)], stderr=self.log)

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
        assert not os.path.exists("disk.sock")

    def said(self):
        with open("server.log", encoding="utf-8") as f:
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


def guest(device=""):
    """QEMU. Its virtio-mmio tells guests that queues may have 1024 entries, whatever the device
    says, so that is what the device is told too."""
    return Console([
        QEMU, "-M", "virt,memory-backend=mem", "-cpu", "max,pauth-impdef=on", "-smp", "2", "-m", "256",
        "-object", "memory-backend-memfd,id=mem,size=256M,share=on",
        "-kernel", os.path.join(GUEST, "Image"), "-initrd", os.path.join(GUEST, "initrd.gz"),
        "-append", "console=ttyAMA0 root=/dev/vda quiet",
        "-global", "virtio-mmio.force-legacy=false",
        "-chardev", "socket,id=disk,path=disk.sock,reconnect=1",
        "-device", "vhost-user-blk,chardev=disk,num-queues=2,queue-size=1024" + device,
        "-nographic", "-nodefaults", "-serial", "stdio", "-monitor", "none"])


def prepare():
    if not QEMU:
        raise Skip("there is no qemu-system-aarch64: install qemu-system-arm")
    if not os.path.exists(os.path.join(GUEST, "initrd.gz")):
        raise Skip("there is no guest in %s: 'make guest' makes it" % GUEST)
    shutil.copyfile(os.path.join(GUEST, "root.ext4"), "root.ext4")


def end(vm):
    """Power off; nothing is lost by then."""
    vm.write(b"sync; poweroff\n")
    assert vm.wait() == 0


def the_root_file_system_is_there():
    prepare()
    with Server() as server, guest() as vm:
        vm.login(PROMPT)
        assert vm.sh("ls /sys/block/vda/mq").split() == ["0", "1"]
        assert vm.sh("cat /sys/block/vda/cache_type") == "write back"
        assert vm.sh("cat /sys/block/vda/serial") == "blk0"
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
    assert_clean("root.ext4")


# Writes files of known contents, drops what the guest has in memory of them, and compares; in each
# of two processes, so that requests meet. Says what went wrong.
WORK = r"""
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
"""


def killed_under_load(device=""):
    prepare()
    # Slow enough that something is in flight when the server is killed.
    with Server("bps=1M") as server, guest(device) as vm:
        vm.login(PROMPT)
        features = vm.sh("cat /sys/block/vda/device/features")
        assert features[34] == ("1" if device else "0"), features
        vm.sh("mount -t tmpfs none /tmp; " + WORK)
        vm.write(b"work a & work b; wait; echo all-over\n")
        kills = 0
        while kills < 12:
            server.wait_for_queues()
            time.sleep(0.5)
            vm.read(0)
            if b"all-over" in vm.text:
                break
            server.kill()
            kills += 1
            server.start()
        text = vm.expect(rb"all-over").string.decode(errors="replace")
        assert "differs" not in text and "rror" not in text, text
        assert kills >= 3, "the guest was over before the server was killed"
        again = server.said().count("were in flight, and are done again")
        print("# killed %d times, %d queues had something in flight" % (kills, again))
        assert again, "nothing was ever in flight"
        for who in "ab":
            for i in range(1, 5):
                vm.sh("md5sum </data-%s-%d | cmp - /sum-%s-%d" % (who, i, who, i))
        assert "I/O error" not in vm.sh("dmesg"), vm.sh("dmesg | tail -20")
        end(vm)
        server.end()
        assert "error:" not in server.said(), server.said()
    assert_clean("root.ext4")


def nothing_is_lost_when_the_server_is_killed_under_load():
    killed_under_load()


def nor_with_packed_rings():
    killed_under_load(",packed=on")


def another_size():
    prepare()
    with Server() as server, guest() as vm:
        vm.login(PROMPT)
        size = os.path.getsize("root.ext4")
        assert int(vm.sh("cat /sys/block/vda/size")) == size // 512
        os.truncate("root.ext4", 2 * size)
        server.process.send_signal(signal.SIGHUP)
        vm.sh("while [ $(cat /sys/block/vda/size) != %d ]; do sleep 0.1; done" % (2 * size // 512))
        end(vm)
        server.end()


run_tests([
    the_root_file_system_is_there,
    nothing_is_lost_when_the_server_is_killed_under_load,
    nor_with_packed_rings,
    another_size,
], prefix="hako-peer-")
