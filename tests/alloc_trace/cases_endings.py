"""The start and the end of processes: exits, execs, forks, signals.

Licence: MIT OR Apache-2.0.
"""

from harness import calls_in, demand, program, rows, same


def test_fork_without_exec_while_others_capture():
    same(program("forks"), least=15)


def test_exec_chain_and_fork_with_exec():
    def look(run):
        images = [ledger for ledger in run.ledgers if ledger.comm == "execs"]
        demand(len(images) == 11, f"{len(images)} images of execs, not 11 (10 in the chain, 1 of the forked child)")

    same(program("execs"), processes=2, more=look)


def test_vfork_posix_spawn_system_popen():
    same(program("spawns"), least=5)


def test_returns_from_main():
    same(program("endings", "return"), processes=1)


def test_exit():
    same(program("endings", "exit"), processes=1)


def test_underscore_exit():
    same(program("endings", "_exit"), processes=1)


def test_underscore_capital_exit():
    same(program("endings", "_Exit"), processes=1)


def test_quick_exit():
    same(program("endings", "quick_exit"), processes=1)


def test_exit_in_a_signal_handler():
    same(program("endings", "signal"), processes=1)


def test_exit_in_a_thread_after_main_ended():
    same(program("endings", "thread"), processes=1, lossless=False)


def test_end_of_the_last_thread_after_main_ended():
    """The threads of the tracer must not keep the process alive."""
    same(program("endings", "last_thread"), processes=1)


def test_thrd_exit_of_the_only_thread():
    same(program("endings", "only_thread"), processes=1)


def test_error_and_err():
    same(program("endings", "error"), processes=1)
    same(program("endings", "err"), processes=1)


def test_daemon():
    """libc forks inside and ends the parent by its internal _exit."""
    def look(run):
        demand({ledger.state for ledger in run.ledgers} == {"closed"}, "the parent or the daemon is not closed")

    same(program("endings", "daemon"), processes=2, more=look)


def test_forks_inside_libc():
    same(program("libc_forks"), least=2)


def test_exit_while_another_thread_allocates():
    same(program("endings", "busy"), processes=1, lossless=False)


def died(how, killed):
    def look(run):
        (ledger,) = run.ledgers
        demand(ledger.state == "running", f"the ledger of a killed process is {ledger.state}")
        (counted,) = run.counts.values()
        demand(calls_in(rows(ledger, killed)) <= sum(counted), "more events than calls")

    same(program("endings", how), processes=1, lossless=False, ended=False, more=look)


def test_abort_has_everything_stored():
    def look(run):
        (ledger,) = run.ledgers
        (counted,) = run.counts.values()
        kept = calls_in(rows(ledger)) + sum(ledger.own) + sum(ledger.nested)
        demand(kept == sum(counted), f"{kept} calls stored and in the ledger, {sum(counted)} counted")

    died("abort", killed=False)
    same(program("endings", "abort"), processes=1, lossless=False, ended=False, more=look)


def test_end_by_a_system_call_leaves_a_readable_trace():
    died("system_call", killed=True)


def test_sigkill_leaves_a_readable_trace():
    died("kill", killed=True)


def test_shell_exit_status_of_a_signal():
    same(["sh", "-c", "kill -TERM $$"], lossless=False, ended=False)
