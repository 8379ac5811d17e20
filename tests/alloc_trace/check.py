"""Runs the tests of alloc_trace: every function of cases_*.py whose name begins with test_.

    check.py OUT BIN [NAME]     called by run.sh; only tests whose name contains NAME

Licence: MIT OR Apache-2.0.
"""

import glob
import importlib
import os
import signal
import sys

sys.dont_write_bytecode = True  # writes nothing into the source tree
HERE = os.path.dirname(os.path.abspath(__file__))
ONLY = sys.argv[3] if len(sys.argv) > 3 else ""
from harness import Failure  # noqa: E402


def tests():
    for path in sorted(glob.glob(os.path.join(HERE, "cases_*.py"))):
        module = importlib.import_module(os.path.basename(path)[:-3])
        for name, test in list(vars(module).items()):
            if name.startswith("test_") and ONLY in name:
                yield name[5:], test


def main():
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    passed = failed = 0
    for name, test in tests():
        try:
            test()
        except Failure as failure:
            failed += 1
            print(f"alloc_trace: {name} ... FAILED\n    {failure}", flush=True)
        except Exception as failure:  # for example a missing file or row
            failed += 1
            print(f"alloc_trace: {name} ... FAILED\n    {type(failure).__name__}: {failure}", flush=True)
        else:
            passed += 1
            print(f"alloc_trace: {name} ... ok", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
