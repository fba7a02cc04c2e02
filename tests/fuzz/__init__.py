"""Fuzz targets: what must be true whatever octets arrive.

Theory of operation.  A target is a module with a function `check`, which takes one input, any octets at all, makes
something of it that the library is given, and raises if what the first line of the module says is not true of it.  It
draws on nothing else, neither time nor chance, so an input that was found once can be tried again.

`python -m tests.fuzz TARGET --seconds 600` searches for such inputs with atheris, which looks at what parts of the
library an input reaches and goes on from those that reach new ones.  Without atheris, and within seconds, the tests
give each target its seeds and some hundred variations of them (`tests.fuzz.inputs.generated`).

An input that has made a target fail is put into the target's corpus, so that it is tried by the tests ever after.
"""

from __future__ import annotations

#: The modules of this package that are targets.
TARGETS = (
    "replies",
    "extensions",
    "commands",
    "bodies",
    "sasl_client",
    "sasl_server",
    "client",
    "server",
    "client_session",
    "server_session",
    "tls",
)
