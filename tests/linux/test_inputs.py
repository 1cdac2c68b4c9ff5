#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a guest is made from: kernels packed and plain, command lines, device trees, memory sizes.

usage: test_inputs.py HAKO IMAGES          prints TAP
"""
import gzip
import json
import shutil
import subprocess

from vm import HAKO, INITRD, KERNEL, Vm, blank_disk, main, root_disk


def a_gzipped_kernel_boots():
    with open(KERNEL, "rb") as image, gzip.open("Image.gz", "wb", compresslevel=1) as packed:
        shutil.copyfileobj(image, packed)
    with Vm(disks=[root_disk()], kernel="Image.gz") as vm:
        vm.login()
        assert vm.poweroff() == 0


def the_command_line_is_the_one_given():
    with Vm("--mem", "256M", disks=[root_disk()], append='quiet word="two words" last') as vm:
        vm.login()
        line = vm.sh("cat /proc/cmdline")
        assert line == \
            'console=ttyAMA0 root=/dev/vda rw cryptomgr.notests quiet word="two words" last', line
        assert vm.poweroff() == 0
    with Vm("--cmdline", "console=ttyAMA0 quiet ro", disks=[root_disk()], append="") as vm:
        vm.login()
        assert vm.sh("cat /proc/cmdline") == "console=ttyAMA0 quiet ro"
        status, _ = vm.run("touch /new 2>/dev/null")
        assert status == 1, "the root is not read-only"
        assert vm.poweroff() == 0


def a_dumped_device_tree_boots_again():
    root = root_disk()
    subprocess.run([HAKO, "run", "--quiet", "--kernel", KERNEL, "--disk", root, "--cpus", "2",
                    "--dump-dtb", "tree.dtb"], check=True)
    # Another model, of the same length: to be seen in the guest.
    with open("tree.dtb", "rb") as f:
        tree = f.read()
    assert tree.count(b"linux,dummy-virt\0") > 0, "the tree has another compatible string"
    with open("tree.dtb", "wb") as f:
        f.write(tree.replace(b"linux,dummy-virt\0", b"linux,dummy-test\0"))
    with Vm("--cpus", "2", "--dtb", "tree.dtb", disks=[root]) as vm:
        vm.login()
        assert "linux,dummy-test" in vm.sh("tr '\\0' ' ' </proc/device-tree/compatible")
        assert vm.sh("nproc") == "2"
        assert vm.poweroff() == 0


def a_configuration_and_its_timeline():
    """The root is on the drive that is marked, and a second run has what the first wrote."""
    blank_disk("data.img", 1 << 20)
    with open("vm.json", "w", encoding="utf-8") as f:
        json.dump({
            "boot-source": {"kernel_image_path": KERNEL, "initrd_path": INITRD,
                            "boot_args": "console=ttyAMA0 quiet root=/dev/vda"},
            "drives": [
                {"drive_id": "data", "path_on_host": "data.img", "is_read_only": True},
                {"drive_id": "root", "path_on_host": root_disk(), "is_root_device": True,
                 "hako": {"serial": "the-root"}}],
            "machine-config": {"vcpu_count": 2, "mem_size_mib": 256},
            "hako": {"timing": "json"}}, f)
    for cpus, run in ((2, []), (1, ["--cpus", "1"])):
        with Vm("--config", "vm.json", *run, kernel=None, initrd=None, append="") as vm:
            vm.login()
            assert vm.sh("cat /proc/cmdline") == \
                "console=ttyAMA0 quiet root=/dev/vda root=/dev/vdb rw"
            assert vm.sh("awk '$2 == \"/\" { print $1 }' /proc/mounts").split()[-1] == "/dev/vdb"
            assert vm.sh("cat /sys/block/vdb/serial") == "the-root"
            assert vm.sh("cat /sys/block/vda/ro") == "1"
            assert vm.sh("nproc") == str(cpus)
            if cpus == 2:
                vm.sh("echo hello >/kept; sync")
            else:
                assert vm.sh("cat /kept") == "hello"
            assert vm.poweroff() == 0
            timing = json.loads(vm.said().splitlines()[-1])
        assert (timing["machine"], timing["outcome"]) == ("arm64", "poweroff")
        order = ["create", "created", "guest", "firmware", "virtio", "driver_ok", "read", "write",
                 "end"]
        times = [timing["events"][name]["ms"] for name in order]
        assert times == sorted(times), times
        assert times[2] < timing["events"]["console"]["ms"] < times[-1]
        assert timing["events"]["reset"] is None
        assert timing["counters"] and min(timing["counters"].values()) >= 0


def memory_is_as_large_as_asked_for():
    """From what the kernel just fits in to more than 32 bits of addresses."""
    for mem, least in (("64M", 20 << 10), ("1G", 900 << 10), ("4G", 3900 << 10)):
        with Vm("--mem", mem, disks=[root_disk()]) as vm:
            vm.login()
            kib = int(vm.sh("awk '/^MemTotal/ { print $2 }' /proc/meminfo"))
            assert kib >= least, "%s: %d KiB" % (mem, kib)
            assert vm.poweroff() == 0


main([
    a_gzipped_kernel_boots, the_command_line_is_the_one_given, a_dumped_device_tree_boots_again,
    a_configuration_and_its_timeline, memory_is_as_large_as_asked_for,
])
