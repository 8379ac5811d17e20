"""The folder of the traces: folders that cannot be used, and files that others plant in it.

Licence: MIT OR Apache-2.0.
"""

import os
import shutil
import stat
import subprocess
import sys

from harness import DEADLINE, TRACE, WRAPPER, Run, demand, is_root, read_all, rows, skipped, temporary_folder, untraced


def test_unwritable_directory_is_one_line_and_no_harm():
    run = Run(["ls", "/usr"], directory="/proc/alloc_trace")
    lines = run.result.stderr.decode().splitlines()
    demand(len(lines) == 1 and lines[0].startswith("alloc_trace: "), f"on stderr: {lines}")
    untraced(run, ["ls", "/usr"])


def test_unwritable_directory_and_closed_stderr():
    command = ["sh", "-c", "exec ls /usr 2>&-"]
    run = Run(command, directory="/proc/alloc_trace")
    untraced(run, command)


# --- Other users ------------------------------------------------------------------------------------------------------


def contents(path):
    with open(path, "rb") as file:
        return file.read()


def test_files_are_for_their_owner_alone():
    with temporary_folder() as home:
        folder = os.path.join(home, "traces")
        run = Run(["ls", "/usr"], directory=folder, preexec_fn=lambda: os.umask(0))
        demand(run.result.returncode == 0 and not run.result.stderr, f"{run.result}")
        (ledger,) = read_all(folder)
        demand(rows(ledger), "nothing was captured")
        demand(stat.S_IMODE(os.stat(folder).st_mode) == 0o700, "others may enter the folder")
        for directory in (folder, run.folder, os.path.join(folder, "journal")):
            for name in os.listdir(directory):
                mode = stat.S_IMODE(os.stat(os.path.join(directory, name)).st_mode)
                demand(mode == (0o700 if name == "journal" else 0o600), f"{name}: mode {mode:04o}")
        run.remove()


def refused(folder, reason):
    """The program runs untraced, with one line on stderr; the wrapper does not run it at all."""
    before = sorted(os.listdir(folder))
    run = Run(["ls", "/usr"], directory=folder)
    text = run.result.stderr.decode()
    demand(text.count("\n") == 1 and folder in text and reason in text, f"on stderr: {text}")
    untraced(run, ["ls", "/usr"])
    wrapped = subprocess.run([sys.executable, WRAPPER, "-o", folder, "--", "echo", "has run"], capture_output=True, text=True,
                             timeout=DEADLINE, check=False)
    demand(wrapped.returncode == 127 and not wrapped.stdout, f"exit status {wrapped.returncode}, output {wrapped.stdout}")
    demand(reason in wrapped.stderr and wrapped.stderr.count("\n") == 1, f"on stderr: {wrapped.stderr}")
    demand(sorted(os.listdir(folder)) == before, f"files were made: {os.listdir(folder)}")


def test_folder_that_others_may_write_to_is_refused():
    with temporary_folder() as home:
        for mode in (0o1777, 0o777, 0o770):
            os.chmod(home, mode)
            refused(home, f"mode {mode:04o}")


def test_folder_that_is_a_link_is_refused():
    with temporary_folder() as home:
        os.mkdir(os.path.join(home, "victims"))
        os.symlink("victims", os.path.join(home, "link"))
        refused(os.path.join(home, "link"), "symbolic link")


def test_folder_of_another_user_is_refused():
    if not is_root():
        skipped("another user's folder needs root")
        return
    with temporary_folder() as home:
        folder = os.path.join(home, "theirs")
        os.mkdir(folder, 0o755)
        os.chown(folder, 65534, 65534)
        refused(folder, "user 65534")


def test_links_that_another_user_has_planted():
    """The folder is writable for all, and the attacker knows the process id."""
    if not is_root() or shutil.which("setpriv") is None:
        skipped("an attacker of another uid needs root and setpriv")
        return
    with temporary_folder() as home:
        os.chmod(home, 0o711)
        folder, victim = os.path.join(home, "shared"), os.path.join(home, "victim")
        os.mkdir(folder)
        os.chmod(folder, 0o777)  # without the sticky bit, with which the kernel itself would not follow the links
        with open(victim, "w", encoding="utf-8") as file:
            file.write("the victim's own words\n")
        script = 'echo $$; read line; exec env LD_PRELOAD="$2" ALLOC_TRACE_DIR="$1" ls /usr'
        attack = 'ln -s "$2" "$1/$3-0.maps"; ln -s "$1/target" "$1/$3-0-ls.db"'
        with subprocess.Popen(["sh", "-c", script, "sh", folder, TRACE], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            pid = process.stdout.readline().strip().decode()
            subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", "sh", "-c", attack, "sh", folder, victim, pid],
                           check=True, timeout=DEADLINE)
            _, text = process.communicate(b"go on\n", timeout=DEADLINE)
        demand(contents(victim) == b"the victim's own words\n", "the victim's file was overwritten")
        demand(not os.path.exists(os.path.join(folder, "target")), "the target of a dangling link was made")
        demand(process.returncode == 0 and b"mode 0777" in text, f"exit status {process.returncode}, on stderr {text}")


def test_names_that_are_taken():
    """Links, FIFOs and a WAL file have the names of the process's files: the next number is used."""
    with temporary_folder() as home:
        folder, victim = os.path.join(home, "traces"), os.path.join(home, "victim")
        os.mkdir(folder, 0o700)
        with open(victim, "w", encoding="utf-8") as file:
            file.write("words")
        script = ('cd "$1"; ln -s "$2" $$-0.maps; ln -s "$1/target" $$-1-ls.db; mkfifo $$-2.maps; mkfifo $$-3.ledger; '
                  'echo >$$-4-ls.db-wal; exec env LD_PRELOAD="$3" ALLOC_TRACE_DIR="$1" ALLOC_TRACE_TO=sqlite ls /usr')
        result = subprocess.run(["sh", "-c", script, "sh", folder, victim, TRACE], capture_output=True, timeout=DEADLINE,
                                check=False)
        demand(result.returncode == 0 and not result.stderr, f"{result}")
        (ledger,) = read_all(folder, to=None)
        demand(os.path.basename(ledger.path) == f"{ledger.pid}-5.ledger", f"the ledger is {ledger.path}")
        demand(ledger.state == "closed" and rows(ledger), "nothing was captured")
        demand(contents(victim) == b"words", "a planted link was followed")
        demand(not os.path.exists(os.path.join(folder, "target")), "the target of a dangling link was made")
