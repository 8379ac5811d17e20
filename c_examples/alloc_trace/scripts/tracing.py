"""Runs a command, traced or untraced, and measures time and memory. Licence: MIT OR Apache-2.0."""

import os
import signal
import stat
import subprocess
import threading
import time

import ledger as ledgers

TOP = os.path.realpath(os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "..", ".."))


class NotBuilt(Exception):
    """The library has not been built."""


class Refused(Exception):
    """The folder or the library cannot be used."""


def library(name):
    folder = os.environ.get("OUT") or os.path.join(TOP, "build", "alloc_trace")
    path = os.path.abspath(os.path.join(folder, name))
    if not os.path.exists(path):
        raise NotBuilt(f"{path} is not there; build it with c_examples/alloc_trace/build.sh and build_report.sh")
    return path


def separates(path):
    """Whether LD_PRELOAD would split the path."""
    return any(one in path for one in " :\t\n")


def check_preloadable(paths, folder):
    """If the path of a library contains a separator, a link to it is made in the folder, whose path must contain none."""
    for path in paths:
        if separates(path) and separates(folder):
            raise Refused(f"{path}: LD_PRELOAD separates paths by spaces and colons; this path contains one, and so does {folder}; "
                          "use -o with a folder that contains neither")


def preloadable(path, folder):
    """The path, or that of a link to it in the folder. The link is not removed: running processes need it at their next exec."""
    if not separates(path):
        return path
    link = os.path.join(folder, os.path.basename(path))
    fresh = f"{link}.{os.getpid()}"
    os.symlink(path, fresh)
    os.replace(fresh, link)
    return link


def make_folder(folder):
    """Creates the folder with mode 0700. A folder that others may write to is refused: they could plant links in it."""
    try:
        os.mkdir(folder, 0o700)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(folder))
        os.mkdir(folder, 0o700)
    except FileExistsError:
        pass
    state = os.lstat(folder)
    if not stat.S_ISDIR(state.st_mode):
        raise Refused(f"{folder}: is a symbolic link or no folder")
    if state.st_uid != os.geteuid():
        raise Refused(f"{folder}: the folder belongs to user {state.st_uid}, and this is user {os.geteuid()}")
    if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Refused(f"{folder}: other users may write to the folder (mode {stat.S_IMODE(state.st_mode):04o}); "
                      "chmod 0700 it or use another")


class Run:
    """The result of a command: the status as a shell has it, seconds, CPU seconds, peak of memory in bytes."""

    def __init__(self, status, seconds, usage):
        self.status = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        self.seconds = seconds
        self.cpu = usage.ru_utime + usage.ru_stime
        self.peak = usage.ru_maxrss * 1024


def run(command, folder=None, mode=None, block_ms=None, count=False, live=None, environment=None,
        quiet=False, to=None, stacks=None, columns=None, last=None):
    """Runs a command. With a folder, traces it into the folder; with count, count_allocs is preloaded before alloc_trace. With
    live, writes progress to that file."""
    environment = dict(os.environ, **(environment or {}))
    if folder is not None:
        folder = os.path.abspath(folder)
        libraries = [library("count_allocs.so")] if count else []
        libraries.append(library("alloc_trace.so"))
        check_preloadable(libraries, folder)
        make_folder(folder)
        preload = [preloadable(path, folder) for path in libraries]
        if environment.get("LD_PRELOAD"):
            preload.append(environment["LD_PRELOAD"])
        environment.update(LD_PRELOAD=" ".join(preload), ALLOC_TRACE_DIR=folder, ALLOC_TRACE_MODE=mode)
        if count:
            environment["COUNT_ALLOCS_DIR"] = folder
        for name, value in (("TO", to), ("STACKS", stacks), ("COLUMNS", columns), ("LAST", last)):
            if value is not None:
                environment[f"ALLOC_TRACE_{name}"] = str(value)
        if block_ms is not None:
            environment["ALLOC_TRACE_BLOCK_MS"] = str(block_ms)
        if live is not None:
            environment["ALLOC_TRACE_LIVE"] = "1"

    # Signals from the terminal are for the command; this program goes on and prints the summary.
    handlers = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGQUIT)}
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
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return Run(status, seconds, usage)


def watch(folder, live, began, stop):
    """Shows figures from the ledgers while the processes run."""
    terminal = live.isatty()
    width = last = 0
    while not stop.wait(0.2):
        try:
            pages = ledgers.read_all(folder, to=None)
        except (OSError, ValueError):
            continue  # a ledger is being created
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
