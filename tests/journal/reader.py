#!/usr/bin/env python3
"""Prints what is in a journal: a directory, or one segment. Written from docs/format.md, with the standard library alone.

One line each: `event`, `fact`, `ledger`, and what is lost: `refused` (a segment), `damage` (a stretch without a
valid block), `torn` (the same at the end), `damaged-block`, `unreadable` (a block), `duplicate`, `contradiction` (an event).
"""

import fcntl
import os
import re
import struct
import sys
from collections import Counter, namedtuple

try:
    from compression import zstd  # From Python 3.14 on.
except ImportError:
    zstd = None

DAMAGE = (IndexError, ValueError, struct.error) + ((zstd.ZstdError,) if zstd else ())
U64, OWN_TIME, TRANSFORMED, TICKS, CRITICAL = 2**64 - 1, 2, 1 << 9, 1 << 30, 1
EVENTS, FACTS, LEDGER, SEAL, FILLER = range(1, 6)
SEGMENT_NAME = re.compile(r"[0-9a-f]{16}-([0-9]{8}|[1-9][0-9]{8,})\.journal").fullmatch
Segment = namedtuple("Segment", "data size generation number salt lives")
SEGMENT = struct.Struct("<8sIIIIQQQ16sIIQQQQ24x")
Block = namedtuple("Block", "magic type flags generation offset ring first last count union record_header filter codec "
                   "size stored length earliest latest difference pieces reserved body_crc crc")
BLOCK = struct.Struct("<4sHHQQQQQIIHBBIQQQQqIIII8x")
Record = namedtuple("Record", "length flags kind weight sequence timestamp correlation node payload")
RECORD = struct.Struct("<IIIfQQQQ")
CRC_TABLE = list(range(256))
for _ in range(8):
    CRC_TABLE = [entry >> 1 ^ (0x82F63B78 if entry & 1 else 0) for entry in CRC_TABLE]


class Lost(Exception):
    """Something that is not read. Its text is a line."""


def require(condition, text):
    if not condition:
        raise ValueError(text)


def crc32c(*parts):
    crc = 0xFFFFFFFF
    for byte in b"".join(parts):
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def up(number, multiple):
    return -(-number // multiple) * multiple


def first_byte_is_locked(descriptor):
    lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 0, 1, 0)
    return struct.unpack_from("h", fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, lock))[0] != fcntl.F_UNLCK


def is_running(boot, pid, namespace, start):
    try:
        with open("/proc/sys/kernel/random/boot_id") as boot_id, open(f"/proc/{pid}/stat") as stat:
            this_boot = bytes.fromhex(boot_id.read().strip().replace("-", ""))
            its_start = int(stat.read().rpartition(")")[2].split()[22 - 3])  # Fields 1 and 2 end with the ")".
        return (boot, namespace, start) == (this_boot, os.stat("/proc/self/ns/pid").st_ino, its_start)
    except (OSError, ValueError):
        return False


def open_segment(path):
    if not os.path.isfile(path):
        raise Lost("refused no regular file")
    with open(path, "rb") as file:
        head, magic = file.read(4096), b"\x89CPJ\r\n\x1a\n"
        if len(head) < 192 and head[:8] == magic[:len(head)]:
            raise Lost(f"torn {len(head)}" if head and not first_byte_is_locked(file.fileno()) else "begun")
        if len(head) < 192 or head[:8] != magic:
            raise Lost("refused no segment")
        _, order, version, size, _, generation, number, _, boot, pid, name, namespace, start, _, _ = SEGMENT.unpack_from(head)
        if order != 0x01020304 or version != 1 or size % 64 or not max(192, 128 + name + 4) <= size <= len(head):
            raise Lost(f"refused byte order {order:#x}, version {version}, a header of {size} bytes")
        if crc32c(head[:size - 4]) != int.from_bytes(head[size - 4:size], "little"):
            raise Lost("refused the header's checksum")
        lives = first_byte_is_locked(file.fileno()) or is_running(boot, pid, namespace, start)
        # The rest is read after this question: what a writer that lives no more has written is then read whole.
        return Segment(head + file.read(), size, generation, number, head[40:48], lives)


def block_at(segment, at):
    """The header of the block there, or None if it is not valid."""
    data = segment.data
    if at + BLOCK.size > len(data) or not data.startswith(b"CPB1", at):
        return None
    block = Block._make(BLOCK.unpack_from(data, at))
    head = data[at:at + block.size]
    valid = (block.generation == segment.generation and block.offset == at and block.record_header == RECORD.size
             and block.pieces <= 4096 and block.size == up(BLOCK.size + 32 * block.pieces, 64)
             and at + block.size + block.stored <= len(data))
    return block if valid and crc32c(segment.salt, head[:116], bytes(4), head[120:]) == block.crc else None


def lz4(data, limit):
    """What a block in the LZ4 block format gives back."""
    out, at = bytearray(), 0
    while True:
        token, at = data[at], at + 1
        for length, least in (token >> 4, 0), (token & 15, 4):
            if least:
                distance, at = data[at] + 256 * data[at + 1], at + 2
            more = 255 if length == 15 else 0
            while more == 255:
                more, at = data[at], at + 1
                length += more
            length += least
            require(len(out) + length <= limit, "LZ4 gives back too much")
            if least:
                require(0 < distance <= len(out), "LZ4 copies from before the beginning")
                out += (bytes(out[-distance:]) * (length // distance + 1))[:length]
                continue
            require(at + length <= len(data), "LZ4 ends too early")
            out, at = out + data[at:at + length], at + length
            if at == len(data):
                return bytes(out)


class Columns:
    """What undoes the filter."""
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        self.at += count
        require(self.at <= len(self.data), "the columns end too early")
        return self.data[self.at - count:self.at]

    def number(self, size):
        return int.from_bytes(self.take(size), "little")

    def planes(self, count):
        mask, numbers = self.number(1), [0] * count
        for bit in range(8):
            if mask >> bit & 1:
                numbers = [number | byte << 8 * bit for number, byte in zip(numbers, self.take(count))]
        return numbers

    def column(self, count, modes=range(4)):
        mode = self.number(1)
        require(mode in modes, f"a column of mode {mode}")
        if mode == 0:
            base = self.number(8)
            return [base ^ number for number in self.planes(count)]
        if mode == 1:
            number, step, out = self.number(8), self.number(8), []
            for delta in self.planes(count):
                number = number + step + (-(delta + 1) // 2 if delta & 1 else delta // 2) & U64
                out.append(number)
            return out
        if mode == 2:
            entries = self.column(self.number(1) + 1, (0, 1))
            return [entries[index] for index in self.take(count)]
        low, high = self.column(count, (0, 1, 2)), self.column(count, (0, 1, 2))
        return [(a & 0xFFFFFFFF) + (b << 32) & U64 for a, b in zip(low, high)]

    def records(self, limit):
        count, shapes = self.number(4), self.number(4)
        require(shapes <= count and count * RECORD.size <= limit, "more shapes or records than there can be")
        kinds, flags, weights, lengths, layouts = (self.column(shapes) for _ in range(5))
        of_records, *numbers = (self.column(count) for _ in range(5))
        require(max(kinds + flags + weights + lengths, default=0) < 1 << 32 and max(layouts, default=0) < 2, "a shape")
        require(sum(RECORD.size + up(lengths[shape], 8) for shape in of_records) == limit, "the length of the records")
        times, payloads = Counter(of_records), {}
        for shape in (shape for shape in range(shapes) if layouts[shape] == 1):
            columns = [self.column(times[shape]) for _ in range(up(lengths[shape], 8) // 8)]
            rows = zip(*columns) if columns else [()] * times[shape]
            payloads[shape] = iter([struct.pack(f"<{len(row)}Q", *row)[:lengths[shape]] for row in rows])
        records = []
        for shape, *four in zip(of_records, *numbers):
            payload = next(payloads[shape]) if layouts[shape] else self.take(lengths[shape])
            head = RECORD.unpack(struct.pack("<4I4Q", lengths[shape], flags[shape], kinds[shape], weights[shape], *four))
            records.append(Record(*head, payload))
        require(self.at == len(self.data), "bytes behind the columns")
        return records


def records_of(block, body):
    if block.filter > 1 or block.codec > 2 or block.codec == 2 and not zstd:
        raise Lost(f"unreadable filter {block.filter}, codec {block.codec}")
    if block.length > 1 << 20 and block.count != 1 and (block.filter or block.codec or block.length == block.stored):
        raise Lost("unreadable several records that take more than 1 MiB")
    if block.codec:
        limit = block.length + 256 * block.filter
        body = lz4(body, limit) if block.codec == 1 else zstd.ZstdDecompressor().decompress(body, limit + 1)
    records, at = Columns(body).records(block.length) if block.filter else [], 0
    while not block.filter and at < len(body):
        head = RECORD.unpack_from(body, at)
        records.append(Record(*head, body[at + RECORD.size:at + RECORD.size + head[0]]))
        at += RECORD.size + up(head[0], 8)
    require(block.filter or at == len(body) == block.length, "the length of the records")
    require(len(records) == block.count and not any(record.flags >> 31 for record in records), "the records")
    sequences = [record.sequence for record in records]
    if block.type == EVENTS and records:
        require((sequences[0], sequences[-1]) == (block.first, block.last), "the first and the last sequence")
        require(sequences == sorted(set(sequences)), "the sequences do not rise")
    return records


def time_of(record, pieces):
    if not record.flags & TICKS:
        return record.timestamp
    require(pieces, "a reading without a clock piece")
    start, _, ns, rate = next((piece for piece in reversed(pieces) if piece[0] <= record.timestamp), pieces[0])
    moved = abs(record.timestamp - start) * rate >> 48
    return clamp(ns + moved if record.timestamp >= start else ns - moved)


def clamp(number):
    return max(0, min(number, U64))


class Journal:
    """What is in the segments that were given to it."""
    def __init__(self):
        self.lines, self.events, self.facts, self.ledgers = [], {}, {}, {}

    def segment(self, segment):
        found, at = [], segment.size
        while at < len(segment.data):
            block = block_at(segment, at)
            if block or not found or found[-1][1]:
                found.append((at, block))  # Without a block: a stretch that has none.
            at = up(at + block.size + block.stored, 64) if block else at + 64
        last, sealed = max((at for at, block in found if block), default=0), False
        for at, block in found:
            if not block:
                if at < last or sealed or not segment.lives:
                    self.lines.append(f"damage {at}" if at < last or sealed else f"torn {len(segment.data) - at}")
                continue
            end = at + block.size + block.stored
            body = segment.data[end - block.stored:end]
            right, sealed = crc32c(segment.salt, body) == block.body_crc, False
            if at == last and not right and segment.lives:
                continue
            if not EVENTS <= block.type <= FILLER and block.flags & CRITICAL:
                raise Lost(f"refused a critical block of type {block.type}")
            try:
                require(right or block.type not in (EVENTS, FACTS, LEDGER, SEAL), "the body's checksum")
                pieces = list(struct.iter_unpack("<4Q", segment.data[at + 128:at + 128 + 32 * block.pieces]))
                sealed = self.block(block, body, pieces)
            except Lost as lost:
                self.lines.append(str(lost))
            except DAMAGE:
                self.lines.append(f"damaged-block {block.count if block.type == EVENTS else 0}")

    def block(self, block, body, pieces):
        """Takes a block. True: it is a seal."""
        if block.type in (LEDGER, SEAL):
            words = struct.unpack_from(f"<{len(body) // 8}Q", body)
            require(len(words) >= 3 and not block.filter and not block.codec, "a short ledger or seal")
            if block.type == LEDGER:
                require(len(words) >= 3 + words[2], "the number of counts")
                if words[0] >= self.ledgers.get(block.generation, (0,))[0]:
                    self.ledgers[block.generation] = words[:3 + words[2]]
        elif block.type == FACTS:
            for fact in records_of(block, body):
                self.facts[block.generation, fact.kind, fact.node] = fact.correlation, fact.payload
        elif block.type == EVENTS:
            for record, time in [(record, time_of(record, pieces)) for record in records_of(block, body)]:
                self.event(block, record, time)
        return block.type == SEAL

    def event(self, block, record, time):
        flags, key = record.flags & ~TICKS, (block.generation, block.ring, record.sequence)
        own = record.flags & (OWN_TIME | TICKS) == OWN_TIME
        contents = record.kind, flags, record.correlation, record.node, record.payload, own and time
        contents = None if flags & TRANSFORMED else contents
        text = (f"event {key[0]:016x} {key[1]} {key[2]} {time} {clamp(time + block.difference)} {record.kind} {flags} "
                f"{record.weight} {record.correlation} {record.node} {record.payload.hex() or '-'}")
        first, line = self.events.setdefault(key, (contents, text))
        if line is not text:
            same = first == contents or first is None or contents is None
            self.lines.append(f"{'duplicate' if same else 'contradiction'} {key[2]}")


def main(path):
    journal, names = Journal(), [""] if os.path.isfile(path) else filter(SEGMENT_NAME, os.listdir(path))
    for name in sorted(names, key=lambda name: (len(name), name)):
        try:
            journal.segment(open_segment(os.path.join(path, name) if name else path))
        except Lost as lost:
            journal.lines.append(str(lost))
    for _, (_, text) in sorted(journal.events.items()):
        print(text)
    for (generation, kind, node), (correlation, payload) in journal.facts.items():
        print(f"fact {generation:016x} {kind} {node} {correlation} {payload.hex() or '-'}")
    for generation, ledger in sorted(journal.ledgers.items()):
        print(f"ledger {generation:016x}", *ledger)
    sys.stdout.writelines(f"{line}\n" for line in journal.lines if line != "begun")


if __name__ == "__main__":
    main(sys.argv[1])
