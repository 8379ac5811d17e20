"""Stacks and modules that are unusual or damaged. The program must not notice the tracer, and what is known of a stack must be right.

Licence: MIT OR Apache-2.0.
"""

import os
import random
import struct

from cases_stacks import Stacks, chain
from harness import BIN, demand, program, same, temporary_folder


def wild(mode, look=None, arguments=()):
    same(program("wild_stacks", mode, *arguments), stacks=64, to="sqlite", processes=1, more=look)


def begin_with(stacks, size, expected):
    for addresses, _ in stacks.by_size[size]:
        names = [stacks.name(address) for address in addresses]
        demand(names[:len(expected)] == expected, f"size {size}: {names}")


def test_wild_frame_pointers_do_no_harm():
    def look(run):
        stacks = Stacks(run.ledgers[0])
        for size in (1001003, 1001004):
            begin_with(stacks, size, ["innermost", "damages"])
        chain(stacks, 1001005, ["innermost", "middle", "wild_frame_pointers", "main"])

    wild("wild_frame_pointers", look)


def test_a_page_above_the_stack_that_was_read_is_unmapped():
    def look(run):
        stacks = Stacks(run.ledgers[0])
        begin_with(stacks, 1001103, ["innermost", "damages"])
        chain(stacks, 1001104, ["innermost", "middle", "beside_a_page"])

    wild("unmapped_above", look)


def test_stacks_of_coroutines_with_guard_pages_between():
    def look(run):
        stacks = Stacks(run.ledgers[0])
        for size in range(1001200, 1001203):
            demand(len(stacks.by_size[size]) == 10, f"size {size}: {len(stacks.by_size[size])} allocations")
            begin_with(stacks, size, ["innermost", "middle", "coroutine"])

    wild("side_by_side", look)


def frame_information(library):
    """The offsets of .eh_frame_hdr, and of .eh_frame, in a file: first, end."""
    sections, = struct.unpack_from("<Q", library, 40)
    size, count, names = struct.unpack_from("<HHH", library, 58)
    headers = [struct.unpack_from("<IIQQQQ", library, sections + at * size) for at in range(count)]
    text = headers[names][4]
    found = {}
    for name, _, _, _, offset, length in headers:
        found[library[text + name:library.index(b"\0", text + name)].decode()] = (offset, offset + length)
    return found[".eh_frame_hdr"], found[".eh_frame"]


def test_damaged_call_frame_information_does_no_harm():
    """300 copies of a library, each with a few other bytes there, and some that point far away."""
    with open(os.path.join(BIN, "libstack_a.so"), "rb") as file:
        library = file.read()
    header, frames = frame_information(library)
    far = [0x7FFFFFFF, -0x80000000, -0x10000, 0x10000, 0xFFFFFF, -1, -4096, 4096]
    # Of the pairs of the table: where the entries are. Of the entries: the length, and the distance to what they have in common.
    pairs = [at + 4 for at in range(header[0] + 12, header[1] - 7, 8)]
    entries, at = [], frames[0]
    while at + 8 <= frames[1]:
        length, = struct.unpack_from("<I", library, at)
        if length == 0:
            break
        entries += [at, at + 4]
        at += 4 + length
    copies = [{at: struct.pack("<i", value) for at in places} for places in (pairs, entries[0::2], entries[1::2]) for value in far]
    chance = random.Random(15)
    while len(copies) < 300:
        copies.append({chance.randrange(*chance.choice((header, frames))): bytes([chance.randrange(256)])
                       for _ in range(chance.randrange(1, 7))})
    with temporary_folder() as folder:
        paths = []
        for number, changes in enumerate(copies):
            copy = bytearray(library)
            for at, value in changes.items():
                copy[at:at + len(value)] = value
            paths.append(os.path.join(folder, f"{number}.so"))
            with open(paths[-1], "wb") as file:
                file.write(copy)

        def look(run):
            stacks = Stacks(run.ledgers[0])
            demand(len(stacks.by_size[1001300]) == len(copies), f"{len(stacks.by_size[1001300])} allocations")
            begin_with(stacks, 1001300, ["innermost"])
            chain(stacks, 1001301, ["innermost", "middle", "damaged_libraries", "main"])

        wild("damaged_libraries", look, paths)


def test_misaligned_stacks_do_no_harm():
    for stacks in (0, 16):
        same(program("wild_stacks", "misaligned"), stacks=stacks, processes=1)


def test_a_handler_on_a_small_stack_makes_the_first_allocation_of_a_thread():
    """8 KiB is what SIGSTKSZ was. What cannot be captured is counted."""
    for stacks in (0, 64):
        def look(run):
            (ledger,) = run.ledgers
            demand(ledger.lost == ledger.early_lost == 2, f"{ledger.lost} lost, {ledger.early_lost} of them by the first calls of a thread")
            demand(ledger.stored > 4, "nothing was stored")

        same(program("wild_stacks", "alternate", "8192"), stacks=stacks, lossless=False, processes=1, more=look)
        same(program("wild_stacks", "alternate", "65536"), stacks=stacks, processes=1)
