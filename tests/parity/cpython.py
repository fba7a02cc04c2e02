"""CPython's own tests of `smtplib` with `smtp_blocking` in its place: ``python -m tests.parity.cpython``.

Runs `test.test_smtplib` and `SMTPHandlerTest` of `test.test_logging`, as installed with the interpreter that runs this,
and prints how many passed and failed.  To run it with another interpreter, put the checkout on its path:

    PYTHONPATH=.:backends python3.13 -m tests.parity.cpython

The substitution is the one that a program would use, `smtp_blocking.install_as_smtplib()`.  No test is left out; one
that were bound to private parts of `smtplib` would be named here.

One setting is needed, that of `docs/differences.md` for a whole program: `SMTPHandlerTest` looks for a message of eight
bits as it was written, behind a server of its own that does not offer 8BITMIME, so `SMTP.reencode` is off for it.
"""

from __future__ import annotations

import importlib
import io
import platform
import sys
import unittest

import smtp_blocking

# Module and, where not all of it is about SMTP, the class.
SUITES = (("test.test_smtplib", None), ("test.test_logging", "SMTPHandlerTest"))


def run(module: str, only: str | None) -> unittest.TestResult:
    """Run one suite; what it prints is kept back unless something fails."""
    loader = unittest.defaultTestLoader
    name = module if only is None else f"{module}.{only}"
    tests = loader.loadTestsFromName(name)
    output = io.StringIO()
    result = unittest.TextTestRunner(stream=output).run(tests)
    if not result.wasSuccessful():
        print(output.getvalue())
    return result


def main() -> int:
    """Run all; the exit status is 1 if any test failed, or none was found."""
    for module, _ in SUITES:
        try:
            importlib.import_module(module.partition(".")[0] + ".support")
        except ImportError:
            print("the tests of the standard library are not installed with this Python")
            return 2
        sys.modules.pop(module, None)
    smtp_blocking.install_as_smtplib()
    passed = failed = skipped = 0
    for module, only in SUITES:
        smtp_blocking.SMTP.reencode = module != "test.test_logging"
        if not smtp_blocking.SMTP.reencode:
            print(f"{module}: with SMTP.reencode = False, for its server does not offer 8BITMIME and gets eight bits")
        result = run(module, only)
        bad = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
        good = result.testsRun - bad - len(result.skipped)
        print(f"{module}{'.' + only if only else ''}: {good} passed, {bad} failed, {len(result.skipped)} skipped")
        passed, failed, skipped = passed + good, failed + bad, skipped + len(result.skipped)
    print(f"Python {platform.python_version()}: {passed} passed, {failed} failed, {skipped} skipped")
    smtp_blocking.SMTP.reencode = True
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
