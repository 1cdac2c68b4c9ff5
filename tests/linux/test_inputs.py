#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a guest is made from: kernels packed and plain, command lines, device trees, memory sizes.

usage: test_inputs.py HAKO IMAGES          prints TAP
"""
import gzip
import shutil
import subprocess

from vm import HAKO, KERNEL, Vm, main, root_disk


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
        assert line == 'console=ttyAMA0 root=/dev/vda rw quiet word="two words" last', line
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
    memory_is_as_large_as_asked_for,
])
