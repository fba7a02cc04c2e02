"""What all tests share: the settings of Hypothesis."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# No deadlines and no complaints about slow data: both measure the machine and the coverage tracer, not the library.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same examples in every run: a change is judged by what it changes, not by luck.  The search goes on at home.
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, database=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_configure(config: pytest.Config) -> None:
    # Hypothesis keeps the choices that it made as keys of dicts, and b"" and 0 have the same hash: under `python -bb`
    # comparing them is an error.  It is theirs, and harmless; ours would not come from inside their package.
    theirs = r"ignore:Comparison between bytes and:BytesWarning:hypothesis\.internal\."
    config.addinivalue_line("filterwarnings", theirs)
