#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's riscv64 kernel boots as its arm64 one does: to a shell, with several harts, with hako
and with OpenSBI as the firmware.

usage: test_riscv.py HAKO IMAGES          prints TAP
"""
import glob
import os
import sys

if "HAKO_GUEST" in os.environ:  # the folder of another architecture, beside ours
    os.environ["HAKO_GUEST"] = os.path.join(
        os.path.dirname(os.path.abspath(os.environ["HAKO_GUEST"])), "riscv64")

from vm import Skip, Vm, assert_clean, main, root_disk  # pylint: disable=wrong-import-position

assert len(sys.argv) > 2, __doc__


def one_hart_a_reboot_and_a_second_run():
    root = root_disk()
    with Vm("--debug-guest", disks=[root]) as vm:
        vm.login()
        assert vm.sh("uname -m") == "riscv64"
        assert vm.sh("nproc") == "1"
        assert vm.sh("cat /proc/cmdline") == "console=ttyS0 root=/dev/vda rw cryptomgr.notests quiet"
        # By the vDSO, which reads `time` in user mode.
        assert "real" in vm.sh("time true 2>&1")
        vm.sh("echo first >/root/kept")
        vm.write(b"reboot\n")
        vm.login()
        assert vm.process.poll() is None
        assert vm.sh("cat /root/kept") == "first"
        assert vm.poweroff() == 0
        # A kernel that works gives --debug-guest nothing to tell.
        assert vm.said() == "hako: the guest powered off\n", vm.said()
    assert_clean(root)


def four_harts_work_at_once():
    root = root_disk()
    with Vm("--cpus", "4", "--lint=strict,deep", disks=[root]) as vm:
        vm.login()
        assert vm.sh("nproc") == "4"
        sums = vm.sh("for i in 1 2 3 4; do md5sum /bin/busybox & done; wait").splitlines()
        sums = [line.split()[0] for line in sums if not line.startswith("[")]
        assert len(sums) == 4 and len(set(sums)) == 1, sums
        assert vm.poweroff() == 0
        assert "lint" not in vm.said(), vm.said()
    assert_clean(root)


def opensbi_is_the_firmware():
    found = glob.glob("/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin")
    if not found:
        raise Skip("there is no OpenSBI: install opensbi")
    root = root_disk()
    with Vm("--cpus", "2", "--firmware", found[0], "--debug-guest", disks=[root],
            append="quiet cryptomgr.notests=0") as vm:
        vm.expect(rb"OpenSBI v[0-9.]+")
        vm.login()
        assert vm.sh("dmesg | grep -w alg: | grep -v passed || true") == ""  # the kernel's tests of its ciphers
        assert vm.sh("nproc") == "2"
        assert vm.poweroff() == 0
        assert vm.said() == "hako: the guest powered off\n", vm.said()
    assert_clean(root)


main([one_hart_a_reboot_and_a_second_run, four_harts_work_at_once, opensbi_is_the_firmware])
