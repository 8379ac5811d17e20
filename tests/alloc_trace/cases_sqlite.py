"""The same into databases: ALLOC_TRACE_TO=sqlite.

Licence: MIT OR Apache-2.0.
"""

import os
import sqlite3
import sys

from harness import demand, program, same


def into_databases(command, more=None, **options):
    def look(run):
        for ledger in run.ledgers:
            demand(os.path.basename(ledger.storage) == f"{ledger.pid}-{ledger.image}-{ledger.comm}.db", ledger.storage)
        demand(not os.path.exists(os.path.join(os.path.dirname(run.ledgers[0].path), "journal")), "there is a journal as well")
        if more:
            more(run)

    same(command, to="sqlite", more=look, **options)


def test_sqlite_ls():
    into_databases(["ls", "-l", "/usr/bin"], processes=1)


def test_sqlite_python():
    into_databases([sys.executable, "-c", "import json; print(json.dumps(list(range(1000)))[-9:])"], processes=1)


def test_sqlite_tree_of_processes():
    into_databases(["sh", "-c", "seq 1 2000 | sort -r | (head -3; cat >/dev/null); (exit 3)"], least=4)


def test_sqlite_forks():
    into_databases(program("forks"), least=15)


def test_sqlite_execs():
    into_databases(program("execs"), processes=2)


def test_sqlite_allocations_before_main():
    into_databases(program("early"), processes=1)


def test_sqlite_threads():
    into_databases(program("threads", "2"), processes=1)


def test_sqlite_drop_mode():
    into_databases(program("threads", "100"), processes=1, lossless=False, mode="drop")


def test_sqlite_ends():
    for how in ("return", "_exit", "signal", "last_thread", "daemon"):
        into_databases(program("endings", how))
    into_databases(program("endings", "kill"), lossless=False, ended=False)


def test_sqlite_every_descriptor_closed():
    into_databases(program("launcher", "exit"), processes=4, exit_ms=5000, lossless=False, ended=False)


def test_sqlite_file_size_limit():
    import resource
    import signal

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    into_databases(program("threads", "100"), processes=1, lossless=False, ended=False, preexec_fn=limit, mode="drop")


def test_sqlite_has_a_view_for_each_kind():
    def look(run):
        (ledger,) = run.ledgers
        database = sqlite3.connect(ledger.storage)
        (size, thread) = database.execute("SELECT size, thread FROM kind_malloc WHERE size = 1000003").fetchone()
        demand((size, thread) == (1000003, ledger.pid), f"malloc: {size}, {thread}")
        (size, old) = database.execute("SELECT size, old FROM kind_realloc WHERE size = 1000033").fetchone()
        (address,) = database.execute("SELECT correlation_id FROM events WHERE id = "
                                      "(SELECT _id FROM kind_malloc WHERE size = 1000003)").fetchone()
        demand(old in (address, str(address), f"{address:#x}"), f"realloc of {old}, not of {address}")
        (pid, name) = database.execute("SELECT pid, name FROM kind_image").fetchone()
        demand((pid, name) == (ledger.pid, "all_calls"), f"image: {pid} {name}")
        (frees,) = database.execute("SELECT count(*) FROM kind_free WHERE thread = ?", (ledger.pid,)).fetchone()
        (every,) = database.execute("SELECT count(*) FROM events WHERE kind = 4").fetchone()
        demand(frees == every, f"{frees} of {every} frees")
        database.close()

    into_databases(program("all_calls"), processes=1, more=look)
