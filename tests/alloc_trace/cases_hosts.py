"""Programs that are hard on a library inside them: they clear the environment, close every descriptor, change their root, reach
the file size limit, cancel threads, use small stacks.

Licence: MIT OR Apache-2.0.
"""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time

from harness import (
    Failure, Run, check_ledgers, demand, is_root, program, read_all, same, skipped, temporary_folder, untraced,
)


# --- Settings ---------------------------------------------------------------------------------------------------------


def leaves_home(*arguments, images):
    """The folder is a relative path; the program clears its environment and changes its directory to /."""
    astray = "/alloc_trace.out"  # the folder of a child that has lost its settings
    if os.path.exists(astray):
        raise Failure(f"{astray} exists; remove it")
    with temporary_folder() as home:
        run = Run(program("leaves_home", *arguments), directory="traces", mode="drop", cwd=home)
        demand(run.result.returncode == 0, f"exit status {run.result.returncode}: {run.result.stderr}")
        run.ledgers = read_all(os.path.join(home, "traces"))
        if images > 2:
            run.counts = {}  # the folder of count_allocs is not passed on
        demand(len(run.ledgers) == images, f"{len(run.ledgers)} images traced, not {images}")
        demand({ledger.mode for ledger in run.ledgers} == {"drop"}, "a child has lost its mode")
        check_ledgers(run)
        demand(os.listdir(home) == ["traces"], f"files beside the folder: {os.listdir(home)}")
        demand(not os.path.exists(astray), f"traces in {astray}")
        run.remove()


def test_environment_cleared_and_directory_changed_then_fork():
    leaves_home(images=2)


def test_exec_with_an_environment_that_has_lost_the_settings():
    leaves_home("exec", images=3)


def test_exec_with_a_cleared_environment_is_not_traced():
    same(["env", "-i", *program("endings", "exit")], loud=True, processes=1)


# --- Descriptors ------------------------------------------------------------------------------------------------------


def helpers_stored(run, helpers):
    """If the descriptors of a helper are closed during an access to the storage, the tracer may give up after half a second; the
    ledger records it."""
    kept = [ledger for ledger in helpers if ledger.close_status == 0 and ledger.lost == 0]
    demand(len(helpers) == 3 and len(kept) >= 2, f"{len(kept)} of {len(helpers)} helpers have stored everything")
    others = [ledger for ledger in run.ledgers if ledger not in helpers]
    demand(all(ledger.lost == 0 and ledger.close_status == 0 for ledger in others), "another process has lost something")


def test_every_descriptor_closed_then_exec():
    """Everything is stored within ALLOC_TRACE_EXIT_MS, because the storage opens its file again."""
    def look(run):
        print(f"    3 children by a helper that closes every descriptor: {time.monotonic() - began:.2f} s, untraced and traced")
        helpers_stored(run, [ledger for ledger in run.ledgers if ledger.comm == "launcher" and ledger.state == "exec"])

    began = time.monotonic()
    same(program("launcher", "exec"), processes=4, exit_ms=5000, lossless=False, ended=False, more=look)


def test_every_descriptor_closed_then_exit():
    def look(run):
        helpers_stored(run, [ledger for ledger in run.ledgers if ledger.command.split()[-1] != "exit"])

    same(program("launcher", "exit"), processes=4, exit_ms=5000, lossless=False, ended=False, more=look)


JAVA = """
public class Starts {
    public static void main(String[] words) throws Exception {
        for (int child = 1; child <= 3; child++) {
            Process process = new ProcessBuilder("sh", "-c", "echo child " + child + "; exit " + child).inheritIO().start();
            System.out.println("status " + process.waitFor());
        }
    }
}
"""


def test_java_starts_three_children():
    if shutil.which("java") is None or shutil.which("javac") is None:
        skipped("java is not installed")
        return
    with temporary_folder() as folder:
        with open(os.path.join(folder, "Starts.java"), "w", encoding="utf-8") as source:
            source.write(JAVA)
        subprocess.run(["javac", "-d", folder, source.name], check=True, timeout=100)

        def look(run):
            print(f"    3 children of java: {time.monotonic() - began:.2f} s, untraced and traced")
            helpers = [ledger for ledger in run.ledgers if ledger.comm == "jspawnhelper"]
            kept = [ledger for ledger in helpers if ledger.close_status == 0 and ledger.lost == 0]
            demand(len(kept) >= len(helpers) - 1, f"{len(kept)} of {len(helpers)} helpers have stored everything")
            shells = [ledger for ledger in run.ledgers if ledger.comm == "sh"]
            demand(len(shells) == 3, f"{len(shells)} of 3 children traced: {[ledger.comm for ledger in run.ledgers]}")
            for ledger in shells:
                demand(ledger.state == "closed" and ledger.lost == 0, f"{ledger.pid}: {ledger.state}, {ledger.lost} lost")

        began = time.monotonic()
        same(["java", "-Xshare:auto", "-cp", folder, "Starts"], least=4, lossless=False, ended=False, exit_ms=5000, more=look)


def test_another_root():
    if not is_root():
        skipped("chroot needs root")
        return
    with temporary_folder() as folder:
        same(program("launcher", "chroot", folder), processes=1, exit_ms=5000)
        demand(not os.listdir(folder), f"in the new root: {os.listdir(folder)}")


# --- Limits -----------------------------------------------------------------------------------------------------------


def file_size(limit):
    def set_limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return set_limit


def test_file_size_limit_too_low_for_a_ledger():
    run = Run(["ls", "/usr"], preexec_fn=file_size(0))
    text = run.result.stderr.decode()
    demand("limit of 0 bytes" in text and "ulimit -f" in text and text.count("\n") == 1, f"on stderr: {text}")
    untraced(run, ["ls", "/usr"])


def test_file_size_limit_too_low_for_a_trace():
    run = Run(["ls", "/usr"], preexec_fn=file_size(4096))
    text = run.result.stderr.decode()
    demand("of 4096 bytes" in text and "ulimit -f" in text and text.count("\n") == 1, f"on stderr: {text}")
    untraced(run, ["ls", "/usr"])


def test_file_size_limit_divides_the_journal():
    def look(run):
        journal = run.ledgers[0].storage
        sizes = [os.path.getsize(os.path.join(journal, name)) for name in os.listdir(journal)]
        demand(len(sizes) > 5 and max(sizes) <= 200_000, f"segments of {sizes} bytes")

    same(program("child_starts", "small_stack_here"), processes=1, preexec_fn=file_size(200_000), more=look)


def test_limits_on_memory_that_suffice_untraced_suffice():
    """Below a limit on addresses or data that leaves room for the program alone, it runs untraced, and a line names the limit."""
    code = "block = bytearray(50_000_000); print(len([str(i) for i in range(100_000)]))"
    command = [sys.executable, "-S", "-c", code]
    for name, resource_number, limits in (("RLIMIT_AS", resource.RLIMIT_AS, (150, 250, 350, 500, 900)),
                                          ("RLIMIT_DATA", resource.RLIMIT_DATA, (90, 120, 200))):
        for mebibytes in limits:
            def limit(resource_number=resource_number, most=mebibytes << 20):
                resource.setrlimit(resource_number, (most, most))

            run = Run(command, preexec_fn=limit, stacks=16)
            text = run.result.stderr.decode()
            demand(f"of {mebibytes << 20} bytes" in text and name in text and text.count("\n") == 1, f"{name}: on stderr: {text}")
            untraced(run, command, preexec_fn=limit)
    # One that leaves enough changes nothing.
    same(command, processes=1, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)))


def test_malloc_is_no_cancellation_point():
    same(program("child_starts", "cancelled"), processes=2)


def test_start_on_a_thread_of_16_kib_stack():
    same(program("child_starts", "small_stack"), processes=2)
    same(program("child_starts", "small_stack_here"), processes=1)
