#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Power cuts: whatever of a Linux guest's unflushed writes is lost, its file system recovers, and
what it had flushed is there.

usage: test_crash.py HAKO IMAGES [--all] [--seed N]          prints TAP

A guest creates, appends to, replaces and removes files on an ext4 file system, and flushes each
step; meanwhile it also writes without ever flushing. hako records every write and flush of that
disk (--disk ...,record=FILE). After each step the guest writes the step's number to another disk, which
is recorded too: when that write begins, the step is durable.

A cut is a moment in the record. On the disk is then all that was durable, and of each other write
that had begun any part, by blocks of 4096 bytes (the disk's physical blocks), or nothing. Cut are
the end of each flush and the beginning of random writes, and of what was not durable is there
nothing, all, or a random half. e2fsck must recover each of these images as after any power cut, and
find nothing wrong after that; debugfs takes out the files, which must be those of the last step
that was durable, but for what the step under way may have changed.

--all cuts at every flush and at 500 random writes, which takes minutes; without it, some.
"""
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

from vm import Skip, Vm, assert_clean, blank_disk, main, root_disk

MIB = 1 << 20
SIZE = 24 * MIB
BLOCK = 4096
STEPS = 48
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def tool(name):
    found = shutil.which(name, path=PATH)
    if not found:
        raise Skip("there is no %s: install e2fsprogs" % name)
    return found


# ---- The guest's work

class Step:
    """One step: a line of shell, and the files that it may change, each with what it may be before
    it is durable (None: not there; a bytes object: exactly that, or Part of it) and what it is
    afterwards."""

    def __init__(self, shell, before, after):
        self.shell, self.before, self.after = shell, before, after


class Part:
    """The beginning `sure` and any further part of `whole`; blocks not written yet are zeros."""

    def __init__(self, sure, whole):
        self.sure, self.whole = sure, whole

    def __eq__(self, data):
        if data is None or len(data) > len(self.whole) or not data.startswith(self.sure):
            return False
        return all(data[at:at + BLOCK] in (self.whole[at:at + BLOCK][:len(data) - at],
                                           bytes(min(BLOCK, len(data) - at)))
                   for at in range(len(self.sure) // BLOCK * BLOCK, len(data), BLOCK)
                   if at >= len(self.sure))


def content(tag, size):
    line = tag.encode() + b"\n"
    return (line * (size // len(line) + 1))[:size]


def steps(rng):
    files = {}
    for n in range(1, STEPS + 1):
        kind = rng.choice(["create", "create", "append", "replace", "replace", "remove"])
        size = rng.choice([1, 100, 4096, 5000, 40000, 130000])
        text = "yes s%d | head -c %d" % (n, size)
        data = content("s%d" % n, size)
        if kind == "create" or len(files) < 3:
            name = "d%d/f%d" % (n % 3, n)
            yield Step("%s | dd of=/mnt/%s conv=fsync" % (text, name),
                       {name: [None, Part(b"", data)]}, {name: data})
            files[name] = data
            continue
        name = rng.choice(sorted(files))
        old = files[name]
        if kind == "append":
            yield Step("%s | dd of=/mnt/%s oflag=append conv=notrunc,fsync" % (text, name),
                       {name: [Part(old, old + data)]}, {name: old + data})
            files[name] = old + data
        elif kind == "replace":
            yield Step("%s | dd of=/mnt/new conv=fsync; mv /mnt/new /mnt/%s; sync" % (text, name),
                       {name: [old, data], "new": [None, Part(b"", data)]},
                       {name: data, "new": None})
            files[name] = data
        else:
            yield Step("rm /mnt/%s; sync" % name, {name: [old, None]}, {name: None})
            del files[name]


WORK = """
mount -t ext4 /dev/vdb /mnt && mkdir /mnt/d0 /mnt/d1 /mnt/d2 /mnt/noise && sync
(n=0; while [ ! -e /tmp/stop ]; do n=$((n + 1)); head -c $((n % 7 * 9000 + 500)) /bin/busybox \
>/mnt/noise/n$((n % 9)); done) &
# The step's number, in a sector of its own.
mark() { printf '%-512s' "step $1" | dd of=/dev/vdc bs=512 seek=$1 conv=notrunc,fsync; }
mark 0
STEPS
touch /tmp/stop; wait; umount /mnt; echo done
"""


# ---- The record

ENTRY = struct.Struct("<IIQQQQ")  # src/block/record.h


def record(name, disk):
    """Its events: (ns, disk, kind, id, durable, off, data or errno)."""
    with open(name, "rb") as f:
        raw = f.read()
    assert raw[:16] == b"hako-record-v1\n\0", raw[:16]
    at, events = 16, []
    while at < len(raw):
        kind, durable, ident, ns, off, length = ENTRY.unpack_from(raw, at)
        at += ENTRY.size
        data = None
        if chr(kind) == "W":
            data = raw[at:at + length]
            assert len(data) == length, "the record is cut"
            at += length
        events.append((ns, disk, chr(kind), ident, bool(durable), off, data))
    return events


class Disk:
    """What is durable on it, and what else could be there, as the record goes on."""

    def __init__(self, image):
        with open(image, "rb") as f:
            self.durable = bytearray(f.read())
        self.version = {}  # of each block that is durable: the number of the write it is from
        self.pending = {}  # id: [number, off, data, over], in the order in which they began
        self.flushes = {}  # id: ids of the writes that it makes durable
        self.number = 0

    def make_durable(self, ident):
        number, off, data, _ = self.pending.pop(ident)
        for at in range(0, len(data), BLOCK):
            block = (off + at) // BLOCK
            if self.version.get(block, -1) < number:
                self.version[block] = number
                self.durable[off + at:off + at + BLOCK] = data[at:at + BLOCK]

    def apply(self, event):
        """True at the end of a flush."""
        _, _, kind, ident, durable, off, data = event
        if kind == "W":
            assert off % BLOCK == 0 and len(data) % BLOCK == 0, (off, len(data))
            self.number += 1
            self.pending[ident] = [self.number, off, data, False]
        elif kind == "F":
            self.flushes[ident] = [i for i, p in self.pending.items() if p[3]]
        elif kind == "E":
            assert off == 0, "a request failed on the host: errno %d" % off
            if ident in self.flushes:
                for i in self.flushes.pop(ident):
                    if i in self.pending:
                        self.make_durable(i)
                return True
            if ident in self.pending:
                self.pending[ident][3] = True
                if durable:
                    self.make_durable(ident)
        else:
            raise AssertionError("the guest should not have asked for a %r" % kind)
        return False

    def image(self, there):
        """With each block of what is not durable that there() says yes to."""
        image = bytearray(self.durable)
        for number, off, data, _ in self.pending.values():
            for at in range(0, len(data), BLOCK):
                if self.version.get((off + at) // BLOCK, -1) < number and there():
                    image[off + at:off + at + BLOCK] = data[at:at + BLOCK]
        return image


# ---- What is found

def files_of(image, out):
    """All files but the noise: name, contents."""
    os.mkdir(out)
    subprocess.run([tool("debugfs"), "-R", "rdump / " + out, image], check=True,
                   capture_output=True)
    found = {}
    for folder, _, names in os.walk(out):
        for name in names:
            path = os.path.relpath(os.path.join(folder, name), out)
            if not path.startswith("noise/"):
                with open(os.path.join(folder, name), "rb") as f:
                    found[path] = f.read()
    return found


def recovered(image, folder):
    """The files after a recovery, or a sentence about why there is none."""
    path = os.path.join(folder, "cut.img")
    with open(path, "wb") as f:
        f.write(image)
    for options, good in (("-p", (0, 1)), ("-fn", (0,))):
        check = subprocess.run([tool("e2fsck"), options, path], capture_output=True, text=True)
        if check.returncode not in good:
            return "e2fsck %s: %s" % (options, check.stdout + check.stderr)
    return files_of(path, os.path.join(folder, "out"))


def what_is_wrong(image, done, plan):
    """After `done` steps, with the next maybe under way; None if nothing is."""
    # Where e2fsck's own flushes cost nothing, if there is such a place.
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else "."
    with tempfile.TemporaryDirectory(prefix="hako-crash-", dir=shm) as folder:
        found = recovered(image, folder)
    if isinstance(found, str):
        return found
    if done < 0:
        return None  # the folders are not there yet
    want = {}
    for step in plan[:done]:
        want.update(step.after)
    under_way = plan[done].before if done < len(plan) else {}
    for name in set(want) | set(under_way) | set(found):
        data = found.get(name)
        allowed = under_way.get(name, []) + [want.get(name)]
        if done < len(plan) and name in plan[done].after:
            allowed.append(plan[done].after[name])
        if not any(a == data for a in allowed):
            return "%s has %s, after step %d" % (
                name, "nothing" if data is None else "%d bytes, %r..." % (len(data), data[:20]),
                done)
    return None


# ---- The test

def argument(name, default):
    return int(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else default


def record_work(plan, more):
    """Have a guest do it: the events of both disks, in the order of time."""
    for name in ("data.rec", "marks.rec"):
        if os.path.exists(name):
            os.unlink(name)
    data, marks = blank_disk("data.img", SIZE), blank_disk("marks.img", MIB)
    subprocess.run([tool("mke2fs"), "-q", "-F", "-t", "ext4", "-b", str(BLOCK), "-E",
                    "lazy_itable_init=0,lazy_journal_init=0", data], check=True)
    shutil.copy(data, "first.img")
    root = root_disk()
    with Vm("--cpus", "2", disks=[root, data + more + ",record=data.rec",
                                  marks + ",record=marks.rec"]) as vm:
        vm.login()
        script = WORK.replace("STEPS", "\n".join("%s; mark %d" % (step.shell, n)
                                                 for n, step in enumerate(plan, 1)))
        vm.sh("cat >/tmp/work <<'END'\n%sEND" % script)
        _, output = vm.run("sh -e /tmp/work 2>/tmp/said; tail -n 4 /tmp/said", patience=300)
        assert output.startswith("done"), output
        assert vm.poweroff() == 0
    assert_clean(data)
    return sorted(record("data.rec", "data") + record("marks.rec", "marks"))


def last_mark(data):
    """The number of the newest step in what is written to the disk with the numbers."""
    numbers = [int(line.split()[1]) for line in
               (data[at:at + 512] for at in range(0, len(data), 512)) if line.startswith(b"step")]
    return max(numbers, default=-1)


def cut(events, plan, rng, moments, flushes):
    """Cut at some random moments and some flushes. A moment is the beginning of a write: what is
    under way changes nowhere else but where something becomes durable."""
    n_flushes = sum(e[1] == "data" and e[2] == "F" for e in events)
    writes = [n for n, e in enumerate(events) if e[1] == "data" and e[2] == "W"]
    at_flush = set(rng.sample(range(n_flushes), min(flushes, n_flushes)))
    at_event = set(rng.sample(writes, min(moments, len(writes))))
    disk, done, flushed, images, under_way = Disk("first.img"), -1, 0, 0, 0
    for n, event in enumerate(events):
        if event[1] == "marks":
            if event[2] == "W":
                done = max(done, last_mark(event[6]))
            continue
        end = disk.apply(event)
        chosen = end and flushed in at_flush or n in at_event
        flushed += end
        if not chosen:
            continue
        under_way += len(disk.pending)
        for how, there in (("nothing", lambda: False), ("all", lambda: True),
                           ("half", lambda: rng.random() < 0.5)):
            wrong = what_is_wrong(disk.image(there), done, plan)
            assert not wrong, "event %d, %s of what was not durable: %s" % (n, how, wrong)
            images += 1
    print("# %d images of cuts; the record has %d events, %d flushes; %d writes were not durable"
          % (images, len(events), n_flushes, under_way))
    assert done == len(plan) and flushed == n_flushes and under_way, (done, flushed, under_way)


def work_and_cut(more, moments, flushes):
    seed = argument("--seed", random.randrange(1 << 32) if "--all" in sys.argv else 1)
    print("# --seed %d" % seed)
    rng = random.Random(seed)
    plan = list(steps(rng))
    events = record_work(plan, more)
    if "--all" in sys.argv:
        moments, flushes = 500, len(events)
    cut(events, plan, rng, moments, flushes)
    return events, plan, rng


def what_was_flushed_is_there():
    work_and_cut("", 8, 8)


def a_disk_that_lies_is_found_out():
    """That this test can fail: of all writes, also of those that were flushed, some are lost."""
    events, plan, rng = work_and_cut(",transport=legacy,queues=1,aio=threads", 2, 2)
    disk = Disk("first.img")
    for event in events:
        if event[1:3] == ("data", "W"):
            disk.apply(event)
    for _ in range(4):
        assert what_is_wrong(disk.image(lambda: rng.random() < 0.9), len(plan), plan)


main([what_was_flushed_is_there, a_disk_that_lies_is_found_out])
