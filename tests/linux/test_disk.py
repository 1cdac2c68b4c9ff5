#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Linux's virtio-blk driver against hako's disks: what is written is there, what is read-only stays,
and what goes wrong on the host is an I/O error in the guest and nothing more.

usage: test_disk.py HAKO IMAGES          prints TAP
"""
import json
import os
import resource
import shutil
import signal
import subprocess

from vm import Skip, Vm, assert_clean, blank_disk, main, md5, random_disk, root_disk, sha256

MIB = 1 << 20


def a_read_only_disk_is_never_written():
    root = root_disk()
    data = random_disk("data.img", 4 * MIB)
    before = sha256(data)
    with Vm(disks=[root, data + ",ro,serial=hako-data-1"]) as vm:
        vm.login()
        assert vm.sh("cat /sys/block/vdb/serial") == "hako-data-1"
        assert vm.sh("cat /sys/block/vdb/ro") == "1"
        assert vm.sh("cat /sys/block/vda/ro") == "0"
        assert vm.sh("cat /sys/block/vdb/size") == str(4 * MIB // 512)
        assert vm.sh("md5sum </dev/vdb").split()[0] == md5(data)
        status, output = vm.run("dd if=/dev/zero of=/dev/vdb bs=4k count=1 conv=fsync 2>&1")
        assert status != 0, output
        assert vm.poweroff() == 0
    assert sha256(data) == before, "a read-only disk was written"
    assert_clean(root)


def a_read_only_root():
    root = root_disk()
    before = sha256(root)
    with Vm(disks=[root + ",ro"]) as vm:
        vm.login()
        assert "root=/dev/vda ro" in vm.sh("cat /proc/cmdline")
        status, _ = vm.run("touch /new 2>/dev/null")
        assert status != 0
        assert vm.poweroff() == 0
    assert sha256(root) == before


def a_tail_shorter_than_a_sector_reads_as_zeros():
    data = random_disk("odd.img", 5 * 512 + 100)
    with open(data, "rb") as f:
        whole = f.read().ljust(6 * 512, b"\0")
    with open("whole.img", "wb") as f:
        f.write(whole)
    with Vm(disks=[root_disk(), data + ",ro"]) as vm:
        vm.login()
        assert vm.sh("cat /sys/block/vdb/size") == "6"
        assert vm.sh("md5sum </dev/vdb").split()[0] == md5("whole.img")
        assert vm.poweroff() == 0


def sixty_four_megabytes_there_and_back():
    size = 64 * MIB
    source = random_disk("source.img", size)
    target = blank_disk("target.img", 96 * MIB)
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    mke2fs = shutil.which("mke2fs", path=path)
    if not mke2fs:
        raise Skip("there is no mke2fs: install e2fsprogs")
    subprocess.run([mke2fs, "-q", "-F", "-t", "ext4", target], check=True)
    digest = md5(source)
    with Vm("--mem", "256M", disks=[root_disk(), source + ",ro", target]) as vm:
        vm.login()
        vm.sh("mount -t ext4 /dev/vdc /mnt")
        vm.sh("cp /dev/vdb /mnt/copy && sync && echo 3 >/proc/sys/vm/drop_caches")
        assert vm.sh("md5sum </mnt/copy").split()[0] == digest
        vm.sh("umount /mnt")
        assert vm.poweroff() == 0
    assert_clean(target)
    # And the host finds the same.
    debugfs = shutil.which("debugfs", path=path)
    subprocess.run([debugfs, "-R", "dump /copy copy", target], check=True, capture_output=True)
    assert os.path.getsize("copy") == size and md5("copy") == digest


def an_image_in_use_is_refused():
    root = root_disk()
    with Vm(disks=[root]) as first:
        first.login()
        with Vm(disks=[root]) as second:
            assert second.wait() == 1
            assert root in second.said(), second.said()
        with Vm(disks=[root + ",ro"]) as third:
            assert third.wait() == 1
        first.sh("echo still here >/root/kept && sync")
        assert first.poweroff() == 0
    assert_clean(root)


def linux_breaks_no_rule():
    """Under the deep lint, with all kinds of rings and registers, and files that are overwritten
    while they are written out."""
    disks = [blank_disk("b.img", 4 * MIB) + ",transport=legacy",
             blank_disk("c.img", 4 * MIB) + ",packed=off",
             blank_disk("d.img", 4 * MIB) + ",packed=off,event-idx=off,indirect=off"]
    root = root_disk()
    with Vm("--lint=strict,deep", "--lint-report", "report.json", "--trace", "virtio", "--cpus", "2",
            disks=[root] + disks) as vm:
        vm.login()
        vm.sh("(while test ! -e /stop; do dd if=/dev/vda of=/f bs=4k count=64 conv=notrunc; "
              "done) >/dev/null 2>&1 &")
        vm.sh("for i in 1 2 3 4 5 6 7 8 9 10; do sync; done; touch /stop; sync")
        for disk in "bcd":
            vm.sh("for i in 0 1 2 3; do dd if=/dev/vda of=/dev/vd%s bs=64k count=16 "
                  "seek=$((i * 16)) conv=%s & done; wait"
                  % (disk, "notrunc" if disk == "d" else "fsync"))  # d: nobody ever asks to flush
            vm.sh("for i in 0 1 2 3; do dd if=/dev/vd%s of=/dev/null bs=4k count=200 "
                  "skip=$((i * 200)) & done; wait" % disk)
        os.kill(vm.pid, signal.SIGUSR1)
        assert vm.poweroff() == 0
        said = vm.said()
        assert "lint" not in said, said
        # What the queues did last, and whose turn it is.
        for words in ("blk3.q0: ", "took head", "used.len", "interrupt raised", "all is answered"):
            assert words in said, words
    with open("report.json", encoding="utf-8") as f:
        assert json.load(f)["findings"] == []
    assert_clean(root)


# ---- What goes wrong on the host

def fill(vm, offset):
    """Write 1 MiB at `offset` MiB of /dev/vdb through to the disk; the status."""
    return vm.run("dd if=/dev/zero of=/dev/vdb bs=1M count=1 seek=%d conv=notrunc,fsync 2>&1"
                  % offset)[0]


def goes_on(vm):
    """The guest, its root and the rest of its disk work as before."""
    assert fill(vm, 0) == 0
    vm.sh("echo still here >/root/kept && sync")
    assert vm.poweroff() == 0


def a_limit_of_file_sizes_is_an_io_error():
    root = root_disk()
    limit = os.path.getsize(root)
    data = blank_disk("data.img", 2 * limit)
    with Vm(disks=[root, data], preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))) as vm:
        vm.login()
        assert fill(vm, limit // MIB - 1) == 0
        assert fill(vm, limit // MIB + 1) != 0
        goes_on(vm)
    assert_clean(root)


def a_full_host_disk_is_an_io_error():
    os.mkdir("small")
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", "small"],
                           capture_output=True, text=True)
    if mount.returncode:
        raise Skip("no small file system to fill: " + mount.stderr.strip())
    try:
        data = blank_disk("small/data.img", 16 * MIB)
        root = root_disk()
        with Vm(disks=[root, data]) as vm:
            vm.login()
            assert fill(vm, 0) == 0
            results = [fill(vm, offset) for offset in range(1, 8)]
            assert results[0] == 0 and results[-1] != 0, results
            goes_on(vm)
        assert_clean(root)
    finally:
        subprocess.run(["umount", "small"], check=True)


def a_file_cut_short_underneath_is_an_io_error():
    root = root_disk()
    data = random_disk("data.img", 16 * MIB)
    read = "dd if=/dev/vdb of=/dev/null bs=4k count=1 skip=%d 2>&1"
    with Vm(disks=[root, data + ",ro"]) as vm:
        vm.login()
        vm.sh(read % 0)
        os.truncate(data, MIB)
        status, output = vm.run(read % (8 * MIB // 4096))
        assert status != 0 and "I/O error" in output, output
        vm.sh(read % 16)
        vm.sh("echo still here >/root/kept && sync")
        assert vm.poweroff() == 0
    assert_clean(root)


def a_full_host_disk_stops_the_guest_if_so_asked():
    root = root_disk()
    limit = os.path.getsize(root)
    data = blank_disk("data.img", 2 * limit)
    with Vm(disks=[root, data + ",on-error=stop"], preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))) as vm:
        vm.login()
        vm.sh("echo kept | dd of=/dev/vdb conv=fsync 2>/dev/null")
        vm.write(b"dd if=/dev/zero of=/dev/vdb bs=512 count=1 seek=%d conv=fsync;"
                 b" echo 'the guest' was told\n" % (limit // 512 + 5))
        assert vm.wait() == 14, vm.said()
        for word in ("'data.img' (blk1)", "write of", "sector %d" % (limit // 512),
                     "File too large"):
            assert word in vm.said(), vm.said()
        assert b"the guest was told" not in vm.log
    with open(data, "rb") as f:
        assert f.read(5) == b"kept\n"


# ---- Another size

def disks_grow_and_shrink():
    """On SIGHUP, and only those that have; both transports."""
    root = root_disk()
    grows, shrinks = random_disk("grows.img", 4 * MIB), random_disk("shrinks.img", 8 * MIB)
    with Vm(disks=[root, grows, shrinks + ",transport=legacy"], append="loglevel=7") as vm:
        vm.login()
        with open(grows, "ab") as f:
            f.write(b"more" * (MIB // 4))
        os.truncate(shrinks, 2 * MIB + 512)
        os.kill(vm.pid, signal.SIGHUP)
        vm.expect(rb"detected capacity change from \d+ to \d+")
        vm.expect(rb"detected capacity change from \d+ to \d+")
        sizes = [int(n) * 512 for n in vm.sh("cat /sys/block/vd[abc]/size").split()]
        assert sizes == [os.path.getsize(root), 5 * MIB, 2 * MIB + 512], sizes
        assert vm.sh("dd if=/dev/vdb bs=1M skip=4 2>/dev/null | head -c 8") == "moremore"
        assert vm.sh("md5sum </dev/vdb").split()[0] == md5(grows)
        assert vm.sh("md5sum </dev/vdc").split()[0] == md5(shrinks)
        # A driver that is reset finds the new size.
        vm.write(b"reboot\n")
        vm.login()
        assert vm.sh("cat /sys/block/vdb/size") == str(5 * MIB // 512)
        assert vm.poweroff() == 0
    assert_clean(root)


main([
    a_full_host_disk_stops_the_guest_if_so_asked, disks_grow_and_shrink,
    a_read_only_disk_is_never_written, a_read_only_root, linux_breaks_no_rule,
    a_tail_shorter_than_a_sector_reads_as_zeros, sixty_four_megabytes_there_and_back,
    an_image_in_use_is_refused, a_limit_of_file_sizes_is_an_io_error,
    a_full_host_disk_is_an_io_error, a_file_cut_short_underneath_is_an_io_error,
])
