"""Checks the command's OTLP with the messages of PyPI's opentelemetry-proto: every span, log record and number, as protocol buffers, as JSON and as a collector gets
them.

    otlp.py COMMAND DIRECTORY     DIRECTORY: the journals that the examples `sample` and `timelines` have written

What is expected is made from the command's NDJSON, which `check.py` checks, by plain rules that are written here anew. Values are compared, not success: the
JSON parser of protobuf takes the hexadecimal ids for base64. Licence: MIT OR Apache-2.0.
"""

import base64
import collections
import gzip
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

COMMAND, DIRECTORY = sys.argv[1:3]
SIGNALS = {"traces": TracesData, "logs": LogsData, "metrics": MetricsData}
PAIRS = {"call": ("call_return", None), "request": ("answer", "id"), "lock": ("unlock", None)}
ENDS = {end: (begin, key) for begin, (end, key) in PAIRS.items()}
passed = failed = 0


def check(what, good, shown=""):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
    print(f"{'ok    ' if good else 'FAILED'}  {what}{'' if good else ': ' + str(shown)[:3000]}")


def run(*arguments):
    return subprocess.run([COMMAND, "export", *arguments], capture_output=True, text=True, check=False, timeout=120)


def journal(name):
    return os.path.join(DIRECTORY, name)


def events_of(name):
    done = run(journal(name), "-", "--to", "ndjson", "--order", "time", "--payload", "always")
    return [json.loads(line) for line in done.stdout.splitlines()]


def messages(directory, signal):
    """The messages in the files of protocol buffers, in the order of their names."""
    found = []
    for name in sorted(os.listdir(directory)):
        if not name.startswith(signal):
            continue
        with open(os.path.join(directory, name), "rb") as file:
            data = file.read()
        while data:
            length = int.from_bytes(data[:4], "big")
            found.append(SIGNALS[signal].FromString(data[4:4 + length]))
            data = data[4 + length:]
    return found


def plain(value):
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind else None


def attributes(of):
    return {entry.key: plain(entry.value) for entry in of}


class Exported:
    """Everything in messages."""

    def __init__(self, traces, logs, metrics):
        self.spans, self.logs, self.points, self.resources = [], [], [], {}
        for message in traces:
            for resource in message.resource_spans:
                self.spans += [(self.resource(resource), span) for scope in resource.scope_spans for span in scope.spans]
        for message in logs:
            for resource in message.resource_logs:
                self.logs += [(self.resource(resource), log) for scope in resource.scope_logs for log in scope.log_records]
        for message in metrics:
            for resource in message.resource_metrics:
                run_of = self.resource(resource)
                for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                    points = metric.gauge.data_points if metric.HasField("gauge") else metric.sum.data_points
                    self.points += [(run_of, metric.name, metric.unit, point) for point in points]

    def resource(self, of):
        own = attributes(of.resource.attributes)
        self.resources[own["capture_pipeline.generation"]] = own
        return own["capture_pipeline.generation"]


def value(wanted):
    """A value of NDJSON as an attribute has it."""
    return str(wanted) if isinstance(wanted, int) and not isinstance(wanted, bool) and wanted >= 2**63 else wanted


def expected(events):
    """The spans, log records and numbers that events stand for: (identity, name, lasting, truncated)."""
    spans, logs, numbers, opened = [], [], [], []
    last = collections.defaultdict(int)
    for event in events:
        last[event["generation"]] = max(last[event["generation"]], event["time_ns"])
        name, identity = event.get("kind_name", str(event["kind"])), (event["generation"], event["ring_id"], event["sequence"])
        place = (event["generation"], event.get("tid") or ("ring", event["ring_id"]), event.get("thread_name"))
        fields = event.get("fields", {})
        if name in PAIRS:
            key = fields.get(PAIRS[name][1])
            opened.append((place, name, key, event["time_ns"], identity))
        elif name in ENDS:
            wanted = (place, ENDS[name][0], fields.get(ENDS[name][1]))
            at = next((at for at in reversed(range(len(opened))) if opened[at][:3] == wanted), None)
            if at is None:
                logs.append((identity, name, "begin"))
            else:
                begun = opened.pop(at)
                spans.append((begun[4], begun[1], event["time_ns"] - begun[3], None))
        elif name == "job":
            # (No span begins before 1970.)
            spans.append((identity, name, min(fields["took"], wall_ns(event["wall_time"])), None))
        elif name == "load":
            numbers += [(event["generation"], f"load.{field}", fields["core"], fields[field]) for field in ("used", "free")]
        else:
            logs.append((identity, name, None))
    spans += [(identity, name, last[identity[0]] - ns, "end") for _, name, _, ns, identity in opened]
    return sorted(spans, key=str), sorted(logs, key=str), sorted(numbers, key=str)


def identity_of(generation, own):
    return generation, own["capture_pipeline.ring_id"], own["capture_pipeline.sequence"]


def contents(name, exported, events):
    spans, logs, numbers = [], [], []
    by_id = {(event["generation"], event["ring_id"], event["sequence"]): event for event in events}
    wrong, ids, traces = [], collections.Counter(), {}
    for generation, span in exported.spans:
        own = attributes(span.attributes)
        identity = identity_of(generation, own)
        spans.append((identity, span.name, span.end_time_unix_nano - span.start_time_unix_nano, own.get("capture_pipeline.truncated")))
        event = by_id[identity]
        ids[span.span_id] += 1
        traces[span.span_id] = span.trace_id
        fields = {key: value(wanted) for key, wanted in event.get("fields", {}).items()}
        if any(own.get(key) != wanted for key, wanted in fields.items()) or len(span.trace_id) != 16 or len(span.span_id) != 8 or not any(span.span_id):
            wrong.append((span, event))
        if event["correlation_id"] and span.trace_id.hex() != event["generation"] + f"{event['correlation_id']:016x}":
            wrong.append((span.trace_id.hex(), event))
    for generation, log in exported.logs:
        own = attributes(log.attributes)
        if log.event_name == "capture_pipeline.lost":
            continue
        identity = identity_of(generation, own)
        logs.append((identity, log.event_name, own.get("capture_pipeline.truncated")))
        event = by_id[identity]
        if log.time_unix_nano != wall_ns(event["wall_time"]) or own.get("thread.name") != (event.get("thread_name") or None):
            wrong.append((log, event))
        if "capture_pipeline.payload" in own and own["capture_pipeline.payload"] != bytes.fromhex(event["payload"]):
            wrong.append((log, event))
    for generation, metric, _, point in exported.points:
        if metric.startswith("load."):
            number = point.as_int if point.WhichOneof("value") == "as_int" else point.as_double
            numbers.append((generation, metric, attributes(point.attributes)["core"], number))
    want_spans, want_logs, want_numbers = expected(events)
    want_numbers = [(*rest, float(number) if number >= 2**63 else number) for *rest, number in want_numbers]
    for what, got, want in (("spans", spans, want_spans), ("log records", logs, want_logs), ("numbers", numbers, want_numbers)):
        got, want = sorted(got, key=str), sorted(want, key=str)
        check(f"{name}: {len(want)} {what}", got == want, [(a, b) for a, b in zip(got, want) if a != b][:3] or (len(got), len(want)))
    check(f"{name}: ids, times and fields", not wrong, wrong[:2])
    check(f"{name}: no two spans have one id", all(count == 1 for count in ids.values()), ids.most_common(2))
    parents = [(span, traces.get(span.parent_span_id)) for _, span in exported.spans if span.parent_span_id]
    check(f"{name}: a parent is of the same trace", all(trace == span.trace_id for span, trace in parents), parents[:1])
    return len(parents)


def wall_ns(shown):
    import calendar
    import time
    whole, _, rest = shown.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) * 10**9 + int((rest or "0").ljust(9, "0"))


def as_json(message):
    """A message as the JSON of OTLP has it: ids in hexadecimal, other bytes in base64, numbers of 64 bits as texts, names in camelCase."""
    shown = {}
    for field, own in message.ListFields():
        name = field.json_name
        entries = own if field.is_repeated else [own]
        if field.message_type:
            entries = [as_json(entry) for entry in entries]
        elif field.name in ("trace_id", "span_id", "parent_span_id"):
            entries = [entry.hex() for entry in entries]
        elif field.type == field.TYPE_BYTES:
            entries = [base64.b64encode(entry).decode() for entry in entries]
        elif field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64):
            entries = [str(entry) for entry in entries]
        shown[name] = entries if field.is_repeated else entries[0]
    return shown


def without_defaults(node):
    """JSON without what is not set, except for the one value that a choice has."""
    if isinstance(node, dict):
        cleaned = {key: without_defaults(entry) for key, entry in node.items() if entry is not None}
        chosen = ("stringValue", "intValue", "boolValue", "doubleValue", "bytesValue", "asInt", "asDouble")
        return {key: str(entry) if key == "asInt" else entry for key, entry in cleaned.items()
                if key in chosen or entry not in ("", 0, [], {}, "0", False)}
    return [without_defaults(entry) for entry in node] if isinstance(node, list) else node


def files():
    for name in ("mixed", "boots", "crossed"):
        directories = {kind: journal(f"{name}.{kind}") for kind in ("otlp", "otlp-proto")}
        for kind, directory in directories.items():
            shutil.rmtree(directory, ignore_errors=True)
            done = run(journal(name), directory, "--to", kind)
            check(f"export {name} to {kind}", done.returncode == 0 and not done.stderr, done.stderr)
        protobuf = {signal: messages(directories["otlp-proto"], signal) for signal in SIGNALS}
        for signal, own in protobuf.items():
            path = os.path.join(directories["otlp"], f"{signal}.jsonl")
            lines = []
            if os.path.exists(path):
                with open(path, encoding="utf-8") as file:
                    lines = [without_defaults(json.loads(line)) for line in file]
            wanted = [without_defaults(as_json(message)) for message in own]
            check(f"{name}: {signal} are the same in JSON, {len(lines)} lines", lines == wanted,
                  next(((a, b) for a, b in zip(lines, wanted) if a != b), (len(lines), len(wanted))))
        exported = Exported(*protobuf.values())
        nested = contents(name, exported, events_of(name))
        if name == "mixed":
            check("mixed: spans lie within others", nested > 100, nested)
            runs = {generation: own["service.name"] for generation, own in exported.resources.items()}
            check("mixed: the program is the service", set(runs.values()) == {"a test"}, runs)
    shutil.rmtree(journal("split.otlp"), ignore_errors=True)
    done = run(journal("mixed"), journal("split.otlp"), "--to", "otlp-proto", "--split", "100K", "--trace-prefix", "00000000deadbeef")
    names = sorted(os.listdir(journal("split.otlp")))
    exported = Exported(*(messages(journal("split.otlp"), signal) for signal in SIGNALS))
    check("files are split by size", done.returncode == 0 and "traces.0002.pb" in names, names)
    whole = Exported(*(messages(journal("mixed.otlp-proto"), signal) for signal in SIGNALS))
    check("nothing is lost by it", (len(exported.spans), len(exported.logs), len(exported.points)) == (len(whole.spans), len(whole.logs), len(whole.points)))
    check("the first half of trace ids is what was given", all(span.trace_id[:8].hex() == "00000000deadbeef" for _, span in exported.spans))


def collector():
    """A collector that is busy at first, and rejects three spans at last."""
    class Handler(http.server.BaseHTTPRequestHandler):
        got, busy, rejects, refuses = [], 2, 0, False

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            own = Handler
            status, answer = 200, b""
            if own.refuses:
                status, answer = 400, b"no such tenant"
            elif own.busy:
                own.busy -= 1
                status = 503
            else:
                signal = self.path.removeprefix("/v1/")
                own.got.append((signal, SIGNALS[signal].FromString(gzip.decompress(body)), {name.lower(): own for name, own in self.headers.items()}))
                if own.rejects and signal == "traces":
                    answer = ExportTraceServiceResponse(partial_success={"rejected_spans": own.rejects}).SerializeToString()
                    own.rejects = 0
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    done = run(journal("mixed"), url, "--header", "X-Tenant: one")
    check("a collector that is busy twice gets everything", done.returncode == 0, done.stderr)
    got = Exported(*([message for signal, message, _ in Handler.got if signal == wanted] for wanted in SIGNALS))
    contents("collector", got, events_of("mixed"))
    headers = [own for _, _, own in Handler.got]
    check("headers are sent", all(own.get("x-tenant") == "one" and own.get("content-type") == "application/x-protobuf" for own in headers), headers[:1])
    Handler.rejects = 3
    done = run(journal("mixed"), url + "/")
    check("what a collector rejects is told", done.returncode == 2 and "rejected 3" in done.stderr, done.stderr)
    Handler.refuses = True
    done = run(journal("mixed"), url)
    check("a refusal is told with its reason", done.returncode == 2 and "400" in done.stderr and "no such tenant" in done.stderr, done.stderr)
    server.shutdown()
    server.server_close()
    done = run(journal("mixed"), url)
    check("a collector that is not there is told", done.returncode == 2 and url in done.stderr, done.stderr)
    for what, arguments, message in [
        ("encryption", [journal("mixed"), "https://localhost:4318"], "http://"),
        ("a header without a value", [journal("mixed"), url, "--header", "x"], "NAME: VALUE"),
        ("headers for files", [journal("mixed"), journal("x.otlp"), "--header", "a: b"], "--header"),
        ("pieces by time", [journal("mixed"), journal("x.otlp"), "--split", "1min"], "--split"),
    ]:
        done = run(*arguments)
        check(f"refused: {what}", done.returncode == 2 and message in done.stderr, (done.returncode, done.stderr))


files()
collector()
print(f"OTLP: {passed} passed, {failed} failed")
sys.exit(1 if failed else 0)
