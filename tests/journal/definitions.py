#!/usr/bin/env python3
"""Reads definitions of kinds: written from docs/format.md, with the standard library alone.

Each line of the input is a node id and the payload of a fact in hexadecimal digits. The line of the output that answers it has
the definition's parts, or `invalid` and the rule that is broken. Texts are in hexadecimal digits, `-` if empty.
"""

import re
import struct
import sys
import unicodedata

NONE = REST = 0xFFFFFFFF
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*").fullmatch
HEADER = struct.Struct("<HHIHHHHII")
FIELD = struct.Struct("<HBBBxHII")
INTEGERS, SIGNED, FLOATS = range(1, 9), range(5, 9), (9, 10)
ADDRESS, STRING, BYTES, ENUM = 12, 13, 14, 15
LENGTHS = {1: 1, 2: 2, 3: 4, 4: 8, 5: 1, 6: 2, 7: 4, 8: 8, 9: 4, 10: 8, 11: 1, ADDRESS: 8}
INSTANT, BEGIN, END, COMPLETE, COUNTER, FLOW, LOG = range(7)


def require(condition, text):
    if not condition:
        raise ValueError(text)


def raw_text(data, at):
    """The text there, and where it ends."""
    end = at + 1 + data[at]
    require(end <= len(data), "a text is cut off")
    return data[at + 1:end].decode("utf-8"), end


def text(data, at, longest, is_name=False):
    """The same for a text that is shown."""
    value, end = raw_text(data, at)
    require(end - at - 1 <= longest, f"a text of more than {longest} bytes")
    require(not any(unicodedata.category(character) == "Cc" for character in value), "a control character")
    require(not is_name or NAME(value), "a name that is none")
    return value, end


def field(data):
    """The parts of a field, from its own bytes."""
    _, type, integer, hint, count, offset, length = FIELD.unpack_from(data)
    name, at = text(data, FIELD.size, 63, is_name=True)
    unit, at = text(data, at, 31)
    require(1 <= type <= ENUM, "an unknown type")
    require(type != ENUM or integer in INTEGERS and count > 0, "an enum without an integer or without values")
    number = integer if type == ENUM else type
    require(length == LENGTHS[number] if number in LENGTHS else length >= 1, "the length")
    hint = hint if hint <= 3 else 0
    numeric = type in INTEGERS or type in FLOATS
    require(hint != 1 or type in INTEGERS or type in (ENUM, ADDRESS, BYTES), "hexadecimal")
    require(hint < 2 or numeric, "the hint")
    values = []
    for _ in range(count):
        value, = struct.unpack_from("<q" if integer in SIGNED else "<Q", data, at)
        label, at = text(data, at + 8, 63) if type == ENUM else raw_text(data, at + 8)
        values.append((value, label))
    if type != ENUM:
        integer, values = 0, []  # They mean nothing.
    bits = 8 * LENGTHS.get(number, 0)
    low, high = (-1 << bits - 1, 1 << bits - 1) if integer in SIGNED else (0, 1 << bits)
    require(all(low <= value < high for value, _ in values), "a value does not fit its integer")
    require(all(label for _, label in values), "a value without a name")
    require(all(len(set(one)) == len(one) for one in zip(*values)), "a value or its name comes twice")
    return name, type, integer, hint, offset, length, unit, values


def definition(data, node):
    require(len(data) <= 16384, "more than 16384 bytes")
    version, size, kind, role, count, key, duration, pairs, total = HEADER.unpack_from(data)
    require(version == 1 and size >= HEADER.size, "the version or the header's size")
    require(kind == node and kind < 0xFFFF0000, "the kind")
    require(role <= LOG, "the role")
    paired = pairs < 0xFFFF0000 and pairs != kind if role in (BEGIN, END) else pairs == NONE
    require(paired, "the kind that it pairs with")
    name, at = text(data, size, 63, is_name=True)
    category, at = text(data, at, 63)
    require(count <= 64, "more than 64 fields")
    fields = []
    for _ in range(count):
        field_size, = struct.unpack_from("<H", data, at)
        require(at + field_size <= len(data), "a field is cut off")
        fields.append(field(data[at:at + field_size]))
        at += field_size
    require(len({name.lower() for name, *_ in fields}) == count, "two fields of one name")
    spans = sorted((offset, total if length == REST else offset + length) for _, _, _, _, offset, length, *_ in fields)
    require(all(begin <= end <= total for begin, end in spans), "a field is out of the payload")
    require(all(end <= begin for (_, end), (begin, _) in zip(spans, spans[1:])), "fields overlap")
    require(all(length != REST for _, _, _, _, _, length, *_ in fields[:-1]), "the rest is not last")
    require(key <= count and duration <= count, "an index without a field")
    require((duration > 0) == (role == COMPLETE), "the duration field")
    require(duration == 0 or fields[duration - 1][1] in INTEGERS, "the type of the duration field")
    require(role != COUNTER or any(type in INTEGERS or type in FLOATS for _, type, *_ in fields), "a counter counts nothing")
    return kind, role, key, duration, pairs, total, name, category, fields


def shown(part):
    return part.encode().hex() or "-" if isinstance(part, str) else str(part)


def line(data, node):
    *parts, fields = definition(data, node)
    words = list(map(shown, parts))
    for *parts, values in fields:
        words += ["field", *map(shown, parts)]
        words += [f"{value}={shown(label)}" for value, label in values]
    return " ".join(words)


def main():
    for request in sys.stdin:
        node, payload = request.split()
        try:
            print(line(bytes.fromhex(payload), int(node)))
        except (IndexError, ValueError, struct.error) as error:
            print("invalid", error)


if __name__ == "__main__":
    main()
