"""The process in which atheris searches: `python -m tests.fuzz.searching TARGET` and libFuzzer's arguments.

Instrumented is the library, not the target, so that what counts as new is new in the library.
"""

from __future__ import annotations

import sys


def main(name: str, arguments: list[str]) -> None:
    try:
        import atheris
    except ImportError:
        sys.exit("the search needs a package that is not installed: pip install 'sansio-smtp[fuzz]'")
    with atheris.instrument_imports(include=["smtp_proto", "smtp_surface"]):
        from tests.fuzz.inputs import target

        check = target(name)
    atheris.Setup([sys.argv[0], *arguments], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
