"""Checks `capture-pipeline consume` with real servers: what is in the target is what was published, event by event, once.

    consume.py COMMAND PRODUCER DIRECTORY SERVER...     PRODUCER: the example `messages`; SERVER: programs of nats-server

For each server: into SQLite, a journal and lines; killed between the commit and the acknowledgement, and anywhere; messages given again, duplicates, messages of others, damaged and
contradicting ones; a server that is restarted; facts that came long before; a target that is locked; SIGTERM; TLS and access; wrong arguments. Licence: MIT OR Apache-2.0.
"""

import base64
import json
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import ssl
import struct
import subprocess
import sys
import threading
import time

COMMAND, PRODUCER, DIRECTORY = sys.argv[1:4]
SERVERS = sys.argv[4:]
PATIENCE = 60
passed = failed = 0


def check(what, good, shown=""):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
    print(f"{'ok    ' if good else 'FAILED'}  {what}{'' if good else ': ' + str(shown)[:2000]}", flush=True)


def wait_for(what, condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            check(what, False, "it did not happen in time")
            return False
        time.sleep(0.02)
    return True


class Client:
    """A client of NATS, as small as these tests need it."""

    def __init__(self, port, context=None, **access):
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        # The server's first line comes before TLS does.
        while self.socket.recv(1) != b"\n":
            pass
        if context:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.file = self.socket.makefile("rb")
        self.inbox, self.number = f"_INBOX.{os.getpid()}.{port}.{id(self)}", 0
        options = {"verbose": False, "headers": True, "no_responders": True, "protocol": 1, **access}
        self.send(f"CONNECT {json.dumps(options)}\r\nPING\r\n".encode())
        while self.file.readline().strip() != b"PONG":
            pass
        self.send(f"SUB {self.inbox}.* 1\r\n".encode())

    def send(self, data):
        self.socket.sendall(data)

    def request(self, subject, body, headers=None):
        self.number += 1
        reply = f"{self.inbox}.{self.number}"
        if headers is None:
            self.send(f"PUB {subject} {reply} {len(body)}\r\n".encode() + body + b"\r\n")
        else:
            head = "NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
            head = head.encode()
            self.send(f"HPUB {subject} {reply} {len(head)} {len(head) + len(body)}\r\n".encode() + head + body + b"\r\n")
        while True:
            line = self.file.readline()
            if not line:
                raise EOFError("the server has closed the connection")
            words = line.split()
            if words[0] == b"PING":
                self.send(b"PONG\r\n")
            elif words[0] == b"MSG":
                data = self.file.read(int(words[-1]) + 2)[:-2]
                if words[1].decode() == reply:
                    return json.loads(data)
            elif words[0] == b"HMSG":
                data = self.file.read(int(words[-1]) + 2)[:-2]
                if words[1].decode() == reply:
                    return {"head": data[: int(words[-2])].decode(), "data": data[int(words[-2]):]}

    def api(self, what, body):
        answer = self.request(f"$JS.API.{what}", json.dumps(body).encode())
        if "error" in answer:
            raise RuntimeError(f"{what}: {answer['error']}")
        return answer

    def publish(self, subject, body, headers):
        answer = self.request(subject, body, headers)
        if "error" in answer or "head" in answer:
            raise RuntimeError(f"{subject}: {answer}")
        return answer

    def close(self):
        self.file.close()
        self.socket.close()


class Server:
    def __init__(self, program, store, config="", **access):
        self.program, self.store, self.access = program, store, access
        self.config = f"{store}.conf"
        with open(self.config, "w") as file:
            file.write(config)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()

    def start(self):
        log = open(os.path.join(DIRECTORY, "server.log"), "ab")
        arguments = [self.program, "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", self.store, "-c", self.config]
        self.process = subprocess.Popen(arguments, stdout=log, stderr=log)
        client = self.client()
        end = time.monotonic() + PATIENCE
        while True:
            answer = client.request("$JS.API.INFO", b"")
            if "head" not in answer and "error" not in answer or time.monotonic() > end:
                break
            time.sleep(0.05)
        client.close()

    def client(self):
        return Client(self.port, **self.access)

    def kill(self):
        self.process.kill()
        self.process.wait()

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"


# Without a body. (One that says that work goes on has +WPI.)
ACKNOWLEDGEMENT = re.compile(rb"PUB \$JS\.ACK\.\S+ (0|4)\r\n(\+ACK)?\r\n")


class Proxy:
    """Passes bytes between a client and the server. When it is told to, it passes no acknowledgement and nothing behind it, and says so."""

    def __init__(self, port):
        self.port_of_server = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.holding, self.held = threading.Event(), threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.port_of_server))
            threading.Thread(target=self.copy, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self.copy, args=(server, client, False), daemon=True).start()

    def copy(self, source, target, to_server):
        try:
            while data := source.recv(65536):
                if to_server and self.holding.is_set() and ACKNOWLEDGEMENT.search(data):
                    self.held.set()
                    while source.recv(65536):
                        pass
                    break
                target.sendall(data)
        except OSError:
            pass
        for one in (source, target):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"


def produce(name, events, size):
    """A run's messages, and the events that are in them."""
    path = os.path.join(DIRECTORY, name)
    printed = subprocess.run([PRODUCER, path, str(events), str(size)], check=True, capture_output=True, text=True).stdout
    found = [json.loads(line) for line in printed.splitlines()]
    messages = []
    with open(path, "rb") as file:
        while line := file.readline():
            message = json.loads(line)
            message["body"] = file.read(message["length"])
            messages.append(message)
    return messages, found


def headers_of(message, number):
    headers = {
        "Nats-Msg-Id": f"{message['generation']}-{number}",
        "Capture-Format": "1",
        "Capture-Generation": message["generation"],
        "Capture-Count": message["count"],
        "Capture-Schema": message["schema"],
    }
    if message["facts"]:
        headers["Capture-Facts"] = message["first"]
    else:
        headers |= {"Capture-Ring": message["ring"], "Capture-First": message["first"]}
        headers["Capture-Facts-Subject"] = f"facts.{message['generation']}"
    return headers


def subject_of(message):
    return f"facts.{message['generation']}.{message['first']}" if message["facts"] else "events"


def publish(client, messages, tag=""):
    for number, message in enumerate(messages):
        client.publish(subject_of(message), message["body"], headers_of(message, f"{number}{tag}"))


def make_streams(client):
    client.api("STREAM.CREATE.S", {"name": "S", "subjects": ["events", "more.>"], "storage": "file"})
    client.api("STREAM.CREATE.F", {"name": "F", "subjects": ["facts.>"], "storage": "file", "max_msgs_per_subject": 1})
    client.api("STREAM.CREATE.D", {"name": "D", "subjects": ["dead.>"], "storage": "file"})


def command(url, durable, to, *more, stream="S"):
    return [COMMAND, "consume", url, "--stream", stream, "--durable", durable, "--to", to, "--ack-wait", "1", *more]


def consume(url, durable, to, *more, env=None, **other):
    environment = {**os.environ, **(env or {})}
    return subprocess.run(command(url, durable, to, "--once", *more, **other), capture_output=True, timeout=240, env=environment)


def identity(event):
    return event["generation"], event["ring_id"], event["sequence"]


NAMES = ["time_ns", "wall_ns", "kind", "correlation_id", "node_id", "flags", "payload"]


OWN_TIME = 2


def compare(what, found, wanted):
    """Each event once, as it was captured. (The wall time of an event with a time of its own is when it was stored.)"""
    lines = [] if len(found) == len(wanted) else [f"{len(found)} events, {len(wanted)} expected"]
    for one, other in zip(sorted(found, key=identity), sorted(wanted, key=identity)):
        lines += [f"{identity(other)} {name}: {one.get(name)!r}, expected {other[name]!r}" for name in NAMES
                  if one.get(name) != other[name] and not (name == "wall_ns" and other["flags"] & OWN_TIME)]
        if identity(one) != identity(other):
            lines.append(f"{identity(one)}, expected {identity(other)}")
    check(f"{what}: {len(wanted)} events, each once, as they were captured", not lines, "; ".join(lines[:10]))


def in_database(path):
    connection = sqlite3.connect(path)
    rows = connection.execute(
        "SELECT printf('%016x', r.generation), ring_id, sequence, time_ns, wall_ns, kind, correlation_id, node_id, flags, hex(payload) "
        "FROM events e JOIN runs r ON r.id = e.run"
    ).fetchall()
    connection.close()
    return [dict(zip(["generation", "ring_id", "sequence", *NAMES], (*row[:-1], row[-1].lower()))) for row in rows]


def from_lines(text):
    found = []
    for line in text.splitlines():
        event = json.loads(line)
        seconds, part = event["wall_time"].rstrip("Z").split(".")
        event["wall_ns"] = int(time.mktime(time.strptime(seconds, "%Y-%m-%dT%H:%M:%S")) - time.timezone) * 10**9 + int(part.ljust(9, "0"))
        found.append(event)
    return found


def journal_lines(path):
    done = subprocess.run([COMMAND, "cat", path, "--json", "--order", "stored"], capture_output=True, text=True, timeout=240)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def pending(client, durable):
    info = client.api(f"CONSUMER.INFO.S.{durable}", {})
    return info["num_pending"], info["num_ack_pending"]


def with_payload(events):
    return [event for event in events if "payload" in event]


def check_server(program):
    version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout.strip()
    print(f"{version}: {program}", flush=True)
    work = os.path.join(DIRECTORY, "consume")
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    place = lambda name: os.path.join(work, name)
    server = Server(program, place("store"))
    try:
        check_with(server, place)
    finally:
        server.kill()
    check_access(program, place)


def check_with(server, place):
    client = Client(server.port)
    make_streams(client)
    messages, events = produce("run.messages", 4000, 9000)
    others, other_events = produce("other.messages", 600, 1200)
    publish(client, messages)
    publish(client, others)
    all_events = events + other_events

    # Into each kind of target. Facts come from their own stream, by the header that names their subject.
    done = consume(server.url, "first", f"sqlite:{place('events.db')}")
    check("SQLite: it ends well", done.returncode == 0, done.stderr)
    check("it says what was done", f"{len(all_events)} events in ".encode() in done.stderr and b", 0 are still to be stored" in done.stderr, done.stderr)
    compare("SQLite", in_database(place("events.db")), all_events)
    connection = sqlite3.connect(place("events.db"))
    try:
        found = connection.execute("SELECT count(*), sum(took) FROM kind_request").fetchone()
    except sqlite3.Error as error:
        found = error
    took = sum(int.from_bytes(bytes.fromhex(event["payload"])[:8], "little") for event in all_events if event["kind"] == 1)
    check("SQLite has the fields of the kinds", found == (4600, took), found)
    names = dict(connection.execute("SELECT kind, name FROM kinds"))
    check("SQLite has the names of the kinds", names == {1: "request", 2: "cache", 3: "note"}, names)
    threads = {row[0] for row in connection.execute("SELECT name FROM threads")}
    check("SQLite has the threads", {"worker-0", "worker-1"} <= threads, threads)
    connection.close()
    check("everything is acknowledged", pending(client, "first") == (0, 0), pending(client, "first"))

    done = consume(server.url, "second", f"journal:{place('journal')}")
    status, found = journal_lines(place("journal"))
    check("journal: it ends well, and is whole", done.returncode == 0 and status == 0, done.stderr)
    keys = sorted(identity(event) for event in found)
    check("journal: each event once", keys == sorted(identity(event) for event in all_events), f"{len(keys)} of {len(all_events)}")
    check("journal: with fields and threads", all("fields" in event for event in found if event["kind"] == 1) and {e.get("thread_name") for e in found} >= {"worker-0", "worker-1"})

    done = consume(server.url, "third", "ndjson", "--quiet")
    found = from_lines(done.stdout.decode())
    check("lines: nothing else is said", done.returncode == 0 and done.stderr == b"", done.stderr)
    keys = sorted((*identity(event), event["wall_ns"], event["kind"]) for event in found)
    check("lines: each event once", keys == sorted((*identity(event), event["wall_ns"], event["kind"]) for event in all_events), f"{len(keys)}")
    check("lines: with fields", all("fields" in event for event in found if event["kind"] == 1))

    # Killed when everything of a group is committed, and nothing acknowledged.
    proxy = Proxy(server.port)
    proxy.holding.set()
    for to in (f"sqlite:{place('killed.db')}", f"journal:{place('killed')}"):
        proxy.held.clear()
        durable = to.split(":")[0]
        process = subprocess.Popen(command(proxy.url, durable, to), stderr=subprocess.DEVNULL)
        held = wait_for(f"{durable}: an acknowledgement is on its way", proxy.held.is_set)
        process.send_signal(signal.SIGKILL)
        process.wait()
        some = len(in_database(place("killed.db"))) if durable == "sqlite" else len(journal_lines(place("killed"))[1])
        check(f"{durable}: killed with {some} events stored, and none acknowledged", held and some > 0 and pending(client, durable)[1] > 0, pending(client, durable))
        done = consume(server.url, durable, to)
        check(f"{durable}: it goes on and ends well", done.returncode == 0, done.stderr)
    compare("SQLite after a kill", in_database(place("killed.db")), all_events)
    status, found = journal_lines(place("killed"))
    keys = sorted(identity(event) for event in found)
    check("journal after a kill: each event once", status == 0 and keys == sorted(identity(event) for event in all_events), f"{len(keys)} of {len(all_events)}")

    # The same messages under other ids, and cut otherwise, as after a crash of the producer.
    publish(client, messages, tag="again")
    before = len(in_database(place("events.db")))
    done = consume(server.url, "first", f"sqlite:{place('events.db')}")
    check("duplicates: it ends well", done.returncode == 0, done.stderr)
    compare("SQLite after duplicates", in_database(place("events.db")), all_events)
    check("duplicates add no row", len(in_database(place("events.db"))) == before)
    done = consume(server.url, "fourth", f"ndjson:{place('lines')}")
    with open(place("lines")) as file:
        keys = sorted(identity(event) for event in from_lines(file.read()))
    check("lines leave duplicates out", keys == sorted(identity(event) for event in all_events), f"{len(keys)} of {len(all_events)}")

    facts_in_the_same_stream(server, client, place, messages, events)
    killed_again_and_again(server, place, all_events)
    locked(server, place, all_events)
    bad_messages(server, client, place, messages, all_events)
    made_by_hand(server, client, place)
    interrupted(server, client, place)
    wrong_arguments(server, place)
    client.close()


def facts_in_the_same_stream(server, client, place, messages, events):
    """As the storage publishes them, without a header that says where they are: they come like events."""
    client.api("STREAM.CREATE.SAME", {"name": "SAME", "subjects": ["same.>"], "storage": "file"})
    for number, message in enumerate(messages):
        headers = {name: value for name, value in headers_of(message, f"{number}same").items() if name != "Capture-Facts-Subject"}
        client.publish(f"same.{subject_of(message)}", message["body"], headers)
    done = consume(server.url, "one", f"sqlite:{place('same.db')}", stream="SAME")
    check("facts beside events: it ends well", done.returncode == 0, done.stderr)
    compare("SQLite with facts beside events", in_database(place("same.db")), events)
    connection = sqlite3.connect(place("same.db"))
    names = dict(connection.execute("SELECT kind, name FROM kinds"))
    check("SQLite has the names of the kinds from beside the events", names == {1: "request", 2: "cache", 3: "note"}, names)
    connection.close()
    done = consume(server.url, "two", f"journal:{place('same')}", stream="SAME")
    found = journal_lines(place("same"))[1]
    requests = [event for event in found if event["kind"] == 1]
    check("journal with facts beside events: with fields", done.returncode == 0 and len(found) == len(events) and all("fields" in event for event in requests), done.stderr)
    done = consume(server.url, "three", "ndjson", "--quiet", stream="SAME")
    requests = [event for event in from_lines(done.stdout.decode()) if event["kind"] == 1]
    check("lines with facts beside events: with fields", len(requests) > 0 and all("fields" in event for event in requests), done.stderr)


def killed_again_and_again(server, place, all_events):
    """Wherever it is killed, each event is there once in the end."""
    generator = random.Random(7)
    for to in (f"sqlite:{place('chaos.db')}", f"journal:{place('chaos')}"):
        durable = "chaos-" + to.split(":")[0]
        for _ in range(12):
            process = subprocess.Popen(command(server.url, durable, to), stderr=subprocess.DEVNULL)
            time.sleep(generator.uniform(0.02, 0.6))
            process.kill()
            process.wait()
        done = consume(server.url, durable, to)
        check(f"{durable}: it ends well after 12 kills", done.returncode == 0, done.stderr)
    compare("SQLite after 12 kills", in_database(place("chaos.db")), all_events)
    status, found = journal_lines(place("chaos"))
    keys = sorted(identity(event) for event in found)
    check("journal after 12 kills: each event once", status == 0 and keys == sorted(identity(event) for event in all_events), f"{len(keys)} of {len(all_events)}")


def locked(server, place, all_events):
    """Another program holds the database's lock."""
    path = place("locked.db")
    to = f"sqlite:{path}"
    check("an empty filter ends at once", consume(server.url, "locked-a", to, "--filter", "more.none").returncode == 0)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    process = subprocess.Popen(command(server.url, "locked", to, "--once"), stderr=subprocess.PIPE)
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(iter(process.stderr.readline, b"")))
    reader.start()
    told = wait_for("it says that the target does not store", lambda: any(b"does not store at present" in line for line in lines))
    other.execute("ROLLBACK")
    other.close()
    process.wait(timeout=PATIENCE)
    reader.join()
    check("it goes on when the lock is free", told and process.returncode == 0, lines)
    compare("SQLite after a lock", in_database(path), all_events)


USER_SEED = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"  # the pair of NATS' own documentation
USER_KEY = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"


def check_access(program, place):
    """TLS, users, nkeys and tokens."""
    if not shutil.which("openssl"):
        print("consume: skipped: openssl is not there; TLS and access are not tested")
        return
    certificate, key = place("certificate.pem"), place("key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.create_default_context(cafile=certificate)
    config = f'tls {{ cert_file: "{certificate}", key_file: "{key}" }}\n'
    config += f'authorization {{ users = [ {{ user: "archive", password: "secret" }}, {{ nkey: "{USER_KEY}" }} ] }}\n'
    for name, text in (("password", "secret\n"), ("wrong", "other\n"), ("seed", USER_SEED + "\n"), ("token", "s3cr3t\n"), ("empty", "")):
        with open(place(name), "w") as file:
            file.write(text)
    messages, events = produce("access.messages", 20, 9000)
    secured = Server(program, place("secured"), config, context=context, user="archive", **{"pass": "secret"})
    try:
        client = secured.client()
        make_streams(client)
        publish(client, messages)
        url, tls = secured.url.replace("127.0.0.1", "localhost"), ("--tls-ca", certificate)
        ways = [
            ("a password in the environment", ("--user", "archive"), {"NATS_PASSWORD": "secret"}),
            ("a password in a file", ("--user", "archive", "--password-file", place("password")), None),
            ("an nkey", ("--nkey-file", place("seed")), None),
        ]
        for number, (what, arguments, env) in enumerate(ways):
            done = consume(url, f"way-{number}", f"sqlite:{place(f'way-{number}.db')}", *tls, *arguments, env=env)
            check(f"TLS and {what}", done.returncode == 0 and len(in_database(place(f"way-{number}.db"))) == len(events), done.stderr)
        target = f"sqlite:{place('no.db')}"
        for what, arguments, why in [
            ("a wrong password", (*tls, "--user", "archive", "--password-file", place("wrong")), b"authorization violation"),
            ("no password", (*tls, "--user", "archive"), b"NATS_PASSWORD"),
            ("an empty password file", (*tls, "--user", "archive", "--password-file", place("empty")), b"its first line is empty"),
            ("a missing file", (*tls, "--creds", place("none")), b"none: "),
            ("an unknown certificate", ("--tls", "--nkey-file", place("seed")), b"certificate"),
        ]:
            done = consume(url, "no", target, *arguments)
            check(f"{what} is named", done.returncode == 2 and why in done.stderr.lower().replace(b"nats_password", b"NATS_PASSWORD"), done.stderr)
        client.close()
    finally:
        secured.kill()
    simple = Server(program, place("simple"), 'authorization { token: "s3cr3t" }\nmax_payload: 12000000\n', auth_token="s3cr3t")
    try:
        client = simple.client()
        make_streams(client)
        publish(client, messages)
        done = consume(simple.url, "token", f"sqlite:{place('token.db')}", "--token-file", place("token"))
        check("a token", done.returncode == 0 and len(in_database(place("token.db"))) == len(events), done.stderr)
        # Larger than all that is fetched at once.
        client.publish("more.large", bytes(9_000_000), {})
        done = consume(simple.url, "token", f"sqlite:{place('token.db')}", "--token-file", place("token"), "--skip")
        check("a large message comes as well", done.returncode == 1 and b"9000000 bytes" in done.stderr, done.stderr)
        client.close()
    finally:
        simple.kill()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def record(kind, sequence, timestamp, payload, flags=OWN_TIME, correlation_id=0, node_id=0):
    head = struct.pack("<IIIfQQQQ", len(payload), flags, kind, 1.0, sequence, timestamp, correlation_id, node_id)
    return head + payload + bytes(-len(payload) % 8)


def block(offset, block_type, generation, ring_id, records, sequences, flags=OWN_TIME):
    """As docs/format.md says, with a salt of zeros."""
    body = b"".join(records)
    head = bytearray(128)
    struct.pack_into("<4sHHQQQQQII", head, 0, b"CPB1", block_type, 0, generation, offset, ring_id, sequences[0], sequences[-1], len(records), flags)
    struct.pack_into("<HBBIQQQQqII", head, 56, 48, 0, 0, 128, len(body), len(body), 0, 0, 1000, 0, 0)
    struct.pack_into("<I", head, 112, crc32c(bytes(8) + body))
    struct.pack_into("<I", head, 116, crc32c(bytes(8) + bytes(head)))
    return bytes(head) + body + bytes(-len(body) % 64)


def made_by_hand(server, client, place):
    """Messages that no library of ours has made, from docs/format.md alone."""
    name = struct.pack("<IIIfQQQQ", 5, 0, 0xFFFF0001, 1.0, 0, 0, 0, 77) + b"by us" + bytes(3)
    odd = struct.pack("<IIIfQQQQ", 5, 0, 5, 1.0, 1, 0, 0, 77) + b"other" + bytes(3)
    facts = block(0, 2, 0xABC, 0, [name, odd], [0, 1], 0)
    events = block(len(facts), 1, 0xABC, 9, [record(77, 5, 100, b"first"), record(77, 8, 90, b"a second one", node_id=3)], [5, 8])
    more = block(len(facts) + len(events), 1, 0xABC, 10, [record(77, 0, 1, b"")], [0])
    client.publish("more.hand", facts + events + more, {})
    reserved = block(0, 1, 0xABC, 11, [record(0xFFFF0001, 0, 1, b"x", node_id=78)], [0])
    client.publish("more.hand", reserved, {})
    done = consume(server.url, "hand", f"sqlite:{place('hand.db')}", "--filter", "more.hand", "--skip")
    check("an event of a reserved kind is named", done.returncode == 1 and b"0xffff0001" in done.stderr and b"3 events in 1 messages" in done.stderr, done.stderr)
    found = [(e["ring_id"], e["sequence"], e["time_ns"], e["kind"], e["node_id"], e["payload"]) for e in in_database(place("hand.db"))]
    wanted = [(9, 5, 100, 77, 0, b"first".hex()), (9, 8, 90, 77, 3, b"a second one".hex()), (10, 0, 1, 77, 0, "")]
    check("a message made by hand is read as it was meant", sorted(found) == wanted, found)
    connection = sqlite3.connect(place("hand.db"))
    names = connection.execute("SELECT kind, name FROM kinds").fetchall()
    connection.close()
    check("and its facts", names == [(77, "by us")], names)


def bad_messages(server, client, place, messages, all_events):
    sample = next(message for message in messages if not message["facts"])
    damaged = bytearray(sample["body"])
    damaged[len(damaged) // 2] ^= 0x20
    client.publish("more.foreign", b'{"not": "ours"}', {"X-Other": "1"})
    client.publish("more.empty", b"", {})
    client.publish("more.damaged", bytes(damaged), headers_of(sample, "damaged"))
    client.publish("more.later", sample["body"], headers_of(sample, "later") | {"Capture-Format": "2"})
    client.publish("more.headers", sample["body"], headers_of(sample, "headers") | {"Capture-Count": 7777})
    to = f"sqlite:{place('events.db')}"
    done = consume(server.url, "first", to)
    check("a foreign message stops it, with words", done.returncode == 2 and b"no message of capture_pipeline" in done.stderr and b"--dead-letter" in done.stderr, done.stderr)
    check("the foreign message is not acknowledged", pending(client, "first")[1] > 0, pending(client, "first"))
    done = consume(server.url, "first", to, "--dead-letter", "nowhere")
    check("dead letters without a stream are refused", done.returncode == 2 and b"no stream keeps it" in done.stderr, done.stderr)
    done = consume(server.url, "first", to, "--dead-letter", "more.dead")
    check("dead letters that would come back are refused", done.returncode == 2 and b"its own dead letters" in done.stderr, done.stderr)
    done = consume(server.url, "first", to, "--dead-letter", "dead.letters")
    check("with dead letters it goes on, and says that some are bad", done.returncode == 1 and b"5 messages were not" in done.stderr, done.stderr)
    check("everything is acknowledged then", pending(client, "first") == (0, 0), pending(client, "first"))
    count = client.api("STREAM.INFO.D", {})["state"]["messages"]
    check("each bad message is a dead letter", count == 5, count)
    reasons = []
    for sequence in range(1, count + 1):
        letter = client.api("STREAM.MSG.GET.D", {"seq": sequence})["message"]
        head = base64.b64decode(letter["hdrs"]).decode()
        reasons.append([line for line in head.splitlines() if line.startswith(("Capture-Reason", "Capture-Subject"))])
        if "more.damaged" in head:
            check("a dead letter has the bytes and the headers", base64.b64decode(letter["data"]) == bytes(damaged) and "Capture-Generation" in head, head)
    shown = json.dumps(reasons)
    wanted = ["no message of capture_pipeline", "the message is empty", "is damaged", "format 2", "Capture-Count says 7777"]
    check("each dead letter says why", all(why in shown for why in wanted), shown)
    compare("SQLite beside bad messages", in_database(place("events.db")), all_events)
    done = consume(server.url, "skipping", f"sqlite:{place('skip.db')}", "--skip")
    check("with --skip it goes on", done.returncode == 1 and b"it is left out" in done.stderr, done.stderr)
    compare("SQLite with --skip", in_database(place("skip.db")), all_events)

    # Another event under a stored identity is reported, and the stored one stays.
    connection = sqlite3.connect(place("skip.db"))
    connection.execute("UPDATE events SET payload = x'00' WHERE id = (SELECT min(id) FROM events)")
    connection.commit()
    connection.close()
    done = consume(server.url, "contradicted", f"sqlite:{place('skip.db')}", "--skip")
    check("a contradiction is reported", done.returncode == 1 and b"another event is stored under the same identity" in done.stderr, done.stderr)


def interrupted(server, client, place):
    """A server that is killed and comes back, and SIGTERM."""
    to = f"sqlite:{place('late.db')}"
    messages, events = produce("late.messages", 2000, 3000)
    process = subprocess.Popen(command(server.url, "late", to, "--filter", "more.late"), stderr=subprocess.PIPE)
    half = len(messages) // 2
    send = lambda client, some, tag: [
        client.publish(subject_of(m) if m["facts"] else "more.late", m["body"], headers_of(m, f"{n}{tag}")) for n, m in enumerate(some)
    ]
    send(client, messages[:half], "late-a")
    first = sum(message["count"] for message in messages[:half] if not message["facts"])
    stored = lambda: len(in_database(place("late.db"))) if os.path.exists(place("late.db")) else 0
    def safely():
        try:
            return stored()
        except sqlite3.Error:
            return 0
    wait_for("what was published is stored", lambda: safely() == first)
    server.kill()
    server.start()
    again = Client(server.port)
    send(again, messages[half:], "late-b")
    check("it goes on when the server is back", wait_for("the rest is stored", lambda: safely() == len(events)))
    wait_for("everything is acknowledged", lambda: pending(again, "late") == (0, 0))
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=PATIENCE)[1]
    check("SIGTERM ends it well", process.returncode == 0 and b" events in " in output, (process.returncode, output))
    compare("SQLite after a restart of the server", in_database(place("late.db")), events)
    again.api("STREAM.DELETE.S", {})
    done = consume(server.url, "late", to)
    check("a stream that is gone is named", done.returncode == 2 and b"stream S: the server has no such stream; there are D F SAME" in done.stderr, done.stderr)
    again.close()


def wrong_arguments(server, place):
    done = consume("nats://127.0.0.1:1", "x", f"sqlite:{place('x.db')}")
    check("no server is named", done.returncode == 2 and b"nats://127.0.0.1:1: " in done.stderr, done.stderr)
    done = consume(server.url, "x", "csv:file")
    check("an unknown target is refused", done.returncode == 2 and b"sqlite:FILE, journal:DIRECTORY" in done.stderr, done.stderr)
    done = consume(server.url, "x", f"sqlite:{place('no/such/x.db')}", stream="D")
    check("a target that cannot be opened is named", done.returncode == 2 and b"no/such/x.db" in done.stderr, done.stderr)
    done = consume(server.url, "x", f"sqlite:{place('x.db')}", "--user", "a", "--creds", "b", stream="D")
    check("two ways of access are refused", done.returncode == 2 and b"--user and --creds: give one of them" in done.stderr, done.stderr)
    done = consume(server.url, "x", f"sqlite:{place('x.db')}", "--tls", stream="D")
    check("TLS that the server does not have is refused", done.returncode == 2 and b"127.0.0.1" in done.stderr, done.stderr)


for server in SERVERS:
    check_server(server)
print(f"consume: {passed} passed, {failed} failed")
sys.exit(failed > 0)
