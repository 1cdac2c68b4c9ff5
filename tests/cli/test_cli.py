#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The hako command from outside: what it says to wrong input and with which status it ends, that
no file is harmed by it, and that the terminal is as it was afterwards.

usage: test_cli.py HAKO          prints TAP
"""
import contextlib
import fcntl
import gzip
import hashlib
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

HAKO = os.path.abspath(sys.argv[1])
ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
EXAMPLE = os.path.join(ROOT, "examples/vm.json")
PATIENCE = 60  # seconds for anything

# arm64 instructions, DDI0487 C6.2
B_SELF = 0x14000000
WFI = 0xD503207F
B_BACK = 0x17FFFFFF  # to the instruction before
HVC = 0xD4000002
PSCI_OFF = [0x52800100, 0x72B08000, HVC, B_SELF]  # w0 = 0x84000008, SYSTEM_OFF
PSCI_RESET = [0x52800120, 0x72B08000, HVC, B_SELF]  # w0 = 0x84000009, SYSTEM_RESET


class Skip(Exception):
    pass


def image(code, flags=2):
    """
    An arm64 Image (Linux, Documentation/arch/arm64/booting.rst) of these instructions; flags bits
    2:1 say 4, 16 or 64 KiB pages.
    """
    head = struct.pack("<IIQQQQQQ4sI", 0x14000010, 0, 0, 65536, flags, 0, 0, 0, b"ARM\x64", 0)
    return head + b"".join(struct.pack("<I", c) for c in code)


# RISC-V instructions (volume I): li a7, 8; ecall; j .    the legacy SBI call that shuts down
SBI_OFF = struct.pack("<III", 0x00800893, 0x00000073, 0x0000006F)


# lui a0, 0x100; lui a1, 0x73; addi a1, a1, 0x333; sw a1, 0(a0); j .    the finisher, code 7
FINISHER_FAIL = struct.pack("<IIIII", 0x00100537, 0x000735B7, 0x33358593, 0x00B52023, 0x0000006F)


def elf(wide, *segments, machine=243):
    """A RISC-V ELF file (gABI, chapters 4 and 5); segments are (address, size, bytes)."""
    head, form = (64, "<IIQQQQQQ") if wide else (52, "<IIIIIIII")
    table, data, off = b"", b"", 4096
    for at, size, content in segments:
        place = (off + len(data), at, at, len(content), size)
        table += (struct.pack(form, 1, 5, *place, 4096) if wide else
                  struct.pack(form, 1, *place, 5, 4096))
        data += content
    first = struct.pack("<4sBBB9xHHI", b"\x7fELF", 1 + wide, 1, 1, 2, machine, 1)
    first += struct.pack("<QQQ" if wide else "<III", segments[0][0], head, 0)
    first += struct.pack("<IHHHHHH", 0, head, struct.calcsize(form), len(segments), 0, 0, 0)
    return (first + table).ljust(off, b"\0") + data


def write(name, data):
    with open(name, "wb") as f:
        f.write(data)


def hako(*args, **kwargs):
    """Run hako to its end: status, standard output, standard error."""
    run = subprocess.run([HAKO, *args], stdin=subprocess.DEVNULL, capture_output=True,
                         timeout=PATIENCE, text=True, **kwargs)
    return run.returncode, run.stdout, run.stderr


def need_vm(err):
    if "cannot run a VM yet" in err:
        raise Skip("this hako cannot run a VM yet")


def fails(status, says, *args, **kwargs):
    """hako ARGS must end with that status after one line that has all of `says` in it."""
    code, out, err = hako(*args, **kwargs)
    need_vm(err)
    line = err.rstrip("\n")
    assert code == status, "status %d and not %d: %s" % (code, status, line)
    assert out == "", "printed " + out
    assert line.startswith("hako: ") and "\n" not in line, "not one line: " + repr(err)
    for s in says:
        assert s in line, "%r is not in: %s" % (s, line)


def tree():
    """What is in the current directory. Nobody can write to a file and leave its ctime."""
    state = {}
    for name in sorted(os.listdir(".")):
        st = os.lstat(name)
        state[name] = (st.st_ino, st.st_mode, st.st_size, st.st_mtime_ns, st.st_ctime_ns)
    return state


# ---- Tables: status, what the line must mention, arguments

USAGE = [
    (["rnu", "'run'"], ["rnu"]),
    (["frobnicate", "hako help"], ["frobnicate"]),
    (["--kernel"], ["--kernel", "Image"]),
    (["bogus"], ["help", "bogus"]),
    (["--kernel"], ["run"]),
    (["Image", "--kernel Image"], ["run", "Image"]),
    (["--kernl", "--kernel"], ["run", "--kernl", "Image"]),
    (["--inird", "--initrd"], ["run", "--inird=x"]),
    (["--apend", "--append"], ["run", "--apend", "x"]),
    (["--noreboot", "--no-reboot"], ["run", "--noreboot"]),
    (["--zzz", "--help"], ["run", "--zzz"]),
    (["-z", "--help"], ["run", "-z"]),
    (["-kernel", "--kernel"], ["run", "-kernel", "Image"]),
    (["--kernel", "FILE"], ["run", "--kernel"]),
    (["--kernel", "--disk"], ["run", "--kernel", "--disk", "x"]),
    (["--kernel", "twice"], ["run", "--kernel", "a", "-k", "b"]),
    (["--mem", "twice"], ["run", "-k", "a", "-m", "1G", "-m", "2G"]),
    (["--quiet"], ["run", "-k", "a", "--quiet=yes"]),
    (["0 bytes"], ["run", "-k", "a", "--mem", "0"]),
    (["512", "512M"], ["run", "-k", "a", "--mem", "512"]),
    (["3 MiB", "16 MiB"], ["run", "-k", "a", "--mem", "3M"]),
    (["17 MiB", "2 MiB", "18 MiB"], ["run", "-k", "a", "--mem", "17M"]),
    (["67108865", "2 MiB"], ["run", "-k", "a", "--mem", "67108865"]),
    (["255 GiB"], ["run", "-k", "a", "--mem", "9999T"]),
    (["255 GiB"], ["run", "-k", "a", "--mem", "256G"]),
    (["99999999999999999999"], ["run", "-k", "a", "--mem", "99999999999999999999"]),
    (["16777216T"], ["run", "-k", "a", "--mem", "16777216T"]),
    (["1.5G"], ["run", "-k", "a", "--mem", "1.5G"]),
    (["'-1'"], ["run", "-k", "a", "--mem", "-1"]),
    (["64MB"], ["run", "-k", "a", "--mem", "64MB"]),
    (["''"], ["run", "-k", "a", "--mem", ""]),
    (["0 CPUs", "1 to 8"], ["run", "-k", "a", "--cpus", "0"]),
    (["9999", "1 to 8"], ["run", "-k", "a", "--cpus", "9999"]),
    (["9 CPUs"], ["run", "-k", "a", "-c9"]),
    (["two"], ["run", "-k", "a", "--cpus", "two"]),
    (["-3"], ["run", "-k", "a", "--cpus", "-3"]),
    (["4294967297"], ["run", "-k", "a", "--cpus", "4294967297"]),
    (["readonly", "'ro'"], ["run", "-k", "a", "--disk", "x,readonly"]),
    (["sreial", "'serial'"], ["run", "-k", "a", "--disk", "x,sreial=1"]),
    (["fromat", "'format'"], ["run", "-k", "a", "--disk", "x,fromat=raw"]),
    (["y.img", ",,"], ["run", "-k", "a", "--disk", "x,y.img"]),
    (["ro takes no value", "1"], ["run", "-k", "a", "--disk", "x,ro=1"]),
    (["serial"], ["run", "-k", "a", "--disk", "x,serial"]),
    (["qcow2", "qemu-img"], ["run", "-k", "a", "--disk", "x,format=qcow2"]),
    (["writeback, writethrough, none or unsafe", "fast"],
     ["run", "-k", "a", "--disk", "x,cache=fast"]),
    (["'writethru'", "'writethrough'"], ["run", "-k", "a", "--disk", "x,cache=writethru"]),
    (["iops", "whole number"], ["run", "-k", "a", "--disk", "x,iops=0"]),
    (["iops", "whole number", "1k"], ["run", "-k", "a", "--disk", "x,iops=1k"]),
    (["burst", "3600"], ["run", "-k", "a", "--disk", "x,burst=4000"]),
    (["bps", "50M"], ["run", "-k", "a", "--disk", "x,bps"]),
    (["bps", "'fast'"], ["run", "-k", "a", "--disk", "x,bps=fast"]),
    (["bps", "nothing"], ["run", "-k", "a", "--disk", "x,bps=0"]),
    (["transport", "auto, modern or legacy", "old"],
     ["run", "-k", "a", "--disk", "x,transport=old"]),
    (["queues", "1 to 64"], ["run", "-k", "a", "--disk", "x,queues=65"]),
    (["queues", "1 to 64"], ["run", "-k", "a", "--disk", "x,queues=0"]),
    (["on-error", "report or stop", "ignore"], ["run", "-k", "a", "--disk", "x,on-error=ignore"]),
    (["'on_error'", "'on-error'"], ["run", "-k", "a", "--disk", "x,on_error=stop"]),
    (["1000", "power of two", "512"], ["run", "-k", "a", "--disk", "x,block-size=1000"]),
    (["block-size", "4096"], ["run", "-k", "a", "--disk", "x,block-size=8192"]),
    (["packed", "on or off", "maybe"], ["run", "-k", "a", "--disk", "x,packed=maybe"]),
    (["auto, io_uring or threads"], ["run", "-k", "a", "--disk", "x,aio"]),
    (["'iouring'", "'io_uring'"], ["run", "-k", "a", "--disk", "x,aio=iouring"]),
    (["'a'", "'b'", "root"], ["run", "-k", "a", "-d", "a,root", "-d", "x", "-d", "b,root"]),
    (["root takes no value"], ["run", "-k", "a", "-d", "a,root=1"]),
    (["partuuid"], ["run", "-k", "a", "-d", "a,partuuid"]),
    (["'1 2'", "PARTUUID"], ["run", "-k", "a", "-d", "a,root,partuuid=1 2"]),
    (["names no file"], ["run", "-k", "a", "--disk", ",ro"]),
    (["names no file"], ["run", "-k", "a", "--disk", ""]),
    (["a,b", "123456789012345678901", "20"],
     ["run", "-k", "a", "--disk", "a,,b,serial=123456789012345678901"]),
    (["one disk too many", "32"], ["run", "-k", "a"] + ["--disk", "x"] * 33),
    (["ppc", "arm64, riscv64, riscv32, riscv, x86"], ["run", "-k", "a", "--machine", "ppc"]),
    (["modern or legacy", "old"], ["run", "-k", "a", "--virtio-mmio", "old"]),
    (["off, warn, strict, deep", "loud"], ["run", "-k", "a", "--lint", "loud"]),
    (["--lint=off"], ["run", "-k", "a", "--lint=off", "--lint-report", "r.json"]),
    (["'virtoi'", "'virtio'"], ["run", "-k", "a", "--trace", "virtoi"]),
    (["'nothing'", "virtio"], ["run", "-k", "a", "--trace", "virtio,nothing"]),
    (["''"], ["run", "-k", "a", "--trace", "virtio,"]),
    (["'0'", "1 to 65535", "slash"], ["run", "-k", "a", "--gdb=0"]),
    (["'65536'"], ["run", "-k", "a", "--gdb=65536"]),
    (["'1234x'"], ["run", "-k", "a", "--gdb=1234x"]),
    (["socket", "too long"], ["run", "-k", "a", "--gdb=/" + "x" * 200]),
    (["no kernel", "'a'", "--kernel none"], ["run", "--firmware", "a"]),
    (["no kernel"], ["run", "--firmware", "none"]),
    (["warp", "hako doctor"], ["run", "-k", "a", "--engine", "warp"]),
    (["json", "'xml'"], ["run", "-k", "a", "--timing=xml"]),
    (["unexpected argument 'json'", "--timing=json"], ["run", "--timing", "json"]),
    (["unexpected argument '1234'", "--gdb=1234"], ["run", "-k", "a", "--gdb", "1234"]),
    (["'0'"], ["run", "-k", "a", "--timeout", "0"]),
    (["1h"], ["run", "-k", "a", "--timeout", "1h"]),
    (["3034", "2047"], ["run", "-k", "a", "--append", "x" * 3000]),
    (["2048", "2047"], ["run", "-k", "a", "--cmdline", "x" * 2048]),
    (["create, info or test"], ["disk"]),
    (["crate", "'create'"], ["disk", "crate", "64M", "new"]),
    (["64M disk.img"], ["disk", "create", "64M"]),
    (["64M disk.img"], ["disk", "create"]),
    (["64M disk.img"], ["disk", "create", "64M", "new", "more"]),
    (["64M new"], ["disk", "create", "new", "64M"]),
    (["0"], ["disk", "create", "0", "new"]),
    (["64", "64M"], ["disk", "create", "64", "new"]),
    (["100000", "512"], ["disk", "create", "100000", "new"]),
    (["8388608T"], ["disk", "create", "8388608T", "new"]),
    (["many"], ["disk", "create", "many", "new"]),
    (["--forse", "--force"], ["disk", "create", "--forse", "64M", "new"]),
    (["--force"], ["disk", "info", "--force", "data"]),
    (["info disk.img"], ["disk", "info"]),
    (["test disk.img"], ["disk", "test"]),
    (["--write", "test"], ["disk", "info", "--write", "data"]),
    (["--force", "create"], ["disk", "test", "--force", "data"]),
    (["--write", "ro"], ["disk", "test", "--write", "data,ro"]),
    (["'rp'", "'ro'"], ["disk", "test", "data,rp"]),
    (["lint list"], ["lint"]),
    (["'rules'"], ["lint", "rules"]),
    (["extra"], ["lint", "list", "extra"]),
    (["extra"], ["doctor", "extra"]),
    (["extra"], ["version", "extra"]),
]

FILES = [
    (["no/r.json"], ["run", "-k", "junk", "--lint-report", "no/r.json"]),
    (["missing"], ["disk", "info", "missing"]),
    (["missing"], ["disk", "test", "missing"]),
    (["missing"], ["disk", "test", "--write", "missing"]),
    (["dir", "directory"], ["disk", "test", "dir"]),
    (["fifo", "FIFO"], ["disk", "test", "fifo"]),
    (["/dev/null", "device"], ["disk", "test", "/dev/null"]),
    (["'empty'", "no sectors", "disk create"], ["disk", "test", "empty"]),
    (["data", "4096", "smaller blocks"], ["disk", "test", "data,block-size=4096"]),
    (["dir", "directory"], ["disk", "info", "dir"]),
    (["fifo", "FIFO"], ["disk", "info", "fifo"]),
    (["/dev/null", "device"], ["disk", "info", "/dev/null"]),
    (["data", "--force"], ["disk", "create", "64M", "data"]),
    (["link", "--force"], ["disk", "create", "64M", "link"]),
    (["missing/new"], ["disk", "create", "64M", "missing/new"]),
    (["dir"], ["disk", "create", "--force", "64M", "dir"]),
    (["fifo"], ["disk", "create", "--force", "64M", "fifo"]),
    (["/dev/null"], ["disk", "create", "--force", "64M", "/dev/null"]),
    (["kvm", "soft"], ["run", "-k", "spin", "--engine", "kvm"]),
    (["missing"], ["run", "-k", "missing"]),
    (["missing"], ["run", "-k", "spin", "--debug-guest", "--symbols", "missing"]),
    (["data", "vmlinux"], ["run", "-k", "spin", "--debug-guest", "--symbols", "data"]),
    (["/no/where/s"], ["run", "-k", "spin", "--gdb=/no/where/s"]),
    (["/dev/null"], ["run", "-k", "spin", "--gdb=/dev/null"]),
    (["dir", "directory"], ["run", "-k", "dir"]),
    (["fifo", "FIFO"], ["run", "-k", "fifo"]),
    (["empty", "empty;"], ["run", "-k", "empty"]),
    (["short"], ["run", "-k", "short"]),
    (["elf", "x86", "no program"], ["run", "-k", "elf"]),
    (["elf", "x86-64", "arm64"], ["run", "-k", "elf", "--machine", "arm64"]),
    (["bzimage", "older than Linux 3.8"], ["run", "-k", "bzimage"]),
    (["bzimage", "x86", "RISC-V"], ["run", "-k", "bzimage", "--machine", "riscv64"]),
    (["spin", "arm64", "x86-64"], ["run", "-k", "spin", "--machine", "x86"]),
    (["soft", "cannot run"], ["run", "-k", "elf86", "--engine", "soft"]),
    (["x86", "device tree"], ["run", "-k", "elf86", "--dump-dtb", "new"]),
    (["x86", "firmware"], ["run", "-k", "elf86", "--firmware", "none"]),
    (["pages64k", "64 KiB", "CONFIG_ARM64_4K_PAGES"], ["run", "-k", "pages64k"]),
    (["cut.gz", "cut off"], ["run", "-k", "cut.gz"]),
    (["packed.xz", "xz -d"], ["run", "-k", "packed.xz"]),
    (["missing"], ["run", "-k", "spin", "-i", "missing"]),
    (["dir", "directory"], ["run", "-k", "spin", "-i", "dir"]),
    (["empty"], ["run", "-k", "spin", "-i", "empty"]),
    (["spin", "kernel"], ["run", "-k", "spin", "-i", "spin"]),
    (["bzimage", "x86 kernel"], ["run", "-k", "spin", "-i", "bzimage"]),
    (["MiB", "initrd"], ["run", "-k", "spin", "-i", "large", "-m", "16M"]),
    (["MiB", "kernel"], ["run", "-k", "hungry", "-m", "16M"]),
    (["of 64 bits", "has 32"], ["run", "-k", "rv64", "--machine", "riscv32"]),
    (["of 32 bits", "has 64"], ["run", "-k", "rv32", "--machine", "riscv64"]),
    (["ELF file for RISC-V", "arm64"], ["run", "-k", "rv64", "--machine", "arm64"]),
    (["arm64 kernel", "RISC-V"], ["run", "-k", "spin", "--machine", "riscv"]),
    (["0x80201000", "0x80202000", "linker script"], ["run", "-k", "overlap"]),
    (["2048 MiB", "readelf"], ["run", "-k", "huge"]),
    (["0x1000 to 0x1fff", "outside the memory"], ["run", "-k", "low"]),
    (["outside the memory"], ["run", "-k", "high", "-m", "16M"]),
    (["rvcut", "cut off"], ["run", "-k", "rvcut"]),
    (["32-bit", "2048 MiB"], ["run", "-k", "rv32", "-m", "4G"]),
    (["9 disks", "8"], ["run", "-k", "rv64"] + ["-d", "data,ro"] * 9),
    (["arm64", "data"], ["run", "-k", "spin", "--firmware", "data"]),
    (["missing"], ["run", "-k", "rv64", "--firmware", "missing"]),
    (["no kernel", "arm64"], ["run", "-k", "none", "--firmware", "data", "--machine", "arm64"]),
    (["data", "riscv64 or riscv32"], ["run", "-k", "none", "--firmware", "data"]),
    (["empty"], ["run", "-k", "rv64", "--firmware", "empty"]),
    (["where the firmware"], ["run", "-k", "rv64", "--firmware", "large"]),
    (["missing"], ["run", "-k", "spin", "-d", "missing"]),
    (["dir", "directory"], ["run", "-k", "spin", "-d", "dir"]),
    (["fifo", "FIFO"], ["run", "-k", "spin", "-d", "fifo"]),
    (["data"], ["run", "-k", "spin", "-d", "data", "-d", "data"]),
    (["missing"], ["run", "-k", "spin", "--dtb", "missing"]),
    (["data", "something else"], ["run", "-k", "spin", "--dtb", "data"]),
    (["missing/out"], ["run", "-k", "spin", "--dump-dtb", "missing/out"]),
]


# Configurations that are refused: what the line must mention beside the file's name, the file
CONFIGS = [
    (["line 1"], b""),
    (["line 1"], b" "),
    (["line 3, column 6", "':'"], b'{\n\n "a" 1}'),
    (["line 1", "'['"], b"[" * 100000),
    (["line 1", "depth"], b'{"drives":' * 5000 + b"1" + b"}" * 5000),
    (["object", "list"], b"[]"),
    (["line 2", "duplicate"], b'{"drives": [],\n"drives": []}'),
    (["line 1", "0xff"], b'{"\xff": 1}'),
    (["line 1", "0xc0"], b'{"boot-source": {"kernel_path": "\xc0\x80"}}'),
    (["u0000"], b'{"boot-source": {"kernel_path": "a\\u0000b"}}'),
    (["NUL"], b'{"boot\\u0000": 1}'),
    (["line 1"], b'{"drives": [],}'),
    (["line 1"], b"// a comment\n{}"),
    (["line 1", "too big"], b'{"machine-config": {"mem_size_mib": 99999999999999999999}}'),
    (["end of file"], b'{"drives": []} {}'),
    (["drvies", "'drives'"], b'{"drvies": []}'),
    (["drvies", "'drives'"], b'\xef\xbb\xbf{"drvies": []}'),
    (["boot_source", "'boot-source'"], b'{"boot_source": {}}'),
    (["xyzzy: there is no such key"], b'{"xyzzy": {}}'),
    (["a?[31mb"], b'{"a\\u001b[31mb": {}}'),
    (["a?b"], b'{"a\\nb": {}}'),
    (["drives[1].path_on_hots", "'path_on_host'"],
     b'{"drives": [{"path_on_host": "a"}, {"path_on_hots": "b"}]}'),
    (["drives[0].rate_limiter.ops.siez", "'size'"],
     b'{"drives": [{"path_on_host": "a", "rate_limiter": {"ops": {"siez": 1}}}]}'),
    (["drives:", "list", "object"], b'{"drives": {}}'),
    (["drives[0]:", "object", "string"], b'{"drives": ["a"]}'),
    (["drives[0]:", "path_on_host is missing"], b'{"drives": [{"drive_id": "a"}]}'),
    (["drives[0].path_on_host", "empty"], b'{"drives": [{"path_on_host": ""}]}'),
    (["drives[0].is_read_only", "true or false", "a string"],
     b'{"drives": [{"path_on_host": "a", "is_read_only": "yes"}]}'),
    (["drives[0].is_read_only", "true or false", "a number"],
     b'{"drives": [{"path_on_host": "a", "is_read_only": 1}]}'),
    (["drives[1]", "drives[0]", "'a'"],
     b'{"drives": [{"path_on_host": "x", "drive_id": "a"},{"path_on_host": "y", "drive_id": "a"}]}'),
    (["drives[1].is_root_device", "drives[0]"],
     b'{"drives": [{"path_on_host": "x", "is_root_device": true},'
     b' {"path_on_host": "y", "is_root_device": true}]}'),
    (["drives[0].cache_type", "Writeback", "'writeback'"],
     b'{"drives": [{"path_on_host": "a", "cache_type": "writeback"}]}'),
    (["drives[0].io_engine", "Async", "'Fast'"],
     b'{"drives": [{"path_on_host": "a", "io_engine": "Fast"}]}'),
    (["drives[0].socket", "another process"], b'{"drives": [{"drive_id": "a", "socket": "s"}]}'),
    (["rate_limiter", "bandwidth", "1 in 2000 ms"],
     b'{"drives": [{"path_on_host": "a", "rate_limiter":'
     b' {"bandwidth": {"size": 1, "refill_time": 2000}}}]}'),
    (["rate_limiter.ops.size", "-1"],
     b'{"drives": [{"path_on_host": "a", "rate_limiter": {"ops": {"size": -1}}}]}'),
    (["drives[0].hako.cache", "'nane'", "'none'"],
     b'{"drives": [{"path_on_host": "a", "hako": {"cache": "nane"}}]}'),
    (["drives[0].hako.cahce", "'cache'"],
     b'{"drives": [{"path_on_host": "a", "hako": {"cahce": "none"}}]}'),
    (["queues=N", "true or false"],
     b'{"drives": [{"path_on_host": "a", "hako": {"queues": true}}]}'),
    (["drives[0].hako.iops", "fraction"],
     b'{"drives": [{"path_on_host": "a", "hako": {"iops": 1.5}}]}'),
    (["drives[0].hako.ro", "is_read_only"],
     b'{"drives": [{"path_on_host": "a", "hako": {"ro": true}}]}'),
    (["drives[32]", "32"], b'{"drives": [%s]}' % b",".join([b'{"path_on_host": "a"}'] * 33)),
    (["boot-source.kernel_path", "twice"],
     b'{"boot-source": {"kernel_image_path": "a", "kernel_path": "b"}}'),
    (["boot-source.kernel_image_path", "empty"], b'{"boot-source": {"kernel_image_path": ""}}'),
    (["boot-source.boot_args", "a string", "a list"], b'{"boot-source": {"boot_args": ["quiet"]}}'),
    (["vcpu_count", "0 CPUs"], b'{"machine-config": {"vcpu_count": 0}}'),
    (["vcpu_count", "4294967297 CPUs"], b'{"machine-config": {"vcpu_count": 4294967297}}'),
    (["vcpu_count", "-1"], b'{"machine-config": {"vcpu_count": -1}}'),
    (["vcpu_count", "fraction"], b'{"machine-config": {"vcpu_count": 1.0}}'),
    (["vcpu_count", "a string"], b'{"machine-config": {"vcpu_count": "2"}}'),
    (["mem_size_mib", "261121"], b'{"machine-config": {"mem_size_mib": 261121}}'),
    (["mem_size_mib", "9223372036854775807"],
     b'{"machine-config": {"mem_size_mib": 9223372036854775807}}'),
    (["cpu_template", "'T2'"], b'{"machine-config": {"cpu_template": "T2"}}'),
    (["huge_pages", "'1G'"], b'{"machine-config": {"huge_pages": "1G"}}'),
    (["network-interfaces", "no network"],
     b'{"network-interfaces": [{"iface_id": "eth0", "host_dev_name": "tap0"}]}'),
    (["vsock"], b'{"vsock": {"guest_cid": 3, "uds_path": "s"}}'),
    (["pmem"], b'{"pmem": [{"id": "p"}]}'),
    (["cpu-config"], b'{"cpu-config": "template.json"}'),
    (["serial", "standard input"], b'{"serial": {"serial_out_path": "x"}}'),
    (["features[0]", "'pci'"], b'{"features": [{"feature": "pci", "enable": true}]}'),
    (["features[0]", "missing"], b'{"features": [{"enable": true}]}'),
    (["hako.lnit", "'lint'"], b'{"hako": {"lnit": "off"}}'),
    (["hako.lint", "off, warn, strict"], b'{"hako": {"lint": "loud"}}'),
    (["hako.lint", "a string", "true"], b'{"hako": {"lint": true}}'),
    (["hako.no-reboot", "true or false"], b'{"hako": {"no-reboot": "yes"}}'),
    (["hako.timeout", "'0'"], b'{"hako": {"timeout": 0}}'),
    (["hako.kernel", "boot-source.kernel_image_path"], b'{"hako": {"kernel": "a"}}'),
    (["hako.disk", "drives"], b'{"hako": {"disk": "a"}}'),
    (["hako.config"], b'{"hako": {"config": "a"}}'),
    (["large.json", "too many"], b" " * ((1 << 20) + 1)),
]


def config_is_refused(says, text):
    def test():
        name = "large.json" if len(text) > 1 << 20 else "vm.json"
        write(name, text)
        before = tree()
        fails(2, says + [name], "run", "--config", name)
        assert tree() == before
        os.unlink(name)
    test.__name__ = "config: " + " ".join(says).replace("#", "")
    return test


CONFIG_FILES = [
    (["missing", "No such file"], ["run", "--config", "missing"]),
    (["dir", "a directory"], ["run", "--config", "dir"]),
    (["fifo", "a FIFO"], ["run", "--config", "fifo"]),
    (["/dev/null", "a device"], ["run", "--config", "/dev/null"]),
    (["--config", "twice"], ["run", "--config", "empty", "--config", "empty"]),
    (["--kernl", "'--kernel'"], ["run", "--kernl", "a", "--config", "missing"]),
]


def make_files():
    write("spin", image([B_SELF]))
    write("stuck", image([WFI, B_BACK]))
    write("off", image(PSCI_OFF))
    write("reset", image(PSCI_RESET))
    write("empty", b"")
    write("other", b"other" * 1000)
    write("short", image([])[:40])
    write("data", os.urandom(5000))
    os.symlink("data", "link")
    write("elf", b"\x7fELF\x02\x01\x01".ljust(18, b"\0") + b"\x3e\0".ljust(100, b"\0"))
    write("elf86", elf(1, (0x100000, 16, b"\xeb\xfe"), machine=62))
    write("rv64", elf(1, (0x80200000, 12, SBI_OFF)))
    write("rv32", elf(0, (0x80400000, 12, SBI_OFF)))
    write("failing", elf(1, (0x80200000, 20, FINISHER_FAIL)))
    write("overlap", elf(1, (0x80201000, 0x1010, SBI_OFF), (0x80202000, 16, b"")))
    write("huge", elf(1, (0x80200000, 2 << 30, SBI_OFF)))
    write("low", elf(1, (0x1000, 0x1000, SBI_OFF)))
    write("high", elf(0, (0x81000000, 0x1000, SBI_OFF)))
    write("rvcut", elf(1, (0x80200000, 12, SBI_OFF))[:-1])
    write("pages64k", image([B_SELF], flags=6))
    write("bzimage", b"\0" * 0x202 + b"HdrS".ljust(4000, b"\0"))
    write("cut.gz", gzip.compress(image([B_SELF]) + os.urandom(9000))[:5000])
    write("packed.xz", b"\xfd7zXZ\0".ljust(1000, b"x"))
    write("hungry", struct.pack("<IIQQ", B_SELF, 0, 0, 64 << 20) + image([])[24:])
    with open("large", "wb") as f:
        f.write(b"x")
        f.truncate(17 << 20)
    os.mkdir("dir")
    os.mkfifo("fifo")


def table_test(status, says, args):
    def test():
        before = tree()
        fails(status, says, *args)
        assert tree() == before, "a file was changed or made"
    test.__name__ = "hako " + " ".join(args)[:60].replace("#", "")
    return test


# ---- What works

def help_and_version():
    for args in [["help"], ["--help"], ["-h"]]:
        code, out, err = hako(*args)
        assert code == 0 and "usage: hako" in out and err == "", args
    for command in ["run", "disk", "lint", "doctor", "help", "version"]:
        first = hako("help", command)
        assert first[0] == 0 and ("hako " + command) in first[1] and first[2] == "", command
        if command not in ("help",):
            assert hako(command, "--help") == first, command
    code, out, err = hako()
    assert code == 2 and out == "" and "usage: hako" in err
    assert hako("--version") == hako("version") and hako("version")[1].startswith("hako ")


def text_of(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as f:
        return f.read()


def same(what, here, there):
    """Both are {name of a place: set of words}; each place must have the same."""
    for a, b in ((here, there), (there, here)):
        (a_name, a_words), (b_name, b_words) = *a.items(), *b.items()
        assert a_words, "%s names no %s" % (a_name, what)
        missing = sorted(a_words - b_words)
        assert not missing, "%s: %s in %s, not in %s" % (what, missing, a_name, b_name)


def manual_has_every_option():
    """hako(1) describes the options that --help lists, each with its letter, and no others."""
    told = {}
    section = None
    for line in text_of("docs", "hako.1").splitlines():
        heading = re.match(r"\.S[sh] (?:hako (\S+))?", line)
        if heading:
            section = heading.group(1)
        elif section and line.startswith(".It Fl "):
            told.setdefault(section, set()).update(
                re.findall(r"(?:\b(\w) , )?-([a-z][a-z-]*)", line.replace("Fl ", "")))
    usage = hako("help")[1]
    commands = re.findall(r"^  (\S+)  +", usage, re.M)
    assert set(told) <= set(commands), "the manual has commands of its own: %s" % sorted(told)
    for command in commands:
        code, out, err = hako("help", command)
        listed = set(re.findall(r"^  (?:-(\w), |    )--([a-z][a-z-]*)", out, re.M))
        assert code == 0 and bool(listed) == (command in told), command + err
        if listed:
            same("options of " + command, {"--help": listed}, {"hako.1": told[command]})


def manual_has_every_disk_option():
    """What --disk takes, what its help lists, and what hako(1) describes are the same."""
    taken = hako("run", "-k", "a", "-d", "x,?")[2]
    taken = re.search(r"after the file come (.*) \(a comma", taken).group(1)
    taken = set(re.findall(r"(?:^|, | and )([a-z-]+)", taken))
    for command in "run", "vhost-user-blk":
        listed = re.search(r"Options: (.*)\.\s+A comma", hako("help", command)[1], re.S).group(1)
        same("options of --disk", {"the command": taken},
             {"help of " + command: set(re.findall(r"(?:^|,\s+)([a-z-]+)", listed))})
    text = re.search(r"^\.It Fl d , -disk.*?^(?=\.It Fl)", text_of("docs", "hako.1"), re.M | re.S)
    told = set()
    for line in re.findall(r"^\.It Cm (.*)", text.group(0), re.M):
        told.update(re.findall(r"(?:^|, )(?:Cm )?([a-z-]+)", line))
    same("options of --disk", {"the command": taken}, {"hako.1": told})


def documents_have_every_exit_status():
    told = set(re.findall(r"^\.It (\d+)$", text_of("docs", "hako.1"), re.M))
    same("statuses", {"hako.1": told},
         {"README.md": set(re.findall(r"^\| *(\d+) *\|", text_of("README.md"), re.M))})
    line = re.search(r"Exit status: (.*?)128", hako("help", "run")[1], re.S).group(1)
    same("statuses", {"hako.1": told},
         {"--help": set(re.findall(r"(?:^|;\s+)(\d+) ", line))})


def documents_have_every_public_header():
    there = {n for n in os.listdir(os.path.join(ROOT, "include/hako")) if n.endswith(".h")}
    for path in ("README.md",), ("docs", "architecture.md"):
        line = re.search(r"^ +include/hako/ +the public API:(.*)", text_of(*path), re.M).group(1)
        same("headers", {"include/hako": there},
             {path[-1]: set(re.findall(r"\w+\.h", line))})


def a_riscv_kernel_chooses_its_machine():
    code, out, err = hako("run", "-k", "failing", "--timeout", "30")
    assert (code, out) == (13, "") and "failed, with code 7" in err, (code, out, err)
    for name in ("rv64", "rv32"):
        for machine in ([], ["--machine", "riscv"], ["--machine", "riscv" + name[2:]]):
            code, out, err = hako("run", "-k", name, "--timeout", "30", *machine)
            assert (code, out) == (0, ""), (code, out, err)
        code, out, err = hako("run", "-k", name, "--dump-dtb", name + ".dtb")
        assert code == 0 and out == "", err
        with open(name + ".dtb", "rb") as f:
            tree_text = f.read()
        assert b"hako riscv" + name[2:].encode() in tree_text


def output_that_cannot_be_written():
    with open("/dev/full", "w") as full:
        run = subprocess.run([HAKO, "help"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert run.returncode == 1 and "cannot write" in run.stderr
    # A reader that has seen enough is none that wants to be told.
    with subprocess.Popen([HAKO, "disk", "test", "data"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as run:
        run.stdout.close()
        assert run.stderr.read() == b"" and run.wait() == 1


def doctor():
    code, out, err = hako("doctor")
    assert code == 0 and err == ""
    for word in ["soft", "kvm", "arm64"]:
        assert word in out, out
    if os.uname().machine == "x86_64" and re.search(r"kvm +yes ", out):
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            hardware = re.search(r"\b(vmx|svm)\b", f.read())
        assert bool(hardware) != ("neither VT-x nor AMD-V" in out), out


def lint_list():
    code, out, err = hako("lint", "list")
    assert code == 0 and err == ""
    for word in ["status and features", "V101  MUST", "V506  SHOULD", "legacy", "Linux:"]:
        assert word in out, out
    assert max(map(len, out.splitlines())) < 200


def disk_create():
    code, out, err = hako("disk", "create", "64M", "new.img")
    assert code == 0 and err == "", err
    assert "67108864 bytes" in out and "131072 sectors of 512 bytes" in out, out
    st = os.stat("new.img")
    assert st.st_size == 64 << 20 and st.st_blocks * 512 < 1 << 20
    umask = os.umask(0)
    os.umask(umask)
    assert st.st_mode & 0o777 == 0o666 & ~umask
    code, out, err = hako("disk", "create", "-fp", "1MiB", "new.img")
    assert code == 0 and "1048576" in out, err
    st = os.stat("new.img")
    assert st.st_size == 1 << 20 and st.st_blocks * 512 >= 1 << 20
    assert hako("disk", "create", "--", "512", "-x")[0] == 0
    assert os.stat("-x").st_size == 512
    os.unlink("-x")
    os.unlink("new.img")


def disk_create_shows_a_bar_on_a_terminal():
    ours, guests = pty.openpty()
    with subprocess.Popen([HAKO, "disk", "create", "-p", "64M", "new.img"], stderr=guests,
                          stdout=subprocess.PIPE) as run:
        os.close(guests)
        out = run.stdout.read().decode()
        bar = b""
        with contextlib.suppress(OSError):  # EIO: the other side is closed
            while data := os.read(ours, 4096):
                bar += data
    os.close(ours)
    assert run.returncode == 0 and "131072 sectors of 512 bytes" in out, out
    assert b"\r[" + b"#" * 20 + b" " * 20 + b"]  50 % of 64 MiB " in bar, bar
    assert bar.split(b"\r")[-2].strip() == b"", bar  # wiped at the end
    os.unlink("new.img")


def disk_create_through_link():
    write("target", b"old")
    os.symlink("target", "to-target")
    assert hako("disk", "create", "-f", "4K", "to-target")[0] == 0
    assert os.path.islink("to-target") and os.stat("target").st_size == 4096
    os.unlink("to-target")
    os.unlink("target")


def disk_create_no_room():
    """A limit of file sizes stands for a full disk: a sentence, and nothing is left behind."""
    import resource
    before = tree()

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    fails(1, ["new.img", "4194304"], "disk", "create", "4M", "new.img", preexec_fn=limit)
    assert tree() == before


def disk_create_in_use():
    write("used.img", b"\0" * 4096)
    with open("used.img", "r+b") as f:
        # Of the open file: an ordinary one would go with any close of the file in this process.
        fcntl.fcntl(f, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
        before = tree()
        fails(1, ["used.img", "using it"], "disk", "create", "--force", "1M", "used.img")
        assert tree() == before
    os.unlink("used.img")


def disk_info():
    cases = [
        ("raw.img", b"\0" * 1024, ["1024", "2 of 512", "all zeros"]),
        ("odd.img", b"x" * 1000, ["1000", "2 of 512", "warning", "24 bytes"]),
        ("none.img", b"", ["0 bytes", "nothing", "warning"]),
        ("a.qcow2", b"QFI\xfb" + b"\0" * 1020, ["qcow2", "qemu-img convert"]),
        ("ext4.img", b"\0" * 0x438 + b"\x53\xef" + b"\0" * 0x26 + b"\x40".ljust(4000, b"\0"),
         ["ext4"]),
        ("gpt.img", b"\0" * 512 + b"EFI PART" + b"\0" * 2040, ["GPT"]),
    ]
    for name, data, says in cases:
        write(name, data)
        before = tree()
        code, out, err = hako("disk", "info", name)
        assert code == 0 and err == "", err
        for s in says:
            assert s in out, "%r is not in: %s" % (s, out)
        assert tree() == before
        os.unlink(name)


def sha256(name):
    with open(name, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def passes(*args):
    code, out, err = hako("disk", "test", *args)
    assert code == 0 and err == "", (args, code, err)
    assert "is all right" in out, out
    return out


def disk_test():
    sizes = {"one.img": 512, "odd.img": 1000, "tail.img": 100, "blocks.img": 4096, "all.img": 3 << 20}
    for name, size in sizes.items():
        write(name, bytes(i * i * 7 >> 3 & 255 for i in range(size)))
    before, digests = tree(), {name: sha256(name) for name in sizes}
    for name, size in sizes.items():
        for more in ("", ",transport=legacy", ",aio=threads,cache=writethrough,queues=4"):
            out = passes(name + more)
            assert "nothing was written" in out
            assert "%d sector" % -(-size // 512) in out, out
            assert "reading" in out and "writing" not in out and "00000000  00 00" in out, out
            assert tree() == before and sha256(name) == digests[name]
    for name in sizes:
        for more in ("", ",transport=legacy", ",aio=threads,cache=unsafe"):
            out = passes("--write", name + more)
            assert "put back" in out or name == "tail.img", out
            assert set(tree()) == set(before) and sha256(name) == digests[name], name
    out = passes("--write", "all.img,block-size=4096,iops=20000")
    assert "blocks of 4096" in out and sha256("all.img") == digests["all.img"]
    for name in sizes:
        os.unlink(name)


def disk_test_in_use():
    write("used.img", b"\0" * 4096)
    with open("used.img", "r+b") as f:
        fcntl.fcntl(f, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
        before = tree()
        fails(1, ["used.img", "open for writing"], "disk", "test", "used.img")
        fails(1, ["used.img", "using it"], "disk", "test", "--write", "used.img")
        assert tree() == before
    os.unlink("used.img")


def pattern(seed, off):
    """What a test writes to the sector at byte `off` (src/machine/disk_keep.c)."""
    mask, step = (1 << 64) - 1, 0x9E3779B97F4A7C15
    state, words = seed ^ (off * step & mask), []
    for _ in range(64):
        state = v = state + step & mask
        v = (v ^ v >> 30) * 0xBF58476D1CE4E5B9 & mask
        v = (v ^ v >> 27) * 0x94D049BB133111EB & mask
        words.append(v ^ v >> 31)
    return struct.pack("<64Q", *words)


def disk_test_puts_back_what_a_killed_one_left():
    data = bytes(i * i * 5 >> 2 & 255 for i in range(1 << 18))
    off, length, seed = 98304, 65536, 0x0123456789ABCDEF
    head = struct.pack("<16s3Q", b"hako-disk-test1", seed, off, length)
    kept = data[off:off + length]
    total = 0xCBF29CE484222325
    for byte in head + kept:
        total = (total ^ byte) * 0x100000001B3 & (1 << 64) - 1
    # Killed in the middle; and since then somebody has written to the second sector.
    image = bytearray(data)
    for at in range(off, off + 20 * 512, 512):
        image[at:at + 512] = pattern(seed, at)
    want = bytearray(data)
    image[off + 512:off + 1024] = want[off + 512:off + 1024] = b"new" * 170 + b"er"
    write("left.img", image)
    write("left.img.hako-test", head + struct.pack("<Q", total) + kept)
    before = tree()
    fails(1, ["left.img.hako-test", "writes again"], "disk", "test", "left.img")
    assert tree() == before
    out = passes("--write", "left.img")
    assert "19 sectors at 192" in out, out
    with open("left.img", "rb") as f:
        assert f.read() == want
    assert not os.path.exists("left.img.hako-test")
    # One that was not written to its end: then the disk was not touched.
    write("left.img.hako-test", head + kept[:1000])
    passes("left.img")
    with open("left.img", "rb") as f:
        assert f.read() == want
    assert not os.path.exists("left.img.hako-test")
    os.unlink("left.img")


def disk_test_killed():
    """At any moment: the next test leaves the image as it was before the first."""
    write("killed.img", bytes(i * i * 3 >> 1 & 255 for i in range(1 << 17)))
    digest = sha256("killed.img")
    for ms in range(2, 42, 4):
        with subprocess.Popen([HAKO, "disk", "test", "--write", "killed.img"],
                              stdout=subprocess.DEVNULL) as run:
            time.sleep(ms / 1000)
            run.kill()
        kept = os.path.exists("killed.img.hako-test")
        assert kept or sha256("killed.img") == digest
        if kept:
            passes("--write", "killed.img")
            assert sha256("killed.img") == digest
    # And a signal that can be handled: at once, and nothing is left.
    with subprocess.Popen([HAKO, "disk", "test", "--write", "killed.img"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        run.stdout.readline()
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=PATIENCE)
    assert run.returncode == 128 + signal.SIGINT and b"given up" in err, err
    assert sha256("killed.img") == digest and not os.path.exists("killed.img.hako-test")
    os.unlink("killed.img")


# ---- Runs of a guest of a few instructions

def run_ends(status, says, *args):
    code, out, err = hako("run", *args)
    need_vm(err)
    assert code == status, "status %d: %s" % (code, err)
    assert err.count("\n") == 1 and says in err, err
    assert hako("run", "--quiet", *args) == (status, "", "")


def guest_powers_off():
    run_ends(0, "powered off", "-k", "off")


def an_image_that_is_not_raw_is_told_of():
    # As one is made, and it grows: no whole sectors.
    write("qcow2", b"QFI\xfb\0\0\0\3" + bytes(4000))
    code, _, err = hako("run", "-k", "off", "-d", "qcow2,ro")
    assert code == 0 and "blk0: 'qcow2': qcow2" in err and "qemu-img convert" in err, err
    code, _, err = hako("run", "-k", "off", "-d", "data,ro")
    assert code == 0 and "blk0" not in err, err
    os.unlink("qcow2")


def guest_resets():
    run_ends(10, "reset", "-k", "reset", "--no-reboot")


def guest_is_stuck():
    run_ends(11, "never run again", "-k", "stuck", "--timeout", "30")


def guest_runs_too_long():
    run_ends(12, "1 s", "-k", "spin", "--timeout", "1")


def more_memory_than_the_host():
    """It runs, and is warned: memory is the host's only as it is used."""
    host = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    mem = (host + 1024) // 2 * 2
    if mem > 255 << 10:
        raise Skip("this host has more memory than a guest can")
    code, _, err = hako("run", "-k", "off", "--mem", "%dM" % mem)
    need_vm(err)
    assert code == 0 and "%d MiB" % mem in err and "%d MiB" % host in err, err


def guest_resets_for_ever():
    """Without --no-reboot it boots again, until the time is over."""
    run_ends(12, "1 s", "-k", "reset", "--timeout", "1")


def dump_dtb():
    code, out, err = hako("run", "-k", "spin", "--dump-dtb", "out.dtb")
    need_vm(err)
    assert code == 0, err
    with open("out.dtb", "rb") as f:
        assert f.read(4) == b"\xd0\x0d\xfe\xed"
    os.unlink("out.dtb")


def bootargs(*args):
    """The command line that the guest would get."""
    code, _, err = hako("run", "-k", "spin", "--dump-dtb", "args.dtb", *args)
    assert code == 0, err
    with open("args.dtb", "rb") as f:
        tree_bytes = f.read()
    os.unlink("args.dtb")
    start = tree_bytes.index(b"console=" if b"console=" in tree_bytes else b"args=")
    return tree_bytes[start:tree_bytes.index(b"\0", start)].decode()


def the_root():
    disks = ["-d", "data,ro"]
    assert bootargs() == "console=ttyAMA0 cryptomgr.notests"
    assert bootargs("-d", "data") == "console=ttyAMA0 root=/dev/vda rw cryptomgr.notests"
    assert bootargs(*disks) == "console=ttyAMA0 root=/dev/vda ro cryptomgr.notests"
    assert bootargs(*disks, "-d", "other,root") == \
        "console=ttyAMA0 root=/dev/vdb rw cryptomgr.notests"
    assert bootargs(*disks * 25, "-d", "other,root") == \
        "console=ttyAMA0 root=/dev/vdz rw cryptomgr.notests"
    assert bootargs(*disks * 27, "-d", "other,root", *disks) == \
        "console=ttyAMA0 root=/dev/vdab rw cryptomgr.notests"
    assert bootargs(*disks, "-d", "other,partuuid=0123-aF,root") == \
        "console=ttyAMA0 root=PARTUUID=0123-aF rw cryptomgr.notests"
    assert bootargs(*disks, "--cmdline", "args=1") == "args=1"
    assert bootargs(*disks, "-d", "other,root", "--cmdline", "args=1", "-a", "last") == \
        "args=1 root=/dev/vdb rw last"


def config(text, *args):
    """Load a configuration for the kernel spin: the command line, and what was said."""
    write("vm.json", text.encode())
    code, out, err = hako("run", "--config", "vm.json", "--dump-dtb", "args.dtb", *args)
    os.unlink("vm.json")
    assert (code, out) == (0, ""), err
    with open("args.dtb", "rb") as f:
        tree_bytes = f.read()
    os.unlink("args.dtb")
    start = tree_bytes.index(b"args=" if b"args=" in tree_bytes else b"console=")
    return tree_bytes[start:tree_bytes.index(b"\0", start)].decode(), err


def config_says_what_the_guest_gets():
    def spin(args="", drives="", rest=""):
        return ('{"boot-source": {"kernel_path": "spin"%s}, "drives": [%s]%s}' %
                (args and ', "boot_args": "%s"' % args, drives, rest))
    data = '{"path_on_host": "data", "is_read_only": true}'
    root = '{"path_on_host": "other", "is_root_device": true%s}'
    told = "hako: the device tree is in 'args.dtb'\n"
    assert config(spin()) == ("console=ttyAMA0 cryptomgr.notests", told)
    assert config(spin(drives=data)) == ("console=ttyAMA0 root=/dev/vda ro cryptomgr.notests", told)
    both = data + "," + root % ""
    assert config(spin(drives=both))[0] == "console=ttyAMA0 root=/dev/vdb rw cryptomgr.notests"
    assert config(spin("args=1 root=/dev/vda", both))[0] == \
        "args=1 root=/dev/vda root=/dev/vdb rw"
    assert config(spin("args=1", data))[0] == "args=1"
    uuid = root % ', "partuuid": "01234567-02", "is_read_only": true'
    assert config(spin("args=1", data + "," + uuid))[0] == "args=1 root=PARTUUID=01234567-02 ro"
    # Not marked as the root: the PARTUUID means nothing.
    assert config(spin(drives='{"path_on_host": "data", "partuuid": "1"}'))[0] == \
        "console=ttyAMA0 root=/dev/vda rw cryptomgr.notests"
    options = data[:-1] + ', "hako": {"packed": false, "indirect": true, "queues": 2,' \
        ' "transport": "legacy", "on-error": "stop"}}'
    assert config(spin(drives=options)) == ("console=ttyAMA0 root=/dev/vda ro cryptomgr.notests", told)
    # The command line goes over the file.
    assert config(spin("args=1", both), "--cmdline", "args=2")[0] == "args=2"
    assert config(spin("args=1", both), "--append", "last")[0] == "args=1 root=/dev/vdb rw last"
    assert config(spin("", both), "-d", "large,root")[0] == \
        "console=ttyAMA0 root=/dev/vdc rw cryptomgr.notests"
    assert config(spin(rest=', "hako": {"append": "quiet"}'))[0] == \
        "console=ttyAMA0 cryptomgr.notests quiet"
    assert config(spin(rest=', "hako": {"append": "quiet"}'), "-a", "loud")[0] == \
        "console=ttyAMA0 cryptomgr.notests loud"
    assert config('{"machine-config": {"mem_size_mib": 17}}', "-k", "spin", "-m", "16M")[0] == \
        "console=ttyAMA0 cryptomgr.notests"
    assert config('{}', "-k", "spin")[1] == told
    write("vm.json", ('{"drives": [%s]}' % root % ', "partuuid": "1 2"').encode())
    fails(2, ["'1 2'", "PARTUUID"], "run", "--config", "vm.json", "-k", "spin")
    assert config('{"boot-source": null, "drives": null, "hako": {"lint": null}}', "-k", "spin")[1] \
        == told
    assert config(spin(rest=', "network-interfaces": [], "vsock": null'))[1] == told


def config_says_what_it_ignores():
    noted = [
        ("balloon: ", ', "balloon": {"amount_mib": 10, "deflate_on_oom": true}'),
        ("entropy: ", ', "entropy": {}'),
        ("logger: ", ', "logger": {"log_path": "x"}'),
        ("metrics: ", ', "metrics": {"metrics_path": "x"}'),
        ("machine-config.smt: ", ', "machine-config": {"smt": true}'),
        ("machine-config.track_dirty_pages: ", ', "machine-config": {"track_dirty_pages": true}'),
        ("machine-config.track_dirty_page: ", ', "machine-config": {"track_dirty_page": true}'),
        ("machine-config.huge_pages: ", ', "machine-config": {"huge_pages": "2M"}'),
        ("features[0]: ", ', "features": [{"feature": "acpi", "enable": false}]'),
        ("drives[0].rate_limiter: ", ', "drives": [{"path_on_host": "data", "rate_limiter": {'
         '"ops": {"size": 1, "refill_time": 100}, "bandwidth": {"size": 9, "refill_time": 50}}}]'),
        ("drives[0].rate_limiter.ops.one_time_burst: ", ', "drives": [{"path_on_host": "data",'
         ' "rate_limiter": {"ops": {"size": 1, "refill_time": 100, "one_time_burst": 5}}}]'),
    ]
    for where, text in noted:
        what = where.rstrip(": ")
        text = '{"boot-source": {"kernel_image_path": "spin"}%s}' % text
        _, err = config(text)
        first = err.splitlines()[0]
        assert first.startswith("hako: vm.json: %s is ignored: " % what), first
        assert err.count("\n") == 2, err
        assert config(text, "--quiet")[1] == ""
    quiet = ('{"machine-config": {"smt": false, "track_dirty_pages": false, "huge_pages": "None",'
             ' "cpu_template": "None", "vcpu_count": 1, "mem_size_mib": 64}}')
    assert config(quiet, "-k", "spin")[1].count("\n") == 1


def config_runs_a_guest():
    write("vm.json", b'{"boot-source": {"kernel_path": "reset"}, "hako": {"no-reboot": true}}')
    run_ends(10, "reset", "--config", "vm.json")
    run_ends(0, "powered off", "--config", "vm.json", "--kernel", "off")
    os.unlink("vm.json")


def timing():
    code, out, err = hako("run", "-k", "off", "--timing=json")
    assert (code, out) == (0, ""), err
    said, line = err.splitlines()
    assert "powered off" in said
    t = json.loads(line)
    assert (t["engine"], t["machine"], t["outcome"]) == ("soft", "arm64", "poweroff"), line
    events = t["events"]
    assert list(events) == ["create", "created", "guest", "firmware", "console", "virtio",
                            "driver_ok", "read", "write", "reset", "end"]
    seen = [events[name] for name in ("create", "created", "guest", "firmware", "end")]
    for clock in ("ms", "cpu_ms"):
        times = [event[clock] for event in seen]
        assert times[0] > 0 and times == sorted(times), times
    assert [name for name in events if events[name] is None] == \
        ["console", "virtio", "driver_ok", "read", "write", "reset"]
    assert t["counters"]["firmware_call"] == 1 and t["counters"]["decoded_page"] >= 1, line
    assert t["run_s"] > 0 and t["peak_memory_kib"] > 0

    code, out, err = hako("run", "-k", "off", "--timing", "--quiet")
    assert (code, out) == (0, "")
    for text in ("machine arm64, engine soft", "first instruction", "the run ends", "firmware_call",
                 "MiB"):
        assert text in err, err
    assert "register" not in err, err  # what was not, is not told
    t = json.loads(hako("run", "-q", "-k", "reset", "--no-reboot", "--timing=json")[2])
    assert t["outcome"] == "reset" and t["events"]["reset"]["ms"] <= t["events"]["end"]["ms"]
    t = json.loads(hako("run", "-q", "-k", "reset", "--timeout", "1", "--timing=json")[2])
    assert t["outcome"] == "timeout" and t["counters"]["firmware_call"] >= 1, t
    assert t["events"]["reset"]["ms"] < t["events"]["end"]["ms"]
    t = json.loads(hako("run", "-q", "-k", "rv32", "--timing=json")[2])
    assert (t["machine"], t["outcome"]) == ("riscv32", "poweroff")


def config_example():
    """examples/vm.json, with files of the names that it has."""
    with open(EXAMPLE, "rb") as f:
        write("example.json", f.read())
    files = {"Image": "off", "initrd.gz": "data", "data.img": "data", "root.ext4": "other"}
    for name, made in files.items():
        with open(made, "rb") as f:
            write(name, f.read())
    run_ends(0, "powered off", "--config", "example.json")
    code, _, err = hako("run", "--config", "example.json", "--dump-dtb", "out.dtb")
    assert code == 0, err
    with open("out.dtb", "rb") as f:
        assert b"console=ttyAMA0 quiet root=/dev/vdb rw\0" in f.read()
    for name in ["example.json", "out.dtb", *files]:
        os.unlink(name)


@contextlib.contextmanager
def spinning(*args, stdin=subprocess.DEVNULL, **kwargs):
    """hako with a guest that runs for ever; killed at the end of the block if still there."""
    run = subprocess.Popen([HAKO, "run", "-k", "spin", *args], stdin=stdin,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs)
    try:
        yield run
    finally:
        if run.poll() is None:
            run.kill()
        _, err = run.communicate()
    need_vm(err.decode())


def catches(pid, signo):
    """Is this hako, and does it handle the signal?"""
    try:
        with open("/proc/%d/status" % pid, encoding="utf-8") as f:
            status = dict(line.split(":", 1) for line in f)
    except OSError:  # it is gone
        return False
    return (status["Name"].strip() == os.path.basename(HAKO) and
            int(status["SigCgt"], 16) >> (signo - 1) & 1)


def is_running(run, signo=signal.SIGTERM):
    """Wait until hako, which `run` or a child of it is, handles the signal: then its disks are open,
    and the guest runs. False: it has ended."""
    end = time.monotonic() + PATIENCE
    while run.poll() is None:
        assert time.monotonic() < end, "hako does not begin to run"
        with contextlib.suppress(OSError):
            with open("/proc/%d/task/%d/children" % (run.pid, run.pid), encoding="utf-8") as f:
                if any(catches(pid, signo) for pid in [run.pid, *map(int, f.read().split())]):
                    return True
        time.sleep(0.02)
    return False


def signals():
    for signo in (signal.SIGTERM, signal.SIGINT):
        with spinning() as run:
            assert is_running(run, signo)
            run.send_signal(signo)
            err = run.stderr.read().decode()
            run.wait(PATIENCE)
        need_vm(err)
        assert run.returncode == 128 + signo, "%d: %s" % (run.returncode, err)
        assert signal.Signals(signo).name in err, err


def signals_that_are_ignored():
    """As whoever starts hako has them; of all that end it or would."""
    ignored = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR2, signal.SIGALRM)

    def ignore():
        for signo in ignored:
            signal.signal(signo, signal.SIG_IGN)
    with spinning(preexec_fn=ignore) as run:
        assert is_running(run, signal.SIGTERM)
        for signo in ignored:
            run.send_signal(signo)
        time.sleep(0.1)
        assert run.poll() is None, "ended by signal %d" % -run.returncode
        run.terminate()
        run.communicate()
    assert run.returncode == 128 + signal.SIGTERM, run.returncode


def signals_that_come_together_are_one():
    with spinning() as run:
        assert is_running(run, signal.SIGTERM)
        for _ in range(5):
            run.send_signal(signal.SIGTERM)
            time.sleep(0.001)
        err = run.stderr.read().decode()
        run.wait(PATIENCE)
    need_vm(err)
    assert run.returncode == 128 + signal.SIGTERM and "SIGTERM" in err, err


def said_soon(run, what):
    """Wait until the run has said it; the line."""
    for line in iter(run.stderr.readline, b""):
        if what in line:
            return line.decode()
    raise AssertionError("hako never said %r" % what)


def hangup_has_disks_looked_at_again():
    write("grows.img", b"\0" * 8192)
    with spinning("-vd", "grows.img", "-d", "off,ro") as run:
        assert is_running(run, signal.SIGHUP)
        for size in (1 << 20, 4096, 8192 + 100):
            os.truncate("grows.img", size)
            run.send_signal(signal.SIGHUP)
            line = said_soon(run, b"bytes now")
            assert "blk0" in line and "%d bytes now" % (size + -size % 512) in line, line
        assert run.poll() is None
        run.send_signal(signal.SIGTERM)
        assert run.wait(PATIENCE) == 128 + signal.SIGTERM
    os.unlink("grows.img")


def hangup_of_the_terminal_ends_the_run():
    """Whether the kernel sends the signal, or a shell passes it on to its jobs."""
    for command in ("exec %s run -k spin </dev/null 2>said",
                    "trap 'kill -HUP $!' HUP; %s run -k spin </dev/null 2>said & wait; wait"):
        ours, guests = pty.openpty()
        with subprocess.Popen(
                ["sh", "-c", command % HAKO], start_new_session=True, stdin=guests,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) as session:
            os.close(guests)
            assert is_running(session, signal.SIGHUP)
            os.close(ours)
            session.wait(PATIENCE)
        with open("said", encoding="utf-8") as f:
            said = f.read()
        os.unlink("said")
        need_vm(said)
        assert "stopped by SIGHUP" in said, (command, said)


def disk_in_use():
    write("shared.img", b"\0" * 8192)
    with spinning("-d", "shared.img") as run:
        if is_running(run):
            before = tree()
            fails(1, ["shared.img"], "run", "-k", "off", "-d", "shared.img")
            fails(1, ["shared.img"], "run", "-k", "off", "-d", "shared.img,ro")
            fails(1, ["shared.img"], "disk", "create", "-f", "1M", "shared.img")
            assert tree() == before
    with spinning("-d", "shared.img,ro") as run:
        if is_running(run):
            assert hako("run", "-k", "off", "-d", "shared.img,ro")[0] == 0
            fails(1, ["shared.img"], "run", "-k", "off", "-d", "shared.img")
    os.unlink("shared.img")


# ---- The terminal

class Terminal:
    """hako with a guest that runs for ever, on a terminal of its own."""

    def __init__(self, *args):
        # The terminal's own side stays open here: its attributes are readable to the end.
        self.fd, self.side = pty.openpty()
        self.text = b""
        told, tell = os.pipe()
        self.shell = os.fork()
        if self.shell == 0:
            self.be_shell(tell, args)
        os.close(tell)
        self.pid = int(os.read(told, 20))
        os.close(told)

    def be_shell(self, tell, args):
        """As a shell with job control: hako is a group of its own, which can be stopped."""
        os.login_tty(self.side)
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            os.tcsetpgrp(0, os.getpid())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
            os.execv(HAKO, [HAKO, "run", "-k", "spin", *args])
        os.write(tell, b"%d" % pid)
        os.close(tell)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os._exit(status if status >= 0 else 200 - status)

    def attributes(self):
        return termios.tcgetattr(self.fd)

    def is_raw(self):
        return not self.attributes()[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    def read_until(self, what):
        end = time.monotonic() + PATIENCE
        while what not in self.text and time.monotonic() < end:
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    self.text += os.read(self.fd, 4096)
                except OSError:  # the other side is closed
                    break
        need_vm(self.text.decode(errors="replace"))
        assert what in self.text, repr(self.text)

    def wait_raw(self, want=True):
        end = time.monotonic() + PATIENCE
        while self.is_raw() != want:
            assert time.monotonic() < end, "raw: %s" % (not want)
            if want:
                self.read_some()
            time.sleep(0.02)

    def read_some(self):
        if select.select([self.fd], [], [], 0)[0]:
            with contextlib.suppress(OSError):
                self.text += os.read(self.fd, 4096)
        need_vm(self.text.decode(errors="replace"))

    def ended(self):
        """The status as subprocess tells it, or None while it runs."""
        pid, status = os.waitpid(self.shell, os.WNOHANG)
        if not pid:
            return None
        self.shell = 0
        status = os.waitstatus_to_exitcode(status)
        return status if status <= 200 else 200 - status

    def end(self):
        end = time.monotonic() + PATIENCE
        while True:
            status = self.ended()
            if status is not None:
                return status
            assert time.monotonic() < end, "does not end"
            self.read_some()
            time.sleep(0.02)

    def close(self):
        if self.shell and self.ended() is None:  # then hako has not been waited for either
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.shell, 0)
        os.close(self.side)
        os.close(self.fd)


def on_terminal(*args):
    """A test with a Terminal, which must be as it was in the end."""
    def wrap(test):
        def run():
            t = Terminal(*args)
            try:
                t.wait_raw()
                test(t)
                assert not t.is_raw(), "the terminal is still raw"
                attributes = t.attributes()
                assert attributes[1] & termios.OPOST
                assert attributes[3] & termios.ICANON and attributes[3] & termios.ECHO
            finally:
                t.close()
        run.__name__ = test.__name__
        return run
    return wrap


@on_terminal()
def keys(t):
    t.read_until(b"Ctrl-A x")
    t.text = b""
    os.write(t.fd, b"\x01h")
    t.read_until(b"sends one Ctrl-A")
    assert t.text.startswith(b"\r\nhako: ") and b"help\r\n" in t.text
    os.write(t.fd, b"\x03\x1a\x1c\x01\x01x")  # all of this is the guest's
    time.sleep(0.3)
    assert t.is_raw() and t.ended() is None
    os.write(t.fd, b"\x01x")
    assert t.end() == 0
    t.read_until(b"stopped from the console")


@on_terminal()
def terminal_after_sigterm(t):
    os.kill(t.pid, signal.SIGTERM)
    assert t.end() == 128 + signal.SIGTERM


@on_terminal("--quiet")
def terminal_after_sigquit(t):
    os.kill(t.pid, signal.SIGQUIT)
    assert t.end() == -signal.SIGQUIT


@on_terminal()
def terminal_after_sigsegv(t):
    os.kill(t.pid, signal.SIGSEGV)
    assert t.end() == -signal.SIGSEGV


@on_terminal()
def terminal_after_sigusr2(t):
    os.kill(t.pid, signal.SIGUSR2)
    assert t.end() == -signal.SIGUSR2


@on_terminal("--timeout", "1")
def terminal_after_timeout(t):
    assert t.end() == 12


@on_terminal()
def terminal_while_stopped(t):
    os.kill(t.pid, signal.SIGTSTP)
    t.wait_raw(False)
    os.kill(t.pid, signal.SIGCONT)
    t.wait_raw()
    os.write(t.fd, b"\x01x")
    assert t.end() == 0


TESTS = [table_test(2, says, args) for says, args in USAGE]
TESTS += [table_test(1, says, args) for says, args in FILES]
TESTS += [table_test(2, says, args) for says, args in CONFIG_FILES]
TESTS += [config_is_refused(says, text) for says, text in CONFIGS]
TESTS += [
    help_and_version, manual_has_every_option, manual_has_every_disk_option,
    documents_have_every_exit_status, documents_have_every_public_header, a_riscv_kernel_chooses_its_machine, output_that_cannot_be_written, doctor, lint_list,
    disk_create, disk_create_shows_a_bar_on_a_terminal, disk_create_through_link, disk_create_no_room, disk_create_in_use, disk_info,
    disk_test, disk_test_in_use, disk_test_puts_back_what_a_killed_one_left, disk_test_killed,
    guest_powers_off, an_image_that_is_not_raw_is_told_of, guest_resets, guest_is_stuck, guest_runs_too_long, guest_resets_for_ever,
    more_memory_than_the_host,
    dump_dtb, the_root, config_says_what_the_guest_gets, config_says_what_it_ignores,
    config_runs_a_guest, config_example, timing, signals, signals_that_are_ignored, signals_that_come_together_are_one,
    hangup_has_disks_looked_at_again, hangup_of_the_terminal_ends_the_run,
    disk_in_use,
    keys, terminal_after_sigterm, terminal_after_sigquit, terminal_after_sigsegv, terminal_after_sigusr2,
    terminal_after_timeout, terminal_while_stopped,
]


def main():
    failed = 0
    # A shell that starts this in the background has them ignored, and so would every hako here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    print("1..%d" % len(TESTS))
    with tempfile.TemporaryDirectory(prefix="hako-cli-") as folder:
        os.chdir(folder)
        make_files()
        for i, test in enumerate(TESTS, 1):
            name = test.__name__.replace("_", " ")
            try:
                test()
                print("ok %d - %s" % (i, name))
            except Skip as why:
                print("ok %d - %s # SKIP %s" % (i, name, why))
            except (AssertionError, subprocess.TimeoutExpired, OSError) as e:
                failed += 1
                print("not ok %d - %s" % (i, name))
                print("# %s" % str(e).replace("\n", "\n# "))
            sys.stdout.flush()
        os.chdir("/")
    return 1 if failed else 0


sys.exit(main())
