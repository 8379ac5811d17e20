"""Runs programs under alloc_trace and holds what it recorded against what count_allocs counted in the same run.

Each test runs its program twice, untraced and traced, and demands: the same output and exit status; every ledger
balanced; in every database as many events as its ledger says are stored, each with an identity of its own; and, process
by process, as many calls as count_allocs counted. Where nothing may be lost, the databases must have every call, function
by function.

    check.py OUT BIN [NAME]     called by run.sh

Licence: MIT OR Apache-2.0.
"""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True  # the source tree stays as it is
sys.path.insert(0, os.path.join(HERE, "..", "..", "c_examples", "alloc_trace", "report"))
from ledger import CALLS, read_all, read_counts  # noqa: E402

OUT, BIN = sys.argv[1], sys.argv[2]
ONLY = sys.argv[3] if len(sys.argv) > 3 else ""
TRACE = os.path.join(OUT, "alloc_trace.so")
COUNT = os.path.join(OUT, "count_allocs.so")
DEADLINE = 120


class Failure(Exception):
    pass


def demand(truth, text):
    if not truth:
        raise Failure(text)


def program(name, *arguments):
    return [os.path.join(BIN, name), *arguments]


class Run:
    """One traced run: its result and the files that it left."""

    def __init__(self, command, mode="block", environment=None, directory=None, **options):
        self.folder = tempfile.mkdtemp(prefix="alloc_trace.")
        environment = dict(os.environ, **(environment or {}))
        for name in [name for name in environment if name.startswith("ALLOC_TRACE_")]:
            del environment[name]
        # A disk that stalls for a second is no defect: what must lose nothing may wait for a minute.
        environment.update(ALLOC_TRACE_MODE=mode, ALLOC_TRACE_DIR=directory or self.folder,
                           ALLOC_TRACE_BLOCK_MS="60000", COUNT_ALLOCS_DIR=self.folder)
        # Set by env(1), so that neither this process nor a shell in between is traced.
        preload = f"LD_PRELOAD={COUNT} {TRACE}"
        self.result = subprocess.run(["env", preload, *command], env=environment, capture_output=True,
                                     timeout=DEADLINE, check=False, **options)
        self.ledgers = read_all(self.folder)
        self.counts = read_counts(self.folder)

    def done(self):
        shutil.rmtree(self.folder)


def rows(path):
    """Events by call in a database; fails if two have one identity."""
    database = sqlite3.connect(path)
    try:
        by_call = dict(database.execute("SELECT kind, count(*) FROM events GROUP BY kind"))
        every = sum(by_call.values())
        (distinct,) = database.execute(
            "SELECT count(*) FROM (SELECT DISTINCT run, ring_id, sequence FROM events)").fetchone()
        demand(distinct == every, f"{path}: {every} events have {distinct} identities")
        (check,) = database.execute("PRAGMA integrity_check").fetchone()
        demand(check == "ok", f"{path}: {check}")
    finally:
        database.close()
    return by_call


def check_books(run, lossless=True, ended=True):
    """Everything that must add up, in every process."""
    demand(run.ledgers, "no process was traced")
    stored = {}
    for ledger in run.ledgers:
        who = f"{ledger.pid} {ledger.command}"
        demand(not ledger.imbalances(), f"{who}: {ledger.imbalances()}")
        by_call = rows(ledger.database)
        if ended:
            demand(ledger.state in ("closed", "exec"), f"{who}: is {ledger.state}")
            demand(ledger.close_status == 0, f"{who}: close answered {ledger.close_status}")
            demand(sum(by_call.values()) == ledger.stored,
                   f"{who}: {sum(by_call.values())} events in the database, {ledger.stored} stored")
            demand(ledger.buffered + ledger.in_flight + ledger.in_doubt + ledger.left == 0, f"{who}: events left behind")
        if lossless:
            demand(ledger.lost == 0, f"{who}: {ledger.lost} events lost: {vars(ledger)}")
        totals = stored.setdefault(ledger.pid, [0] * 16)
        for call in CALLS:
            totals[call] += by_call.get(call, 0) + ledger.own[call]
    if not ended:
        return
    calls = {}
    for ledger in run.ledgers:
        calls[ledger.pid] = calls.get(ledger.pid, 0) + ledger.calls
    for pid, counted in run.counts.items():
        demand(calls.get(pid, 0) == sum(counted), f"{pid}: {calls.get(pid, 0)} calls in the ledgers, {sum(counted)} counted")
        if lossless:
            kept = stored.get(pid, [0] * 16)
            for call, name in CALLS.items():
                demand(kept[call] == counted[call],
                       f"{pid}: {name} {kept[call]} times in the database, {counted[call]} counted")


def same(command, processes=None, least=1, lossless=True, ended=True, loud=False, more=None, **options):
    """The usual test: untraced and traced alike, and the books in order."""
    plain = subprocess.run(command, capture_output=True, timeout=DEADLINE, check=False,
                           **{k: v for k, v in options.items() if k in ("input", "cwd", "preexec_fn")})
    run = Run(command, **options)
    demand(run.result.returncode == plain.returncode,
           f"exit status {run.result.returncode}, untraced {plain.returncode}: {run.result.stderr[-300:]}")
    demand(run.result.stdout == plain.stdout, f"output {run.result.stdout[-300:]}, untraced {plain.stdout[-300:]}")
    if not loud:
        demand(run.result.stderr == plain.stderr, f"stderr {run.result.stderr[-300:]}, untraced {plain.stderr[-300:]}")
    check_books(run, lossless, ended)
    seen = len({ledger.pid for ledger in run.ledgers})
    if processes is not None:
        demand(seen == processes, f"{seen} processes traced, not {processes}")
    demand(seen >= least, f"{seen} processes traced, fewer than {least}")
    if more:
        more(run)
    run.done()


# --- The tests ------------------------------------------------------------------------------------------------------


def test_exports_are_those_of_the_list():
    lines = subprocess.run(["nm", "-D", "--defined-only", TRACE], capture_output=True, text=True, check=True).stdout
    exported = sorted(line.split()[-1] for line in lines.splitlines())
    with open(os.path.join(HERE, "exports.txt"), encoding="utf-8") as file:
        expected = sorted(file.read().split())
    demand(exported == expected, f"exported and expected differ in {set(exported) ^ set(expected)}")


def test_ls():
    same(["ls", "-l", "/usr/bin"], processes=1)


def test_man_ls():
    """man links GNU libpipeline, which has a pipeline_start of its own."""
    if shutil.which("man") is None:
        print("    man is not installed, and could not be (package man-db): NOT TESTED", flush=True)
        return
    # man runs its formatters in a seccomp sandbox that lets them create no file: those say so, and run untraced.
    same(["man", "-P", "cat", "ls"], loud=True)


def test_all_calls_with_size_address_site_and_errno():
    def look(run):
        (ledger,) = run.ledgers
        database = sqlite3.connect(ledger.database)

        def of(call, size):
            return database.execute(
                "SELECT correlation_id, node_id, CAST(payload AS TEXT) FROM events WHERE kind = "
                "(SELECT kind FROM kinds WHERE name = ?) AND CAST(payload AS INTEGER) = ? ORDER BY sequence",
                (call, size)).fetchall()

        sizes = {"malloc": 1000003, "calloc": 1000027, "realloc": 1000033, "reallocarray": 1000041,
                 "posix_memalign": 1000049, "aligned_alloc": 1000192, "memalign": 1000061, "valloc": 1000063,
                 "pvalloc": 1000067}
        found = {}
        for call, size in sizes.items():
            events = of(call, size)
            demand(len(events) == 1, f"{call}({size}): {len(events)} events")
            address, site, text = events[0]
            demand(address != 0 and site != 0, f"{call}: address {address:#x}, call site {site:#x}")
            demand(int(text.split()[1]) == ledger.pid, f"{call}: thread {text.split()[1]}, not {ledger.pid}")
            found[call] = address
        for call, old in (("realloc", "malloc"), ("reallocarray", "realloc")):
            text = of(call, sizes[call])[0][2].split()
            demand(int(text[2]) == found[old], f"{call}: old address {text[2]}, not that of {old}")
        freed = [row[0] for row in database.execute(
            "SELECT correlation_id FROM events WHERE kind = 4 ORDER BY sequence")]
        given = [found[call] for call in ("reallocarray", "calloc", "posix_memalign", "aligned_alloc", "memalign",
                                          "valloc", "pvalloc")] + [0]
        at = freed.index(given[0])
        demand(freed[at:at + 8] == given, "the frees are not in order")
        database.close()

    same(program("all_calls"), processes=1, more=look)


def test_allocations_before_main_and_after_it():
    def look(run):
        (ledger,) = run.ledgers
        demand(ledger.early_kept >= 4096, f"only {ledger.early_kept} events from before the start")

    same(program("early"), processes=1, more=look)


def test_threads_that_come_and_go():
    same(program("threads", "250"), processes=1, lossless=False)


def test_threads_fewer_than_rings_lose_nothing():
    same(program("threads", "2"), processes=1)


def test_fork_without_exec_while_others_capture():
    same(program("forks"), least=15)


def test_exec_chain_and_fork_with_exec():
    def look(run):
        images = [ledger for ledger in run.ledgers if ledger.comm == "execs"]
        demand(len(images) == 11, f"{len(images)} images of execs, not 10 and that of the forked child")

    same(program("execs"), processes=2, more=look)


def test_vfork_posix_spawn_system_popen():
    same(program("spawns"), least=5)


def test_returns_from_main():
    same(program("endings", "return"), processes=1)


def test_exit():
    same(program("endings", "exit"), processes=1)


def test_underscore_exit():
    same(program("endings", "_exit"), processes=1)


def test_underscore_capital_exit():
    same(program("endings", "_Exit"), processes=1)


def test_quick_exit():
    same(program("endings", "quick_exit"), processes=1)


def test_exit_in_a_signal_handler():
    same(program("endings", "signal"), processes=1)


def test_exit_in_a_thread_after_main_ended():
    same(program("endings", "thread"), processes=1, lossless=False)


def test_exit_while_another_thread_allocates():
    same(program("endings", "busy"), processes=1, lossless=False)


def died(how):
    def look(run):
        (ledger,) = run.ledgers
        demand(ledger.state == "running", f"the ledger of a killed process is {ledger.state}")
        (counted,) = run.counts.values()
        demand(sum(rows(ledger.database).values()) <= sum(counted), "more events than calls")

    same(program("endings", how), processes=1, lossless=False, ended=False, more=look)


def test_abort_leaves_a_readable_database():
    died("abort")


def test_sigkill_leaves_a_readable_database():
    died("kill")


def test_signal_handlers_that_call_free():
    def look(run):
        (ledger,) = run.ledgers
        lost = ledger.lost - ledger.refused_busy
        demand(lost == 0, f"{lost} events lost other than those that met a busy ring")

    same(program("handlers"), processes=1, lossless=False, more=look)


def test_low_descriptors_closed_and_reused():
    with tempfile.NamedTemporaryFile() as file:
        same(program("low_files", file.name), processes=1)


def untraced(run, command, **options):
    plain = subprocess.run(command, capture_output=True, timeout=DEADLINE, check=False, **options)
    demand(run.result.returncode == plain.returncode, f"exit status {run.result.returncode}: {run.result.stderr}")
    demand(run.result.stdout == plain.stdout, "the output differs")
    demand(not run.ledgers, "a ledger, although nothing could be traced")
    run.done()


def test_unwritable_directory_is_one_line_and_no_harm():
    run = Run(["ls", "/usr"], directory="/proc/alloc_trace")
    lines = run.result.stderr.decode().splitlines()
    demand(len(lines) == 1 and lines[0].startswith("alloc_trace: "), f"on stderr: {lines}")
    untraced(run, ["ls", "/usr"])


def test_unwritable_directory_and_closed_stderr():
    command = ["sh", "-c", "exec ls /usr 2>&-"]
    run = Run(command, directory="/proc/alloc_trace")
    untraced(run, command)


def test_no_threads_to_be_had():
    """RLIMIT_NPROC does not bind root, so this shows something only to other users; the result must be the same."""
    import resource

    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))

    plain = subprocess.run(["ls", "/usr"], capture_output=True, preexec_fn=limit, check=False)
    run = Run(["ls", "/usr"], preexec_fn=limit)
    demand(run.result.returncode == plain.returncode and run.result.stdout == plain.stdout, "ls differs")
    run.done()


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


def test_shell_exit_status_of_a_signal():
    same(["sh", "-c", "kill -TERM $$"], lossless=False, ended=False)


def test_a_locked_database_delays_the_program_only_within_its_bounds():
    """The storage stands still: blocking is given up, the exit goes on, and the ledger says what was left."""
    folder = tempfile.mkdtemp(prefix="alloc_trace.")
    code = ("import os\n"
            "os.write(1, b'ready'); os.read(0, 1)\n"
            "for i in range(30): x = [bytearray(1000 + j) for j in range(1000)]\n"
            "print(len(x)); raise SystemExit(9)\n")
    environment = dict(os.environ, LD_PRELOAD=TRACE, ALLOC_TRACE_DIR=folder, ALLOC_TRACE_MODE="block",
                       ALLOC_TRACE_BLOCK_MS="50", ALLOC_TRACE_EXIT_MS="300")
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as process:
        demand(os.read(process.stdout.fileno(), 5) == b"ready", "the program did not start")
        (path,) = (ledger.database for ledger in read_all(folder))
        database = sqlite3.connect(path, timeout=DEADLINE, isolation_level=None)
        database.execute("BEGIN IMMEDIATE")
        output, _ = process.communicate(b"x", timeout=DEADLINE)
        demand(process.returncode == 9 and output == b"1000\n", f"exit status {process.returncode}, output {output}")
        database.execute("ROLLBACK")
    (ledger,) = read_all(folder)
    demand(not ledger.imbalances(), str(ledger.imbalances()))
    demand(ledger.state == "closed" and ledger.close_status != 0, f"{ledger.state}, close answered {ledger.close_status}")
    demand(ledger.gave_up == 1 and ledger.dropped_full > 0, "blocking was not given up")
    demand(ledger.lost > 0 and ledger.offered == ledger.stored + ledger.lost, f"{ledger.lost} lost of {ledger.offered}")
    (kept,) = database.execute("SELECT count(*) FROM events").fetchone()
    demand(kept == ledger.stored, f"{kept} events in the database, {ledger.stored} stored")
    database.close()
    shutil.rmtree(folder)


def test_wrapper_gives_the_commands_status_and_a_summary():
    folder = tempfile.mkdtemp(prefix="alloc_trace.")
    wrapper = os.path.join(HERE, "..", "..", "c_examples", "alloc_trace", "alloc_trace")
    result = subprocess.run([sys.executable, wrapper, "-o", folder, "--drop", "--", "sh", "-c", "printf abc | wc -c; exit 6"],
                            capture_output=True, text=True, timeout=DEADLINE, check=False)
    demand(result.returncode == 6, f"exit status {result.returncode}: {result.stderr}")
    demand(result.stdout.strip() == "3", f"output {result.stdout}")
    for ledger in read_all(folder):
        demand(ledger.mode == "drop", f"mode {ledger.mode}")
        demand(ledger.database in result.stderr, f"{ledger.database} is not in the summary")
    demand(result.stderr.count(" balanced ") == len(read_all(folder)) >= 3, f"summary: {result.stderr}")
    killed = subprocess.run([sys.executable, wrapper, "-o", folder, "--", "sh", "-c", "kill -KILL $$"],
                            capture_output=True, text=True, timeout=DEADLINE, check=False)
    demand(killed.returncode == 137 and " killed " in killed.stderr, f"{killed.returncode}: {killed.stderr}")
    shutil.rmtree(folder)


def test_drop_mode_counts_what_it_loses():
    def look(run):
        (ledger,) = run.ledgers
        demand(ledger.offered == ledger.captured + ledger.dropped_full + ledger.refused_busy, "lost, but not by being full")

    same(program("threads", "100"), processes=1, lossless=False, mode="drop", more=look)


def main():
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    passed = failed = 0
    for name, test in list(globals().items()):
        if not name.startswith("test_") or ONLY not in name:
            continue
        try:
            test()
        except (Failure, subprocess.SubprocessError, sqlite3.Error, OSError, ValueError) as failure:
            failed += 1
            print(f"alloc_trace: {name[5:]} ... FAILED\n    {failure}", flush=True)
        else:
            passed += 1
            print(f"alloc_trace: {name[5:]} ... ok", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
