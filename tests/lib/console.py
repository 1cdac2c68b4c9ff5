# SPDX-License-Identifier: MIT
"""A program that is driven over its console, with a shell behind it: what tests of Linux share.

    with Console([program, argument...]) as c:
        c.login(re.compile(rb"name:~# "))
        assert c.sh("cat /proc/cmdline").startswith("console=")

and, at the end of a test program, run_tests([test, ...]), which prints TAP.

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

PATIENCE = 600  # seconds for anything that is waited for


class Skip(Exception):
    """Raised by a test that cannot run here; says why."""


class Ended(Exception):
    """The guest ended, or went silent, while something was awaited."""


class Console:
    """One run of a program. Use with "with": what is left of it at the end is killed.

    status      its exit status once it has ended
    text        what has been printed and expect() has not passed over yet
    """

    patience = PATIENCE

    def __init__(self, command, console=None, **popen):
        self.command = [str(a) for a in command]
        self.log = b""  # all that was printed
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
            said = self.log[-3000:] + b"\n" + self.said()[-3000:].encode()
            for line in said.decode(errors="replace").splitlines():
                print("#   | " + line.rstrip("\r"))
        for pipe in (self.process.stdin, self.process.stdout, self.stderr):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()

    def said(self):
        """What the program has said to its standard error."""
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

    def expect(self, pattern, patience=None):
        """Wait for a pattern in the output, pass over it, and return the match."""
        pattern = re.compile(pattern, re.S) if isinstance(pattern, bytes) else pattern
        patience = patience or self.patience
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
                raise Ended("no %r before the end with status %d: %s"
                            % (pattern.pattern, self.status, self.said().strip()))

    def write(self, data):
        """Send bytes to the guest, reading what it prints meanwhile."""
        fd = self.console if self.console is not None else self.process.stdin.fileno()
        while data:
            readable, writable, _ = select.select([self.out], [fd], [], 1)
            if readable and not self.read(0):
                raise Ended("it ended while written to")
            if writable:
                data = data[os.write(fd, data[:512]):]

    def login(self, prompt):
        """Wait for the shell, and make it a quiet one: no echo, no prompt, no line editing."""
        self.expect(prompt)
        self.write(b"stty -echo; PS1= PS2=\n")
        self.sh(":")

    def run(self, command, patience=None):
        """Run a command in the guest's shell; its status and output."""
        self.count += 1
        self.write(b"%s\necho \"<$?|%d>\"\n" % (command.encode(), self.count))
        match = self.expect(rb"(.*?)<(\d+)\|%d>\r?\n" % self.count, patience)
        return int(match.group(2)), match.group(1).decode(errors="replace").replace("\r\n", "\n")

    def sh(self, command, patience=None):
        """Run a command that must succeed; its output, without the last newline."""
        status, output = self.run(command, patience)
        assert status == 0, "guest: %s: status %d: %s" % (command, status, output)
        return output.rstrip("\n")

    # ---- The end

    def wait(self, patience=None):
        """Wait for the program's end, taking in what it prints; its exit status."""
        patience = patience or self.patience
        end = time.monotonic() + patience
        while self.read(1):
            if self.process.poll() is not None and self.console is not None:
                break
            if time.monotonic() > end:
                raise Ended("it has not ended in %d seconds" % patience)
        self.status = self.process.wait(patience)
        return self.status

    def cpu_seconds(self):
        """The processor time that the program has used, all threads together."""
        with open("/proc/%d/stat" % self.pid, encoding="ascii") as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ---- Files, in the test's own folder

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

def run_tests(tests, prefix="hako-test-"):
    """Run test functions, each in a folder of its own, and exit. A test's name is its __name__."""
    # A test that is ended from outside ends its guests too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    # Who is started with SIGHUP ignored, by nohup say, leaves it so, and hako would.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    print("1..%d" % len(tests), flush=True)
    failed = False
    for i, test in enumerate(tests, 1):
        name = test.__name__.replace("_", " ")
        home = os.getcwd()
        with tempfile.TemporaryDirectory(prefix=prefix) as folder:
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
