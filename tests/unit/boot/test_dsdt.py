#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The DSDT, read by ACPICA's disassembler and compiled again without a warning.

usage: test_dsdt.py TEST_ACPI        77: there is no iasl
"""
import re
import shutil
import subprocess
import sys
import tempfile

DISKS = 16  # as in test_acpi.c


def iasl(*args):
    run = subprocess.run(["iasl", *args], capture_output=True, text=True, check=False)
    said = run.stdout + run.stderr
    assert run.returncode == 0, said
    return said


if not shutil.which("iasl"):
    print("skipped: there is no iasl; install acpica-tools")
    sys.exit(77)
with tempfile.TemporaryDirectory(prefix="hako-dsdt-") as folder:
    subprocess.run([sys.argv[1], folder + "/dsdt.aml"], check=True)
    iasl("-d", folder + "/dsdt.aml")
    said = iasl("-p", folder + "/again", folder + "/dsdt.dsl")
    assert "0 Errors, 0 Warnings" in said, said
    with open(folder + "/dsdt.dsl", encoding="ascii") as f:
        text = f.read()

devices = re.findall(r"Device \((\w+)\)(.*?)\n        }\n", text, re.S)
slots = [body for _, body in devices if '"LNRO0005"' in body]
assert len(slots) == DISKS and len(devices) == DISKS + 2, text
for i, body in enumerate(slots):
    assert "0x%08X,         // Address Base" % (0xd0000000 + i * 0x1000) in body, body
    assert "ResourceConsumer, Edge, ActiveHigh, Exclusive" in body, body
    assert "\n                    0x%08X,\n" % (5 + i) in body, body
assert 'EisaId ("PNP0501")' in text and 'EisaId ("PNP0B00")' in text, text
assert re.search(r"Name \(_S5, Package \(0x04\).*?0x05, \s*0x00, \s*0x00, \s*0x00", text, re.S), text
