"""Runs the command `top` on a terminal, presses its keys, and checks what it leaves behind.

    top.py COMMAND DIRECTORY

The terminal is a pseudo terminal, whose output is read as text. The pipelines are ring files that this script makes by docs/format.md alone, with no
code of the library. Licence: MIT OR Apache-2.0.
"""

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

COMMAND, DIRECTORY = sys.argv[1:3]
PATIENCE = 60
passed = failed = 0


def check(what, good, shown=""):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
    print(f"{'ok    ' if good else 'FAILED'}  {what}{'' if good else ': ' + repr(shown)[-2000:]}")


# --- ring files -------------------------------------------------------------------------------------------------------------------------
def crc32c(data):
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ 0x82F63B78 if n & 1 else n >> 1
        table.append(n)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


def start_time(pid):
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rsplit(b")", 1)[1].split()[19])


def ring_file(directory, generation, name, waiting):
    """A file of this process's, with a ring for each number in `waiting`, which has so many bytes in it."""
    rings, ring_bytes = len(waiting), 4096
    headers = 1220608
    size = (headers + 512 * rings + 4095) // 4096 * 4096 + rings * ring_bytes
    header = bytearray(4096)
    header[0:8] = b"\x89CPR\r\n\x1a\n"
    struct.pack_into("<IIIIII", header, 8, 0x01020304, 1, 48, 0, len(name), 4)
    struct.pack_into("<QQQQQQ", header, 32, generation, ring_bytes, 0, rings, 0, size)
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        header[80:96] = bytes.fromhex(file.read().strip().replace("-", ""))
    struct.pack_into("<QQQQQ", header, 96, os.getpid(), os.stat("/proc/self/ns/pid").st_ino, start_time(os.getpid()), 1, 2)
    header[256:256 + len(name)] = name.encode()
    header[512:516] = b"test"
    struct.pack_into("<I", header, 4092, crc32c(bytes(header[:4092])))
    path = os.path.join(directory, f"{generation:016x}.rings")
    with open(path, "wb") as file:
        file.truncate(size)
        # The owner's lock (F_OFD_SETLK) goes with the open file, which a copy of the descriptor keeps.
        fcntl.fcntl(file, 37, struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))
        os.dup(file.fileno())
        file.write(header)
        for at, used in enumerate(waiting):
            file.seek(headers + 512 * at)
            file.write(struct.pack("<Q", 8192 + used))
            file.seek(headers + 512 * at + 128)
            file.write(struct.pack("<Q", 8192))
            file.seek(headers + 512 * at + 256)
            file.write(struct.pack("<Q", 8192))
            file.seek(headers + 512 * at + 384)
            file.write(struct.pack("<QQ", 100 * generation + at, 4000 + at) + f"worker-{at}".encode())
    return path


# --- a terminal -------------------------------------------------------------------------------------------------------------------------
class Terminal:
    """A pseudo terminal, and what its screen shows: the command moves the cursor, clears the screen and prints, and does nothing else that changes it."""

    SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([a-zA-Z])|\x1b[^\[]|([^\x1b])", re.DOTALL)

    def __init__(self, *arguments, columns=160, rows=40):
        self.master, slave = pty.openpty()
        self.slave = slave
        self.resize(rows, columns)
        self.before = termios.tcgetattr(slave)
        self.process = subprocess.Popen([COMMAND, "top", *arguments], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                        env={**os.environ, "TERM": "xterm-256color"})
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.output = self.rest = ""

    def resize(self, rows, columns):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.cells, self.row, self.column = [[" "] * columns for _ in range(rows)], 0, 0

    def screen(self):
        return "\n".join("".join(line).rstrip() for line in self.cells)

    def show(self, text):
        text = self.rest + text
        at = 0
        while at < len(text):
            found = self.SEQUENCE.match(text, at)
            if not found:
                break
            at = found.end()
            if found[3]:
                if found[3] not in "\r\n" and self.row < len(self.cells) and self.column < len(self.cells[0]):
                    self.cells[self.row][self.column] = found[3]
                self.column += 1
            elif found[2] == "H":
                self.row, self.column = [int(number or 1) - 1 for number in (found[1] + ";").split(";")[:2]]
            elif found[2] == "J":
                self.cells = [[" "] * len(line) for line in self.cells]
        self.rest = text[at:]

    def read(self, wait):
        if not select.select([self.master], [], [], wait)[0]:
            return False
        try:
            text = self.decoder.decode(os.read(self.master, 65536))
        except OSError:
            return False
        self.output += text
        self.show(text)
        return True

    def until(self, what):
        """Reads until the screen shows this."""
        end = time.monotonic() + PATIENCE
        while not re.search(what, self.screen()):
            if time.monotonic() > end or not self.read(0.2) and self.process.poll() is not None:
                return False
        return True

    def press(self, keys):
        os.write(self.master, keys.encode())

    def end(self):
        """The exit status, the rest of the output, and whether the terminal is as it was."""
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < end:
            self.read(0.1)
        if self.process.poll() is None:
            self.process.kill()
        status = self.process.wait()
        while select.select([self.master], [], [], 0)[0] and self.read(0):
            pass
        same = termios.tcgetattr(self.slave) == self.before
        os.close(self.slave)
        os.close(self.master)
        return status, self.output, same


def restored(what, terminal, wanted=0):
    status, output, same = terminal.end()
    check(f"{what}: exit status {wanted}", status == wanted, (status, output))
    check(f"{what}: the screen, the cursor and the terminal's modes are as they were",
          same and "\x1b[?1049l" in output and "\x1b[?25h" in output, (same, output))


def main():
    rings = os.path.join(DIRECTORY, "rings")
    os.makedirs(rings, exist_ok=True)
    ring_file(rings, 1, "audit", [1024, 4096])
    second = ring_file(rings, 2, "billing", [2048])

    terminal = Terminal(rings, "--interval", "0.2", "--sort", "name")
    check("the pipelines are shown", terminal.until(r"(?s)audit .*runs.*\nbilling .*runs"), terminal.screen())
    terminal.press("j")
    check("the ring of the pipeline that is chosen by a key", terminal.until("200  worker-0/4000"), terminal.screen())
    terminal.press("b")
    check("a key changes what is sorted by", terminal.until("by backlog"), terminal.screen())
    ring_file(rings, 3, "later", [7])
    check("a pipeline that has begun is shown", terminal.until("later"), terminal.screen())
    terminal.resize(24, 100)
    terminal.process.send_signal(signal.SIGWINCH)
    check("another size of the terminal", terminal.until(r"(?s)PIPELINE.*\naudit"), terminal.screen())
    os.remove(second)
    terminal.press("q")
    restored("q", terminal)

    for name, key in (("control-C", "\x03"), ("escape", "\x1b")):
        terminal = Terminal(rings, "--interval", "0.2")
        terminal.until("audit")
        terminal.press(key)
        restored(name, terminal)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        terminal = Terminal(rings)
        terminal.until("audit")
        terminal.process.send_signal(number)
        restored(number.name, terminal)

    # A process that ends while it is looked at, by its id.
    with open(os.path.join(rings, f"{1:016x}.rings"), "rb") as file:
        owner = subprocess.Popen(["sleep", "1000"], stdin=file)
    header = bytearray(open(os.path.join(rings, f"{1:016x}.rings"), "rb").read(4096))
    struct.pack_into("<Q", header, 96, owner.pid)
    struct.pack_into("<Q", header, 112, start_time(owner.pid))
    struct.pack_into("<I", header, 4092, crc32c(bytes(header[:4092])))
    with open(os.path.join(rings, f"{1:016x}.rings"), "r+b") as file:
        file.write(header)
    terminal = Terminal(str(owner.pid), "--interval", "0.2")
    check("a process is found by its id", terminal.until("audit.*runs"), terminal.screen())
    owner.send_signal(signal.SIGSTOP)
    check("it is stopped", terminal.until("stopped"), terminal.screen())
    owner.kill()
    owner.wait()
    status, output, same = terminal.end()
    check("it has ended: so does the command, and says why", status == 0 and same and f"process {owner.pid} has ended" in output, (status, output))

    done = subprocess.run([COMMAND, "top", rings], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    check("without a terminal it says what to give", done.returncode == 2 and "--once" in done.stderr, done)
    print(f"top: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
