"""Conversations for the differential test that chance brings about too rarely: each needs several things at once."""

from __future__ import annotations

from typing import Final

from .differential_generate import Call, Conversation, Letter, Responder
from .differential_server import Say, Script

_SENDMAIL: Final = Call("sendmail", ("a@b.test", ["c@d.test"], "text\r\n", (), ()))
_EIGHT_BITS: Final = (
    b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGr\xc3\xbc\xc3\x9fe und vieles mehr.\r\n"
)
_NO: Final = Say(b"550 no\r\n")


def _ehlo(*lines: bytes) -> tuple[Say, ...]:
    return (Say(b"250-server.test\r\n" + b"".join(b"250-%b\r\n" % line for line in lines) + b"250 HELP\r\n"),)


def _conversation(*calls: Call, **script: tuple[Say, ...]) -> Conversation:
    kinds: Script = {{"END": "."}.get(kind, kind): said for kind, said in script.items()}
    return Conversation(calls, dict(kinds))


WRITTEN: Final = (
    # A wrong password, for a server that offers three mechanisms.
    _conversation(
        Call("login", ("user", "password", True)),
        EHLO=_ehlo(b"AUTH CRAM-MD5 PLAIN LOGIN"),
        AUTH=(Say(b"535 5.7.8 no\r\n"), Say(b"235 yes\r\n")),
    ),
    # Credentials that are not ASCII, and some with a NUL.
    _conversation(Call("login", ("\u00fc", "p\u00e4ss", True)), EHLO=_ehlo(b"AUTH PLAIN")),
    _conversation(Call("login", ("a\0b", "c", True)), EHLO=_ehlo(b"AUTH PLAIN")),
    # As many challenges as are bearable, and then success.
    _conversation(
        Call("auth", ("XOAUTH2", Responder("first", "next"), True)),
        AUTH=(Say(b"334 VQ==\r\n"),),
        response=(*(Say(b"334 VQ==\r\n"),) * 4, Say(b"235 yes\r\n")),
    ),
    # One challenge more than PLAIN has responses.
    _conversation(
        Call("login", ("user", "password", True)),
        EHLO=_ehlo(b"AUTH PLAIN"),
        AUTH=(Say(b"334 \r\n"),),
        response=(Say(b"235 yes\r\n"),),
    ),
    # Recipients: one that is given twice and refused, and 2xx that are not 250.
    _conversation(Call("sendmail", ("a@b.test", ["c@d.test", "c@d.test"], "text", (), ())), RCPT=(_NO, _NO)),
    _conversation(_SENDMAIL, MAIL=(Say(b"259 ok\r\n"),)),
    _conversation(_SENDMAIL, RCPT=(Say(b"252 perhaps\r\n"),)),
    _conversation(_SENDMAIL, END=(Say(b"251 queued\r\n"),)),
    # SMTPUTF8 in one transaction, and a refusal, and none in the next.
    _conversation(
        _SENDMAIL._replace(arguments=(*_SENDMAIL.arguments[:3], ("SMTPUTF8",), ())),
        _SENDMAIL,
        EHLO=_ehlo(b"SMTPUTF8"),
    ),
    _conversation(
        _SENDMAIL._replace(arguments=(*_SENDMAIL.arguments[:3], ("SMTPUTF8",), ())),
        EHLO=_ehlo(b"SMTPUTF8"),
        RCPT=(_NO,),
    ),
    # Options that are not ASCII: one is sent, the other is not.
    _conversation(_SENDMAIL._replace(arguments=(*_SENDMAIL.arguments[:3], ("X=\u00fc",), ()))),
    _conversation(_SENDMAIL._replace(arguments=(*_SENDMAIL.arguments[:3], (), ("X=\u00fc",))), EHLO=(_NO,)),
    # Messages that say little of where they come from, or in the wrong alphabet.
    _conversation(
        Call("send_message", (Letter("compat32", (("To", "\u00fc@b.test"),), "text"), "a@b.test", None, (), ())),
        EHLO=_ehlo(b"SMTPUTF8"),
    ),
    _conversation(
        Call(
            "send_message",
            (Letter("compat32", (("Resent-Date", "x"), ("Resent-Date", "y")), ""), "a@b.test", ["c@d.test"], (), ()),
        )
    ),
    # Eight bits, announced; and made seven, where nobody takes eight.
    _conversation(Call("sendmail", ("a@b.test", ["c@d.test"], _EIGHT_BITS, (), ())), EHLO=_ehlo(b"8BITMIME")),
    _conversation(Call("sendmail", ("a@b.test", ["c@d.test"], _EIGHT_BITS, (), ()))),
    # Addresses that are not ASCII, with all that is needed for them, in the envelope and in a header.
    _conversation(Call("sendmail", ("a@b.test", ["\u00fc@d.test"], "text", (), ())), EHLO=_ehlo(b"SMTPUTF8")),
    _conversation(Call("sendmail", ("a@b.test", ["c@b\u00fccher.test"], "text", (), ()))),
    _conversation(
        Call(
            "send_message", (Letter("default", (("From", "a@b\u00fccher.test"),), ""), "a@b.test", ["c@d.test"], (), ())
        )
    ),
    # A challenge, and then nothing more.
    _conversation(Call("docmd", ("XFOO",)), Call("close"), Call("help", ("a\r\nb",)), other=(Say(b"334 well\r\n"),)),
    # A reply that is too long, and a goodbye in the middle.
    _conversation(_SENDMAIL, RCPT=(Say(b"250 " + b"x" * 9000 + b"\r\n"),)),
    _conversation(Call("ehlo"), Call("docmd", ("QUIT",)), _SENDMAIL),
)
