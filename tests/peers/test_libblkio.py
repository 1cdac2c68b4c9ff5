#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""libblkio as the front end of hako's vhost-user server: all of its requests, two queues, and another size.

usage: test_libblkio.py HAKO FETCH-DEBIAN DIR

libblkio is Debian trixie's, which runs on older ones too; it is fetched into DIR unless it is there.
"""
import ctypes
import glob
import os
import platform
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from console import Skip, random_disk, run_tests  # noqa: E402

HAKO, FETCH, DIR = (os.path.abspath(arg) for arg in sys.argv[1:4])
SIZE, BLOCK, QUEUES = 4 << 20, 4096, 2


class Region(ctypes.Structure):
    """struct blkio_mem_region, blkio(3)"""

    _fields_ = [("addr", ctypes.c_void_p), ("len", ctypes.c_size_t), ("iova", ctypes.c_uint64),
                ("fd_offset", ctypes.c_int64), ("fd", ctypes.c_int), ("flags", ctypes.c_uint32)]


class Completion(ctypes.Structure):
    """struct blkio_completion"""

    _fields_ = [("user_data", ctypes.c_void_p), ("error_msg", ctypes.c_char_p),
                ("ret", ctypes.c_int), ("reserved", ctypes.c_uint8 * 12)]


def library():
    if platform.machine() != "x86_64":
        raise Skip("libblkio is fetched for x86-64 only")
    if not glob.glob(DIR + "/usr/lib/*/libblkio.so.1"):
        fetch = subprocess.run([FETCH, "amd64", DIR, "libblkio1"], capture_output=True, text=True,
                               env={**os.environ, "HAKO_DEBIAN_SUITE": "trixie"}, check=False)
        if fetch.returncode:
            raise Skip("there is no libblkio: " + fetch.stderr.strip().splitlines()[-1])
    lib = ctypes.CDLL(glob.glob(DIR + "/usr/lib/*/libblkio.so.1")[0])
    lib.blkio_get_error_msg.restype = ctypes.c_char_p
    lib.blkio_get_queue.restype = ctypes.c_void_p
    return lib


class Disk:
    """The server, and libblkio connected to it."""

    def __init__(self, *options):
        self.lib = library()
        self.options = options
        random_disk("disk.img", SIZE)
        self.log = open("server.log", "w+", encoding="utf-8")
        self.server = subprocess.Popen(
            [HAKO, "vhost-user-blk", "-v", "--socket", "disk.sock",
             "--disk", ",".join(("disk.img",) + options)], stderr=self.log)
        self.blkio = ctypes.c_void_p()
        try:
            self.connect()
        except BaseException:
            self.__exit__()
            raise

    def connect(self):
        while not os.path.exists("disk.sock"):
            assert self.server.poll() is None, self.said()
        self.must(self.lib.blkio_create(b"virtio-blk-vhost-user", ctypes.byref(self.blkio)))
        self.must(self.lib.blkio_set_str(self.blkio, b"path", b"disk.sock"))
        if "ro" in self.options:
            self.must(self.lib.blkio_set_bool(self.blkio, b"read-only", ctypes.c_bool(True)))
        self.must(self.lib.blkio_connect(self.blkio))
        self.must(self.lib.blkio_set_int(self.blkio, b"num-queues", ctypes.c_int(QUEUES)))
        self.must(self.lib.blkio_start(self.blkio))
        self.region = Region()
        self.must(self.lib.blkio_alloc_mem_region(self.blkio, ctypes.byref(self.region),
                                                  ctypes.c_size_t(64 * BLOCK)))
        self.must(self.lib.blkio_map_mem_region(self.blkio, ctypes.byref(self.region)))
        self.queues = [ctypes.c_void_p(self.lib.blkio_get_queue(self.blkio, i))
                       for i in range(QUEUES)]

    def must(self, result):
        assert result == 0, "%s; %s" % (self.lib.blkio_get_error_msg(), self.said())

    def said(self):
        with open("server.log", encoding="utf-8") as f:
            return f.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.blkio:
            self.lib.blkio_destroy(ctypes.byref(self.blkio))
        self.server.kill()
        self.server.wait()
        self.log.close()

    def number(self, name):
        value = ctypes.c_uint64()
        self.must(self.lib.blkio_get_uint64(self.blkio, name, ctypes.byref(value)))
        return value.value

    def add(self, what, *args, queue=0):
        wide = [ctypes.c_uint64(a) for a in args]
        getattr(self.lib, "blkioq_" + what)(self.queues[queue], *wide, None, ctypes.c_uint32(0))

    def wait(self, n=1, queue=0):
        """The results of n requests."""
        done = (Completion * n)()
        got = 0
        while got < n:
            rest = ctypes.byref(done, got * ctypes.sizeof(Completion))
            r = self.lib.blkioq_do_io(self.queues[queue], rest, 1, n - got, None)
            assert r > 0, self.lib.blkio_get_error_msg()
            got += r
        return [c.ret for c in done]

    def do(self, what, *args, queue=0):
        self.add(what, *args, queue=queue)
        return self.wait(queue=queue)[0]

    def memory(self, off, size):
        return ctypes.string_at(self.region.addr + off, size)


def image(off, size):
    with open("disk.img", "rb") as f:
        f.seek(off)
        return f.read(size)


def reads_and_writes():
    with Disk() as d:
        assert d.number(b"capacity") == SIZE
        for i in range(32):  # all of them at a time
            d.add("read", i * 3 * BLOCK, d.region.addr + i * BLOCK, BLOCK)
        assert d.wait(32) == [0] * 32
        for i in range(32):
            assert d.memory(i * BLOCK, BLOCK) == image(i * 3 * BLOCK, BLOCK), i
        data = os.urandom(BLOCK)
        ctypes.memmove(d.region.addr, data, BLOCK)
        assert d.do("write", 100 * BLOCK, d.region.addr, BLOCK) == 0
        assert d.do("flush") == 0
        assert image(100 * BLOCK, BLOCK) == data


def zeros_and_discards():
    with Disk() as d:
        around = image(0, BLOCK), image(5 * BLOCK, BLOCK)
        assert d.do("write_zeroes", BLOCK, 4 * BLOCK) == 0
        assert image(BLOCK, 4 * BLOCK) == bytes(4 * BLOCK)
        assert (image(0, BLOCK), image(5 * BLOCK, BLOCK)) == around
        assert d.do("discard", 8 * BLOCK, 8 * BLOCK) == 0
        assert d.do("read", 8 * BLOCK, d.region.addr, BLOCK) == 0
        assert d.memory(0, BLOCK) == image(8 * BLOCK, BLOCK)


def what_cannot_be_is_an_error():
    with Disk("ro") as d:
        assert d.do("read", SIZE, d.region.addr, BLOCK) < 0
        assert d.do("write", 0, d.region.addr, BLOCK) < 0
        assert d.do("read", 0, d.region.addr, BLOCK) == 0


def queues_at_a_time():
    """Each with a thread of its own, which waits for one read after the other."""
    blocks, wrong = SIZE // BLOCK, []

    def reads(d, queue):
        for i in range(500):
            at = (i * 7 + queue) % blocks * BLOCK
            if d.do("read", at, d.region.addr + queue * BLOCK, BLOCK, queue=queue) != 0 or \
                    d.memory(queue * BLOCK, BLOCK) != image(at, BLOCK):
                wrong.append((queue, i))

    with Disk() as d:
        threads = [threading.Thread(target=reads, args=(d, i)) for i in range(QUEUES)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not wrong, wrong[:10]


def another_size():
    with Disk() as d:
        os.truncate("disk.img", 2 * SIZE)
        d.server.send_signal(signal.SIGHUP)
        while d.number(b"capacity") != 2 * SIZE:
            assert d.server.poll() is None, d.said()
        assert d.do("read", 2 * SIZE - BLOCK, d.region.addr, BLOCK) == 0
        assert d.memory(0, BLOCK) == bytes(BLOCK)


run_tests([
    reads_and_writes,
    zeros_and_discards,
    what_cannot_be_is_an_error,
    queues_at_a_time,
    another_size,
], prefix="hako-peer-")
