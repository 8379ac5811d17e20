#!/usr/bin/env python3
"""From the capture to the consumer's database, while everything between them fails: what was captured is in the database, each event once.

    chaos.py NATS_SERVER CAPTURE COMMAND [SECONDS [SEED]]

A program captures events for SECONDS (storages/nats/bench/capture.c), through a proxy of this test; `capture-pipeline consume` stores them in SQLite. Meanwhile the
server is killed and stopped for a while, connections are cut and slowed, and the consumer is killed, at random by SEED. A failure prints the seed.
"""
import os
import random
import selectors
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

PER_MS = 4
THREADS = 2
PATIENCE_S = 120


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Proxy:
    """Passes bytes between clients and the server. It can cut all connections, and slow them."""

    def __init__(self, port):
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.pairs = set()
        self.pause_s = 0.0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            try:
                server = socket.create_connection(("127.0.0.1", self.target), timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self.lock:
                self.pairs.add((client, server))
            threading.Thread(target=self.carry, args=(client, server), daemon=True).start()

    def carry(self, client, server):
        peers = {client: server, server: client}
        with selectors.DefaultSelector() as ready:
            for end in peers:
                ready.register(end, selectors.EVENT_READ)
            try:
                while True:
                    for key, _ in ready.select():
                        part = key.fileobj.recv(16384)
                        if not part:
                            raise OSError
                        if self.pause_s:
                            time.sleep(self.pause_s)
                        peers[key.fileobj].sendall(part)
            except (OSError, ValueError):
                pass
        with self.lock:
            self.pairs.discard((client, server))
        client.close()
        server.close()

    def cut(self):
        with self.lock:
            for pair in self.pairs:
                for end in pair:
                    try:
                        end.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass


class Chaos:
    def __init__(self, server, capture, command, folder, seconds, seed):
        self.programs = (server, capture, command)
        self.folder, self.seconds = folder, seconds
        self.random = random.Random(seed)
        self.port = free_port()
        self.proxy = Proxy(self.port)
        self.counts = dict.fromkeys(("server killed", "server stopped", "connections cut", "connections slowed", "consumer killed"), 0)
        self.server = self.consumer = None
        self.consumer_log = open(os.path.join(folder, "consumer.log"), "ab")

    def start_server(self):
        with open(os.path.join(self.folder, "server.log"), "ab") as log:
            self.server = subprocess.Popen(
                [self.programs[0], "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", os.path.join(self.folder, "store")],
                stdout=log, stderr=log)

    def wait_for_server(self):
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit("chaos: the server does not start")

    def consume(self, *more):
        return subprocess.Popen(
            [self.programs[2], "consume", f"nats://127.0.0.1:{self.proxy.port}", "--stream", "CHAOS", "--durable", "chaos",
             "--to", f"sqlite:{self.database()}", *more], stdout=self.consumer_log, stderr=self.consumer_log)

    def database(self):
        return os.path.join(self.folder, "events.db")

    # What goes wrong. Each leaves everything able to go on.
    def kill_server(self):
        self.counts["server killed"] += 1
        self.server.kill()
        self.server.wait()
        time.sleep(self.random.uniform(0, 1.5))
        self.start_server()
        self.wait_for_server()

    def stop_server(self):
        self.counts["server stopped"] += 1
        self.server.send_signal(signal.SIGSTOP)
        time.sleep(self.random.uniform(0.1, 2))
        self.server.send_signal(signal.SIGCONT)

    def cut(self):
        self.counts["connections cut"] += 1
        self.proxy.cut()

    def slow(self):
        self.counts["connections slowed"] += 1
        self.proxy.pause_s = 0.02
        time.sleep(self.random.uniform(0.1, 1))
        self.proxy.pause_s = 0.0

    def kill_consumer(self):
        self.counts["consumer killed"] += 1
        self.consumer.kill()
        self.consumer.wait()
        self.consumer = self.consume()

    def run(self):
        events = int(self.seconds * 1000) * PER_MS * THREADS
        self.start_server()
        self.wait_for_server()
        with open(os.path.join(self.folder, "capture.log"), "wb") as log:
            captured = subprocess.Popen(
                [self.programs[1], f"127.0.0.1:{self.proxy.port}", "CHAOS", str(events), str(THREADS), str(PER_MS)],
                stdout=subprocess.PIPE, stderr=log, text=True)
        # The stream is there once the program captures.
        while self.consumer is None and captured.poll() is None:
            self.consumer = self.consume()
            time.sleep(0.5)
            if self.consumer.poll() is not None:
                self.consumer = None
        troubles = [self.kill_server, self.stop_server, self.cut, self.slow, self.kill_consumer]
        until = time.monotonic() + self.seconds
        first = list(troubles)
        self.random.shuffle(first)
        while captured.poll() is None and time.monotonic() < until:
            (first.pop() if first else self.random.choice(troubles))()
            time.sleep(self.random.uniform(0.2, 1))
        said, _ = captured.communicate(timeout=PATIENCE_S + self.seconds)
        wrong = []
        if captured.returncode != 0:
            wrong.append(f"the capturing program: exit status {captured.returncode}")
        if self.consumer is None:
            return wrong + ["no consumer could be started"]
        self.consumer.kill()
        self.consumer.wait()
        last = self.consume("--once")
        if last.wait(timeout=PATIENCE_S) != 0:
            wrong.append(f"the last consumer: exit status {last.returncode}")
        wrong += self.check(events)
        self.server.kill()
        self.server.wait()
        numbers = dict(zip(("captured", "stored", "rejected", "messages", "duplicates"), said.split()))
        print(", ".join(f"{what} {n}" for what, n in (numbers | self.counts).items()), flush=True)
        return wrong

    def check(self, events):
        wrong = []
        with sqlite3.connect(self.database()) as db:
            rows = db.execute("SELECT payload FROM events WHERE kind = 1")
            seen = bytearray(events)
            count = twice = foreign = 0
            for (payload,) in rows:
                count += 1
                number = int.from_bytes(payload[:8], "little")
                sound = len(payload) == 64 and int.from_bytes(payload[8:16], "little") == number * 0x9E3779B97F4A7C15 % (1 << 64)
                if not sound or number >= events:
                    foreign += 1
                elif seen[number]:
                    twice += 1
                else:
                    seen[number] = 1
        missing = seen.count(0)
        for what, n in (("missing", missing), ("there twice", twice), ("not as they were captured", foreign)):
            if n:
                wrong.append(f"{n} of {events} events are {what}; the database has {count}")
        return wrong


def main():
    server, capture, command = sys.argv[1:4]
    seconds = float(sys.argv[4]) if len(sys.argv) > 4 else 30
    seed = int(sys.argv[5]) if len(sys.argv) > 5 else random.randrange(1 << 30)
    with tempfile.TemporaryDirectory() as folder:
        chaos = Chaos(server, capture, command, folder, seconds, seed)
        try:
            wrong = chaos.run()
        finally:
            for process in (chaos.server, chaos.consumer):
                if process is not None and process.poll() is None:
                    process.kill()
        if wrong:
            for name in ("capture.log", "consumer.log"):
                with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as log:
                    print(f"--- {name}\n" + "".join(log.readlines()[-20:]))
    if wrong:
        raise SystemExit(f"chaos: SEED={seed}: " + "; ".join(wrong))


if __name__ == "__main__":
    main()
