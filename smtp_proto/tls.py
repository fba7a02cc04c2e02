"""TLS without I/O: octets of the network in, octets of the application out, and the other way round.

One pump over `ssl.MemoryBIO` for everything that has no TLS socket of its own: event loops, programs with a loop of
their own, and tests that join two ends in memory.  It gives one meaning to what sockets leave open:

* The handshake is done when `handshake` says so, and nothing that came before it in the clear can be in its input: the
  pump starts from an empty buffer.
* A readable socket may hold nothing for the application (a session ticket, a key update): what counts is what `read`
  makes of it.
* An end without close_notify is an end, and `truncated` says so.  SMTP needs no more: a reply or a message that was cut
  is told by its own framing (RFC 5321 4.2, 4.5.2), and many servers drop the connection after QUIT's 221.

The only module of this package that imports `ssl`; nothing here imports it, so `import smtp_proto` stays without.
"""

from __future__ import annotations

import ssl
from contextlib import suppress

from .channel_binding import TLSFacts

# Octets asked for in one read: the largest TLS record (RFC 8446 5.1) holds this many.
_RECORD = 16384


def facts_of(session: ssl.SSLSocket | ssl.SSLObject) -> TLSFacts:
    """What a log-in, or a person, may want to know of a TLS session whose handshake is done."""
    certificate = session.getpeercert(binary_form=True)
    context, cipher = session.context, session.cipher()
    return TLSFacts(
        session.version(),
        certificate,
        (session.getpeercert() or {}) if certificate is not None else {},
        session.get_channel_binding("tls-unique"),
        cipher[0] if cipher is not None else None,
        context.verify_mode is ssl.CERT_REQUIRED and (session.server_side or context.check_hostname),
        session.server_hostname,
    )


class TLSPump:
    """One end of a TLS connection.

    `context` decides what is verified, against `server_hostname` on the client's side.  Every method may raise
    `ssl.SSLError`; the connection is of no use after that, but `data_to_send` may hold the alert that says why.
    """

    def __init__(
        self, context: ssl.SSLContext, server_hostname: str | None = None, *, server_side: bool = False
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side, server_hostname)
        self.established = False
        self.truncated = False

    @property
    def ssl_object(self) -> ssl.SSLObject:
        """What knows the version, the cipher and the peer's certificate."""
        return self._tls

    def receive_data(self, octets: bytes) -> None:
        """Take in what has arrived from the network."""
        self._incoming.write(octets)

    def receive_eof(self) -> None:
        """The network will bring nothing more."""
        self._incoming.write_eof()

    def data_to_send(self) -> bytes:
        """All that is to go to the network; to be asked for after every call of the methods below."""
        return self._outgoing.read()

    def handshake(self) -> bool:
        """Go on with the handshake; True when it is done, False while more must arrive."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.established = True
        return True

    def write(self, octets: bytes) -> None:
        """Encrypt octets of the application."""
        view = memoryview(octets)
        while view:
            view = view[self._tls.write(view) :]

    def read(self) -> bytes | None:
        """What has arrived for the application; None if more is needed, b"" at the end."""
        parts = []
        try:
            while True:
                part = self._tls.read(_RECORD)
                if not part:
                    break
                parts.append(part)
        except ssl.SSLWantReadError:
            return b"".join(parts) if parts else None
        except ssl.SSLZeroReturnError:
            pass  # close_notify, after our own
        except ssl.SSLEOFError:
            self.truncated = True
        return b"".join(parts)

    def close(self) -> None:
        """Say close_notify, without waiting for the peer's (RFC 8446 6.1).  Never raises."""
        # "Want read": it is in the output, and the peer's has not come.  Any other: there is nobody to say it to.
        with suppress(ssl.SSLError):
            self._tls.unwrap()
