"""Translates addresses to names, with a saved /proc/PID/maps and the symbol tables of the ELF files in it.

An address inside a symbol gets the name of the symbol. Any other address is shown as module and offset, which other tools
can look up. Licence: MIT OR Apache-2.0.
"""

import bisect
import os
import stat
import struct

SHT_SYMTAB, SHT_DYNSYM, PT_LOAD = 2, 11, 1
STT_FUNC, STT_GNU_IFUNC = 2, 10


class Module:
    """The functions of one ELF file, by address."""

    def __init__(self, path):
        self.starts, self.functions, self.segments = [], [], []
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(fd, "rb") as file:
                if stat.S_ISREG(os.fstat(fd).st_mode):  # the path comes from the traced process and may be a FIFO
                    self._read(file.read())
        except (OSError, struct.error, IndexError, ValueError):
            pass  # no symbols from this file: addresses are shown as offsets

    def _read(self, data):
        if data[:6] != b"\x7fELF\x02\x01":
            raise ValueError("not a 64-bit little-endian ELF file")
        program_at, section_at = struct.unpack_from("<QQ", data, 32)
        program_size, programs, section_size, sections = struct.unpack_from("<HHHH", data, 54)
        for index in range(programs):
            kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", data, program_at + index * program_size)
            if kind == PT_LOAD:
                self.segments.append((offset, length, address))
        headers = [struct.unpack_from("<IIQQQQIIQQ", data, section_at + i * section_size) for i in range(sections)]
        found = {}
        for _, kind, _, _, offset, size, link, _, _, entry in headers:
            if kind not in (SHT_SYMTAB, SHT_DYNSYM) or entry == 0:
                continue
            strings = headers[link][4]
            for at in range(offset, offset + size, entry):
                name, info, _, section, value, length = struct.unpack_from("<IBBHQQ", data, at)
                if section == 0 or length == 0 or info & 15 not in (STT_FUNC, STT_GNU_IFUNC):
                    continue
                start = strings + name
                text = data[start : data.index(b"\0", start)].decode(errors="replace")
                known = found.get(value)
                if known is None or len(text) < len(known[1]):
                    found[value] = (length, text)
        for value in sorted(found):
            self.starts.append(value)
            self.functions.append(found[value])

    def name(self, file_offset):
        """The function at an offset of the file, or None."""
        for offset, length, address in self.segments:
            if offset <= file_offset < offset + length:
                where = file_offset - offset + address
                at = bisect.bisect_right(self.starts, where) - 1
                if at >= 0 and where < self.starts[at] + self.functions[at][0]:
                    return self.functions[at][1]
        return None


class Symbols:
    """The names of the call sites of a process."""

    def __init__(self, maps_path):
        self.starts, self.ranges, self.modules = [], [], {}
        try:
            with open(maps_path, encoding="utf-8", errors="replace") as maps:
                lines = maps.read().splitlines()
        except OSError:
            lines = []
        for line in lines:
            fields = line.split(None, 5)
            if len(fields) == 6 and fields[5].startswith("/") and "x" in fields[1]:
                first, last = (int(number, 16) for number in fields[0].split("-"))
                self.starts.append(first)
                self.ranges.append((last, int(fields[2], 16), fields[5]))

    def look_up(self, address):
        """(module path, file offset, function) of a return address; each None if unknown."""
        address -= 1  # the call instruction is before the return address
        at = bisect.bisect_right(self.starts, address) - 1
        if at < 0 or address >= self.ranges[at][0]:
            return None, None, None
        last, offset, path = self.ranges[at]
        if path not in self.modules:
            self.modules[path] = Module(path)
        file_offset = address - self.starts[at] + offset
        return path, file_offset, self.modules[path].name(file_offset)

    def text(self, address):
        """For display: function (module)."""
        path, offset, function = self.look_up(address)
        if path is None:
            return hex(address)
        module = os.path.basename(path)
        return f"{function} ({module})" if function else f"{module}+{offset:#x}"
