#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compile an instruction pattern table into a decoder in C.

usage: decodetree.py PREFIX TABLE... --header OUT.h --source OUT.c

A table has one line per instruction:

    NAME  BITS...  [@attribute ...]  [if CONDITION]

BITS, from bit 31 down, are runs of 0, 1 and x (don't care), and fields NAME:WIDTH; together 32 bits.
Two fields of the same name may not appear in one line. An attribute sets a flag in the instruction's
entry of PREFIX_info[]. CONDITION is a C expression over the line's fields; an encoding for which it is
false does not match. Where several lines match, the one with more fixed bits wins, and among equals
the earlier one. What no line matches is unallocated.

Generated: enum PREFIX_insn (PREFIX_NONE first), PREFIX_decode(word), PREFIX_info[] (name, attributes,
mask and value of the fixed bits), and for each field an accessor PREFIX_NAME_FIELD(word).
"""
import re
import sys


class Pattern:
    def __init__(self, name, where):
        self.name, self.where = name, where
        self.mask = self.value = 0
        self.fields = {}
        self.attributes = []
        self.condition = None

    def fixed(self):
        return bin(self.mask).count("1")


def fail(where, text):
    sys.exit(f"{where}: {text}")


def parse(path):
    for number, line in enumerate(open(path, encoding="utf-8"), 1):
        line = line.split("#", 1)[0].strip()
        if not line:
            continue
        where = f"{path}:{number}"
        text, _, condition = line.partition(" if ")
        name, *words = text.split()
        p = Pattern(name, where)
        p.condition = condition.strip() or None
        at = 32
        for word in words:
            if word.startswith("@"):
                p.attributes.append(word[1:])
            elif re.fullmatch(r"[01x]+", word):
                for c in word:
                    at -= 1
                    if at < 0:
                        fail(where, "more than 32 bits")
                    if c != "x":
                        p.mask |= 1 << at
                        p.value |= int(c) << at
            elif m := re.fullmatch(r"([A-Za-z]\w*):(\d+)", word):
                at -= int(m[2])
                if m[1] in p.fields:
                    fail(where, f"field {m[1]} appears twice")
                p.fields[m[1]] = (at, int(m[2]))
            else:
                fail(where, f"cannot read {word!r}")
        if at != 0:
            fail(where, f"{32 - at} bits, must be 32")
        yield p


def tree(prefix, patterns, done, out, depth):
    """Decide on the bits that every remaining pattern fixes; test what is left one by one."""
    pad = "\t" * depth
    common = ~done & 0xFFFFFFFF
    for p in patterns:
        common &= p.mask
    if common and len(patterns) > 1:
        groups = {}
        for p in patterns:
            groups.setdefault(p.value & common, []).append(p)
        out.append(f"{pad}switch (w & 0x{common:08x}u) {{")
        for value in sorted(groups):
            out.append(f"{pad}case 0x{value:08x}u:")
            tree(prefix, groups[value], done | common, out, depth + 1)
        out.append(f"{pad}}}")
        out.append(f"{pad}return {prefix}_NONE;")
        return
    # No bit is fixed in all of them: split on the bit that most of them fix, if that separates any.
    if len(patterns) > 4:
        best = max(range(32), key=lambda b: 0 if done >> b & 1 else
                   min(sum(1 for p in patterns if p.mask >> b & 1 and not p.value >> b & 1),
                       sum(1 for p in patterns if p.mask >> b & 1 and p.value >> b & 1)))
        bit = 1 << best
        if not done & bit:
            one = [p for p in patterns if not p.mask & bit or p.value & bit]
            zero = [p for p in patterns if not p.mask & bit or not p.value & bit]
            if len(one) < len(patterns) and len(zero) < len(patterns):
                out.append(f"{pad}if (w & 0x{bit:08x}u) {{")
                tree(prefix, one, done | bit, out, depth + 1)
                out.append(f"{pad}}}")
                tree(prefix, zero, done | bit, out, depth)
                return
    for p in patterns:
        rest = p.mask & ~done
        tests = []
        if rest:
            tests.append(f"(w & 0x{rest:08x}u) == 0x{p.value & rest:08x}u")
        if p.condition:
            tests.append(f"({translate(prefix, p)})")
        if tests:
            out.append(f"{pad}if ({' && '.join(tests)})")
            out.append(f"{pad}\treturn {prefix}_{p.name};")
        else:
            out.append(f"{pad}return {prefix}_{p.name};")
            return
    out.append(f"{pad}return {prefix}_NONE;")


def translate(prefix, p):
    def field(m):
        if m[0] not in p.fields:
            fail(p.where, f"{m[0]!r} in the condition is not a field of this line")
        return f"{prefix}_{p.name}_{m[0]}(w)"
    return re.sub(r"(?<![\w])[A-Za-z]\w*", field, p.condition)


def main():
    args = sys.argv[1:]
    header = args.pop(args.index("--header") + 1)
    source = args.pop(args.index("--source") + 1)
    prefix, *tables = [a for a in args if not a.startswith("--")]
    patterns = [p for t in tables for p in parse(t)]
    seen = {}
    for p in patterns:
        if p.name in seen:
            fail(p.where, f"{p.name} is already at {seen[p.name]}")
        seen[p.name] = p.where
    attributes = sorted({a for p in patterns for a in p.attributes})

    guard = f"HAKO_{prefix.upper()}_DECODE_H"
    h = [f"/* Generated by scripts/decodetree.py. */", f"#ifndef {guard}", f"#define {guard}", "",
         "#include <stdint.h>", "", f"enum {prefix}_insn {{", f"\t{prefix}_NONE,"]
    h += [f"\t{prefix}_{p.name}," for p in patterns]
    h += [f"\t{prefix}_N_INSNS", "};", ""]
    h += ["enum {"] + [f"\t{prefix}_ATTR_{a} = {1 << i}," for i, a in enumerate(attributes)]
    h += [f"\t{prefix}_ATTR_none = 0", "};", ""]
    h += [f"struct {prefix}_info {{", "\tconst char *name;", "\tuint32_t mask, value, attributes;", "};",
          f"extern const struct {prefix}_info {prefix}_info[{prefix}_N_INSNS];", "",
          f"enum {prefix}_insn {prefix}_decode(uint32_t w);", "",
          "/* X(name, attributes), in the order of the enum. */", f"#define {prefix}_INSNS(X) \\"]
    for p in patterns:
        a = " | ".join(f"{prefix}_ATTR_{a}" for a in p.attributes) or "0"
        h.append(f"\tX({p.name}, {a}) \\")
    h += ["", ""]
    for p in patterns:
        for f, (at, width) in p.fields.items():
            h.append(f"static inline uint32_t {prefix}_{p.name}_{f}(uint32_t w)")
            h += ["{", f"\treturn (w >> {at}) & 0x{(1 << width) - 1:x}u;", "}"]
    h += ["", "#endif", ""]

    c = ["/* Generated by scripts/decodetree.py. */", f'#include "{header.rsplit("/", 1)[-1]}"', "",
         f"const struct {prefix}_info {prefix}_info[{prefix}_N_INSNS] = {{",
         f'\t[{prefix}_NONE] = {{ "unallocated", 0, 0, 0 }},']
    for p in patterns:
        a = " | ".join(f"{prefix}_ATTR_{a}" for a in p.attributes) or "0"
        c.append(f'\t[{prefix}_{p.name}] = {{ "{p.name}", 0x{p.mask:08x}u, 0x{p.value:08x}u, {a} }},')
    c += ["};", "", f"enum {prefix}_insn {prefix}_decode(uint32_t w)", "{"]
    order = sorted(patterns, key=lambda p: -p.fixed())
    tree(prefix, order, 0, c, 1)
    c += ["}", ""]
    open(header, "w", encoding="utf-8").write("\n".join(h))
    open(source, "w", encoding="utf-8").write("\n".join(c))


main()
