#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How runs of Linux end: hako's exit status, and the line that tells it.

usage: test_end.py HAKO IMAGES          prints TAP
"""
import signal
import time

from vm import Vm, assert_clean, main, root_disk


def a_reset_ends_the_run_if_so_asked():
    root = root_disk()
    with Vm("--no-reboot", disks=[root]) as vm:
        vm.login()
        vm.write(b"reboot\n")
        assert vm.wait() == 10
        assert "asked for a reset" in vm.said(), vm.said()
    assert_clean(root)


def a_panic_is_a_reset():
    with Vm("--no-reboot", disks=[root_disk()]) as vm:
        vm.login()
        vm.write(b"echo c >/proc/sysrq-trigger\n")
        vm.expect(rb"Kernel panic")
        assert vm.wait() == 10


def a_kernel_without_a_root_panics():
    with Vm("--no-reboot", initrd=None) as vm:
        vm.expect(rb"Unable to mount root fs")
        assert vm.wait() == 10


def a_panic_boots_again():
    with Vm(disks=[root_disk()], append="quiet panic=-1") as vm:
        vm.login()
        vm.write(b"echo c >/proc/sysrq-trigger\n")
        vm.login()
        assert vm.poweroff() == 0


def the_time_runs_out():
    with Vm("--timeout", "3", disks=[root_disk()]) as vm:
        assert vm.wait() == 12
        assert "3 s" in vm.said(), vm.said()


def a_halted_guest_runs_on():
    """arm64 Linux halts in a loop with interrupts off: nothing tells it from one that works."""
    root = root_disk()
    with Vm(disks=[root]) as vm:
        vm.login()
        vm.write(b"halt\n")
        vm.expect(rb"System halted")
        time.sleep(2)
        assert vm.process.poll() is None, vm.said()
        vm.process.terminate()
        assert vm.wait() == 128 + signal.SIGTERM
        assert "SIGTERM" in vm.said(), vm.said()
    assert_clean(root)


def no_output_is_lost_at_the_end():
    with Vm(disks=[root_disk()]) as vm:
        vm.login()
        vm.write(b"seq 1 20000; poweroff -f\n")
        assert vm.wait() == 0
        lines = vm.log.replace(b"\r", b"").split(b"\n")
        assert [n for n in lines if n.isdigit()] == [b"%d" % n for n in range(1, 20001)]


main([
    a_reset_ends_the_run_if_so_asked, a_panic_is_a_reset, a_kernel_without_a_root_panics,
    a_panic_boots_again, the_time_runs_out, a_halted_guest_runs_on,
    no_output_is_lost_at_the_end,
])
