"""Runs a command, traced or not, and measures what it took. Licence: MIT OR Apache-2.0."""

import os
import signal
import subprocess
import threading
import time

import ledger as ledgers

TOP = os.path.realpath(os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "..", ".."))


class NotBuilt(Exception):
    """alloc_trace.so is not there."""


def library(name):
    folder = os.environ.get("OUT") or os.path.join(TOP, "build", "alloc_trace")
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        raise NotBuilt(f"{path} is not there; build it with c_examples/alloc_trace/build.sh")
    return path


class Run:
    """What became of a command: status as a shell has it, seconds, CPU seconds, peak of memory in bytes."""

    def __init__(self, status, seconds, usage):
        self.status = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        self.seconds = seconds
        self.cpu = usage.ru_utime + usage.ru_stime
        self.peak = usage.ru_maxrss * 1024


def run(command, folder=None, mode=None, block_ms=None, count=False, live=None, environment=None,
        quiet=False):
    """Runs a command; traced into folder if there is one, with count_allocs in front of it if asked for. live gets a
    line of progress from time to time."""
    environment = dict(os.environ, **(environment or {}))
    if folder is not None:
        folder = os.path.abspath(folder)
        os.makedirs(folder, exist_ok=True)
        preload = [library("count_allocs.so")] if count else []
        preload.append(library("alloc_trace.so"))
        if environment.get("LD_PRELOAD"):
            preload.append(environment["LD_PRELOAD"])
        environment.update(LD_PRELOAD=" ".join(preload), ALLOC_TRACE_DIR=folder, ALLOC_TRACE_MODE=mode)
        if count:
            environment["COUNT_ALLOCS_DIR"] = folder
        if block_ms is not None:
            environment["ALLOC_TRACE_BLOCK_MS"] = str(block_ms)
        if live is not None:
            environment["ALLOC_TRACE_LIVE"] = "1"

    # What the terminal sends is for the command; this program stays to print the summary.
    kept = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGQUIT)}
    stop = threading.Event()
    watcher = None
    try:
        began = time.monotonic()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL if quiet else None)
        if live is not None and folder is not None:
            watcher = threading.Thread(target=watch, args=(folder, live, began, stop))
            watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = status  # wait4 has reaped it
    finally:
        stop.set()
        if watcher is not None:
            watcher.join()
        for number, handler in kept.items():
            signal.signal(number, handler)
    return Run(status, seconds, usage)


def watch(folder, live, began, stop):
    """Shows the figures that a traced process keeps on its ledger page."""
    terminal = live.isatty()
    width = last = 0
    while not stop.wait(0.2):
        try:
            pages = ledgers.read_all(folder)
        except (OSError, ValueError):
            continue  # being made
        offered = sum(page.offered for page in pages)
        stored = sum(page.stored for page in pages)
        waiting = sum(page.buffered + page.in_flight for page in pages)
        line = (f"    {time.monotonic() - began:5.1f} s  {offered:>11,} captured or lost  {stored:>11,} stored"
                f"  {waiting:>7,} waiting")
        if terminal:
            live.write("\r" + line.ljust(width))
            width = len(line)
        elif time.monotonic() - last >= 1:
            last = time.monotonic()
            live.write(line + "\n")
        live.flush()
    if terminal and width:
        live.write("\r" + " " * width + "\r")
        live.flush()
