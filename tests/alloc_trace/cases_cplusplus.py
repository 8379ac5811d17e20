"""The C++ operators new and delete, of libstdc++ and of other allocators; programs with an allocator of their own.

Licence: MIT OR Apache-2.0.
"""

import glob
import os
import subprocess

from harness import BIN, COUNT, DEADLINE, TRACE, demand, program, rows, same, skipped, temporary_folder
from ledger import CALLS

BY_NAME = {name: call for call, name in CALLS.items()}
NEWS = [call for call, name in CALLS.items() if name.startswith("operator new")]
DELETES = [call for call, name in CALLS.items() if name.startswith("operator delete")]


def built(name):
    if os.path.exists(os.path.join(BIN, name)):
        return True
    skipped("there is no C++ compiler")
    return False


def every_form(run):
    """Every form of the operators is stored. libstdc++'s forms call the plain ones; those calls are nested."""
    (ledger,) = run.ledgers
    by_call = rows(ledger)
    (counted,) = run.counts.values()
    for call in NEWS + DELETES:
        demand(by_call.get(call, 0) > 0, f"no {CALLS[call]} is stored")
        kept = by_call.get(call, 0) + ledger.nested[call] + ledger.own[call]
        demand(kept == counted[call], f"{CALLS[call]}: {kept} times, {counted[call]} counted")
    for name, times in {"operator new[](align, nothrow)": 7, "operator delete[](align, nothrow)": 7,
                        "operator delete[](size)": 7, "operator delete(size, align)": 7}.items():
        demand(by_call[BY_NAME[name]] >= times, f"{name}: {by_call[BY_NAME[name]]} times, not {times}")
    # One event per allocation: the malloc that libstdc++'s operator calls is nested.
    twice = by_call[BY_NAME["malloc"]] + by_call.get(BY_NAME["aligned_alloc"], 0)
    demand(twice < 200, f"{twice} events of malloc and aligned_alloc beside those of the operators")


def test_every_operator_new_and_delete():
    if built("operators"):
        same(program("operators"), processes=1, more=every_form)


def behind(pattern, package, *arguments):
    found = sorted(glob.glob(f"/usr/lib/*/{pattern}"))
    if not found:
        skipped(f"{package} is not installed")
        return
    if not built("operators"):
        return
    same(program("operators", *arguments), processes=1, behind=found[:1], more=every_form)
    same(program("threads", "2"), processes=1, behind=found[:1])


def test_jemalloc_behind():
    behind("libjemalloc.so.2", "libjemalloc2")


def test_tcmalloc_behind():
    behind("libtcmalloc_minimal.so.4", "libtcmalloc-minimal4")


def test_mimalloc_behind():
    behind("libmimalloc.so.2", "libmimalloc2.0", "none_fails")


def test_program_that_replaces_operator_new():
    def look(run):
        (ledger,) = run.ledgers
        by_call = rows(ledger)
        allocated = sum(by_call.get(call, 0) for call in (1, *NEWS))
        demand(1500 <= allocated < 1600, f"{allocated} events of 1500 allocations")

    if built("own_operators"):
        same(program("own_operators"), processes=1, more=look)


def test_no_library_gains_libstdcxx():
    for library in (TRACE, COUNT):
        needed = subprocess.run(["readelf", "-d", library], capture_output=True, text=True, check=True).stdout
        demand("libstdc++" not in needed, f"{library} needs libstdc++")


def test_plug_in_with_a_libstdcxx_of_its_own_scope():
    def look(run):
        (ledger,) = run.ledgers
        demand(rows(ledger)[BY_NAME["operator new"]] >= 1000, "the plug-in's calls are missing")

    if built("libplug_in.so"):
        same(program("plugs_in", os.path.join(BIN, "libplug_in.so")), processes=1, more=look)
        same(program("plugs_in", os.path.join(BIN, "libplug_in_static.so")), processes=1)


def test_program_with_an_allocator_of_its_own():
    def look(run):
        (ledger,) = run.ledgers
        demand(rows(ledger)[BY_NAME["reallocarray"]] == 100, "not 100 calls of reallocarray")

    same(program("own_allocator"), processes=1, more=look)
    alone = subprocess.run(program("own_allocator"), env=dict(os.environ, LD_PRELOAD=COUNT), capture_output=True,
                           timeout=DEADLINE, check=False)
    demand(alone.returncode == 0 and alone.stdout == b"moved\n", f"under count_allocs alone: {alone}")


def test_allocator_that_is_preloaded_before():
    """The program gets its malloc, and libc's reallocarray, which calls its realloc."""
    found = sorted(glob.glob("/usr/lib/*/libjemalloc.so.2"))
    if not found:
        skipped("libjemalloc2 is not installed")
        return
    for library in (TRACE, COUNT):
        with temporary_folder() as folder:
            run = subprocess.run(["env", f"LD_PRELOAD={found[0]} {library}", f"ALLOC_TRACE_DIR={folder}", *program("resizes")],
                                 capture_output=True, timeout=DEADLINE, check=False)
            demand(run.returncode == 0 and run.stdout == b"100 times\n", f"{library}: {run}")
