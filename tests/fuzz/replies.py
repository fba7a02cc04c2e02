"""Whatever a server sends, in whatever pieces: the same replies and the same error, of bounded size; octets are kept.

An input: one octet that chooses where to cut, and what the server sends.
"""

from __future__ import annotations

from smtp_proto.errors import InvalidArgument, RemoteProtocolError
from smtp_proto.replies import MAX_REPLY_LINE, MAX_REPLY_LINES, MAX_REPLY_SIZE, Reply, ReplyReader
from tests.fuzz.inputs import Input, ways

Result = tuple[list[Reply], "str | None", int]


def read(pieces: list[bytes]) -> Result:
    """The replies, the error that ended them if one did, and how many octets are left."""
    reader = ReplyReader()
    replies: list[Reply] = []
    for piece in pieces:
        reader.feed(piece)
        try:
            while (reply := reader.next_reply()) is not None:
                replies.append(reply)
        except RemoteProtocolError as error:
            return replies, f"{type(error).__name__}: {error}", 0
        assert reader.unread <= MAX_REPLY_SIZE + MAX_REPLY_LINE
    return replies, None, reader.unread


def check(data: bytes) -> None:
    given = Input(data)
    at = given.number()
    octets = given.rest()
    results = [read(pieces) for pieces in ways(octets, at)]
    for result in results:
        assert result == results[0]
        assert [reply.raw for reply in result[0]] == [reply.raw for reply in results[0][0]]
    replies, error, unread = results[0]
    consumed = b"".join(reply.raw for reply in replies)
    assert octets.startswith(consumed)
    assert error is not None or len(consumed) + unread == len(octets)
    for reply in replies:
        check_value(reply)


def check_value(reply: Reply) -> None:
    """What can be asked of a reply is answered, and what is said again is the same."""
    assert 0 <= reply.code <= 999
    assert 1 <= len(reply.lines) <= MAX_REPLY_LINES
    assert len(reply.raw) <= MAX_REPLY_SIZE
    assert str(reply).startswith(f"{reply.code:03d} ")
    assert all(character.isprintable() or character == "\n" or ord(character) > 159 for character in str(reply))
    assert reply.text.count("\n") == len(reply.lines) - 1
    assert reply.enhanced is None or reply.enhanced.severity == reply.severity
    try:
        again = reply.encode()
    except InvalidArgument:
        assert any(octet in line for line in reply.lines for octet in (b"\r", b"\0"))
        return
    assert again.count(b"\n") == len(reply.lines) == again.count(b"\r\n")
    if len(again) <= MAX_REPLY_SIZE and max(map(len, again.split(b"\n"))) < MAX_REPLY_LINE:
        assert read([again]) == ([reply], None, 0)
