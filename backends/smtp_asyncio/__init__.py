"""SMTP for asyncio, on its own loop and on uvloop: the transport; `smtplib`'s names as coroutines are to come."""

from .transport import StreamTransport

__all__ = ["StreamTransport"]
