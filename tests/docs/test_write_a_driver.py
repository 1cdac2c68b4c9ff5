#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""docs/write-a-driver.md is true: its driver works, and of each mistake hako says what it shows.

usage: test_write_a_driver.py HAKO PAGE [--update]      prints TAP

The page's ```c blocks are the driver. A ```diff block changes it: lines with - must be there, in one
piece with those that begin with a space, and become those with +. The ```console block behind it is
one command and what is seen: what the guest printed, then what hako said, long lines continued with
an indentation. "..." stands for lines that are left out, as the first one for all that the guest
printed. Addresses, times and register values depend
on compiler and machine: they are compared by their kind. --update writes what is seen into the page.
"""
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap

HAKO, PAGE = os.path.abspath(sys.argv[1]), sys.argv[2]
WIDTH = 100
BLOCK = re.compile(r"```(c|diff|console)\n(.*?)```\n", re.S)
INDENT = "      "
# What is left out when the page is written: registers, all but the last accesses
DULL = re.compile(r"hako: guest:\s+\S+ [0-9a-f]{16}(\s|$)")


def command_of(block):
    """(Commands, what is seen) of a console block."""
    commands, seen = [], []
    for line in block.splitlines():
        if line.startswith("$ "):
            commands.append(line[2:])
        elif commands and not seen and commands[-1].endswith("\\"):
            commands[-1] = commands[-1][:-1] + line.strip()
        elif line.startswith(INDENT) and seen:
            seen[-1] += " " + line.strip()
        else:
            seen.append(line)
    return commands, seen


def wrapped(line):
    return "\n".join(textwrap.wrap(line, WIDTH, subsequent_indent=INDENT, break_on_hyphens=False,
                                   break_long_words=False)) or line


def kind(line):
    """The line without what differs from one compiler, or run, to another."""
    line = re.sub(r"\s+", " ", line).strip()
    line = re.sub(r"0x[0-9a-f]{6,}", "ADDRESS", line)
    line = re.sub(r"\b\d+\.\d{6}\b", "TIME", line)
    # Whether the device saw the first request, before it had to be told, is a matter of luck.
    line = re.sub(r"idx is \d+, taken are those up to \d+", "idx is SO, taken up to SO", line)
    line = re.sub(r"\b(main|transfer)\+0x[0-9a-f]+", r"\1+OFFSET", line)
    return re.sub(r"(\w+)\+0x[0-9a-f]+$", r"\1+OFFSET", line)


def mistake(source, diff):
    old = "".join(line[1:] for line in diff.splitlines(True) if line[0] in " -")
    new = "".join(line[1:] for line in diff.splitlines(True) if line[0] in " +")
    if source.count(old) != 1:
        raise ValueError("the driver has %d places such as:\n%s" % (source.count(old), old))
    return source.replace(old, new)


def build(source, how, tmp):
    with open(tmp + "/driver.c", "w", encoding="utf-8") as f:
        f.write(source)
    subprocess.run(shlex.split(how), cwd=tmp, check=True)
    with open(tmp + "/disk.img", "wb") as f:
        f.write(b"It was a dark and stormy night.\n")
        f.truncate(65536)


def run(command, tmp):
    """(What the guest printed, what hako said), by lines."""
    words = shlex.split(command)
    assert words[:2] == ["hako", "run"], command
    limit = [] if "--timeout" in words else ["--timeout", "20"]
    r = subprocess.run([HAKO, *words[1:], *limit], cwd=tmp, stdin=subprocess.DEVNULL,
                       capture_output=True, timeout=60)
    return ([line.rstrip() for line in r.stdout.decode().replace("\0", "").splitlines()],
            [line.rstrip() for line in r.stderr.decode().splitlines()])


def left_out(said):
    """The same without what is dull: a line "..." for each run of that."""
    out = []
    for line in said:
        if not DULL.match(line):
            out.append(line)
        elif not out or out[-1] != "...":
            out.append("...")
    return out


def matches(shown, real):
    """Are the lines those that were shown, where "..." is any number of them?"""
    if not shown:
        return not real
    if shown[0] == "...":
        return any(matches(shown[1:], real[i:]) for i in range(len(real) + 1))
    return bool(real) and kind(shown[0]) == kind(real[0]) and matches(shown[1:], real[1:])


def main():
    with open(PAGE, encoding="utf-8") as f:
        page = f.read()
    update, checks, details = "--update" in sys.argv, [], []
    if not shutil.which("clang") or not shutil.which("ld.lld"):
        print("1..0 # SKIP the driver is built with clang and lld: install them")
        return 0
    blocks = BLOCK.findall(page)
    driver = "".join(text for what, text in blocks if what == "c")
    how = command_of(next(text for what, text in blocks if what == "console"))[0][0]
    assert how.startswith("clang "), how
    title, source, pieces, at = "the driver", driver, [], 0
    with tempfile.TemporaryDirectory(prefix="hako-docs-") as tmp:
        for block in BLOCK.finditer(page):
            what, text = block.groups()
            if what == "diff":
                title = re.findall(r"^### (.*)$", page[:block.start()], re.M)[-1]
                source = mistake(driver, text)
            if what != "console":
                continue
            commands, shown = command_of(text)
            build(source, how, tmp)
            printed, said = run(commands[-1], tmp)
            good = matches([line for line in shown if not line.startswith("hako:")][:1] != ["..."]
                           and [line for line in shown if not line.startswith(("hako:", "..."))]
                           or ["..."], printed)
            good = good and matches([line for line in shown if line.startswith(("hako:", "..."))],
                                    said)
            if update and not good:
                lines = text[:text.rindex(commands[-1][-20:]) + 20].rstrip("\n").splitlines()
                seen = [wrapped(line) for line in printed + left_out(said)]
                pieces.append(page[at:block.start(2)] + "\n".join(lines + seen) + "\n")
                at = block.end(2)
            checks.append((title, good))
            if not good:
                details += ["# of: " + title] + ["# seen: " + x for x in printed + said]
    if update:
        with open(PAGE, "w", encoding="utf-8") as f:
            f.write("".join(pieces) + page[at:])
    checks.append(("mistakes are shown", len(checks) > 15))
    for i, (name, good) in enumerate(checks, 1):
        print("%sok %d - %s" % ("" if good else "not ", i, name))
    print("1..%d" % len(checks))
    print("\n".join(details))
    return 0 if all(good for _, good in checks) else 1


sys.exit(main())
