"""What the conversations of the differential test are put together from: arguments, and lines that a server says.

The first of each are ordinary; the generator takes the others where it is to be odd.
"""

from __future__ import annotations

from typing import Final

ADDRESSES: Final = (
    *("a@b.test", "c@d.test", "e.f+g@h.test", "<a@b.test>", "A B <a@b.test>", '"A, B" <a@b.test>', "a@b.test (A B)"),
    *(
        "postmaster",
        "",
        "<>",
        "a@[127.0.0.1]",
        '"a b"@c.test',
        "a@b,c@d",
        "A: b@c.test;",
        " a@b.test ",
        "@",
        "a@",
        "<a@",
    ),
    *("a b@c.test", "a@b.test>", "a@b.test> size=1", "a@b\r\nRSET", "A\nB <a@b.test>", "a\t@b.test", "a\0@b.test"),
    *("\u00fc@b.test", "a@b\u00fccher.test", "\u00dc <a@b.test>", "\udc80@b.test", 'a"b@c.test', "a" * 300 + "@b.test"),
)
GOOD_ADDRESSES: Final = ADDRESSES[:7]
OPTIONS: Final = (
    *("SIZE=10", "BODY=8BITMIME", "SMTPUTF8", "smtputf8", "RET=FULL", "NOTIFY=NEVER", "ENVID=QQ314159", "AUTH=<>"),
    *("two words", "", "X=\r\nRSET", "ORCPT=rfc822;\u00fc", "x\ty"),
)
LINE_ENDS: Final = ("\r\n", "\r\n", "\n", "\r", "\n\r", "\r\r\n", "")
FRAGMENTS: Final = ("", "Subject: hello", "text", ".", "..", ".text", " .", "From me", "x" * 1000, "\u00fc", "\0")
NAMES: Final = ("", "", "client.test", "[127.0.0.1]", "two words", "b\u00fccher.test", "a\r\nb", "a\tb", "localhost")
TEXTS: Final = (
    *(
        b"ok",
        b"2.0.0 ok",
        b"5.7.1 no, never",
        b"4.2.2 \t later ",
        b"",
        b" ",
        b"gr\xfc\xdfe \xff",
        b"\xc3\xbc",
        b"\t x\t",
    ),
    *(b"a-b", b"ok\r", b"nul \0", b"x" * 500),
)
EXTENSIONS: Final = (
    *(b"SIZE", b"SIZE 1000", b"size 0", b"8BITMIME", b"PIPELINING", b"SMTPUTF8", b"smtputf8", b"STARTTLS", b"DSN"),
    *(b"AUTH PLAIN LOGIN", b"AUTH=LOGIN", b"AUTH=PLAIN LOGIN", b"AUTH CRAM-MD5", b"auth plain", b"AUTH XOAUTH2"),
    *(b"AUTH PLAIN", b"AUTH LOGIN CRAM-MD5", b"ENHANCEDSTATUSCODES", b"CHUNKING", b"auth=plain", b"Auth Login"),
    *(b"X-FOO bar  baz", b"PIPELINING ", b"-BAD", b"  SIZE 7", b"HELP"),
)
ODD_EXTENSIONS: Final = (
    *(b"X_FOO bar", b"x_foo bar", b"", b"8BIT\xff x", b"SIZE=100", b"AUTH\tPLAIN", b"HELP\xa0", b"AUTH", b"AUTH="),
    *(b"SIZE\t5", b"\xa0DSN", b"X\x85Y Z", b"AUTH-X y", b"AUTH:PLAIN", b"AUTH  LOGIN  PLAIN ", b"AUTH=  LOGIN"),
)
CODES: Final = (200, 221, 235, 250, 251, 252, 299, 334, 354, 399, 421, 450, 452, 454, 500, 501, 503, 535, 550, 552, 554)
ODD_CODES: Final = (199, 100, 600, 999, 0)
CHALLENGES: Final = (b"", b"VXNlcm5hbWU6", b"PDEyQGEudGVzdD4=", b"!!", b"VQ", b"VQ==", b"V Q = =", b"\xff")
NOT_REPLIES: Final = (
    *(b"hello\r\n", b"25 ok\r\n", b"+25 ok\r\n", b"-12 ok\r\n", b" 25 ok\r\n", b"\r\n", b"2500 ok\r\n", b"250=ok\r\n"),
    *(
        b"250\tok\r\n",
        b"250-a\r\n550 b\r\n",
        b"250-a\r\nb\r\n",
        b"\xd9\xa1\xd9\xa1 ok\r\n",
        b"250_ok\r\n",
        b"2_0 ok\r\n",
    ),
)
# Behind these nothing comes: the connection is closed.
CUT: Final = (b"", b"250-first\r\n", b"250 ok", b"250-", b"25", b"550 no\r")
# The bounds of smtplib (a line) and of this library (lines, octets).
LONG: Final = (
    b"250 " + b"x" * 8186 + b"\r\n",
    b"250 " + b"x" * 8187 + b"\r\n",
    b"250-" + b"x" * 9000 + b"\r\n250 ok\r\n",
    b"250-x\r\n" * 2100 + b"250 x\r\n",
)
CREDENTIALS: Final = (
    ("user", "password"),
    ("", ""),
    ("\u00fc", "p\u00e4ss"),
    ("a\0b", "c"),
    ("a\r\nb", "c"),
    ("u", "x" * 100),
)
MECHANISMS: Final = ("PLAIN", "login", "XOAUTH2", "CRAM-MD5", "two words", "X\r\nRSET", "")
COMMANDS: Final = (
    *(
        ("NOOP", ""),
        ("noop", "x y"),
        ("XFOO", "bar"),
        ("mail", "from:<a@b.test>"),
        ("RCPT TO:<a@b.test>", ""),
        ("", ""),
    ),
    *(
        ("VRFY", "\u00fc"),
        ("HELP", "a\r\nRSET"),
        ("HELP", "a\tb"),
        ("NOOP", "\0"),
        (" NOOP", ""),
        ("NOOP", " "),
        ("RSET", ""),
    ),
    *(("QUIT", ""), ("EHLO", "client.test"), ("LHLO", "x"), ("HELO", "x"), ("ETRN", "example.test"), ("a\nb", "")),
)
