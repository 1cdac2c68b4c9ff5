#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's kernel boots from a virtio disk to a shell, and leaves the disk as it should be.

usage: test_boot.py HAKO IMAGES          prints TAP
"""
import os

from vm import Vm, assert_clean, main, root_disk


def boots_from_disk_to_a_shell():
    root = root_disk()
    sectors = os.path.getsize(root) // 512
    # Not quiet: the driver says how large the disk is. And the kernel tests its ciphers, which use
    # all sorts of instructions.
    with Vm(disks=[root], append="loglevel=7 cryptomgr.notests=0") as vm:
        found = vm.expect(rb"\[vda\] (\d+) 512-byte logical blocks")
        assert int(found.group(1)) == sectors, found.group(0)
        vm.login()
        assert vm.sh("uname -m") == "aarch64"
        assert vm.sh("dmesg | grep -w alg: | grep -v passed || true") == ""
        assert vm.sh("hostname") == "hako"
        mounts = [line.split() for line in vm.sh("cat /proc/mounts").splitlines()]
        assert ["/dev/vda", "/", "ext4"] in [m[:3] for m in mounts], mounts
        status, output = vm.run("ls /none 2>&1")
        assert status == 1 and "No such file" in output, output
        assert vm.poweroff() == 0
        assert "powered off" in vm.said()
    assert_clean(root)


def a_file_survives_a_reboot_and_a_second_run():
    root = root_disk()
    with Vm("--debug-guest", disks=[root]) as vm:
        vm.login()
        vm.sh("echo first >/root/kept")
        vm.write(b"reboot\n")
        vm.login()  # in place: the same hako boots it again
        assert vm.process.poll() is None
        assert vm.sh("cat /root/kept") == "first"
        vm.sh("echo second >>/root/kept")
        assert vm.poweroff() == 0
        # A kernel that works gives --debug-guest nothing to tell.
        assert vm.said() == "hako: the guest powered off\n", vm.said()
    assert_clean(root)
    with Vm(disks=[root]) as vm:
        vm.login()
        assert vm.sh("cat /root/kept") == "first\nsecond"
        assert vm.poweroff() == 0
    assert_clean(root)


main([boots_from_disk_to_a_shell, a_file_survives_a_reboot_and_a_second_run])
