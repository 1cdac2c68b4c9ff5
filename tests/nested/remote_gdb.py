# SPDX-License-Identifier: MIT
"""gdb on this host, hako in the outer system of a nested test: between them is a serial port of
virtio's, at whose other end there is netcat.

    with Bridge(where) as bridge, Outer(..., port=bridge.port):
        use(test_gdb, outer)             # its tests, whose Hako then runs in the outer system

gdb's side is the socket `where`.
"""
import contextlib
import os
import select
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../debug"))
import test_gdb  # noqa: E402 pylint: disable=wrong-import-position

__all__ = ["Bridge", "test_gdb", "use"]


class Bridge:
    """Passes on what comes from gdb to QEMU's port, and back; one gdb at a time."""

    def __init__(self, where):
        self.where = where
        self.port = where + ".qemu"

    def __enter__(self):
        self.to_qemu, self.to_gdb = (self.listen(path) for path in (self.port, self.where))
        threading.Thread(target=self.run, daemon=True).start()
        return self

    def __exit__(self, *_):
        for listener in (self.to_qemu, self.to_gdb):
            listener.close()
        for path in (self.port, self.where):
            os.unlink(path)

    @staticmethod
    def listen(path):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        return listener

    def run(self):
        with contextlib.suppress(OSError):
            qemu = self.to_qemu.accept()[0]
            gdb = None
            while True:
                ready = select.select([qemu, gdb or self.to_gdb], [], [])[0]
                if self.to_gdb in ready:
                    gdb = self.to_gdb.accept()[0]
                if qemu in ready:
                    data = qemu.recv(65536)
                    if not data:
                        return
                    if gdb:
                        with contextlib.suppress(OSError):
                            gdb.sendall(data)
                if gdb in ready:
                    data = gdb.recv(65536)
                    qemu.sendall(data)
                    if not data:
                        gdb = None


def use(module, outer):
    """Let a test of tests/debug run hako in the outer system, and fail at the first wrong check."""

    class Hako:
        """What test_gdb.Hako is; the kernel and the socket are names in the outer system."""

        def __init__(self, kernel, _, *options):
            outer.sh("ifconfig lo 127.0.0.1 up")
            # The shell takes no pattern behind <.
            outer.start("port=$(echo /dev/vport*p1); "
                        "(until nc 127.0.0.1 1234 <>$port >&0; do sleep 1; done) 2>/dev/null & "
                        "./hako run --kernel %s --gdb --mem 64M --timeout 200 %s"
                        % (os.path.basename(kernel), " ".join(options)))
            self.said = outer.expect(rb"([^\n]*waits at its first instruction[^\n]*)\n") \
                .group(1).decode()

        def __enter__(self):
            return self

        def __exit__(self, kind, *_):
            pass

        def end(self):
            status, said = outer.end()
            return status, said, said

    def check(name, good, *details):
        assert good and "SKIP" not in name, "%s: %s" % (name, "\n".join(map(str, details)))

    module.Hako, module.check = Hako, check
    return module
