"""Checks `capture-pipeline mcp` with the client of PyPI's mcp, in both of its modes, and with lines that no client sends.

    mcp_client.py COMMAND DIRECTORY     DIRECTORY: the journals that the examples `sample` and `timelines` have written

What is expected is made from the output of `capture-pipeline cat`, which `check.py` checks. Every wait has a deadline. Licence: MIT OR Apache-2.0.
"""

import asyncio
import collections
import json
import os
import queue
import subprocess
import sys
import threading

from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.shared.exceptions import MCPError

COMMAND, DIRECTORY = sys.argv[1:3]
NAMES = ["mixed", "journal", "gaps"]
DEADLINE = 60
TOOLS = ["health", "metrics", "kinds", "query", "latest", "slowest", "losses"]
passed = failed = 0


def check(what, good, shown=""):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
    print(f"{'ok    ' if good else 'FAILED'}  {what}{'' if good else ': ' + str(shown)[:3000]}")


def path(name):
    return os.path.join(DIRECTORY, name)


def cat(name, *arguments):
    """The events that the command prints, with the identity of each."""
    done = subprocess.run([COMMAND, "cat", path(name), "--json", *arguments], capture_output=True, text=True, check=True, timeout=DEADLINE)
    return [json.loads(line) for line in done.stdout.splitlines()]


def identities(events):
    return [(event["generation"], str(event["ring_id"]), str(event["sequence"])) for event in events]


def as_texts(event):
    """An event of `cat` with the ids as the server gives them."""
    ids = ("ring_id", "sequence", "time_ns", "correlation_id", "node_id", "tid")
    return {key: str(value) if key in ids else value for key, value in event.items() if key != "fields"}


def without(event, *names):
    return {key: value for key, value in event.items() if key not in names}


class Tools:
    """The tools, called by a client."""

    def __init__(self, client):
        self.client = client

    async def __call__(self, tool, **arguments):
        result = await self.client.call_tool(tool, {key.rstrip("_"): value for key, value in arguments.items()}, DEADLINE)
        assert len(result.content) == 1 and result.structured_content is None, result
        text = result.content[0].text
        return text if result.is_error else json.loads(text)


async def state(tools, mode):
    health = await tools("health")
    check(f"{mode}: health has all journals", [journal["journal"] for journal in health["journals"]] == NAMES, health)
    runs = {run["run"]: run for run in health["journals"][0]["runs"]}
    listed = subprocess.run([COMMAND, "ls", path("mixed"), "--json"], capture_output=True, text=True, check=True, timeout=DEADLINE)
    listed = {run["run"]: run for run in map(json.loads, listed.stdout.splitlines())}
    same = all(runs[run]["events"] == str(own["events"]) and runs[run]["state"] == own["state"] and runs[run]["started"] == own["started"]
               for run, own in listed.items())
    check(f"{mode}: health has the runs of ls", same and runs.keys() == listed.keys(), (runs, listed))
    metrics = await tools("metrics", journal="gaps")
    ledger = metrics["journals"][0]["runs"][0]["ledger"]
    stat = subprocess.run([COMMAND, "stat", path("gaps")], capture_output=True, text=True, check=True, timeout=DEADLINE).stdout
    counts = {name: count for name, count in ledger["counts"].items() if count != "0"} if ledger else {}
    check(f"{mode}: metrics are the ledger of stat", all(f"{int(count):,} {name}" in stat for name, count in counts.items()), (counts, stat))
    losses = await tools("losses", journal="gaps")
    missing = sum(int(ring["missing"]) for ring in losses["rings_with_gaps"])
    sequences = collections.defaultdict(list)
    for event in cat("gaps"):
        sequences[(event["generation"], event["ring_id"])].append(event["sequence"])
    lost = sum(max(own) - min(own) + 1 - len(own) for own in sequences.values())
    check(f"{mode}: losses are the gaps in sequences", missing == lost > 0, (losses, lost))
    named = {count for run in losses["runs"] for count in (*run["lost"], *run["left_out_by_choice"])}
    check(f"{mode}: every loss has a meaning", named <= losses["meanings"].keys(), losses)


async def kinds(tools, mode):
    answer = await tools("kinds", journal="mixed")
    known = {kind["name"]: kind for kind in answer["kinds"] if "role" in kind}
    call, packet = known["call"], known["packet"]
    check(f"{mode}: kinds have roles, partners and fields", call["role"] == "begin" and call["pairs_with"] == known["call_return"]["kind"]
          and call["fields"] == [{"name": "argument", "type": "u64"}] and known["job"]["duration_field"] == "took", known)
    check(f"{mode}: kinds have the names of values", packet["fields"][1] == {"name": "way", "type": "enum", "values": ["in", "o\"ut"]}, packet)
    resources = (await tools.client.list_resources()).resources
    check(f"{mode}: a resource for each journal", [str(resource.uri) for resource in resources] == [f"capture-pipeline://kinds/{at}" for at in range(3)], resources)
    read = await tools.client.read_resource(str(resources[0].uri))
    check(f"{mode}: the resource is what the tool says", json.loads(read.contents[0].text) == answer, read)
    for uri in ("capture-pipeline://kinds/3", "capture-pipeline://kinds/../0", "file:///etc/passwd"):
        try:
            check(f"{mode}: no resource {uri}", False, await tools.client.read_resource(uri))
        except MCPError as error:
            check(f"{mode}: no resource {uri}", "no resource" in str(error), error)


async def pages(tools, mode):
    for name, arguments, options in [
        ("mixed", {}, []),
        ("mixed", {"where_": "kind_name = \"job\" and took > 100"}, ["--where", "kind_name = \"job\" and took > 100"]),
        ("mixed", {"kind": ["call", "answer"], "from_": "+10us", "until": "-10us"}, ["--kind", "call", "--kind", "answer", "--from", "+10us", "--until", "-10us"]),
        ("journal", {}, []),
    ]:
        expected, got, cursor, count = cat(name, *options), [], None, 0
        limit = max(1, len(expected) // 3)
        while count < 10:
            page = await tools("query", journal=name, limit=limit, **arguments, **({"cursor": cursor} if cursor else {}))
            if isinstance(page, str):
                check(f"{mode}: query {name} {options}", False, page)
                break
            got += page["events"]
            cursor, count = page["next_cursor"], count + 1
            if cursor is None:
                break
        check(f"{mode}: query {name} {options}: {len(expected)} events in {count} pages", identities(got) == identities(expected) and count > 1, (len(got), count))
        # The attributes of a run are told with the run, not with each of its events.
        wrong = [(own, other) for own, other in zip(got, (without(event, "attributes") for event in expected))
                 if not without(own, "fields", "payload").items() <= as_texts(other).items() or ("fields" not in own and own["payload"] != other["payload"])
                 or own.keys() | {"payload"} != other.keys() | {"payload"} or own.get("fields", {}).keys() != other.get("fields", {}).keys()
                 or any(str(own["fields"][key]) != str(value) for key, value in other.get("fields", {}).items() if isinstance(value, int))]
        check(f"{mode}: query {name} {options}: their contents", not wrong, wrong[:1])
    words = [field for event in (await tools("query", journal="mixed", kind=["job"]))["events"] for field in event["fields"].values()]
    check(f"{mode}: fields of 64 bits are texts", words and all(isinstance(word, str) for word in words), words[:3])
    last = await tools("latest", journal="mixed", limit=7)
    check(f"{mode}: the last seven", identities(last["events"]) == identities(cat("mixed"))[-7:], last)
    for what, arguments, message in [
        ("an unknown name", {"wher": "kind = 1"}, "`wher`"),
        ("a path", {"path": "/etc"}, "`path`"),
        ("a journal that is not listed", {"journal": path("boots")}, "there is no"),
        ("no journal of several", {"journal": None}, "none is given"),
        ("a wrong expression", {"where_": "size >"}, "size >"),
        ("a wrong time", {"from_": "tomorrow"}, "tomorrow"),
        ("an unknown kind", {"kind": ["nothing"]}, "nothing"),
        ("an id as a number", {"correlation_id": 2**60}, "a string"),
        ("a limit of 0", {"limit": 0}, "from 1 to 10000"),
        ("a cursor that is none", {"cursor": "1-2"}, "cursor"),
        ("a cursor of another query", {"cursor": "0-ffffffffffffffff-1-1-1-1"}, "other arguments"),
    ]:
        answer = await tools("query", **{"journal": "mixed", **arguments})
        check(f"{mode}: refused: {what}", isinstance(answer, str) and message in answer, answer)


async def slow(tools, mode):
    opened, took = [], []
    pairs = {"call": ("call_return", None), "request": ("answer", "id"), "lock": ("unlock", None)}
    ends = {end: (begin, key) for begin, (end, key) in pairs.items()}
    for event in cat("mixed"):
        name, fields = event.get("kind_name"), event.get("fields", {})
        place = (event["generation"], event.get("tid") or ("ring", event["ring_id"]), event.get("thread_name"))
        identity = identities([event])[0]
        if name in pairs:
            opened.append(((place, name, fields.get(pairs[name][1])), event["time_ns"], identity))
        elif name in ends:
            wanted = (place, ends[name][0], fields.get(ends[name][1]))
            at = next((at for at in reversed(range(len(opened))) if opened[at][0] == wanted), None)
            if at is not None:
                _, began, identity = opened.pop(at)
                took.append((event["time_ns"] - began, identity))
        elif name == "job":
            took.append((fields["took"], identity))
    answer = await tools("slowest", journal="mixed", limit=40)
    got = [(int(own["duration_ns"]), identities([own.get("begin") or own["event"]])[0]) for own in answer["slowest"]]
    by_identity = {identity: ns for ns, identity in took}
    check(f"{mode}: slowest: the durations", [ns for ns, _ in got] == sorted((ns for ns, _ in took), reverse=True)[:40], (got[:5], len(took)))
    check(f"{mode}: slowest: they are of these events", all(by_identity.get(identity) == ns for ns, identity in got), got[:5])
    check(f"{mode}: slowest: {len(took)} finished, {len(opened)} not", (answer["finished"], answer["unfinished"]) == (str(len(took)), str(len(opened))), answer)
    only = await tools("slowest", journal="mixed", kind=["request"], limit=3)
    check(f"{mode}: slowest of one kind, whose ends were not asked for", len(only["slowest"]) == 3
          and {own["begin"]["kind_name"] for own in only["slowest"]} == {"request"}, only)


async def with_client(mode):
    server = StdioServerParameters(command=COMMAND, args=["mcp", *map(path, NAMES)])
    async with Client(server, mode=mode, read_timeout_seconds=DEADLINE) as client:
        tools = Tools(client)
        listed = (await client.list_tools()).tools
        check(f"{mode}: the tools", [tool.name for tool in listed] == TOOLS, listed)
        check(f"{mode}: they read only, and refuse unknown names", all(tool.annotations.read_only_hint and tool.input_schema["additionalProperties"] is False
                                                                      for tool in listed), listed)
        await state(tools, mode)
        await kinds(tools, mode)
        await pages(tools, mode)
        await slow(tools, mode)
        try:
            check(f"{mode}: no other tool", False, await client.call_tool("nothing", {}, DEADLINE))
        except MCPError as error:
            check(f"{mode}: no other tool", "nothing" in str(error), error)


class Raw:
    """The server, with lines written and read by hand."""

    def __init__(self, *names):
        self.process = subprocess.Popen([COMMAND, "mcp", *map(path, names)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def send(self, *messages):
        text = "".join((message if isinstance(message, str) else json.dumps({"jsonrpc": "2.0", **message})) + "\n" for message in messages)
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def answer(self):
        """The next message; none: the output has ended. A line that is no JSON fails."""
        line = self.lines.get(timeout=DEADLINE)
        return None if line is None else json.loads(line)

    def initialize(self):
        client = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        self.send({"id": 0, "method": "initialize", "params": client}, {"method": "notifications/initialized"})
        return self.answer()

    def end(self):
        self.process.stdin.close()
        rest = []
        while (message := self.answer()) is not None:
            rest.append(message)
        return self.process.wait(DEADLINE), rest, self.process.stderr.read()


def call(number, tool, **arguments):
    return {"id": number, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}


def by_hand():
    server = Raw("mixed")
    begun = server.initialize()
    check("initialize: the server's name", begun["result"]["serverInfo"]["name"] == "capture-pipeline", begun)
    server.send("no JSON at all", call(1, "metrics"))
    answers = {}
    while 1 not in answers:
        message = server.answer()
        answers[message.get("id")] = message
    check("a line that is no JSON does not end it", answers[1]["result"]["isError"] is False, answers)
    # The last of them waits for the others, and is cancelled meanwhile.
    server.send(*(call(number, "slowest") for number in range(2, 12)), {"method": "notifications/cancelled", "params": {"requestId": 11}}, call(12, "losses"))
    got = {server.answer()["id"] for _ in range(10)}
    check("a request that was cancelled is not answered", got == {*range(2, 11), 12}, got)
    status, rest, told = server.end()
    check("it ends with its input, and says nothing else", (status, rest, told) == (0, [], ""), (status, rest, told))
    server = Raw("mixed")
    server.initialize()
    server.send(call(1, "latest", limit=1))
    status, rest, told = server.end()
    check("what was asked is answered when the input has ended", status == 0 and [message["id"] for message in rest] == [1], (status, rest, told))
    server = Raw("mixed")
    server.send({"method": "notifications/initialized"})
    status, rest, told = server.end()
    check("a notification first is told", status == 2 and "initialize" in told and not rest, (status, rest, told))
    server = Raw("mixed", "missing")
    status, rest, told = server.end()
    check("a journal that is missing is told at once", status == 2 and "missing" in told and not rest, (status, rest, told))
    check("nothing asked: it ends well", Raw("mixed").end() == (0, [], ""))


for chosen in ("legacy", "auto"):
    asyncio.run(asyncio.wait_for(with_client(chosen), 5 * DEADLINE))
by_hand()
print(f"MCP: {passed} passed, {failed} failed")
sys.exit(1 if failed else 0)
