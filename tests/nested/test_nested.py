#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""hako inside a machine that has KVM, emulated by QEMU.

usage: test_nested.py ARCH HAKO IMAGES KERNEL        prints TAP

HAKO is static and for ARCH; IMAGES the folder with ARCH's guest images; KERNEL our own small kernel
for arm64.
"""
import functools
import os
import sys

from outer import Outer, Skip  # first: it says where console.py is
from console import run_tests  # pylint: disable=wrong-import-order

ARCH = sys.argv[1]
HAKO, IMAGES, KERNEL = (os.path.abspath(name) for name in sys.argv[2:5])
if "HAKO_GUEST" in os.environ:  # the folder of another architecture, beside ours
    IMAGES = os.path.join(os.path.dirname(os.path.abspath(os.environ["HAKO_GUEST"])), ARCH)


class System:
    """The outer system, booted when a test needs it and again when one has failed."""

    def __init__(self):
        self.outer = None

    def get(self):
        if not self.outer:
            self.outer = Outer(ARCH, IMAGES, {"hako": HAKO, "kernel.img": KERNEL})
        return self.outer

    def drop(self, why=None):
        if self.outer:
            self.outer.__exit__(why, None, None)
        self.outer = None


system = System()


def in_outer(test):
    """A test whose argument is the outer system, shared with the tests before it."""
    @functools.wraps(test)
    def run():
        try:
            test(system.get())
        except Skip:
            raise
        except BaseException as why:
            system.drop(type(why))
            raise
    return run


@in_outer
def the_software_cpu_runs_our_kernel(outer):
    outer.start("./hako run --engine soft --kernel kernel.img --mem 64M")
    outer.expect(rb"hello from the arm64 kernel")
    outer.write(b"halt\n")
    status, said = outer.end()
    assert status == 0 and "powered off" in said, said


@in_outer
def the_outer_system_ends(outer):
    outer.write(b"exit\n")
    assert outer.wait() == 0, outer.said()
    system.drop()


for path, how in ((HAKO, "'make static' makes it"), (KERNEL, "clang, lld and llvm make it"),
                  (os.path.join(IMAGES, "Image"), "'make guest' makes it"),
                  (os.path.join(IMAGES, "debian"), "'make guest' makes it")):
    if not os.path.exists(path):
        print("1..0 # SKIP there is no %s: %s" % (path, how))
        sys.exit(0)
try:
    run_tests([the_software_cpu_runs_our_kernel, the_outer_system_ends], "hako-nested-")
finally:
    system.drop()
