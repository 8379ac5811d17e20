"""Checks the command's traces in CTF with babeltrace 2: every event, with its time to the nanosecond and its fields, and what is said to be missing.

    ctf.py COMMAND DIRECTORY     DIRECTORY: the journals that the examples `sample` and `timelines` have written

What is expected is the command's NDJSON, which `check.py` checks. Licence: MIT OR Apache-2.0.
"""

import collections
import json
import math
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import uuid as uuid_module

import bt2

COMMAND, DIRECTORY = sys.argv[1:3]
LAST_TIME = 2**63 - 1
OWN_TIME = 2
passed = failed = 0


def check(what, good, shown=""):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
    print(f"{'ok    ' if good else 'FAILED'}  {what}{'' if good else ': ' + str(shown)[:3000]}")


def run(*arguments):
    return subprocess.run([COMMAND, "export", *arguments], capture_output=True, text=True, check=False)


def wanted_events(journal, *options):
    done = run(os.path.join(DIRECTORY, journal), "-", "--to", "ndjson", "--order", "time", "--payload", "always", *options)
    return [json.loads(line) for line in done.stdout.splitlines()]


def wall_ns(shown):
    """Nanoseconds of a time as NDJSON has it: 2023-11-14T22:13:20.000000007Z."""
    import calendar
    import time
    whole, _, rest = shown.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) * 10**9 + int((rest or "0").ljust(9, "0"))


def plain(field):
    """The value of a field as Python has it: an enum as its label, or its number."""
    if isinstance(field, bt2._EnumerationFieldConst):
        labels = field.labels
        return labels[0] if labels else str(int(field))
    if isinstance(field, bt2._StringFieldConst):
        # What is no UTF-8 is replaced, as in NDJSON.
        text = str(field).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        # What stands for a text without characters, because babeltrace 2.0.4 shows that of an earlier event for one.
        return "" if text == "\u200b" else text
    if isinstance(field, bt2._ArrayFieldConst):
        return bytes(int(byte) for byte in field)
    if isinstance(field, bt2._RealFieldConst):
        return float(field)
    return int(field)


def read(path):
    """What babeltrace finds in a trace: the events and the numbers of discarded ones."""
    events, discarded = [], []
    for message in bt2.TraceCollectionMessageIterator(path):
        if type(message) is bt2._EventMessageConst:
            event = message.event
            found = {name: plain(field) for name, field in event.common_context_field.items()}
            found.update(name=event.name, ns=message.default_clock_snapshot.ns_from_origin, ticks=message.default_clock_snapshot.value)
            found["generation"] = str(event.stream.trace.environment["generation"])
            found["fields"] = {name: plain(field) for name, field in event.payload_field.items()}
            events.append(found)
        elif type(message) is bt2._DiscardedEventsMessageConst:
            discarded.append(message.count)
    return events, discarded


def same(found, wanted):
    if isinstance(wanted, bool):
        return found == ("true" if wanted else "false")
    if wanted is None:
        return isinstance(found, float) and not math.isfinite(found)
    if isinstance(found, float):
        wanted = float(wanted)
        # (NDJSON has a float of 4 bytes with as many digits as tell it from others.)
        return struct.pack("<d", found) == struct.pack("<d", wanted) or struct.pack("<f", found) == struct.pack("<f", wanted)
    if isinstance(found, bytes):
        return found == bytes.fromhex(wanted)
    return found == wanted


def identity(event):
    return event["generation"], event["ring_id"], event["sequence"]


def compare(journal, found, wanted):
    by_id = collections.Counter(identity(event) for event in found)
    check(f"{journal}: each event once", by_id == collections.Counter(identity(event) for event in wanted), f"{len(found)} of {len(wanted)}")
    # A run has one difference of the two clocks, that of its first event, also if the wall clock was set later.
    offsets = {}
    for event in wanted:
        offsets.setdefault(event["generation"], wall_ns(event["wall_time"]) - event["time_ns"])
    wanted = {identity(event): event for event in wanted}
    wrong = []
    for event in found:
        want = wanted.get(identity(event), {})
        own_time = event["flags"] & OWN_TIME
        # The language of the metadata has no way to write a NUL, and a text ends with one.
        name = want.get("kind_name", str(want.get("kind"))).replace("\0", "\ufffd")
        expected = {"kind": want.get("kind"), "correlation_id": want.get("correlation_id"), "node_id": want.get("node_id"), "flags": want.get("flags"),
                    "weight": want.get("weight"), "vtid": want.get("tid", 0), "procname": want.get("thread_name", "").split("\0")[0] or f"ring {event['ring_id']}"}
        differs = [key for key, value in expected.items() if event[key] != value]
        if event["name"] not in (name, f"{name} (payload)"):
            differs.append("name")
        if not own_time and (event["ns"] != want["time_ns"] + offsets[want["generation"]] or event["ticks"] != want["time_ns"]):
            differs.append("time")
        fields = {key: value for key, value in event["fields"].items() if not key.endswith("_length")}
        payload = fields.pop("payload", None)
        if payload is not None and payload != bytes.fromhex(want["payload"]):
            differs.append("payload")
        if event["name"] == name and set(fields) != set(want.get("fields", {})):
            differs.append("fields")
        differs += [key for key, value in fields.items() if not same(value, want["fields"].get(key))]
        if payload is None and not fields and want["payload"]:
            differs.append("nothing of the payload")
        if differs:
            wrong.append((identity(event), differs, event, want))
    check(f"{journal}: times, threads, ids and fields of {len(found)} events", not wrong, wrong[:2])


def packets(path):
    """The uuid, the times, the sizes, the number and the count of discarded events of each packet of a stream, by the layout of its header."""
    with open(path, "rb") as file:
        data = file.read()
    at, found = 0, []
    while at < len(data):
        magic, uuid, _, begin, end, content, size, number, discarded = struct.unpack_from("<I16sI6Q", data, at)
        found.append((magic, uuid, begin, end, content, size, number, discarded))
        at += size // 8
    return found


def streams(journal, path):
    """What readers take without a word and show wrongly, or refuse: docs/cli.md and the format's own rules."""
    uuids = {}
    for run_of in sorted(os.listdir(path)):
        with open(os.path.join(path, run_of, "metadata"), encoding="utf-8", errors="replace") as file:
            metadata = file.read()
        for name in sorted(os.listdir(os.path.join(path, run_of))):
            if name == "metadata":
                continue
            found = packets(os.path.join(path, run_of, name))
            own = {uuid for _, uuid, *_ in found}
            uuids.setdefault(run_of, set()).update(own)
            # Packets with another trace's uuid would be read as this one's.
            check(f"{journal} {run_of}/{name}: packets have the uuid of their trace alone", len(own) == 1 and str(uuid_module.UUID(bytes=next(iter(own)))) in metadata, own)
            counts = [packet[-1] for packet in found]
            # What the first one says is never shown, and one below the one before reads as some 1.8e19.
            check(f"{journal} {run_of}/{name}: {len(found)} packets, whose counts of discarded events begin at 0 and never fall", counts[0] == 0 and counts == sorted(counts), counts[:9])
            check(f"{journal} {run_of}/{name}: sizes and times are set", all(
                magic == 0xC1FC1FC1 and 0 < content <= size and begin <= end for magic, _, begin, end, content, size, _, _ in found)
                and [number for *_, number, _ in found] == list(range(len(found))) and all(a[3] <= b[2] for a, b in zip(found, found[1:])), found[:2])
    every = [uuid for own in uuids.values() for uuid in own]
    check(f"{journal}: each run has a uuid of its own", len(every) == len(set(every)) == len(uuids), uuids)
    # The program ends with status 1 and a message where a packet's last time is before its last event, or a foreign file is there.
    done = subprocess.run(["babeltrace2", path], capture_output=True, text=True, errors="replace", check=False)
    messages = [line for line in done.stderr.splitlines() if "ERROR" in line or "CAUSED BY" in line]
    check(f"{journal}: babeltrace2 reads it without an error", done.returncode == 0 and not messages, done.stderr)


def killed():
    """An export that is killed leaves no trace under its name: one packet that is not whole would hide every event of every stream."""
    path = os.path.join(DIRECTORY, "killed.ctf")
    shutil.rmtree(path, ignore_errors=True)
    before = set(os.listdir(DIRECTORY))
    child = subprocess.Popen([COMMAND, "export", os.path.join(DIRECTORY, "odd"), path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    # It is stopped in the middle, as soon as a stream has its first bytes.
    while time.monotonic() < end and child.poll() is None:
        begun = [name for name in set(os.listdir(DIRECTORY)) - before if any(
            file != "metadata" and os.path.getsize(os.path.join(folder, file)) for folder, _, files in os.walk(os.path.join(DIRECTORY, name)) for file in files)]
        if begun:
            break
    child.send_signal(signal.SIGKILL)
    child.wait()
    check("a killed export was in the middle", begun and child.returncode == -signal.SIGKILL and not os.path.exists(path), (begun, child.returncode, os.path.exists(path)))
    check("what it leaves is hidden", all(name.startswith(".") for name in begun), begun)
    done = run(os.path.join(DIRECTORY, "odd"), path)
    check("the next export is whole", len(read(path)[0]) == 70_001, done.stderr)
    for name in begun:
        shutil.rmtree(os.path.join(DIRECTORY, name))


def journals():
    for journal in ("journal", "mixed", "crossed", "gaps", "lossy", "boots", "odd", "long"):
        path = os.path.join(DIRECTORY, f"{journal}.ctf")
        shutil.rmtree(path, ignore_errors=True)
        done = run(os.path.join(DIRECTORY, journal), path)
        wanted = [event for event in wanted_events(journal) if event["time_ns"] <= LAST_TIME]
        check(f"export {journal}", done.returncode in (0, 1) and os.path.isdir(path), done.stderr)
        found, discarded = read(path)
        compare(journal, found, wanted)
        runs = {event["generation"] for event in wanted}
        check(f"{journal}: a trace for each of {len(runs)} runs", {f"run-{run}" for run in runs} == set(os.listdir(path)), os.listdir(path))
        if journal == "gaps":
            check("gaps: what is missing is said", discarded == [7], discarded)
        if journal == "lossy":
            # The sequences before the 40 events that end each thousand: three are missing before each.
            check("lossy: each gap is said with its count", discarded == [3] * 40, (len(discarded), sum(discarded), discarded[:5]))
        streams(journal, path)
        if journal == "mixed":
            check("mixed: nothing is missing", not discarded, discarded)


def choices():
    """Parts of a journal, and what cannot be written."""
    path = os.path.join(DIRECTORY, "chosen.ctf")
    shutil.rmtree(path, ignore_errors=True)
    done = run(os.path.join(DIRECTORY, "mixed"), path, "--kind", "call", "--payload", "always")
    found, discarded = read(path)
    compare("one kind of mixed", found, wanted_events("mixed", "--kind", "call"))
    check("what was not asked for is not missing", done.returncode == 0 and not discarded, discarded)
    check("payloads are there if they are asked for", found and all("payload" in event["fields"] for event in found), found[:1])
    for what, arguments, message in [
        ("a directory that is not empty", [os.path.join(DIRECTORY, "mixed"), path], "not empty"),
        ("the standard output", [os.path.join(DIRECTORY, "mixed"), "-", "--to", "ctf"], "standard output"),
        ("pieces", [os.path.join(DIRECTORY, "mixed"), path + ".2", "--to", "ctf", "--split", "1M"], "--split"),
        ("no event", [os.path.join(DIRECTORY, "mixed"), path + ".3", "--to", "ctf", "--where", "_time = 1"], "no event"),
        ("a directory that is not there", [os.path.join(DIRECTORY, "mixed"), os.path.join(DIRECTORY, "none", "x.ctf")], "none"),
    ]:
        done = run(*arguments)
        check(f"refused: {what}", done.returncode == 2 and message in done.stderr, (done.returncode, done.stderr))
    left = [name for name in os.listdir(DIRECTORY) if name.startswith(".") or name in ("chosen.ctf.2", "chosen.ctf.3")]
    check("nothing is left of what failed", not left, left)


journals()
killed()
choices()
print(f"CTF: {passed} passed, {failed} failed")
sys.exit(1 if failed else 0)
