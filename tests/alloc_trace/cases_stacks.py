"""Stacks: programs whose chains of calls are known. They are read from databases, by SQL and by a reader of symbol tables of the tests' own.

Licence: MIT OR Apache-2.0.
"""

import os
import sqlite3
import struct

import symbols
from harness import BIN, demand, program, same

STACK, ENDS = 100, {1: "outermost", 2: "depth", 3: "unknown"}


class Stacks:
    """The stacks of a process image: read from its database, with the names of functions."""

    def __init__(self, ledger):
        self.names = symbols.Symbols(ledger.maps)
        self.numbers, self.by_size = {}, {}
        database = sqlite3.connect(ledger.storage)
        rows = database.execute("SELECT kind, payload FROM events WHERE kind IN (1, 2, 3, 100) ORDER BY kind DESC").fetchall()
        database.close()
        for kind, payload in rows:
            if kind == STACK:
                number, frames, ended = struct.unpack_from("<IHH", payload)
                demand(number not in self.numbers, f"two stacks have the number {number}")
                demand(len(payload) == 8 + 8 * frames, f"{frames} frames in {len(payload)} bytes")
                self.numbers[number] = (struct.unpack_from(f"<{frames}Q", payload, 8), ENDS[ended])
            else:
                size, _, number = struct.unpack_from("<QII", payload)
                demand(number in self.numbers, f"stack {number} of an allocation is missing")
                self.by_size.setdefault(size, []).append(self.numbers[number])

    def name(self, address):
        return self.names.look_up(address)[2]

    def of(self, size):
        """The functions and the end of the one stack of a size."""
        found = set(self.by_size.get(size, ()))
        demand(len(found) == 1, f"{len(found)} stacks of size {size}")
        ((addresses, ended),) = found
        return [self.name(address) for address in addresses], ended


def chain(stacks, size, expected, ended="outermost"):
    names, end = stacks.of(size)
    demand(names[:len(expected)] == expected, f"size {size}: {names}, not {expected}")
    demand(end == ended, f"size {size}: the stack of {names} ends as {end}, not {ended}")
    return names


def each(mode, look, arguments=(), stacks=64, **options):
    """Runs the program with frame pointers and without."""
    for frames in ("omit-frame-pointer", "no-omit-frame-pointer"):
        same(program(f"stacks-{frames}", mode, *arguments), stacks=stacks, to="sqlite", more=look, **options)


def test_stacks_of_known_chains_with_and_without_frame_pointers():
    def look(run):
        (ledger,) = run.ledgers
        demand(ledger.frames == 64 and ledger.stacks_lost == 0, f"{ledger.frames} frames, {ledger.stacks_lost} stacks lost")
        stacks = Stacks(ledger)
        for size in (1000001, 1000008):
            chain(stacks, size, ["innermost", "middle", "outermost", "main"])
        chain(stacks, 1000002, ["innermost", "middle", "main"])
        chain(stacks, 1000003, ["innermost", "large_frame", "main"])
        chain(stacks, 1000004, ["innermost", "variable_frame", "main"])
        chain(stacks, 1000005, ["innermost", "aligned_frame", "main"])
        chain(stacks, 1000006, ["innermost", *["recursive"] * 11, "main"])
        chain(stacks, 1000007, ["innermost", *["recursive"] * 63], "depth")
        records = len(stacks.numbers) + 1  # and the image
        demand(ledger.records == records, f"{ledger.records} records by the ledger, {records} in the database")
        contents = list(stacks.numbers.values())
        demand(len(set(contents)) == len(contents), "a stack was stored twice, although one thread has captured all")

    each("chain", look, processes=1)


def test_stacks_of_few_frames():
    def look(run):
        stacks = Stacks(run.ledgers[0])
        chain(stacks, 1000001, ["innermost", "middle"], "depth")
        demand(all(len(addresses) <= 2 for addresses, _ in stacks.numbers.values()), "a stack of more than 2 frames")

    each("chain", look, stacks=2)


def test_stacks_are_off():
    def look(run):
        (ledger,) = run.ledgers
        demand(ledger.frames == 0 and ledger.records == 1, f"{ledger.records} records")

    same(program("stacks-omit-frame-pointer", "chain"), more=look)


def test_stacks_through_the_frames_of_signals():
    def look(run):
        stacks = Stacks(run.ledgers[0])
        for size in (1000100, 1000101):
            names = chain(stacks, size, ["innermost", "handler"])
            demand("raises" in names and names[names.index("raises"):][:2] == ["raises", "main"], f"size {size}: {names}")
        chain(stacks, 1000102, ["innermost", "main"])

    each("signals", look)


def test_stacks_while_signals_interrupt_the_tracer():
    def look(run):
        (ledger,) = run.ledgers
        demand(ledger.lost == ledger.refused_busy, f"{ledger.lost} lost, {ledger.refused_busy} of them because of a busy ring")
        stacks = Stacks(ledger)
        for size in range(900000, 900064):
            for addresses, ended in set(stacks.by_size.get(size, ())):
                names = [stacks.name(address) for address in addresses]
                depth = names.count("recursive")
                demand(names[:depth + 2] == ["innermost", *["recursive"] * depth, "main"] or names[1:2] == [None], f"{names}")
                demand(ended == "outermost", f"{names} ends as {ended}")

    same(program("stacks-omit-frame-pointer", "storm"), stacks=64, to="sqlite", lossless=False, more=look)


def test_stacks_on_a_thread_of_16_kib_stack():
    each("thread", lambda run: chain(Stacks(run.ledgers[0]), 1000200, ["innermost", "middle", "outermost", "small_thread"]))


def test_stacks_of_coroutines():
    def look(run):
        stacks = Stacks(run.ledgers[0])
        found = stacks.by_size[1000300]
        demand(len(found) == 3, f"{len(found)} allocations on stacks of their own")
        for addresses, _ in found:
            names = [stacks.name(address) for address in addresses]
            demand(names[:4] == ["innermost", "middle", "outermost", "coroutine"], f"{names}")
        chain(stacks, 1000301, ["innermost", "coroutines", "main"])

    each("coroutines", look)


def test_stacks_end_at_generated_code():
    def look(run):
        names = chain(Stacks(run.ledgers[0]), 1000400, ["innermost", "called_by_generated"], "unknown")
        demand(len(names) == 3, f"{names}")

    each("generated", look)


def test_damaged_stacks_do_no_harm():
    def look(run):
        stacks = Stacks(run.ledgers[0])
        for size in (1000451, 1000452):
            for addresses, _ in stacks.by_size[size]:
                names = [stacks.name(address) for address in addresses]
                demand(names[:2] == ["innermost", "damages"], f"{names}")
        chain(stacks, 1000453, ["innermost", "damages", "main"])

    each("damages", look)


def test_stacks_of_libraries_at_the_same_place():
    """What was learnt of the first library must not be used for the second."""
    def look(run):
        stacks = Stacks(run.ledgers[0])
        if b"another place" in run.result.stdout:
            print("    the libraries were not loaded at the same place: NOT TESTED", flush=True)
        for size in range(1000500, 1000504):
            names, ended = stacks.of(size)
            demand(names[0] == "innermost" and "main" in names[2:], f"size {size}: {names}")
            demand(ended == "outermost", f"size {size}: {names} ends as {ended}")

    paths = [os.path.join(BIN, f"libstack_{letter}.so") for letter in "abab"]
    each("libraries", look, arguments=paths)


def test_stacks_of_forked_children_have_numbers_of_their_own():
    def look(run):
        demand(len(run.ledgers) == 3, f"{len(run.ledgers)} images")
        parents = [ledger for ledger in run.ledgers if ledger.parent not in {other.pid for other in run.ledgers}]
        for ledger in run.ledgers:
            stacks = Stacks(ledger)
            if ledger in parents:
                chain(stacks, 1000600, ["innermost", "middle", "outermost", "main"])
                chain(stacks, 1000603, ["innermost", "middle", "main"])
            else:
                demand(1000603 not in stacks.by_size, "an allocation of the parent is in the child's database")
                chain(stacks, 1000602, ["innermost", "middle", "main"])
                found = stacks.by_size[1000601]
                demand(len(found) == 2, f"{len(found)} allocations of the child")
                for addresses, _ in found:
                    names = [stacks.name(address) for address in addresses]
                    demand("outermost" in names and "main" in names, f"{names}")

    each("forks", look, processes=3)


def test_more_stacks_than_the_table_holds():
    """600,000 stacks, each met once: some are replaced, and none of an allocation is missing."""
    def look(run):
        stacks = Stacks(run.ledgers[0])
        found = stacks.by_size[1000700]
        demand(len(found) == 600000, f"{len(found)} allocations")
        demand(len(set(found)) == 600000, f"{len(set(found))} different stacks, not 600000")

    same(program("stacks-omit-frame-pointer", "many"), stacks=64, to="sqlite", more=look)


def test_stacks_of_drop_mode_are_counted():
    def look(run):
        (ledger,) = run.ledgers
        demand(ledger.dropped_full > 0, "nothing was dropped")
        database = sqlite3.connect(ledger.storage)
        stacks = {struct.unpack_from("<I", payload)[0]
                  for (payload,) in database.execute("SELECT payload FROM events WHERE kind = 100")}
        without = 0
        for (payload,) in database.execute("SELECT payload FROM events WHERE kind = 1"):
            number = struct.unpack_from("<QII", payload)[2]
            demand(number == 0 or number in stacks, f"stack {number} is missing")
            without += number == 0
        database.close()
        demand(0 < without <= ledger.stacks_lost, f"{without} without a stack, {ledger.stacks_lost} by the ledger")

    same(program("stacks-omit-frame-pointer", "many"), stacks=64, to="sqlite", mode="drop", lossless=False, more=look)
