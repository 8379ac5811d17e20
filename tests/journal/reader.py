#!/usr/bin/env python3
"""A reader of journals, written from docs/format.md alone: it shows that the page is enough. `reader.py DIRECTORY|SEGMENT` prints a line for each event,
in the order of (generation, ring, sequence), for each fact and ledger, and for what is lost. Licence: MIT OR Apache-2.0.
"""

import fcntl
import os
import re
import struct
import sys

try:
    from compression import zstd
except ImportError:
    zstd = None

MASK = 2**64 - 1
RECORD = struct.Struct("<3If4Q")


class Unread(Exception):
    """Why the records of a block are not given: it is damaged, or this reader cannot read it."""


# --- Checksums ---
TABLE = list(range(256))
for _ in range(8):
    TABLE = [n >> 1 ^ (0x82F63B78 if n & 1 else 0) for n in TABLE]


def crc(*parts):
    value = 0xFFFFFFFF
    for part in parts:
        for byte in part:
            value = value >> 8 ^ TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


# --- Columns and codecs ---
class Input:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if self.at + count > len(self.data):
            raise Unread("a body that ends too early")
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self, size):
        return int.from_bytes(self.take(size), "little")


def planes(body, n):
    mask, numbers = body.number(1), [0] * n
    for bit in range(8):
        if mask & 1 << bit:
            for i, byte in enumerate(body.take(n)):
                numbers[i] |= byte << 8 * bit
    return numbers


def column(body, n):
    mode = body.number(1)
    if mode == 0:
        base = body.number(8)
        return [base ^ d for d in planes(body, n)]
    if mode == 1:
        base, step = body.number(8), body.number(8)
        result = []
        for d in planes(body, n):
            base = base + step + (-(d + 1) // 2 if d & 1 else d // 2) & MASK
            result.append(base)
        return result
    if mode == 2:
        entries = column(body, body.number(1) + 1)
        return [entries[index] for index in body.take(n)]  # IndexError: damaged
    if mode == 3:
        low, high = column(body, n), column(body, n)
        return [(a % 2**32 + b * 2**32) & MASK for a, b in zip(low, high)]
    raise Unread(f"mode {mode} of a column")


def from_columns(data, raw_len):
    body = Input(data)
    count, shape_count = body.number(4), body.number(4)
    if count * 48 > raw_len or shape_count > count:
        raise Unread("too many records")
    kinds, flags, weights, lengths, layouts = (column(body, shape_count) for _ in range(5))
    shapes = column(body, count)
    fields = [column(body, count) for _ in range(4)]
    if any(shape >= shape_count for shape in shapes) or any(layout > 1 for layout in layouts):
        raise Unread("an unknown shape or layout")
    if sum(48 + (lengths[shape] + 7 & ~7) for shape in shapes) != raw_len:
        raise Unread("the records have another length")
    payloads = [b""] * count
    for number in (number for number in range(shape_count) if layouts[number] == 1):
        members = [i for i in range(count) if shapes[i] == number]
        words = [column(body, len(members)) for _ in range(0, lengths[number], 8)]
        for place, i in enumerate(members):
            payloads[i] = b"".join(word[place].to_bytes(8, "little") for word in words)[:lengths[number]]
    for i, shape in enumerate(shapes):
        if layouts[shape] == 0:
            payloads[i] = bytes(body.take(lengths[shape]))
    if body.at != len(data):
        raise Unread("bytes behind the columns")
    result = b""
    for i, shape in enumerate(shapes):
        head = (lengths[shape], flags[shape], kinds[shape], weights[shape])
        result += struct.pack("<4I4Q", *(n & 0xFFFFFFFF for n in head), *(field[i] for field in fields))
        result += payloads[i] + bytes(-len(payloads[i]) % 8)
    return result


def lz4_length(body, length):
    more = 255 if length == 15 else 0
    while more == 255:
        more = body.number(1)
        length += more
    return length


def from_lz4(data, most):
    body, result = Input(data), bytearray()
    while body.at < len(data):
        token = body.number(1)
        result += body.take(lz4_length(body, token >> 4))
        if body.at == len(data):
            break
        offset = body.number(2)
        count = lz4_length(body, token & 15) + 4
        if offset == 0 or offset > len(result) or len(result) + count > most:
            raise Unread("a wrong match")
        for _ in range(count):
            result.append(result[-offset])
    return bytes(result)


def records_of(block, body):
    if block.filter > 1 or block.codec > 2 or block.codec == 2 and zstd is None:
        raise Unread(f"filter {block.filter}, codec {block.codec}", True)
    if block.raw_len > 2**20 and block.count != 1 or block.raw_len > 2**30:
        raise Unread("too long", True)
    if block.codec == 1:
        body = from_lz4(body, block.raw_len + 256)
    elif block.codec == 2:
        try:
            body = zstd.decompress(body)
        except zstd.ZstdError as error:
            raise Unread(str(error)) from None
    if block.filter == 1:
        body = from_columns(body, block.raw_len)
    if len(body) != block.raw_len:
        raise Unread("another length")
    records, at, last = [], 0, None
    while at < len(body):
        length, flags, kind, weight, sequence, time, correlation, node = RECORD.unpack_from(body[at:at + 48] + bytes(48))
        end = at + 48 + (length + 7 & ~7)
        rises = sequence == block.first if last is None else sequence > last
        if end > len(body) or flags >> 31 or block.type == 1 and not rises:
            raise Unread("a wrong record")
        payload = body[at + 48:at + 48 + length]
        records.append((sequence, block.time(time, flags), time, kind, flags & ~(1 << 30), weight, correlation, node, payload))
        at, last = end, sequence
    if len(records) != block.count or block.type == 1 and records and last != block.last:
        raise Unread("not what the header says")
    return records


# --- Blocks and segments ---
class Block:
    HEADER = struct.Struct("<4s2H5Q2IH2BI4Qq4I8x")

    def __init__(self, data, at, segment):
        if at + 128 > len(data):
            raise ValueError
        (magic, self.type, self.flags, generation, offset, self.ring, self.first, self.last, self.count, _, record_header,
         self.filter, self.codec, size, stored_len, self.raw_len, _, _, self.wall, pieces, _, self.sum, header_sum
         ) = self.HEADER.unpack_from(data, at)
        self.body = slice(at + size, at + size + stored_len)
        self.next = self.body.stop + 63 & ~63
        right = magic == b"CPB1" and pieces <= 4096 and size == 128 + pieces * 32 + 63 & ~63 and record_header == 48
        if not right or generation != segment.generation or offset != at or self.body.stop > len(data):
            raise ValueError
        head = data[at:at + size]
        if crc(segment.salt, head[:116], bytes(4), head[120:]) != header_sum:
            raise ValueError
        self.pieces = [struct.unpack_from("<4Q", head, 128 + 32 * n) for n in range(pieces)]

    def time(self, t, flags):
        if not flags >> 30 & 1 or self.type != 1:
            return t
        if not self.pieces:
            raise Unread("a reading without a piece")
        start, _, ns, rate = ([piece for piece in self.pieces if piece[0] <= t] or self.pieces[:1])[-1]
        result = ns + (t - start) * rate // 2**48 if t >= start else ns - (start - t) * rate // 2**48
        return min(max(result, 0), MASK)


def runs(boot, pid, namespace, start):
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            here = bytes.fromhex(file.read().strip().replace("-", ""))
        with open(f"/proc/{pid}/stat", encoding="latin-1") as file:
            there = int(file.read().rsplit(")", 1)[1].split()[19])
    except OSError:
        return False
    return (boot, namespace, start) == (here, os.stat("/proc/self/ns/pid").st_ino, there)


class Segment:
    HEADER = struct.Struct("<8s4I2Q8s16s2I2Q")

    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = data = file.read()
            lock = fcntl.fcntl(file, 36, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))  # F_OFD_GETLK
        (magic, order, version, self.size, _, self.generation, _, self.salt, boot, pid, _, namespace, start
         ) = self.HEADER.unpack_from(data + bytes(128))
        if magic != bytes.fromhex("8943504A0D0A1A0A"):
            raise ValueError("no segment")
        if order == 0x04030201 or version != 1:
            raise ValueError(f"another byte order, or version {version}")
        right = order == 0x01020304 and 192 <= self.size <= min(4096, len(data)) and self.size % 64 == 0
        if not right or crc(data[:self.size - 4]) != int.from_bytes(data[self.size - 4:self.size], "little"):
            raise ValueError("a damaged header")
        self.lives = struct.unpack_from("h", lock)[0] != fcntl.F_UNLCK or runs(boot, pid, namespace, start)

    def blocks(self, lose):
        at, sealed = self.size, False
        while at < len(self.data):
            start = at
            while at < len(self.data):
                try:
                    block = Block(self.data, at, self)
                    break
                except ValueError:
                    at = at + 64 & ~63
            else:
                if sealed or not self.lives:
                    lose("damage" if sealed else "torn", len(self.data) - start)
                return
            if at > start:
                lose("damage", at - start)
            body = self.data[block.body]
            right, last = crc(self.salt, body) == block.sum, block.next >= len(self.data)
            at, sealed = block.next, block.type == 4 and right
            if right:
                yield block, body
            elif not (last and self.lives):
                lose("damaged-block", block.count if block.type == 1 else 0)


def take(generation, block, records, events, show):
    for sequence, time, stored, kind, flags, weight, correlation, node, payload in records:
        identity = (generation, block.ring, sequence)
        contents = (kind, flags, correlation, node, payload, stored if flags & 2 else None)
        if block.type == 2:
            show("fact", f"{generation:016x}", kind, node, correlation, payload.hex())
        elif identity not in events:
            wall = min(max(time + block.wall, 0), MASK)
            events[identity] = (contents, (time, wall, kind, flags, weight, correlation, node, payload.hex() or "-"))
        elif events[identity][0] != contents:
            show("contradiction", *identity)
        else:
            show("duplicate", *identity)


def read(path, show):
    paths = [path]
    if os.path.isdir(path):
        names = [name for name in os.listdir(path) if re.fullmatch(r"[0-9a-f]{16}-[0-9]{8,}\.journal", name)]
        paths = [os.path.join(path, name) for name in sorted(names, key=lambda name: (name[:16], int(name[17:-8])))]
    events, ledgers = {}, {}
    for path in paths:
        try:
            segment = Segment(path)
        except ValueError as error:
            show("refused", os.path.basename(path), error)
            continue
        for block, body in segment.blocks(show):
            if block.type == 3:
                ledger = struct.unpack(f"<{len(body) // 8}Q", body)
                ledgers[segment.generation] = max(ledgers.get(segment.generation, (0,)), ledger)
            elif block.type in (1, 2):
                try:
                    take(segment.generation, block, records_of(block, body), events, show)
                except (Unread, IndexError) as why:
                    show("unreadable" if why.args[1:] else "damaged-block", block.count if block.type == 1 else 0)
            elif block.flags & 1 and block.type != 4:
                show("refused", os.path.basename(path), f"a block of type {block.type}")
                break
    for generation, ledger in sorted(ledgers.items()):
        show("ledger", f"{generation:016x}", *ledger)
    for (generation, ring, sequence), (_, event) in sorted(events.items()):
        show("event", f"{generation:016x}", ring, sequence, *event)


read(sys.argv[1], print)
