"""All that the standard library tests of `smtplib` holds for `smtp_blocking`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec

from tests.needs import needs


def test_the_tests_of_the_standard_library() -> None:
    # In a process of its own: it puts `smtp_blocking` in the place of `smtplib`.
    needs(find_spec("test.test_smtplib") is not None, "the standard library's tests (Debian: libpython3.11-testsuite)")
    done = subprocess.run(
        [sys.executable, "-m", "tests.parity.cpython"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "default"},  # the suites have their own idea of warnings
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counted = re.search(r"Python .*: (\d+) passed, 0 failed", done.stdout)
    assert counted is not None
    assert int(counted[1]) >= 80
