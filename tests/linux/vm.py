# SPDX-License-Identifier: MIT
"""A Linux guest on hako, driven over its console: what the tests in this folder share.

    with Vm(disks=[root]) as vm:
        vm.login()
        assert vm.sh("cat /proc/cmdline").startswith("console=")
        assert vm.poweroff() == 0

and, at the end of a test program, main([test, ...]), which prints TAP.

Nothing here is timed: waits have an end only so that a hung guest fails a test and not the build.
"""
import contextlib
import hashlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

HAKO = os.path.abspath(sys.argv[1])
GUEST = os.path.abspath(os.environ.get("HAKO_GUEST") or sys.argv[2])
PATIENCE = 600  # seconds for anything that is waited for

KERNEL = os.path.join(GUEST, "Image")
INITRD = os.path.join(GUEST, "initrd.gz")
PROMPT = re.compile(rb"hako:~# ")


class Skip(Exception):
    """Raised by a test that cannot run here; says why."""


class Ended(Exception):
    """The guest ended, or went silent, while something was awaited."""


class Vm:
    """One run of hako. Use with "with": what is left of it at the end is killed.

    status      its exit status once it has ended
    text        what the guest has printed and expect() has not passed over yet
    """

    def __init__(self, *args, disks=(), append="quiet", kernel=KERNEL, initrd=INITRD,
                 console=None, **popen):
        command = [HAKO, "run", "--kernel", kernel]
        if initrd:
            command += ["--initrd", initrd]
        for disk in disks:
            command += ["--disk", disk]
        if append:
            command += ["--append", append]
        self.command = command + [str(a) for a in args]
        self.log = b""  # all that the guest has printed
        self.text = b""
        self.status = None
        self.count = 0
        self.stderr = tempfile.TemporaryFile()
        self.console = console  # a terminal's master side, in place of pipes
        self.process = subprocess.Popen(
            self.command, stderr=self.stderr,
            stdin=popen.pop("stdin", subprocess.PIPE),
            stdout=popen.pop("stdout", subprocess.PIPE), **popen)
        self.pid = self.process.pid
        self.out = console if console is not None else self.process.stdout.fileno()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if kind and kind is not Skip:
            print("# %s" % " ".join(self.command))
            said = self.log[-3000:] + b"\n" + self.said().encode()
            for line in said.decode(errors="replace").splitlines():
                print("#   | " + line.rstrip("\r"))
        for pipe in (self.process.stdin, self.process.stdout, self.stderr):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()

    def said(self):
        """What hako itself has said."""
        size = os.fstat(self.stderr.fileno()).st_size
        return os.pread(self.stderr.fileno(), size, 0).decode(errors="replace")

    # ---- The console

    def read(self, seconds):
        """Take in what the guest prints in that time; False at the end of its output."""
        if not select.select([self.out], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.out, 65536)
        except OSError:  # a terminal whose other side is closed
            data = b""
        self.log += data
        # Without the guest's XOFF and XON, which it sends when input comes too fast for it.
        self.text += data.translate(None, b"\x13\x11")
        return bool(data)

    def expect(self, pattern, patience=PATIENCE):
        """Wait for a pattern in the output, pass over it, and return the match."""
        pattern = re.compile(pattern, re.S) if isinstance(pattern, bytes) else pattern
        end = time.monotonic() + patience
        while True:
            match = pattern.search(self.text)
            if match:
                self.text = self.text[match.end():]
                return match
            if time.monotonic() > end:
                raise Ended("no %r in %d seconds" % (pattern.pattern, patience))
            if not self.read(1):
                self.wait()
                raise Ended("no %r before hako ended with %d: %s"
                            % (pattern.pattern, self.status, self.said().strip()))

    def write(self, data):
        """Send bytes to the guest, reading what it prints meanwhile."""
        fd = self.console if self.console is not None else self.process.stdin.fileno()
        while data:
            readable, writable, _ = select.select([self.out], [fd], [], 1)
            if readable and not self.read(0):
                raise Ended("hako ended while written to")
            if writable:
                data = data[os.write(fd, data[:512]):]

    def login(self):
        """Wait for the shell, and make it a quiet one: no echo, no prompt, no line editing."""
        self.expect(PROMPT)
        self.write(b"stty -echo; PS1= PS2=\n")
        self.sh(":")

    def run(self, command, patience=PATIENCE):
        """Run a command in the guest's shell; its status and output."""
        self.count += 1
        self.write(b"%s\necho \"<$?|%d>\"\n" % (command.encode(), self.count))
        match = self.expect(rb"(.*?)<(\d+)\|%d>\r?\n" % self.count, patience)
        return int(match.group(2)), match.group(1).decode(errors="replace").replace("\r\n", "\n")

    def sh(self, command, patience=PATIENCE):
        """Run a command that must succeed; its output, without the last newline."""
        status, output = self.run(command, patience)
        assert status == 0, "guest: %s: status %d: %s" % (command, status, output)
        return output.rstrip("\n")

    # ---- The end

    def wait(self, patience=PATIENCE):
        """Wait for hako's end, taking in what the guest prints; its exit status."""
        end = time.monotonic() + patience
        while self.read(1):
            if self.process.poll() is not None and self.console is not None:
                break
            if time.monotonic() > end:
                raise Ended("hako has not ended in %d seconds" % patience)
        self.status = self.process.wait(patience)
        return self.status

    def poweroff(self):
        self.write(b"poweroff\n")
        return self.wait()

    def cpu_seconds(self):
        """The processor time that hako has used, all threads together."""
        with open("/proc/%d/stat" % self.pid, encoding="ascii") as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ---- Files, in the test's own folder

def root_disk(name="root.ext4"):
    """A copy of the root file system, which a guest may write to."""
    subprocess.run(["cp", "--sparse=always", os.path.join(GUEST, "root.ext4"), name], check=True)
    return name


def blank_disk(name, size):
    with open(name, "wb") as f:
        f.truncate(size)
    return name


def random_disk(name, size):
    with open(name, "wb") as f:
        f.write(os.urandom(size))
    return name


def sha256(name):
    digest = hashlib.sha256()
    with open(name, "rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def md5(name):
    with open(name, "rb") as f:
        return hashlib.md5(f.read()).hexdigest()


def assert_clean(image):
    """e2fsck must find nothing to say about a file system."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    tool = shutil.which("e2fsck", path=path)
    if not tool:
        raise Skip("there is no e2fsck: install e2fsprogs")
    check = subprocess.run([tool, "-fn", image], capture_output=True, text=True)
    assert check.returncode == 0, "e2fsck: %d: %s" % (check.returncode, check.stdout)


# ---- TAP

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
    # A test that is ended from outside ends its guests too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print("1..%d" % len(tests), flush=True)
    failed = False
    for i, test in enumerate(tests, 1):
        name = test.__name__.replace("_", " ")
        home = os.getcwd()
        with tempfile.TemporaryDirectory(prefix="hako-linux-") as folder:
            os.chdir(folder)
            try:
                test()
                print("ok %d - %s" % (i, name))
            except Skip as why:
                print("ok %d - %s # SKIP %s" % (i, name, why))
            except Exception:
                failed = True
                print("not ok %d - %s" % (i, name))
                for line in traceback.format_exc().splitlines():
                    print("# " + line)
            finally:
                os.chdir(home)
        sys.stdout.flush()
    sys.exit(1 if failed else 0)
