# SPDX-License-Identifier: MIT
"""Write the seeds of the fuzz targets: seeds.py DIR makes DIR/fuzz_vq/*, and so on.

The formats are described at the top of fuzz_vq.c, fuzz_a64.c, fuzz_kernel.c and fuzz_symbols.c,
and in operate() of fuzz_mmio.c.
"""
import gzip
import json
import struct
import sys
from pathlib import Path

NEXT, WRITE, INDIRECT = 1, 2, 4
AVAIL, USED = 0x100, 0x140


def desc(addr, length, flags, nxt=0):
    return struct.pack('<QIHH', addr, length, flags, nxt)


def vq(descs, heads, steps, flags=3, start=0, log2=3, tables=None):
    """One input of fuzz_vq: heads made available, then steps."""
    mem = bytearray(0x800)
    for i, d in descs.items():
        mem[16 * i:16 * i + 16] = d
    struct.pack_into('<HH', mem, AVAIL, 0, (start + len(heads)) & 0xffff)
    for i, h in enumerate(heads):
        at = AVAIL + 4 + 2 * ((start + i) % (1 << log2))
        struct.pack_into('<H', mem, at, h)
    for addr, table in (tables or {}).items():
        mem[addr:addr + len(table)] = table
    return struct.pack('<BBHB', log2, flags, start, len(steps)) + bytes(steps) + bytes(mem)


POP, PUSH, PUBLISH, KICKS_OFF, KICKS_ON, MORE = 0, 2, 3, 4, 12, 8 + 5
WORK = [KICKS_OFF, POP, POP, POP, PUSH, PUSH, PUBLISH, KICKS_ON, POP, PUBLISH]

chain = {0: desc(0x400, 16, NEXT, 1), 1: desc(0x500, 256, NEXT | WRITE, 2), 2: desc(0x600, 1, WRITE)}
table = desc(0x400, 16, NEXT, 1) + desc(0x500, 64, WRITE)

VQ = {
    'direct': vq(chain, [0], WORK),
    'no-event': vq(chain, [0], WORK, flags=0),
    'wrap': vq(chain, [0], WORK, start=0xffff),
    'two': vq({0: desc(0x400, 8, 0), 1: desc(0x500, 8, WRITE)}, [1, 0], WORK + WORK),
    'indirect': vq({0: desc(0x700, 32, INDIRECT)}, [0], WORK, tables={0x700: table}),
    'mixed': vq({0: desc(0x400, 4, NEXT, 3), 3: desc(0x700, 32, INDIRECT)}, [0], WORK,
                tables={0x700: table}),
    'loop': vq({0: desc(0x400, 4, NEXT, 0)}, [0], WORK),
    'duplicate': vq(chain, [0, 0], WORK),
    'more': vq(chain, [0], [POP, PUSH, MORE, POP, PUBLISH, KICKS_ON, POP]),
    'single': vq({0: desc(0x400, 4, 0)}, [0], WORK, log2=0),
}



def packed(descs, steps, flags=7, log2=3):
    """The same for the packed ring: descs are addr, length, id, flags."""
    mem = b''.join(struct.pack('<QIHH', *d) for d in descs).ljust(0x800, b'\0')
    return struct.pack('<BBHB', log2, flags, 0, len(steps)) + bytes(steps) + mem


AVAIL_BIT = 0x80
VQ['packed'] = packed([(0x400, 16, 1, NEXT | AVAIL_BIT), (0x500, 64, 1, WRITE | AVAIL_BIT),
                       (0x600, 1, 9, WRITE | AVAIL_BIT)], WORK)
VQ['packed-in-order'] = packed([(0x400, 16, i, AVAIL_BIT) for i in range(4)], WORK + WORK, flags=15)
VQ['packed-indirect'] = packed([(0x10, 32, 1, INDIRECT | AVAIL_BIT), (0x400, 16, 0, 0),
                                (0x500, 16, 0, WRITE)], WORK)
VQ['packed-flags'] = packed([(0x400, 16, 1, WRITE | AVAIL_BIT)] * 2, [POP, PUSH, 5, 5, POP, PUBLISH],
                            flags=4, log2=1)

# All of them again, with somebody looking on and asking.
VQ.update({name + '-watched': seed[:1] + bytes([seed[1] | 16]) + seed[2:4] +
           bytes([seed[4] + 2]) + bytes([0x0f, 0x87]) + seed[5:]
           for name, seed in list(VQ.items())})

SETUP, REQUEST, REG_WRITE, REG_READ, ANY, POKE, RING, AHEAD, DESC, NOTIFY, SETTLE = \
    0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11
# bits 3..7: features 27..31; bits 0..2: RING_PACKED, IN_ORDER, RING_RESET; then features 0..15
# (SEG_MAX, BLK_SIZE, FLUSH); log2 of the queue size
ALL = struct.pack('<BHB', 0x30, 0x0244, 4)
PLAIN = struct.pack('<BHB', 0, 0, 4)
PACKED = struct.pack('<BHB', 0x35, 0x0244, 4)


def setup(features=ALL):
    return bytes([SETUP]) + features


def request(typ, sector, bufs, indirect=False, odd=0):
    shape = len(bufs) | (4 if indirect else 0) | 8 | odd
    return bytes([REQUEST, typ, sector, shape]) + b''.join(bytes(b) for b in bufs)


def reg(off, val):
    return bytes([REG_WRITE, off // 4]) + struct.pack('<I', val)


settle = bytes([SETTLE])
MMIO = {
    'read': setup() + request(0, 3, [(0, 8)]) + settle,
    'read-direct': setup(PLAIN) + request(0, 3, [(0, 8), (9, 1)]) + settle,
    'write-flush': setup() + request(1, 3, [(0, 8)], True) + request(4, 0, []) + settle,
    'write-through': setup(PLAIN) + request(1, 60, [(0, 4)]) + settle,
    'get-id': setup() + request(8, 0, [(0, 1)]) + settle,
    'beyond': setup() + request(0, 63, [(0, 2)]) + request(1, 1, [(0, 1)], odd=0x10) + settle,
    'odd-length': setup() + request(1, 1, [(0, 1)], odd=0x40) + request(9, 0, [], odd=0x20),
    'reset-in-flight': setup() + b''.join(request(0, i, [(i, 32)]) for i in range(4)) +
                       reg(0x70, 0) + setup() + request(0, 0, [(0, 1)]) + settle,
    'queue-off': setup() + request(0, 0, [(0, 64)]) + reg(0x30, 0) + reg(0x44, 0) + reg(0x44, 1),
    'ahead': setup() + bytes([AHEAD, 200, 0, NOTIFY, 0]) + settle + bytes([REG_READ, 0x70 // 4]),
    'descriptors': setup() + bytes([DESC, 0, 5, 0, 1, 0, 16, 0, 0, 0]) +
                   bytes([AHEAD, 1, 0, NOTIFY, 0]) + settle,
    'by-hand': reg(0x70, 1) + reg(0x70, 3) + reg(0x24, 1) + reg(0x20, 1) + reg(0x70, 11) +
               reg(0x30, 0) + reg(0x38, 8) + reg(0x80, 0x40000000) + reg(0x90, 0x40001000) +
               reg(0xa0, 0x40002000) + reg(0x44, 1) + reg(0x70, 15) + bytes([NOTIFY, 0]) + settle,
    'config': bytes([ANY, 0, 1, 0, ANY, 4, 1, 2, ANY, 0xff, 1, 0, ANY, 0, 0, 3]),
    'pokes': setup() + request(0, 0, [(0, 1)]) + bytes([RING, 0, 1, 3, 1, 2, 3, 4, POKE, 0, 0, 3]) +
             bytes([1, 2, 3, 4]) + settle,
}

MMIO['packed'] = setup(PACKED) + request(0, 3, [(0, 8)]) + request(1, 3, [(0, 8)], True) + settle
MMIO['ring-reset'] = MMIO['packed'] + reg(0x30, 0) + reg(0xc0, 1) + bytes([NOTIFY, 0]) + settle
LEGACY = 128  # a first operation that is SETUP, with bit 7: the legacy transport
MMIO['legacy'] = (bytes([LEGACY]) + ALL + request(0, 3, [(0, 8)]) + request(1, 3, [(0, 8)], True) +
                  settle + reg(0x40, 0) + reg(0x40, 0x40010) + bytes([NOTIFY, 0]) + settle)
MMIO['legacy-by-hand'] = (bytes([LEGACY]) + PLAIN + reg(0x70, 0) + reg(0x28, 4096) + reg(0x30, 0) +
                          reg(0x38, 8) + reg(0x3c, 64) + reg(0x40, 0x40000) + reg(0x20, 0x30000000) +
                          bytes([NOTIFY, 0]) + settle)
LOOK = 12
MMIO.update({name + '-watched': bytes([seed[0] | 64]) + seed[1:] + bytes([LOOK, 1, LOOK, 0])
             for name, seed in list(MMIO.items())})


def words(*w):
    """Register seed, then instructions."""
    return bytes(range(8)) + b''.join(x.to_bytes(4, 'little') for x in w)


A64 = {
    'integer': words(0x8b020020, 0xcb020020, 0x9ac20820, 0x9b020c20, 0xd3410420, 0xf2400420,
                     0xdac01020, 0x5ac04020, 0xba0213e1, 0xba000422),
    'branches': words(0x54000040, 0xb4000041, 0x36000042, 0xd61f0020, 0xd63f0020, 0xd65f03c0,
                      0x14000000, 0x97ffffff, 0xd69f03e0, 0xd4000001, 0xd4200000),
    'memory': words(0xf9400020, 0xf9000020, 0xa9400420, 0xa9bf0420, 0x38606820, 0x78617c20,
                    0xf8400c20, 0xf8408421, 0xb8404820, 0xf8000420),
    'atomics': words(0xc85f7c20, 0xc8037c20, 0xc87f0420, 0xc8230c20, 0xf8220020, 0xc8a27c20,
                     0x48207c22, 0x88dffc20, 0x889ffc20, 0xd5033f5f),
    'simd': words(0x4ee28420, 0x4c402020, 0x4c9f2020, 0x0d602020, 0x3dc00020, 0xad400420,
                  0x1e622820, 0x1f420c20, 0x4e284820, 0x5e280820, 0x6e22dc20),
    'system': words(0xd5381000, 0xd5181000, 0xd5182000, 0xd5182020, 0xd5182040, 0xd518c000,
                    0xd50b7420, 0xd508871f, 0xd508831f, 0xd5033fdf, 0xd503207f, 0xd503205f,
                    0xd50343df, 0xd50342ff, 0xd5184000, 0xd5184020, 0xd51b4200, 0xd5087800),
    'debug': words(0xd5100240, 0xd5100084, 0xd51000a4, 0xd51000c4, 0xd51000e4, 0xd5101080),
}

# The first byte: 1 as it is, 0 a packet per line.
GDB = {
    'hello': b'\0qSupported:swbreak+\nQStartNoAckMode\nqXfer:features:read:target.xml:0,7fb\n?\n'
             b'qfThreadInfo\nqsThreadInfo\nqThreadExtraInfo,1\nqAttached\nqC\nHg1\nHc-1\ng',
    'registers': b'\0g\np0\np2\np3\nP1=01020304\nG0102030405060708xxxxxxxx\nHg2\ng\np9',
    'memory': b'\0m10000,40\nm11ff0,100\nM10010,4:01020304\nX10020,3:a}]b\nm0,8\nm10000,ffffffff',
    'points': b'\0Z0,1000,4\nZ2,10000,8\nZ4,0,1\nz0,1000,4\nZ3,ffffffffffffffff,2\nZ9,1,1',
    'running': b'\0vCont?\nvCont;s:1;c\ng\nvCont;c\nc\ns\nvCont;C05:2;s:-1\nT3\nqRcmd,68656c70',
    'end': b'\0vCont;c\nD\nk\nvKill;1',
    'raw': b'\1+$g#67+$m10000,4#27\3-$vCont;c#a8\3$#00$x#zz$k#6b',
}


def config(**keys):
    """A configuration file; a drive for each of drives."""
    return json.dumps({k.replace('_', '-'): v for k, v in keys.items()}, indent=1).encode()


def drive(**keys):
    return config(drives=[{'path_on_host': 'a'}, {'path_on_host': 'b', **keys}])


CONFIG = {
    'boot-source': config(boot_source={'kernel_image_path': 'k', 'initrd_path': 'i',
                                       'boot_args': 'quiet'}),
    'toyvmm': config(boot_source={'kernel_path': 'k'}, machine_config={'track_dirty_page': True},
                     features=[{'feature': 'acpi', 'enable': False}]),
    'machine': config(machine_config={'vcpu_count': 2, 'mem_size_mib': 128, 'smt': True,
                                      'cpu_template': 'None', 'huge_pages': '2M',
                                      'track_dirty_pages': True, 'ht_enabled': False}),
    'drive': drive(drive_id='x', is_root_device=True, is_read_only=False, partuuid='01-23',
                   cache_type='Unsafe', io_engine='Async'),
    'limits': drive(rate_limiter={
        'bandwidth': {'size': 1 << 62, 'refill_time': 3, 'one_time_burst': 1},
        'ops': {'size': 5, 'refill_time': 100}}),
    'socket': drive(socket='s'),
    'drive-hako': drive(hako={'cache': 'none', 'aio': 'threads', 'serial': 's', 'iops': 5,
                              'bps': '5M', 'burst': 1, 'format': 'raw'}),
    'hako': config(hako={'engine': 'soft', 'number': 7, 'size': '5M', 'entry': '0x400000',
                         'lint': 'off', 'verbose': True, 'quiet': False}),
    'hako-wrong': config(hako={'lint': True, 'kernel': 'k'}),
    'others': config(balloon={}, entropy={}, logger={}, metrics={}, network_interfaces=[],
                     vsock=None, pmem=[], serial=None),
    'network': config(network_interfaces=[{'iface_id': 'eth0'}]),
    'unknown': config(drvies=[]),
    'escape': b'{"a\\u001b\\ud83d\\ude00": "\xc3\xa4"}',
    'deep': b'[' * 3000,
    'nothing': b'',
}


def image(magic, text_offset=0x200000):
    """The head of an arm64 or RISC-V Image."""
    return struct.pack('<IIQQQQQQ4sI', 0, 0, text_offset, 8192, 2, 0, 0, 0, magic, 0).ljust(512, b'.')


def bzimage(sects=1, version=0x20f, init_size=0x100000):
    head = bytearray(512 * (sects + 1))
    head[0x1f1] = sects
    struct.pack_into('<I', head, 0x1f4, 1024 // 16)
    struct.pack_into('<HBB4sH', head, 0x1fe, 0xaa55, 0xeb, 0x6a, b'HdrS', version)
    struct.pack_into('<I', head, 0x22c, 0x7fffffff)
    struct.pack_into('<IBBHI', head, 0x230, 0x200000, 1, 21, 1, 2047)
    struct.pack_into('<QI', head, 0x258, 0x1000000, init_size)
    return bytes(head) + b'.' * 1024


def elf(wide, machine, at, notes=b''):
    """One segment to load, and one of notes."""
    head, form = (64, '<IIQQQQQQ') if wide else (52, '<IIIIIIII')
    table, off = b'', head + 2 * struct.calcsize(form)
    for kind, addr, data in ((1, at, b'.' * 256), (4, 0, notes)):
        place = (off, addr, addr, len(data), len(data))
        table += (struct.pack(form, kind, 5, *place, 4) if wide else
                  struct.pack(form, kind, *place, 5, 4))
        off += len(data)
    first = struct.pack('<4sBBB9xHHI', b'\x7fELF', 1 + wide, 1, 1, 2, machine, 1)
    first += struct.pack('<QQQ' if wide else '<III', at, head, 0)
    first += struct.pack('<IHHHHHH', 0, head, struct.calcsize(form), 2, 0, 0, 0)
    return first + table + b'.' * 256 + notes


def kernel(data, wanted=15, ram=0x80 + 40):
    return bytes([wanted, ram]) + data


PVH = struct.pack('<III4sQ', 4, 8, 18, b'Xen\0', 0x100010)
ARM64, RISCV = b'ARM\x64', b'RSC\x05'
EM_386, EM_X86_64, EM_RISCV = 3, 62, 243
zboot = b'MZ\0\0zimg' + struct.pack('<IIQ8s', 64, 0, 0, b'gzip').ljust(56, b'\0')
KERNEL = {
    'arm64': kernel(image(ARM64)),
    'arm64-gzip': kernel(gzip.compress(image(ARM64), mtime=0)),
    'arm64-zboot': kernel(zboot + gzip.compress(image(ARM64), mtime=0)),
    'riscv': kernel(image(RISCV)),
    'bzimage': kernel(bzimage()),
    'bzimage-old': kernel(bzimage(version=0x20b)),
    'bzimage-large': kernel(bzimage(init_size=1 << 29)),
    'elf-rv64': kernel(elf(1, EM_RISCV, 0x80200000)),
    'elf-rv32': kernel(elf(0, EM_RISCV, 0x80400000)),
    'elf-x86': kernel(elf(1, EM_X86_64, 0x100000)),
    'elf-pvh': kernel(elf(1, EM_X86_64, 0x100000, PVH)),
    'elf-pvh32': kernel(elf(0, EM_386, 0x100000, PVH)),
    'elf-low': kernel(elf(1, EM_X86_64, 0x1000)),
}


def with_symbols(wide, symbols, link=2, strings=None):
    """An ELF file with one segment, loaded elsewhere than it is mapped, and (name, addr, size, type)."""
    head, ph, sh = (64, '<IIQQQQQQ', '<IIQQQQIIQQ') if wide else (52, '<IIIIIIII', '<IIIIIIIIII')
    names, table = b'\0', b''
    for name, addr, length, kind in [('', 0, 0, 0)] + symbols:
        at, section = (len(names), 1) if name else (0, 0)
        names += name.encode('latin-1') + b'\0' if name else b''
        table += (struct.pack('<IBBHQQ', at, kind, 0, section, addr, length) if wide else
                  struct.pack('<IIIBBH', at, addr, length, kind, 0, section))
    names = names if strings is None else strings
    base, phys = (0xffffffff80000000, 0x80200000) if wide else (0xc0000000, 0x80400000)
    segment = (struct.pack(ph, 1, 5, 0, base, phys, 4096, 4096, 4096) if wide else
               struct.pack(ph, 1, 0, base, phys, 4096, 4096, 5, 4096))
    off = head + len(segment)
    sections = b''
    for kind, at, length, to in ((0, 0, 0, 0), (2, off, len(table), link),
                                 (3, off + len(table), len(names), 0)):
        sections += struct.pack(sh, 0, kind, 0, 0, at, length, to, 0, 8, 24 if wide else 16)
    first = struct.pack('<4sBBB9xHHI', b'\x7fELF', 1 + wide, 1, 1, 2, EM_RISCV, 1)
    first += struct.pack('<QQQ' if wide else '<III', base, head, off + len(table) + len(names))
    first += struct.pack('<IHHHHHH', 0, head, len(segment), 1, len(sections) // 3, 3, 2)
    return struct.pack('<Q', base + 0x104) + first + segment + table + names + sections


HIGH = [('start', 0xffffffff80000000, 0, 0), ('$x', 0xffffffff80000000, 0, 0),
        ('main', 0xffffffff80000100, 32, 18), ('main.cold', 0xffffffff80000100, 0, 2),
        ('counts', 0xffffffff80000800, 8, 17), ('strange\x1b[31m', 0xffffffff80000900, 8, 2)]
LOW = [(name, addr & 0xffffffff ^ 0x40000000, length, kind) for name, addr, length, kind in HIGH]
SYMBOLS = {
    'wide': with_symbols(1, HIGH),
    'narrow': with_symbols(0, LOW),
    'none': with_symbols(1, []),
    'no-strings': with_symbols(1, HIGH, link=9),
    'one-string': with_symbols(1, HIGH, strings=b'\0ab'),
    'cut': with_symbols(1, HIGH)[:-80],
}


# fuzz_vhost_user: operations; features 28, 29 (and 34, packed) by choice
SET_UP, SET_UP_PACKED = bytes([1, 0x30, 0, 1]), bytes([1, 0x30, 4, 1])
READS = b''.join(bytes([5, i, 2, kind, i]) for i, kind in enumerate((0, 1, 4, 8, 0, 11, 13, 0)))
STOP = bytes([2, 11, 0x40, 8]) + bytes(10)
# packed rings' choice is bits 0 to 14 of two bytes, for features 24 to 38: 26 is the log
SET_UP_LOG = bytes([1, 0x34, 0, 1])


def word(high, low):
    return bytes([160]) + high.to_bytes(2, 'little') + bytes([low])


def good(request, *words, kind=0):
    """A message in the shape that it has, with a descriptor of that kind"""
    return bytes([2, request, 0x80 | kind << 3, 0]) + b''.join(words) + bytes(10 - len(words))


# guest address behind the other memory, size, user address behind it, offset
REGION = (b'\0', b'\xe0' + (0x50000000).to_bytes(8, 'little'), b'\xc0\x08', b'\x40\x00\x80',
          b'\xc0\x01')
VHOST_USER = {
    'split': SET_UP + READS + STOP,
    'packed': SET_UP_PACKED + READS + STOP,
    'again': SET_UP + READS + bytes([8, 16, 0, 1, 1, 1]) + bytes([0]) + SET_UP + READS,
    'again-packed': SET_UP_PACKED + READS + bytes([8, 32, 0, 1, 1, 1]) + bytes([0]) + SET_UP_PACKED,
    'messages': b''.join(bytes([2, i, 0x41, 8]) + bytes([1] * 10) for i in range(44)),
    'no-message': SET_UP + bytes([10]) + bytes(range(33)),
    'config': SET_UP + good(21, kind=5) + good(24, word(1, 32)) + good(25, word(1, 32))
    + bytes([9, 64]) + good(34),
    'memory': SET_UP + good(37, *REGION) + good(38, *REGION) + READS,
    'log': SET_UP_LOG + good(6, b'\xe0' + (33000).to_bytes(8, 'little')) + READS,
    'polled': SET_UP + good(12, b'\x3c') + READS + STOP,
    **{'good-%d' % i: SET_UP + good(i, b'\1') + READS for i in range(1, 44)},
    'inflight': SET_UP + good(31, word(0, 0), b'\0', b'\xe0' + bytes([1, 0, 8, 0]) + bytes(4)),
}


def main():
    for target, seeds in (('fuzz_vq', VQ), ('fuzz_mmio', MMIO), ('fuzz_vhost_user', VHOST_USER), ('fuzz_a64', A64),
                          ('fuzz_config', CONFIG), ('fuzz_kernel', KERNEL),
                          ('fuzz_symbols', SYMBOLS), ('fuzz_gdb', GDB)):
        out = Path(sys.argv[1]) / target
        out.mkdir(parents=True, exist_ok=True)
        for name, data in seeds.items():
            (out / name).write_bytes(data)


main()
