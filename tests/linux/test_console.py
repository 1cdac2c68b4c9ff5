#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The console: all input reaches the guest, from a pipe or a terminal, which is left as it was.

usage: test_console.py HAKO IMAGES          prints TAP
"""
import hashlib
import os
import pty
import subprocess
import termios

from vm import Vm, main, root_disk


def input_piped_before_the_guest_listens():
    """echo poweroff | hako run ..."""
    with Vm("--timeout", "120", disks=[root_disk()]) as vm:
        vm.write(b"echo $((40 + 2)) is the answer\npoweroff\n")
        vm.process.stdin.close()
        vm.process.stdin = None
        assert vm.wait() == 0, vm.said()
        assert b"42 is the answer" in vm.log


def kilobytes_at_once():
    """Faster than any terminal: the UART's FIFO must hold back what the guest has no room for."""
    lines = b"".join(b"%05d the quick brown fox jumps over the lazy dog\n" % n for n in range(300))
    with Vm(disks=[root_disk()]) as vm:
        vm.login()
        vm.write(b"cat >/tmp/input\n")
        os.write(vm.process.stdin.fileno(), lines + b"\x04")
        digest = vm.sh("md5sum </tmp/input").split()[0]
        assert digest == hashlib.md5(lines).hexdigest(), vm.sh("wc </tmp/input")
        assert vm.poweroff() == 0


def many_commands_at_once():
    with Vm(disks=[root_disk()]) as vm:
        vm.login()
        commands = b"".join(b"echo =%d=\n" % n for n in range(300))
        os.write(vm.process.stdin.fileno(), commands)
        for n in range(300):
            vm.expect(b"=%d=" % n)
        assert vm.poweroff() == 0


def every_byte_passes():
    """A pipe has no escape: Ctrl-A is the guest's, as is all else once its terminal is raw."""
    data = bytes(range(256)) * 8
    with Vm(disks=[root_disk()]) as vm:
        vm.login()
        vm.write(b"stty raw; echo ready; dd bs=1 count=%d of=/tmp/bytes 2>/dev/null;"
                 b" stty -raw -echo; echo done\n" % len(data))
        vm.expect(rb"ready")
        vm.write(data)
        vm.expect(rb"done")
        digest = vm.sh("md5sum </tmp/bytes").split()[0]
        assert digest == hashlib.md5(data).hexdigest(), vm.sh("hexdump -C /tmp/bytes | head -40")
        assert vm.poweroff() == 0


def a_terminal_is_left_as_it_was():
    ours, guests = pty.openpty()
    try:
        before = termios.tcgetattr(guests)
        with Vm(disks=[root_disk()], console=ours, stdin=guests, stdout=guests) as vm:
            vm.login()
            raw = termios.tcgetattr(guests)
            assert not raw[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
            # An interrupt is the guest's business.
            vm.write(b"sleep 1000\n")
            vm.read(1)
            vm.write(b"\x03")
            vm.sh(":")
            vm.write(b"\x01x")
            status = vm.process.wait(60)
            assert status == 0, status
            assert "from the console" in vm.said(), vm.said()
        assert termios.tcgetattr(guests) == before
        # And after an ordinary end.
        with Vm(disks=[root_disk()], console=ours, stdin=guests, stdout=guests) as vm:
            vm.login()
            vm.write(b"poweroff\n")
            vm.expect(rb"Power down")
            assert vm.process.wait(60) == 0
        assert termios.tcgetattr(guests) == before
    finally:
        os.close(ours)
        os.close(guests)


def nobody_reads_the_output():
    """A reader that goes away costs the output and not the guest."""
    root = root_disk()
    with Vm("--timeout", "300", disks=[root], stdout=subprocess.PIPE) as vm:
        vm.login()
        vm.process.stdout.close()
        os.write(vm.process.stdin.fileno(), b"echo unseen >/root/kept; seq 1 1000; poweroff\n")
        assert vm.process.wait(300) == 0, vm.said()
        vm.process.stdout = None
    with Vm(disks=[root]) as vm:
        vm.login()
        assert vm.sh("cat /root/kept") == "unseen"
        assert vm.poweroff() == 0


main([
    input_piped_before_the_guest_listens, kilobytes_at_once, many_commands_at_once,
    every_byte_passes, a_terminal_is_left_as_it_was, nobody_reads_the_output,
])
