"""Checks the exports of the command with other programs, event by event.

    check.py COMMAND DIRECTORY < EXPECTED     EXPECTED: what the example `sample` has printed, whose journal is DIRECTORY/journal

NDJSON is read by Python's json (and by `python3 -m json.tool`), CSV by its csv, SQLite by the sqlite3 shell, Parquet by pyarrow and by DuckDB,
as far as these two can be imported. Licence: MIT OR Apache-2.0.
"""

import csv
import io
import json
import math
import os
import struct
import subprocess
import sys

COMMAND, DIRECTORY = sys.argv[1:3]
JOURNAL = os.path.join(DIRECTORY, "journal")
KINDS = {"sample": ["size", "change", "ok", "color", "ratio", "exact", "small", "least", "key", "text"], "point": ["at", "of"]}
passed = failed = 0


def check(what, good, shown=""):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
    print(f"{'ok    ' if good else 'FAILED'}  {what}{'' if good else ': ' + str(shown)[:2000]}")


def expected_events():
    events = []
    for line in sys.stdin:
        event = json.loads(line)
        event["payload"] = bytes.fromhex(event["payload"])
        fields = event["fields"]
        for name in ("ratio", "exact"):
            if name in fields:
                fields[name] = struct.unpack(">d", bytes.fromhex(fields[name]))[0]
        if "text" in fields:
            fields["text"] = bytes.fromhex(fields["text"]).decode()
        if "key" in fields:
            fields["key"] = bytes.fromhex(fields["key"])
        events.append(event)
    return sorted(events, key=identity)


def identity(event):
    return event["generation"], event["ring_id"], event["sequence"]


def same(found, wanted):
    """Whether two values are equal; NaN equals itself, and 0.0 is not -0.0."""
    if isinstance(found, float) and isinstance(wanted, float):
        return struct.pack("<d", found) == struct.pack("<d", wanted) or math.isnan(found) and math.isnan(wanted)
    return type(found) is type(wanted) and found == wanted


def differences(found, wanted):
    """Where two lists of events differ."""
    lines = [f"{len(found)} events, {len(wanted)} expected"] if len(found) != len(wanted) else []
    for one, other in zip(sorted(found, key=identity), wanted):
        for name in other:
            if name == "fields":
                continue
            if not same(one.get(name), other[name]):
                lines.append(f"{identity(other)} {name}: {one.get(name)!r}, expected {other[name]!r}")
        for name in set(one["fields"]) | set(other["fields"]):
            if not same(one["fields"].get(name), other["fields"].get(name)):
                lines.append(f"{identity(other)} {name}: {one['fields'].get(name)!r}, expected {other['fields'].get(name)!r}")
    return lines


def compare(what, found, wanted):
    lines = differences(found, wanted)
    check(f"{what}: {len(wanted)} events, as they were captured", not lines, "; ".join(lines))


def export(name, *options):
    path = os.path.join(DIRECTORY, name)
    done = subprocess.run([COMMAND, "export", "--force", JOURNAL, path, *options], capture_output=True, text=True, check=False)
    check(f"export {name} {' '.join(options)}", done.returncode == 0 and not done.stdout + done.stderr, done.stdout + done.stderr)
    return path


def wall_ns(text):
    """Nanoseconds since 1970 of a time as the command writes it."""
    import datetime
    whole = datetime.datetime.fromisoformat(text[:19] + "+00:00")
    return int(whole.timestamp()) * 10**9 + int(text[20:29])


# --- NDJSON -----------------------------------------------------------------------------------------------------------------------------
def check_ndjson(wanted):
    path = export("a.ndjson", "--payload", "always")
    tool = subprocess.run([sys.executable, "-m", "json.tool", "--json-lines", path], capture_output=True, text=True, check=False)
    check("NDJSON: json.tool reads it", tool.returncode == 0 and tool.stdout.count('"sequence"') == len(wanted), tool.stderr)
    found, attributes = [], []
    with open(path, encoding="utf-8") as file:
        for line in file:
            event = json.loads(line)
            event["generation"] = int(event["generation"], 16)
            event["wall_ns"] = wall_ns(event["wall_time"])
            event["payload"] = bytes.fromhex(event["payload"])
            event["weight"] = float(event["weight"])
            attributes.append(event.pop("attributes", None))
            fields = event.setdefault("fields", {})
            if "key" in fields:
                fields["key"] = bytes.fromhex(fields["key"])
            for name in ("ratio", "exact"):
                # JSON has no NaN and no infinity.
                if name in fields:
                    fields[name] = math.nan if fields[name] is None else float(fields[name])
            found.append(event)

    def finite(event):
        fields = dict(event["fields"])
        for name in ("ratio", "exact"):
            if name in fields and not math.isfinite(fields[name]):
                fields[name] = math.nan
        if "ratio" in fields and not math.isnan(fields["ratio"]):
            fields["ratio"] = 0.1  # as few digits as tell it from other floats of 4 bytes
        return {**event, "fields": fields}

    compare("NDJSON", found, [finite(event) for event in wanted])
    check("NDJSON: each event has the attributes of its run", attributes == [{"host": "alpha", "version": "1.2"}] * len(wanted), attributes)


# --- CSV --------------------------------------------------------------------------------------------------------------------------------
def check_csv(wanted):
    path = export("a.csv", "--payload", "always")
    found = []
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            kind = row["_kind_name"]
            fields = {}
            for name in KINDS.get(kind, []):
                text = row[f"{kind}.{name}"]
                if name in ("ratio", "exact"):
                    value = float(text) if text else None
                elif name in ("text", "color"):
                    value = text
                elif name == "key":
                    value = bytes.fromhex(text)
                elif name == "ok":
                    value = {"true": True, "false": False}.get(text)
                else:
                    value = int(text) if text else None
                fields[name] = value
            found.append({
                "generation": int(row["_generation"], 16), "wall_ns": wall_ns(row["_wall_time"]), "payload": bytes.fromhex(row["_payload"]),
                "kind_name": kind or None, "weight": float(row["_weight"]), "fields": fields,
                "tid": int(row["_tid"]) if row["_tid"] else None, "thread_name": row["_thread_name"] or None,
                **{name: int(row[f"_{name}"]) for name in ("ring_id", "sequence", "time_ns", "kind", "correlation_id", "node_id", "flags")}})

    def as_text(event):
        fields = dict(event["fields"])
        if event["kind_name"] == "sample":
            # An empty cell is a value that is absent, or an empty text.
            fields = {**{"color": "", "text": "", "key": b""}, **fields}
        if "ratio" in fields and not math.isnan(fields["ratio"]):
            fields["ratio"] = 0.1
        return {**event, "fields": fields}

    compare("CSV", found, [as_text(event) for event in wanted])


# --- SQLite -----------------------------------------------------------------------------------------------------------------------------
def shell(path, sql):
    done = subprocess.run(["sqlite3", "-readonly", "-json", path, sql], capture_output=True, text=True, check=False)
    check(f"sqlite3: {sql[:60]}", done.returncode == 0, done.stderr)
    return json.loads(done.stdout or "[]")


def check_sqlite(wanted):
    path = export("a.db")
    # A log that a reader has left beside another database of that name must not become one of the new database.
    with open(path + "-wal", "wb") as file:
        file.write(b"left behind")
    path = export("a.db")
    check("SQLite: one file", not any(os.path.exists(path + end) for end in ("-wal", "-shm")))
    columns = "generation, ring_id, sequence, wall_time, time_ns, kind, kind_name, correlation_id, node_id, weight, flags, tid, thread_name, hex(payload) AS payload"
    found = []
    for row in shell(path, f"SELECT {columns} FROM events_view"):
        found.append({**row, "generation": int(row["generation"], 16), "payload": bytes.fromhex(row["payload"]), "fields": {},
                      "weight": float(row["weight"]),
                      **{name: int(row[name]) for name in ("ring_id", "sequence", "time_ns", "correlation_id", "node_id")}})

    def stored(event):
        event = {name: value for name, value in event.items() if name not in ("wall_ns", "fields", "tid")}
        return {**event, "fields": {}}

    compare("SQLite, events_view", found, [stored(event) for event in wanted])
    run, = shell(path, "SELECT printf('%016x', generation) AS generation, pid, program, boot_id, first_wall_ns, deleted, conflicts FROM runs")
    check("SQLite: the run is that of the program that captured the events", run == {
        "generation": "feed000000000001", "pid": 1, "program": "a test", "boot_id": "01010101-0101-0101-0101-010101010101",
        "first_wall_ns": 1700000000000000001, "deleted": 0, "conflicts": 0}, run)
    threads = shell(path, "SELECT ring_id, tid, name FROM threads ORDER BY ring_id")
    check("SQLite: the threads", [(t["ring_id"], t["tid"], t["name"]) for t in threads] == [(1, 4711, "main"), (2, -1, "wörker 2")], threads)
    points = shell(path, "SELECT at, of, _sequence FROM kind_point ORDER BY _time_ns")
    numbers = [(int(p["at"], 0), p["of"], p["_sequence"]) for p in points]
    check("SQLite: the view of a kind", numbers == [(0x7FFF12345678, -1, 1), (2**64 - 1, -2**63, 3), (1, 2, 5)], points)
    indexes = shell(path, "SELECT count(*) AS n FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")
    check("SQLite: the indexes are made", indexes[0]["n"] == 4, indexes)
    check("SQLite: the database is whole", shell(path, "PRAGMA integrity_check") == [{"integrity_check": "ok"}])


# --- Parquet ----------------------------------------------------------------------------------------------------------------------------
def parquet_event(row, wall, kinds=KINDS):
    """An event from a row as a dictionary. `wall`: the column of wall times as integers."""
    kind = row["_kind_name"]
    group = row.get(kind) if kind in kinds else {}
    fields = {name: value for name, value in (group or {}).items() if value is not None}
    return {**{name: row[f"_{name}"] for name in ("generation", "ring_id", "sequence", "time_ns", "kind", "kind_name", "correlation_id", "node_id", "weight",
                                                  "flags", "tid", "thread_name", "payload")}, "wall_ns": wall, "fields": fields}


def parquet_wanted(event):
    # A time of 2^63 and more is missing.
    return {**event, "wall_ns": event["wall_ns"] if event["wall_ns"] < 2**63 - 1 else None, "weight": float(event["weight"])}


def check_pyarrow(pyarrow, wanted):
    import pyarrow.parquet
    import pyarrow.compute
    for options in (["--compression", "none"], ["--compression", "zstd"]):
        path = export("a.parquet", "--payload", "always", *options)
        table = pyarrow.parquet.read_table(path)
        wall = table["_wall_time"].cast(pyarrow.int64()).to_pylist()
        found = [parquet_event(row, ns) for row, ns in zip(table.drop_columns(["_wall_time"]).to_pylist(), wall)]
        compare(f"Parquet {options[1]}, pyarrow", found, [parquet_wanted(event) for event in wanted])
        runs = json.loads(pyarrow.parquet.read_metadata(path).metadata[b"capture_pipeline.runs"])
        check("Parquet: the runs with their attributes, pyarrow", runs == [{
            "run": "feed000000000001", "program": "a test", "pid": 1, "started": "2023-11-14T22:13:20.000000001Z",
            "attributes": {"host": "alpha", "version": "1.2"}}], runs)
        codec = pyarrow.parquet.ParquetFile(path).metadata.row_group(0).column(0).compression
        check(f"Parquet: compressed by {codec}", codec == {"none": "UNCOMPRESSED", "zstd": "ZSTD"}[options[1]])
    schema = table.schema
    types = {name: str(schema.field(name).type) for name in ("_wall_time", "_time_ns", "_kind", "_flags", "_kind_name", "_payload", "point")}
    check("Parquet: the types", types == {
        "_wall_time": "timestamp[ns, tz=UTC]", "_time_ns": "uint64", "_kind": "uint32", "_flags": "uint32", "_kind_name": "string", "_payload": "binary",
        "point": "struct<at: uint64, of: int64>"}, types)
    sample = str(schema.field("sample").type)
    check("Parquet: the types of fields", sample == "struct<size: uint64, change: int32, ok: bool, color: string, ratio: float, exact: double, small: uint16, "
          "least: int16, key: binary, text: string>", sample)
    filtered = pyarrow.parquet.read_table(path, filters=pyarrow.compute.field("_correlation_id") > pyarrow.scalar(2**63, pyarrow.uint64()))
    check("Parquet: numbers of 2^63 and more are filtered right", filtered.num_rows == 1, filtered.num_rows)

    path = export("auto.parquet")
    rows = pyarrow.parquet.read_table(path, columns=["_kind_name", "_payload", "point"]).to_pylist()
    without = [row for row in rows if row["_payload"] is None]
    check("Parquet: no payload where the fields say all", len(without) == 2 and all(row["point"] for row in without), without)

    path = export("point.parquet", "--kind", "point")
    single = pyarrow.parquet.read_table(path)
    check("Parquet: the fields of a single kind are columns", single.schema.names[:2] == ["at", "of"] and sorted(single["at"].to_pylist()) == [1, 0x7FFF12345678, 2**64 - 1],
          single.schema.names)
    path = export("none.parquet", "--kind", "4000000000")
    check("Parquet: a file without rows", pyarrow.parquet.read_table(path).num_rows == 0)


def check_duckdb(duckdb, wanted):
    path = export("a.parquet", "--payload", "always")
    base = duckdb.connect()
    base.execute("SET TimeZone = 'UTC'")
    names = ", ".join(f"_{name}" for name in ("generation", "ring_id", "sequence", "time_ns", "kind", "kind_name", "correlation_id", "node_id", "weight", "flags",
                                              "tid", "thread_name", "payload"))
    cursor = base.execute(f"SELECT {names}, sample, point, epoch_ns(_wall_time) AS wall FROM '{path}'")
    columns = [column[0] for column in cursor.description]
    rows = [dict(zip(columns, row)) for row in cursor.fetchall()]
    compare("Parquet, DuckDB", [parquet_event(row, row["wall"]) for row in rows], [parquet_wanted(event) for event in wanted])

    def one(sql):
        return base.execute(sql.format(path)).fetchall()

    check("DuckDB: numbers of 2^63 and more", one("SELECT sample.size FROM '{}' WHERE sample.size >= 9223372036854775808 ORDER BY 1") == [(2**63 + 1,), (2**64 - 1,)])
    check("DuckDB: nanoseconds", one("SELECT epoch_ns(_wall_time) FROM '{}' WHERE _kind_name = 'note' AND _time_ns < 4000000000") == [(1700000003000000021,)])
    found = one("SELECT typeof(_wall_time) FROM '{}' LIMIT 1")
    check("DuckDB: times have a zone and nanoseconds", found == [("TIMESTAMP_NS WITH TIME ZONE",)] or found == [("TIMESTAMPTZ_NS",)] or "NS" in found[0][0], found)
    check("DuckDB: groups", one("SELECT _kind_name, count(*) FROM '{}' GROUP BY 1 ORDER BY 2 DESC, 1")[:2] == [("sample", 5), ("note", 4)])
    check("DuckDB: the database of an export to NDJSON", one("SELECT count(*) FROM read_json('{}')".replace("{}", os.path.join(DIRECTORY, "a.ndjson"))) == [(13,)])


def main():
    wanted = expected_events()
    check("the sample has events", len(wanted) == 13)
    for event in wanted:
        event["weight"] = float(event["weight"])
    check_ndjson(wanted)
    check_csv(wanted)
    check_sqlite(wanted)
    for name, checks in (("pyarrow", check_pyarrow), ("duckdb", check_duckdb)):
        try:
            module = __import__(name)
        except ImportError:
            print(f"skipped: {name} cannot be imported")
            continue
        checks(module, wanted)
    print(f"cli: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
