"""Ordinary programs.

Licence: MIT OR Apache-2.0.
"""

import os
import resource
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile

from harness import DEADLINE, HERE, TRACE, Run, check_ledgers, demand, program, read_all, rows, same


def test_exports_are_those_of_the_list():
    lines = subprocess.run(["nm", "-D", "--defined-only", TRACE], capture_output=True, text=True, check=True).stdout
    exported = sorted(line.split()[-1] for line in lines.splitlines())
    with open(os.path.join(HERE, "exports.txt"), encoding="utf-8") as file:
        expected = sorted(file.read().split())
    demand(exported == expected, f"exported and expected differ in {set(exported) ^ set(expected)}")


def test_ls():
    same(["ls", "-l", "/usr/bin"], processes=1)


def test_man_ls():
    """man links GNU libpipeline, which also defines pipeline_start."""
    if shutil.which("man") is None:
        print("    man is not installed, and could not be (package man-db): NOT TESTED", flush=True)
        return
    # man runs its formatters in a seccomp sandbox in which they cannot create files: they print a line and run untraced.
    same(["man", "-P", "cat", "ls"], loud=True)


def test_all_calls_with_size_address_site_and_errno():
    def look(run):
        (ledger,) = run.ledgers
        database = sqlite3.connect(ledger.storage)

        def of(call, size):
            """The events of a call with a size: address, call site, thread, old address."""
            found = database.execute("SELECT correlation_id, node_id, payload FROM events WHERE kind = "
                                     "(SELECT kind FROM kinds WHERE name = ?) ORDER BY sequence", (call,)).fetchall()
            fields = [(address, site, *struct.unpack("<QIIQQ", payload.ljust(32, b"\0"))) for address, site, payload in found]
            return [(address, site, thread, old) for address, site, wanted, thread, _, old, _ in fields if wanted == size]

        sizes = {"malloc": 1000003, "calloc": 1000027, "realloc": 1000033, "reallocarray": 1000041,
                 "posix_memalign": 1000049, "aligned_alloc": 1000192, "memalign": 1000061, "valloc": 1000063,
                 "pvalloc": 1000067}
        found = {}
        for call, size in sizes.items():
            events = of(call, size)
            demand(len(events) == 1, f"{call}({size}): {len(events)} events")
            address, site, thread, _ = events[0]
            demand(address != 0 and site != 0, f"{call}: address {address:#x}, call site {site:#x}")
            demand(thread == ledger.pid, f"{call}: thread {thread}, not {ledger.pid}")
            found[call] = address
        for call, old in (("realloc", "malloc"), ("reallocarray", "realloc")):
            released = of(call, sizes[call])[0][3]
            demand(released == found[old], f"{call}: old address {released:#x}, not that of {old}")
        freed = [row[0] for row in database.execute(
            "SELECT correlation_id FROM events WHERE kind = 4 ORDER BY sequence")]
        given = [found[call] for call in ("reallocarray", "calloc", "posix_memalign", "aligned_alloc", "memalign",
                                          "valloc", "pvalloc")] + [0]
        at = freed.index(given[0])
        demand(freed[at:at + 8] == given, "the frees are not in order")
        database.close()

    same(program("all_calls"), processes=1, to="sqlite", more=look)


def test_allocations_before_main_and_after_it():
    def look(run):
        (ledger,) = run.ledgers
        demand(ledger.early_kept >= 4096, f"only {ledger.early_kept} events from before the start")

    same(program("early"), processes=1, more=look)


def test_threads_that_come_and_go():
    same(program("threads", "250"), processes=1, lossless=False)


def test_threads_fewer_than_rings_lose_nothing():
    same(program("threads", "2"), processes=1)


def test_signal_handlers_that_call_free():
    def look(run):
        (ledger,) = run.ledgers
        lost = ledger.lost - ledger.refused_busy
        demand(lost == 0, f"{lost} events lost for other reasons than a busy ring")

    same(program("handlers"), processes=1, lossless=False, more=look)


def test_low_descriptors_closed_and_reused():
    with tempfile.NamedTemporaryFile() as file:
        same(program("low_files", file.name), processes=1)


def test_descriptors_have_the_numbers_that_they_have_untraced():
    code = "import os; print([os.open('/dev/null', os.O_RDONLY) for _ in range(3)])"
    for to in ("journal", "sqlite"):
        for most in (1024, 128, 64, 24):
            same([sys.executable, "-S", "-c", code], processes=1, to=to,
                 preexec_fn=lambda most=most: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most)))


def test_few_descriptors():
    """A limit of 24 descriptors: whether it can be traced or not, the result of the program is the same."""
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))

    plain = subprocess.run(["ls", "/usr"], capture_output=True, preexec_fn=limit, check=False)
    run = Run(["ls", "/usr"], preexec_fn=limit)
    demand(run.result.returncode == plain.returncode and run.result.stdout == plain.stdout, "ls differs")
    run.remove()


def test_python():
    same([sys.executable, "-c", "import json, threading; print(json.dumps(list(range(1000)))[-9:])"], processes=1)


def test_python_with_subprocesses_and_threads():
    code = ("import subprocess, concurrent.futures as f\n"
            "with f.ThreadPoolExecutor(4) as pool:\n"
            "    print(list(pool.map(lambda i: subprocess.run(['echo', str(i)], capture_output=True).stdout, range(8))))\n")
    same([sys.executable, "-c", code], least=9)


def test_python_multiprocessing_by_fork():
    code = ("import multiprocessing as m\n"
            "def f(i): return sum(len(str(x)) for x in range(i))\n"
            "if __name__ == '__main__':\n"
            "    with m.get_context('fork').Pool(3) as p: print(p.map(f, range(0, 2000, 100)))\n")
    same([sys.executable, "-c", code], least=1, lossless=False, ended=False)


def test_shell_pipeline_tree():
    same(["sh", "-c", "seq 1 2000 | sort -r | (head -3; cat >/dev/null); exec 3>/dev/null; (exit 3)"], least=4)


def test_a_locked_database_delays_the_program_only_within_its_bounds():
    """While nothing can be stored, the tracer switches to drop mode, the exit is delayed within its limit, and the ledger counts the
    loss."""
    folder = tempfile.mkdtemp(prefix="alloc_trace.")
    code = ("import os\n"
            "os.write(1, b'ready'); os.read(0, 1)\n"
            "for i in range(30): x = [bytearray(1000 + j) for j in range(1000)]\n"
            "print(len(x)); raise SystemExit(9)\n")
    environment = dict(os.environ, LD_PRELOAD=TRACE, ALLOC_TRACE_DIR=folder, ALLOC_TRACE_MODE="block", ALLOC_TRACE_TO="sqlite",
                       ALLOC_TRACE_BLOCK_MS="50", ALLOC_TRACE_EXIT_MS="300")
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as process:
        demand(os.read(process.stdout.fileno(), 5) == b"ready", "the program did not start")
        (path,) = (ledger.storage for ledger in read_all(folder))
        database = sqlite3.connect(path, timeout=DEADLINE, isolation_level=None)
        database.execute("BEGIN IMMEDIATE")
        output, _ = process.communicate(b"x", timeout=DEADLINE)
        demand(process.returncode == 9 and output == b"1000\n", f"exit status {process.returncode}, output {output}")
        database.execute("ROLLBACK")
    (ledger,) = read_all(folder)
    demand(not ledger.imbalances(), str(ledger.imbalances()))
    demand(ledger.state == "closed" and ledger.close_status != 0, f"{ledger.state}, pipeline_close returned {ledger.close_status}")
    demand(ledger.gave_up == 1 and ledger.dropped_full > 0, "the tracer did not switch to drop mode")
    demand(ledger.lost > 0 and ledger.offered == ledger.stored + ledger.lost, f"{ledger.lost} lost of {ledger.offered}")
    (kept,) = database.execute("SELECT count(*) FROM events").fetchone()
    demand(kept == ledger.stored, f"{kept} events in the database, {ledger.stored} stored")
    database.close()
    shutil.rmtree(folder)


def test_drop_mode_counts_what_it_loses():
    def look(run):
        (ledger,) = run.ledgers
        demand(ledger.offered == ledger.captured + ledger.dropped_full + ledger.refused_busy, "lost, but not by being full")

    same(program("threads", "100"), processes=1, lossless=False, mode="drop", more=look)
