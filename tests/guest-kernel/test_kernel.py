#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The kernel of guest/kernel, spoken to over its console; its disks are looked at from outside.

usage: test_kernel.py MACHINE PROGRAM ARCH TRANSPORT KERNEL [FIRMWARE]      prints TAP
       test_kernel.py --skip REASON

MACHINE is hako or qemu, ARCH riscv32, riscv64 or arm64, TRANSPORT legacy or modern. FIRMWARE is for
a QEMU that comes without one; without it, it is asked for its own.
"""
import io
import os
import re
import select
import subprocess
import sys
import tarfile
import tempfile
import time

PATIENCE = 60  # seconds for anything
PROMPT = "\n> "
LOREM = "Lorem ipsum dolor sit amet, consectetur adipiscing elit. " * 11  # not a multiple of 512
HELLO = "hello from kernel!!!\n"


class Failure(Exception):
    pass


def check(condition, message, *details):
    if not condition:
        raise Failure("\n".join([message, *map(str, details)]))


class Guest:
    """The kernel, running; `text` is what it has said since the last command."""

    def __init__(self, disks, append=None, extra=()):
        command = COMMANDS[MACHINE](disks, append) + list(extra)
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        self.text = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def read_until(self, end):
        """Reads until the text ends so, or, if `end` is None, until the guest has ended."""
        deadline = time.monotonic() + PATIENCE
        out = self.process.stdout.fileno()
        while end is None or not self.text.endswith(end):
            check(select.select([out], [], [], deadline - time.monotonic())[0],
                  "the guest says no more", self.text)
            data = os.read(out, 65536)
            if not data:
                if end is None:
                    break
                raise Failure(f"the guest has ended\n{self.text}{self.process.stderr.read()}")
            self.text += data.decode("latin-1").replace("\r", "")
        return self.text

    def wait_prompt(self):
        text = self.read_until(PROMPT)
        self.text = ""
        return text[:-len(PROMPT) + 1]

    def send(self, command):
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()

    def run(self, command):
        """What a command prints, without its echo."""
        self.send(command)
        text = self.wait_prompt()
        check(text.startswith(command + "\n"), f"no echo of {command!r}", text)
        return text[len(command) + 1:]

    def end(self, command="halt"):
        if command:
            self.send(command)
        text = self.read_until(None)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failure("the machine does not end") from None
        said = self.process.stderr.read().decode(errors="replace")
        check("lint V" not in said, "the driver breaks a rule", said)
        return text


def hako_command(disks, append):
    command = [PROGRAM, "run", "--kernel", KERNEL, "--virtio-mmio", TRANSPORT, "--no-reboot",
               "--mem", "64M", "--lint=deep"]
    for disk in disks:
        command += ["--disk", disk]
    return command + (["--append", append] if append else [])


def qemu_command(disks, append):
    legacy = "true" if TRANSPORT == "legacy" else "false"
    command = [PROGRAM, "-M", "virt" + GIC, "-m", "64M", "-display", "none", "-serial", "stdio",
               "-monitor", "none", "-nic", "none", "-no-reboot", "-kernel", KERNEL,
               "-global", f"virtio-mmio.force-legacy={legacy}"]
    command += ["-cpu", "cortex-a76"] if ARCH == "arm64" else ["-bios", FIRMWARE]
    for i, disk in enumerate(disks):
        file, _, read_only = disk.partition(",ro")
        command += ["-drive", f"id=d{i},file={file},format=raw,if=none"
                    + (",read-only=on" if disk.endswith(",ro") else ""),
                    "-device", f"virtio-blk-device,drive=d{i},bus=virtio-mmio-bus.{i}"]
    return command + (["-append", append] if append else [])


COMMANDS = {"hako": hako_command, "qemu": qemu_command}

# ---- Disks ----

FILES = {
    "hello.txt": b"hello from the archive\n",
    "dir/long.txt": "".join(f"line {i}\n" for i in range(30000)).encode(),
    "empty": b"",
    "sector": b"x" * 511 + b"\n",
    "n" * 90 + "/" + "m" * 60: b"a name with a prefix\n",
}


def make_tar(path, files, form=tarfile.USTAR_FORMAT, padding=8192):
    with tarfile.open(path, "w", format=form) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    with open(path, "ab") as file:
        file.write(bytes(padding))
    return path


def tar_contents(path):
    """As a tape archiver sees them: the last member of a name counts."""
    with tarfile.open(path) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar.getmembers() if m.isfile()}


# ---- Tests ----

def test_files(tmp):
    disk = make_tar(f"{tmp}/disk.tar", FILES)
    with Guest([disk]) as guest:
        start = guest.wait_prompt()
        check(f"hello from the {ARCH} kernel" in start, "no greeting", start)
        listing = [line.split() for line in guest.run("ls").splitlines()]
        check([(int(size), name) for size, _, name in listing] ==
              [(len(content), name) for name, content in FILES.items()], "ls is wrong", listing)
        for name, content in FILES.items():
            got = guest.run(f"cat {name}")
            check(got == content.decode(), f"cat {name[:20]} is wrong", len(got), got[-200:])
        check("no such file" in guest.run("cat nothing"), "cat of nothing")
        check("Say: cat FILE" in guest.run("cat"), "cat without a name")
        check("Say: poll on" in guest.run("poll maybe"), "poll neither on nor off")
        check("no such command" in guest.run("nonsense"), "an unknown command")
        check("lsblk" in guest.run("help"), "help")
        check(guest.run("") == "", "an empty line")
        guest.end()
    check(tar_contents(disk) == FILES, "the archive has changed")


def test_write(tmp):
    disk = make_tar(f"{tmp}/disk.tar", FILES)
    expected = dict(FILES)
    with Guest([disk]) as guest:
        guest.wait_prompt()
        for name, text in [("new.txt", "something new"), ("hello.txt", "in its place"),
                           ("sector", "short"), ("empty", "no longer"), ("new.txt", "newer"),
                           ("./new.txt", "the same"), ("n" * 90 + "/" + "m" * 60, "x"),
                           ("long", "y" * 900)]:
            said = guest.run(f"write {name} {text}")
            if len(name) > 100:
                check("too long" in said, "a name that is too long", said)
                continue
            check(said == f"{len(text) + 1} bytes written\n", f"write {name} says", said)
            expected[name.removeprefix("./")] = f"{text}\n".encode()
            check(guest.run(f"cat {name}") == f"{text}\n", f"{name} reads differently")
        check("not a file" not in guest.run("ls"), "ls")
        guest.end()
    got = tar_contents(disk)
    got = {name.removeprefix("./"): content for name, content in got.items()}
    check(got == expected, "the host sees", {k: v[:40] for k, v in got.items()})
    with Guest([disk]) as guest:  # and so does the next boot
        guest.wait_prompt()
        check(guest.run("cat new.txt") == "the same\n", "new.txt after a boot")
        guest.end()


def test_formats(tmp):
    """As GNU's tar writes it, and with pax records."""
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        disk = make_tar(f"{tmp}/disk.tar", {"a.txt": b"A\n", "b.txt": b"B\n"}, form)
        with Guest([disk]) as guest:
            guest.wait_prompt()
            check(guest.run("cat b.txt") == "B\n", "cat")
            guest.run("write c.txt C")
            guest.end()
        check(tar_contents(disk) == {"a.txt": b"A\n", "b.txt": b"B\n", "c.txt": b"C\n"},
              "the host sees", tar_contents(disk))


def test_lsblk(tmp):
    first = make_tar(f"{tmp}/a.tar", FILES)
    second = f"{tmp}/b"
    with open(second, "wb") as file:
        file.truncate(1 << 20)
    with Guest([first, second + ",ro"]) as guest:
        guest.wait_prompt()
        lines = [line.split() for line in guest.run("lsblk").splitlines()]
        check(lines[0][0] == "NAME" and len(lines) == 3, "lsblk says", lines)
        check(lines[1][:4] == ["vda", str(os.path.getsize(first) // 512),
                               str(os.path.getsize(first)), "0"], "vda", lines)
        check(lines[2][:4] == ["vdb", "2048", "1048576", "1"], "vdb", lines)
        check({line[-1] for line in lines[1:]} == {TRANSPORT}, "transport", lines)
        guest.end()


def test_cpus(tmp):
    """The kernel needs one CPU only, and it may be any."""
    disk = make_tar(f"{tmp}/disk.tar", FILES)
    with Guest([disk], extra=["--cpus" if MACHINE == "hako" else "-smp", "4"]) as guest:
        guest.wait_prompt()
        check(guest.run("cat sector") == FILES["sector"].decode(), "cat")
        guest.end()


def test_read_only(tmp):
    disk = make_tar(f"{tmp}/disk.tar", FILES)
    with Guest([disk + ",ro"]) as guest:
        guest.wait_prompt()
        check("read-only" in guest.run("write new.txt text"), "write to a read-only disk")
        check(guest.run("cat hello.txt") == FILES["hello.txt"].decode(), "cat")
        guest.end()
    check(tar_contents(disk) == FILES, "the archive has changed")


def test_errors(tmp):
    """The device's answer to a request that fails. Only QEMU can be told to fail."""
    disk = make_tar(f"{tmp}/disk.tar", FILES)
    with open(f"{tmp}/errors", "w", encoding="ascii") as file:
        file.write('[inject-error]\nevent = "write_aio"\nerrno = "5"\niotype = "write"\n')
    with Guest([f"blkdebug:{tmp}/errors:{disk}"]) as guest:
        guest.wait_prompt()
        check("new.txt: the device reports an I/O error" in guest.run("write new.txt text"),
              "write")
        check(guest.run("cat hello.txt") == FILES["hello.txt"].decode(), "cat")
        guest.end()
    check(tar_contents(disk) == FILES, "the archive has changed")


def test_full(tmp):
    disk = make_tar(f"{tmp}/disk.tar", {"a": b"A\n"}, padding=0)
    with Guest([disk]) as guest:
        guest.wait_prompt()
        for i in range(20):
            said = guest.run(f"write file{i} text")
            if "full" in said:
                break
        check("full" in said and i > 3, "the disk is never full", i, said)
        check("beyond" not in guest.run(f"cat file{i - 1}"), "the last file")
        guest.end()
    check(len(tar_contents(disk)) == i + 1, "files on the host", i)


def test_polling_and_interrupts(tmp):
    disk = make_tar(f"{tmp}/disk.tar", FILES)
    long = FILES["dir/long.txt"].decode()
    with Guest([disk]) as guest:
        guest.wait_prompt()
        for how in ("on", "off", "on"):
            guest.run(f"poll {how}")
            check(guest.run("cat dir/long.txt") == long, f"poll {how}")
            check("written" in guest.run(f"write hello.txt {how}"), f"poll {how}: write")
        said = guest.run("bench")
        check(len(re.findall(r"(?m)^ *\d+ KiB, \w+ +\d+ reads/s +\d+ KiB/s$", said)) == 4,
              "bench says", said)
        print("# " + said.strip().replace("\n", "\n# "))
        guest.end()


def test_damaged(tmp):
    disk = make_tar(f"{tmp}/disk.tar", FILES)
    with open(disk, "r+b") as file:
        file.seek(1024)  # the second header
        file.write(b"?")
    with Guest([disk]) as guest:
        start = guest.wait_prompt()
        check("vda: no tar header in sector 2" in start, "the damage is not seen", start)
        check(guest.run("cat hello.txt") == FILES["hello.txt"].decode(), "what is before it")
        check("full" in guest.run("write new.txt text"), "written behind the damage")
        guest.end()


def test_no_disk(tmp):
    with Guest([]) as guest:
        guest.wait_prompt()
        check(guest.run("ls") == "", "ls")
        check("no tar archive" in guest.run("write a b"), "write")
        check("no disk" in guest.run("bench") and "no disk" in guest.run("story"), "bench, story")
        guest.end()


def test_story(tmp):
    """The first sector of a text file is shown, and another text written over it."""
    lorem = f"{tmp}/lorem.txt"
    for by_argument in (True, False):
        with open(lorem, "w", encoding="ascii") as file:
            file.write(LOREM)
        with Guest([lorem], append="story" if by_argument else None) as guest:
            if by_argument:
                said = guest.end(None)
            else:
                guest.wait_prompt()
                said = guest.run("story")
                guest.end()
        check("virtio-blk: capacity is 1024 bytes\n" in said, "capacity", said)
        check(f"first sector: {LOREM[:512]}\n" in said, "first sector", said)
        with open(lorem, encoding="ascii") as file:
            content = file.read()
        check(content.rstrip("\0") == HELLO + LOREM[len(HELLO):], "the host's file", content[:80])


def test_panics(tmp):
    for how, what in [("null", "page fault|data abort .write., not mapped"),
                      ("text", "page fault|data abort .write., not permitted"),
                      ("jump", "instruction (page fault|abort, not permitted)"),
                      ("stack", "(?s)the stack is full.*(page fault|data abort)")]:
        with Guest([]) as guest:
            guest.wait_prompt()
            said = guest.end(f"crash {how}")
            check(re.search(what, said) and re.search("panic: .* at pc [0-9a-f]+", said),
                  f"crash {how} says", said)
            check(re.search(r"(?m)(ra|x30) +[0-9a-f]{8}", said), "no registers", said)


def test_ends(tmp):
    with Guest([]) as guest:
        guest.wait_prompt()
        check("bye" in guest.end(), "halt")
        check(guest.process.returncode == 0, "halt ends with", guest.process.returncode)
    with Guest([]) as guest:
        guest.wait_prompt()
        guest.end("reboot")
        check(guest.process.returncode == (10 if MACHINE == "hako" else 0), "reboot ends with",
              guest.process.returncode)


def main():
    tests = [(name[5:], test) for name, test in globals().items() if name.startswith("test_")
             and (MACHINE == "qemu" or test is not test_errors)]
    failed = 0
    print(f"1..{len(tests)}")
    for number, (name, test) in enumerate(tests, 1):
        with tempfile.TemporaryDirectory() as tmp:
            try:
                test(tmp)
                print(f"ok {number} {name}", flush=True)
            except Failure as failure:
                failed += 1
                print("# " + str(failure).replace("\n", "\n# "))
                print(f"not ok {number} {name}", flush=True)
    return 1 if failed else 0


if sys.argv[1] == "--skip":
    print(f"1..0 # SKIP {sys.argv[2]}")
    sys.exit(0)
MACHINE, PROGRAM, ARCH, TRANSPORT, KERNEL = sys.argv[1:6]
FIRMWARE = sys.argv[6] if len(sys.argv) > 6 else "default"
GIC = ""
if MACHINE == "qemu" and ARCH == "arm64":
    GIC = ",gic-version=" + ("2" if TRANSPORT == "legacy" else "3")  # the kernel knows both
sys.exit(main())
