"""The guards of two that write at the same time, and of what `send_many` tells where it was cut short."""

from __future__ import annotations

from .guard import Guard, outside


def _while_writing(name: str, module: str, old: str, new: str) -> Guard:
    tests = "conformance/test_send_many.py", "hostile/test_bodies.py"
    name = f"what comes while writing is taken in ({name})"
    return outside(name, module, old, new, *(f"{test}::test_two_full_buffers" for test in tests))


WRITING = (
    _while_writing("blocking", "smtp_blocking/transport", "read, write = listen, True", "read, write = False, True"),
    _while_writing(
        "asyncio",
        "smtp_asyncio/transport",
        "if listen and (self._arrived or (self._ended and not self._writable)):",
        "if listen and self._ended and not self._writable:",
    ),
    _while_writing(
        "trio, anyio",
        "smtp_surface/sockets",
        "await (_either(loop, sock) if listen else loop.wait_writable(sock))",
        "await loop.wait_writable(sock)",
    ),
    _while_writing(
        "TLS",
        "smtp_surface/async_tls",
        "received, self._records = await self.below.send(self._records, timeout, listen)",
        "received, self._records = await self.below.send(self._records, timeout, False)",
    ),
    outside(
        "an answer over TLS is to what is out (blocking)",
        "smtp_blocking/transport",
        "view[:RECORD] if self._holds_back else view",
        "view",
        "conformance/test_send_many.py::test_two_full_buffers",
    ),
    outside(
        "what a cancelled send_many leaves is told once and for all",
        "smtp_surface/sending",
        "self.left += self._batch.rest()",
        "self.left = self._batch.rest()",
        "cancellation/test_send_many.py::test_cancelled_at_every_point",
    ),
    outside(
        "a callback that was interrupted does not lock the client",
        "smtp_surface/client",
        "self._calling_out = False  # a signal",
        "pass  # a signal",
        "hostile/test_interrupts.py::test_every_line_around_a_callback",
    ),
)
