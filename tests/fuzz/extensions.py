"""Whatever an EHLO reply lists, reading it never fails, and each typed view of it is what its type says, or nothing.

An input: the text of the lines behind the first one of a 250 to EHLO, divided by LF.
"""

from __future__ import annotations

from smtp_proto.client import ClientConnection
from smtp_proto.commands import Ehlo
from smtp_proto.errors import RemoteProtocolError
from smtp_proto.extensions import MAX_SIZE_DIGITS, Extensions
from smtp_proto.replies import Reply


def check(data: bytes) -> None:
    lines = data.split(b"\n")
    extensions = Extensions.from_reply(Reply(250, [b"mx.test", *lines]))
    check_views(extensions)
    assert Extensions(dict(extensions)) == extensions
    check_connection(lines, extensions)


def check_views(extensions: Extensions) -> None:
    for keyword in extensions:
        assert keyword
        assert " " not in keyword
        assert keyword in extensions
        assert isinstance(extensions[keyword], str)
    assert extensions.size is None or 0 < extensions.size < 10**MAX_SIZE_DIGITS
    assert len(set(extensions.auth)) == len(extensions.auth)
    assert all(name and not name.isspace() for name in extensions.auth)
    assert all(0 <= limit < 10**9 for limit in extensions.limits.values())
    assert extensions.deliver_by is None or 0 <= extensions.deliver_by < 10**9
    assert extensions.future_release is None or extensions.future_release.interval > 0
    assert extensions.mt_priority is None or "MT-PRIORITY" in extensions
    for words in (extensions.no_soliciting, extensions.burl, extensions.xclient, extensions.xforward):
        assert all(words)
    assert repr(extensions).startswith("Extensions(")


def check_connection(lines: list[bytes], extensions: Extensions) -> None:
    """A client that is told so knows the same, or finds that it is no reply."""
    client = ClientConnection()
    client.receive_data(b"220 mx.test\r\n")
    client.next_event()
    client.send(Ehlo("client.test"))
    texts = [b"mx.test", *lines]
    octets = b"".join(b"250-" + text + b"\r\n" for text in texts[:-1]) + b"250 " + texts[-1] + b"\r\n"
    client.receive_data(octets)
    try:
        client.next_event()
    except RemoteProtocolError:
        assert client.closed
    else:
        assert client.extensions == extensions
