#!/usr/bin/env python3
"""The storage in NATS JetStream beside the official client by itself, against one server with file storage on the loopback interface.

    run.py NATS_SERVER CAPTURE PEER [--events N] [--repeats N] [--svg FILE]

Contenders take turns, each with a server that has an empty folder. Events have 64 bytes. A figure is the median of the repeats, in thousands of events a second
from the first capture or publication to the last acknowledgement. After each run the stream must have as many messages as were acknowledged.

- storage: `pipeline_storage_nats`, a message per batch, from 1 and 2 capturing threads
- a message per event: the same with PIPELINE_NATS_MESSAGE_PER_EVENT
- client, single messages: the client publishes each event by itself, asynchronously
- client, the storage's messages: the client publishes the messages that the storage has published, with their headers
"""
import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from html import escape


class Server:
    def __init__(self, program):
        self.folder = tempfile.TemporaryDirectory()
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.monitor = s.getsockname()[1]
        self.process = subprocess.Popen(
            [program, "-a", "127.0.0.1", "-p", str(self.port), "-m", str(self.monitor), "-js", "-sd", self.folder.name],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            try:
                if self.streams() is not None:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise SystemExit("the server does not start")

    def streams(self):
        with socket.create_connection(("127.0.0.1", self.monitor), timeout=5) as s:
            s.sendall(b"GET /jsz?streams=true HTTP/1.0\r\n\r\n")
            answer = b""
            while part := s.recv(65536):
                answer += part
        told = json.loads(answer.split(b"\r\n\r\n", 1)[1])
        details = [stream for account in told.get("account_details", []) for stream in account.get("stream_detail", [])]
        return {stream["name"]: stream["state"] for stream in details}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


def output(*command):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}: exit status {done.returncode}")
    return done.stdout.split()


def capture(options, server, stream, threads, flags=0, events=None):
    """Events a second, messages, and bytes of the stream for each event."""
    events = events or options.events
    captured, stored, rejected, messages, duplicates, seconds = output(
        options.capture, f"127.0.0.1:{server.port}", stream, events, threads, 0, flags)
    state = server.streams()[stream]
    if (int(captured), int(stored), int(rejected), int(duplicates)) != (events, events, 0, 0) or state["messages"] != int(messages):
        raise SystemExit(f"storage: {captured} captured, {stored} stored, {messages} messages acknowledged, {state['messages']} in the stream")
    return events / float(seconds), int(messages), state["bytes"] / events


def peer(options, server, stream, *words, events):
    messages, _, seconds = output(options.peer, f"127.0.0.1:{server.port}", *words)
    state = server.streams()[stream]
    if state["messages"] != int(messages):
        raise SystemExit(f"client: {messages} acknowledged, {state['messages']} in the stream")
    return events / float(seconds), int(messages), state["bytes"] / events


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    for name in ("server", "capture", "peer"):
        parser.add_argument(name)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--svg", help="draws the medians into this file")
    options = parser.parse_args()
    few = options.events // 10
    figures = {}

    def note(name, figure):
        figures.setdefault(name, []).append(figure)
        print(f"\r{name}: {figure[0] / 1000:.0f} thousand events/s".ljust(79), end="" if sys.stdout.isatty() else "\n", flush=True)

    for _ in range(options.repeats):
        with Server(options.server) as server:
            note("storage, 1 thread", capture(options, server, "ONE", 1))
            note("client, the storage's messages", peer(options, server, "AGAIN", "copy", "ONE", "AGAIN", events=options.events))
        with Server(options.server) as server:
            note("storage, 2 threads", capture(options, server, "TWO", 2))
        with Server(options.server) as server:
            note("storage, a message per event", capture(options, server, "EACH", 1, 1, few))
        with Server(options.server) as server:
            note("client, single messages", peer(options, server, "SINGLE", "single", "SINGLE", few, events=few))
    medians = {name: [statistics.median(column) for column in zip(*all)] for name, all in figures.items()}
    most = max(rate for rate, *_ in medians.values())
    print("\n\n| | thousand events/s | least to most | events a message | bytes of the stream an event |\n| --- | ---: | ---: | ---: | ---: |")
    for name, (rate, messages, size) in medians.items():
        events = few if "event" in name.split(", ")[1] or "single" in name else options.events
        rates = [figure[0] / 1000 for figure in figures[name]]
        print(f"| {name} | {rate / 1000:,.0f} | {min(rates):,.0f} to {max(rates):,.0f} | {events / messages:,.0f} | {size:,.0f} |")
    print()
    for name, (rate, *_) in medians.items():
        print(f"{name:32} {'#' * round(50 * rate / most)}")
    storage = medians["storage, 1 thread"][0]
    pairs = [a[0] / b[0] for a, b in zip(figures["storage, 1 thread"], figures["client, the storage's messages"])]
    print(f"\nstorage to the client's single messages: {storage / medians['client, single messages'][0]:.1f} (bound: at least 5)")
    print(f"storage to the client with the same messages, in pairs: {statistics.median(pairs):.2f} (bound: at least 0.9)")
    if options.svg:
        draw(options.svg, {name: rate for name, (rate, *_) in medians.items()})


def draw(path, rates):
    """Horizontal bars."""
    most, height = max(rates.values()), 34 * len(rates) + 20
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{height}" font-family="sans-serif" font-size="14">',
           f'<rect width="760" height="{height}" fill="#ffffff"/>']
    for row, (name, rate) in enumerate(rates.items()):
        y, width = 10 + 34 * row, 380 * rate / most
        colour = "#2b6cb0" if name.startswith("storage") else "#8b98a5"
        out += [f'<text x="250" y="{y + 19}" text-anchor="end" fill="#1c2733">{escape(name)}</text>',
                f'<rect x="260" y="{y + 3}" width="{width:.1f}" height="22" fill="{colour}"/>',
                f'<text x="{266 + width:.1f}" y="{y + 19}" fill="#1c2733">{rate / 1000:,.0f} k/s</text>']
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(out + ["</svg>"]) + "\n")


if __name__ == "__main__":
    main()
