# SPDX-License-Identifier: MIT
"""A Linux guest on hako, driven over its console: what the tests in this folder share.

    with Vm(disks=[root]) as vm:
        vm.login()
        assert vm.sh("cat /proc/cmdline").startswith("console=")
        assert vm.poweroff() == 0

and, at the end of a test program, main([test, ...]), which prints TAP.
"""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from console import (Console, Ended, Skip, assert_clean, blank_disk, md5,  # noqa: E402,F401
                     random_disk, run_tests, sha256)

HAKO = os.path.abspath(sys.argv[1])
GUEST = os.path.abspath(os.environ.get("HAKO_GUEST") or sys.argv[2])

KERNEL = os.path.join(GUEST, "Image")
INITRD = os.path.join(GUEST, "initrd.gz")
PROMPT = re.compile(rb"hako:~# ")


class Vm(Console):
    """One run of hako."""

    def __init__(self, *args, disks=(), append="quiet", kernel=KERNEL, initrd=INITRD, **console):
        command = [HAKO, "run"]
        if kernel:
            command += ["--kernel", kernel]
        if initrd:
            command += ["--initrd", initrd]
        for disk in disks:
            command += ["--disk", disk]
        if append:
            command += ["--append", append]
        super().__init__(command + list(args), **console)

    def login(self, prompt=PROMPT):
        super().login(prompt)

    def poweroff(self):
        self.write(b"poweroff\n")
        return self.wait()


def root_disk(name="root.ext4"):
    """A copy of the root file system, which a guest may write to."""
    subprocess.run(["cp", "--sparse=always", os.path.join(GUEST, "root.ext4"), name], check=True)
    return name


def why_not():
    """Why there are no images: 'make test' leaves word when some cannot be fetched."""
    try:
        with open(GUEST + ".why", encoding="utf-8") as f:
            return f.read().strip().splitlines()[-1]
    except (OSError, IndexError):
        return "'make guest' makes it"


def main(tests):
    for name in ("Image", "initrd.gz", "root.ext4"):
        if not os.path.exists(os.path.join(GUEST, name)):
            print("1..0 # SKIP there is no guest image %s: %s" % (name, why_not()))
            sys.exit(0)
    run_tests(tests, "hako-linux-")
