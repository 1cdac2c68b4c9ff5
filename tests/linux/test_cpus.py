#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Linux on several CPUs: all are seen and used, go off and come back; idle ones cost little.

usage: test_cpus.py HAKO IMAGES          prints TAP
"""
import time

from vm import Vm, assert_clean, main, root_disk


def busy_ticks(vm):
    """User time of each CPU, in the guest's ticks."""
    lines = vm.sh("grep '^cpu[0-9]' /proc/stat").splitlines()
    return {line.split()[0]: int(line.split()[1]) for line in lines}


def all_cpus_work(count):
    root = root_disk()
    with Vm("--cpus", count, disks=[root]) as vm:
        vm.login()
        assert vm.sh("nproc") == str(count)
        assert vm.sh("grep -c ^processor /proc/cpuinfo") == str(count)
        before = busy_ticks(vm)
        assert len(before) == count, before
        # One loop for each CPU, nailed to it.
        vm.sh("for i in $(seq 0 %d); do taskset $(printf %%x $((1 << i)))"
              " sh -c 'i=0; while [ $i -lt 30000 ]; do i=$((i + 1)); done' & done; wait"
              % (count - 1))
        after = busy_ticks(vm)
        idle = [cpu for cpu in before if after[cpu] <= before[cpu]]
        assert not idle, "not used: %s" % idle
        assert vm.poweroff() == 0
    assert_clean(root)


def two_cpus():
    all_cpus_work(2)


def four_cpus():
    all_cpus_work(4)


def a_cpu_goes_off_and_comes_back():
    with Vm("--cpus", "2", disks=[root_disk()]) as vm:
        vm.login()
        online = "/sys/devices/system/cpu/cpu1/online"
        for _ in range(3):
            vm.sh("echo 0 >" + online)
            assert vm.sh("nproc") == "1"
            vm.sh("echo 1 >" + online)
            assert vm.sh("nproc") == "2"
        assert vm.sh("taskset 2 echo there") == "there"
        # One that is off must not be missed when the machine resets or ends.
        vm.sh("echo 0 >" + online)
        vm.write(b"reboot\n")
        vm.login()
        assert vm.sh("nproc") == "2"
        vm.sh("echo 0 >" + online)
        assert vm.poweroff() == 0


def an_idle_guest_sleeps():
    seconds = 5
    with Vm("--cpus", "2", disks=[root_disk()]) as vm:
        vm.login()
        time.sleep(2)  # what follows a boot
        before = vm.cpu_seconds()
        time.sleep(seconds)
        share = (vm.cpu_seconds() - before) / seconds
        print("# an idle guest with 2 CPUs uses %.1f %% of a host CPU" % (100 * share))
        # Far from what it should be; one that does not sleep at all takes 100 % and more.
        assert share < 0.25, "%.0f %%" % (100 * share)
        assert vm.poweroff() == 0


main([two_cpus, four_cpus, a_cpu_goes_off_and_comes_back, an_idle_guest_sleeps])
