"""The backends that the conformance suite runs against, each behind one small interface.

Tests see every backend as a blocking one.  A backend with coroutines hands out clients whose methods run them to their
end in a loop of its own, and does the same for the functions that tests put in a method's place.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeAlias, TypeVar, cast

import smtp_blocking
from tests.scripted import ScriptedServer
from tests.scripts import PATIENCE

T = TypeVar("T")

#: The surface that tests are written against.
Client: TypeAlias = smtp_blocking.SMTP
#: The calls of a method that is watched: the positional arguments of each.
Calls: TypeAlias = list[tuple[Any, ...]]
Server: TypeAlias = ScriptedServer | smtp_blocking.Server


class Backend:
    """How tests get clients of one backend.  The blocking one is as it is; others override what differs."""

    name: str
    #: The package, with `smtplib`'s names.
    module: ModuleType

    def open(self, kind: str | type[Any], *args: Any, **options: Any) -> Client:
        """A client made by the class of that name (SMTP, SMTP_SSL, LMTP), or by a subclass; connected if `args` say
        where to."""
        return cast("Client", (getattr(self.module, kind) if isinstance(kind, str) else kind)(*args, **options))

    def connect(self, server: Server, kind: str | type[Any] = "SMTP", **options: Any) -> Client:
        """A client of `server`, with a name and a time-out that suit tests."""
        options = {"local_hostname": "client.test", "timeout": PATIENCE, **options}
        return self.open(kind, server.host, server.port, **options)

    def watch(self, client: Client, method: str) -> Calls:
        """Patch the method of one client with a function that calls it and keeps the arguments."""
        calls: Calls = []
        setattr(client, method, self._watching(getattr(client, method), calls))
        return calls

    def watching(self, kind: str, method: str) -> tuple[type[Any], Calls]:
        """A subclass that overrides the method with one that calls the original and keeps the arguments."""
        calls: Calls = []
        parent = getattr(self.module, kind)

        def override(self: Any, *args: Any, **options: Any) -> Any:
            calls.append(args)
            return getattr(super(child, self), method)(*args, **options)

        child: type[Any] = type("Overriding", (parent,), {method: override})
        return child, calls

    def replace(self, client: Client, method: str, function: Callable[..., Any]) -> None:
        """Put a function of the test in the place of a method of one client."""
        setattr(client, method, function)

    @staticmethod
    def _watching(original: Callable[..., T], calls: Calls) -> Callable[..., T]:
        def watched(*args: Any, **options: Any) -> T:
            calls.append(args)
            return original(*args, **options)

        return watched


class BlockingBackend(Backend):
    name = "blocking"
    module = smtp_blocking


BACKENDS: list[Backend] = [BlockingBackend()]
