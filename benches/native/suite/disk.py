"""The folder in which contenders write files, and how much they may write: so much that the system does not write it back meanwhile."""
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

# A record of a 64-byte event in a journal.
RECORD = 112
MOST_EVENTS, FEWEST_EVENTS = 6_000_000, 200_000


def _number(path):
    return int(Path(path).read_text())


def background_threshold():
    """The bytes of dirty page cache at which the system begins to write back."""
    given = _number("/proc/sys/vm/dirty_background_bytes")
    available = int(re.search(r"MemAvailable: +(\d+)", Path("/proc/meminfo").read_text()).group(1)) * 1024
    return given or available * _number("/proc/sys/vm/dirty_background_ratio") // 100


def events_per_run():
    """As many 64-byte events as take two fifths of that as records; others may write too."""
    return max(FEWEST_EVENTS, min(MOST_EVENTS, background_threshold() * 2 // 5 // RECORD))


class Disk:
    """A folder under `parent`, or under STORAGE_DIR if that is set."""

    def __init__(self, parent):
        self.path = Path(tempfile.mkdtemp(prefix="storage-", dir=os.environ.get("STORAGE_DIR") or parent))
        found = subprocess.run(["findmnt", "--noheadings", "--output=FSTYPE", "--target", self.path], capture_output=True, text=True)
        # What is not deleted.
        self.kept = set()
        # The name of the file system.
        self.system = found.stdout.strip() or "an unknown file system"

    def settle(self):
        """Deletes what is left of a failed measurement, and waits until the file system has nothing to write back."""
        for left in self.path.iterdir():
            if left not in self.kept:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        subprocess.run(["sync", "--file-system", self.path], check=False)

    def touch(self, size):
        """Uses page cache of this size and frees it: a virtual machine may have given free memory back to its host, and the first use of a page is
        slow then."""
        path, zeros = self.path / "touch", bytes(1 << 20)
        with open(path, "wb", buffering=0) as file:
            for _ in range(0, size, len(zeros)):
                file.write(zeros)
        path.unlink()

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)
