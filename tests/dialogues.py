"""Conversations as the documents of SMTP and of its extensions print them.

They stand here as they stand there, with these exceptions: lines that were broken to fit a page are whole; "..." and
the like, for the lines of a message, is a line of ours; a greeting that is left out, or has a "-" too many, is one.
"C:" is the client, "S:" the server, whatever the document calls them.  `tests.test_rfc_dialogues` says them all.
"""

from __future__ import annotations

from typing import NamedTuple

URL = (
    "imap://harry@gryffindor.example.com/outbox;uidvalidity=1078863300/;uid=25;"
    "urlauth=submit+harry:internal:91354a473744909de610943775f92038"
)
WRONG_URL = URL.replace(":9135", ":7135")


class Dialogue(NamedTuple):
    """A conversation, and where it is from.

    `held`: what our client sends only when the answers that it needs are in, although the document sends it before.
    `server`: True if our server may say all of it.
    """

    source: str
    text: str
    held: tuple[str, ...] = ()
    server: bool = True

    @property
    def lines(self) -> list[tuple[str, bytes]]:
        """Who says it, and the line without its end."""
        return [(line[0], line[3:].encode()) for line in map(str.strip, self.text.strip().splitlines())]


DIALOGUES = [
    Dialogue(
        "RFC 1870 8",
        """
        S: 220 sigurd.innosoft.com -- Server SMTP (PMDF V4.2-6 #1992)
        C: EHLO ymir.claremont.edu
        S: 250-sigurd.innosoft.com
        S: 250-EXPN
        S: 250-HELP
        S: 250 SIZE 1000000
        C: MAIL FROM:<ned@thor.innosoft.com> SIZE=500000
        S: 250 Address Ok.
        C: RCPT TO:<ned@innosoft.com>
        S: 250 ned@innosoft.com OK; can accomodate 500000 byte message
        C: RCPT TO:<ned@ymir.claremont.edu>
        S: 552 Channel size limit exceeded: ned@YMIR.CLAREMONT.EDU
        C: RCPT TO:<ned@hmcvax.claremont.edu>
        S: 452 Insufficient channel storage: ned@hmcvax.CLAREMONT.EDU
        C: DATA
        S: 354 Send message, ending in CRLF.CRLF.
        C: Subject: size
        C: .
        S: 250 Some recipients OK
        C: QUIT
        S: 221 Goodbye
        """,
    ),
    Dialogue(
        "RFC 2034 6",
        """
        S: 220 dbc.mtview.ca.us SMTP service ready
        C: EHLO ymir.claremont.edu
        S: 250-dbc.mtview.ca.us says hello
        S: 250 ENHANCEDSTATUSCODES
        C: MAIL FROM:<ned@ymir.claremont.edu>
        S: 250 2.1.0 Originator <ned@ymir.claremont.edu> ok
        C: RCPT TO:<mrose@dbc.mtview.ca.us>
        S: 250 2.1.5 Recipient <mrose@dbc.mtview.ca.us> ok
        C: RCPT TO:<nosuchuser@dbc.mtview.ca.us>
        S: 550 5.1.1 Mailbox "nosuchuser" does not exist
        C: RCPT TO:<remoteuser@isi.edu>
        S: 551-5.7.1 Forwarding to remote hosts disabled
        S: 551 5.7.1 Select another host to act as your forwarder
        C: DATA
        S: 354 Send message, ending in CRLF.CRLF.
        C: Subject: status codes
        C: .
        S: 250 2.6.0 Message accepted
        C: QUIT
        S: 221 2.0.0 Goodbye
        """,
    ),
    Dialogue(
        "RFC 2852 6, the first server",
        """
        S: 220 acme.net SMTP server here
        C: EHLO bigbiz.com
        S: 250-acme.net
        S: 250 DELIVERBY
        C: MAIL FROM:<eljefe@bigbiz.com> BY=120;R
        S: 250 <eljefe@bigbiz.com> sender ok
        C: RCPT TO:<topbanana@other.com>
        S: 250 <topbanana@wherever.com> recipient ok
        """,
    ),
    Dialogue(
        "RFC 2852 6, relayed",
        """
        S: 220 mail.other.com ESMTP server at your service
        C: EHLO acme.net
        S: 250-mail.other.com
        S: 250 DELIVERBY 30
        C: MAIL FROM:<eljefe@bigbiz.com> BY=98;R
        S: 250 <eljefe@bigbiz.com> Sender okay
        C: RCPT TO:<topbanana@other.com>
        S: 250 <topbanana@wherever.com> Recipient okay
        """,
    ),
    Dialogue(
        "RFC 2920 4, without pipelining",
        """
        S: 220 Innosoft.com SMTP service ready
        C: HELO dbc.mtview.ca.us
        S: 250 Innosoft.com
        C: MAIL FROM:<mrose@dbc.mtview.ca.us>
        S: 250 sender <mrose@dbc.mtview.ca.us> OK
        C: RCPT TO:<ned@innosoft.com>
        S: 250 recipient <ned@innosoft.com> OK
        C: RCPT TO:<dan@innosoft.com>
        S: 250 recipient <dan@innosoft.com> OK
        C: RCPT TO:<kvc@innosoft.com>
        S: 250 recipient <kvc@innosoft.com> OK
        C: DATA
        S: 354 enter mail, end with line containing only "."
        C: Subject: one by one
        C: .
        S: 250 message sent
        C: QUIT
        S: 221 goodbye
        """,
    ),
    Dialogue(
        "RFC 2920 4, with it",
        """
        S: 220 innosoft.com SMTP service ready
        C: EHLO dbc.mtview.ca.us
        S: 250-innosoft.com
        S: 250 PIPELINING
        C: MAIL FROM:<mrose@dbc.mtview.ca.us>
        C: RCPT TO:<ned@innosoft.com>
        C: RCPT TO:<dan@innosoft.com>
        C: RCPT TO:<kvc@innosoft.com>
        C: DATA
        S: 250 sender <mrose@dbc.mtview.ca.us> OK
        S: 250 recipient <ned@innosoft.com> OK
        S: 250 recipient <dan@innosoft.com> OK
        S: 250 recipient <kvc@innosoft.com> OK
        S: 354 enter mail, end with line containing only "."
        C: Subject: at once
        C: .
        C: QUIT
        S: 250 message sent
        S: 221 goodbye
        """,
    ),
    Dialogue(
        "RFC 2920 4, all recipients rejected",
        """
        S: 220 innosoft.com SMTP service ready
        C: EHLO dbc.mtview.ca.us
        S: 250-innosoft.com
        S: 250 PIPELINING
        C: MAIL FROM:<mrose@dbc.mtview.ca.us>
        C: RCPT TO:<nsb@thumper.bellcore.com>
        C: RCPT TO:<galvin@tis.com>
        C: DATA
        S: 250 sender <mrose@dbc.mtview.ca.us> OK
        S: 550 remote mail to <nsb@thumper.bellore.com> not allowed
        S: 550 remote mail to <galvin@tis.com> not allowed
        S: 554 no valid recipients given
        C: QUIT
        S: 221 goodbye
        """,
    ),
    Dialogue(
        "RFC 2920 4, all rejected and DATA accepted",
        """
        S: 220 innosoft.com SMTP service ready
        C: EHLO dbc.mtview.ca.us
        S: 250-innosoft.com
        S: 250 PIPELINING
        C: MAIL FROM:<mrose@dbc.mtview.ca.us>
        C: RCPT TO:<nsb@thumper.bellcore.com>
        C: RCPT TO:<galvin@tis.com>
        C: DATA
        S: 250 sender <mrose@dbc.mtview.ca.us> OK
        S: 550 remote mail to <nsb@thumper.bellore.com> not allowed
        S: 550 remote mail to <galvin@tis.com> not allowed
        S: 354 enter mail, end with line containing only "."
        C: .
        C: QUIT
        S: 554 no valid recipients
        S: 221 goodbye
        """,
        server=False,  # ours rejects a DATA without recipients, as RFC 2920 3.2 (3) wants
    ),
    Dialogue(
        "RFC 3207 5",
        """
        S: 220 mail.imc.org SMTP service ready
        C: EHLO mail.example.com
        S: 250-mail.imc.org offers a warm hug of welcome
        S: 250-8BITMIME
        S: 250-STARTTLS
        S: 250 DSN
        C: STARTTLS
        S: 220 Go ahead
        C: EHLO mail.example.com
        S: 250-mail.imc.org touches your hand gently for a moment
        S: 250-8BITMIME
        S: 250 DSN
        """,
    ),
    Dialogue(
        "RFC 3461 10.1",
        """
        S: 220 Example.ORG SMTP server here
        C: EHLO Example.ORG
        S: 250-Example.ORG
        S: 250-DSN
        S: 250-EXPN
        S: 250 SIZE
        C: MAIL FROM:<Alice@Example.ORG> RET=HDRS ENVID=QQ314159
        S: 250 <Alice@Example.ORG> sender ok
        C: RCPT TO:<Bob@Example.COM> NOTIFY=SUCCESS ORCPT=rfc822;Bob@Example.COM
        S: 250 <Bob@Example.COM> recipient ok
        C: RCPT TO:<Carol@Ivory.EDU> NOTIFY=FAILURE ORCPT=rfc822;Carol@Ivory.EDU
        S: 250 <Carol@Ivory.EDU> recipient ok
        C: RCPT TO:<Dana@Ivory.EDU> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Dana@Ivory.EDU
        S: 250 <Dana@Ivory.EDU> recipient ok
        C: RCPT TO:<Eric@Bombs.AF.MIL> NOTIFY=FAILURE ORCPT=rfc822;Eric@Bombs.AF.MIL
        S: 250 <Eric@Bombs.AF.MIL> recipient ok
        C: RCPT TO:<Fred@Bombs.AF.MIL> NOTIFY=NEVER
        S: 250 <Fred@Bombs.AF.MIL> recipient ok
        C: RCPT TO:<George@Tax-ME.GOV> NOTIFY=FAILURE ORCPT=rfc822;George@Tax-ME.GOV
        S: 250 <George@Tax-ME.GOV> recipient ok
        C: DATA
        S: 354 okay, send message
        C: Subject: reports
        C: .
        S: 250 message accepted
        C: QUIT
        S: 221 goodbye
        """,
    ),
    Dialogue(
        "RFC 3461 10.3",
        """
        S: 220 Ivory.EDU gateway to FooMail(tm) here
        C: EHLO Example.ORG
        S: 250-Ivory.EDU
        S: 250 DSN
        C: MAIL FROM:<Alice@Example.ORG> RET=HDRS ENVID=QQ314159
        S: 250 ok
        C: RCPT TO:<Carol@Ivory.EDU> NOTIFY=FAILURE ORCPT=rfc822;Carol@Ivory.EDU
        S: 550 error - no such recipient
        C: RCPT TO:<Dana@Ivory.EDU> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Dana@Ivory.EDU
        S: 250 recipient ok
        C: DATA
        S: 354 send message, end with '.'
        C: Subject: reports
        C: .
        S: 250 message received
        C: QUIT
        S: 221 bye
        """,
    ),
    Dialogue(
        "RFC 3461 10.4",
        """
        S: 220-Bombs.AF.MIL reporting for duty.
        S: 220 Electronic mail is to be used for official business only.
        C: EHLO Example.ORG
        S: 502 command not implemented
        C: RSET
        S: 250 reset
        C: HELO Example.ORG
        S: 250 Bombs.AF.MIL
        C: MAIL FROM:<Alice@Example.ORG>
        S: 250 ok
        C: RCPT TO:<Eric@Bombs.AF.MIL>
        S: 250 ok
        C: DATA
        S: 354 send message
        C: Subject: reports
        C: .
        S: 250 message accepted
        C: MAIL FROM:<>
        S: 250 ok
        C: RCPT TO:<Fred@Bombs.AF.MIL>
        S: 250 ok
        C: DATA
        S: 354 send message
        C: Subject: reports
        C: .
        S: 250 message accepted
        C: QUIT
        S: 221 Bombs.AF.MIL closing connection
        """,
    ),
    Dialogue(
        "RFC 3461 10.5",
        """
        S: 220 BoonDoggle.GOV says hello
        C: EHLO Example.ORG
        S: 250-mail.Example.COM
        S: 250 DSN
        C: MAIL FROM:<Alice@Example.ORG> RET=HDRS ENVID=QQ314159
        S: 250 sender okay
        C: RCPT TO:<Sam@Boondoggle.GOV> NOTIFY=SUCCESS ORCPT=rfc822;George@Tax-ME.GOV
        S: 250 recipient okay
        C: DATA
        S: 354 send message
        C: Subject: reports
        C: .
        S: 250 message received
        C: QUIT
        S: 221 bcnu
        """,
    ),
    Dialogue(
        "RFC 3865 2.1",
        """
        S: 220 trusted.example.com SMTP service ready
        C: EHLO untrusted.example.com
        S: 250-trusted.example.com says hello
        S: 250-ENHANCEDSTATUSCODES
        S: 250-NO-SOLICITING net.example:ADV
        S: 250 SIZE 20480000
        """,
    ),
    Dialogue(
        "RFC 4468 3.4, without pipelining",
        f"""
        S: 220 owlry.example.com
        C: EHLO potter.example.com
        S: 250-owlry.example.com
        S: 250-8BITMIME
        S: 250-BURL imap
        S: 250-AUTH PLAIN
        S: 250-DSN
        S: 250 ENHANCEDSTATUSCODES
        C: AUTH PLAIN aGFycnkAaGFycnkAYWNjaW8=
        S: 235 2.7.0 PLAIN authentication successful.
        C: MAIL FROM:<harry@gryffindor.example.com>
        S: 250 2.5.0 Address Ok.
        C: RCPT TO:<ron@gryffindor.example.com>
        S: 250 2.1.5 ron@gryffindor.example.com OK.
        C: BURL {URL} LAST
        S: 250 2.5.0 Ok.
        """,
    ),
    Dialogue(
        "RFC 4468 3.4, with it",
        f"""
        S: 220 owlry.example.com
        C: EHLO potter.example.com
        S: 250-owlry.example.com
        S: 250-8BITMIME
        S: 250-PIPELINING
        S: 250-BURL imap
        S: 250-AUTH PLAIN
        S: 250-DSN
        S: 250 ENHANCEDSTATUSCODES
        C: AUTH PLAIN aGFycnkAaGFycnkAYWNjaW8=
        C: MAIL FROM:<harry@gryffindor.example.com>
        C: RCPT TO:<ron@gryffindor.example.com>
        C: BURL {URL} LAST
        S: 235 2.7.0 PLAIN authentication successful.
        S: 250 2.5.0 Address Ok.
        S: 250 2.1.5 ron@gryffindor.example.com OK.
        S: 250 2.5.0 Ok.
        """,
        held=("MAIL", "RCPT", "BURL LAST"),  # RFC 4954 4 allows it behind AUTH PLAIN; a log-in is waited for here
    ),
    Dialogue(
        "RFC 4468 3.4, no recipient",
        f"""
        S: 220 owlry.example.com
        C: EHLO potter.example.com
        S: 250-owlry.example.com
        S: 250-PIPELINING
        S: 250 BURL imap
        C: MAIL FROM:<harry@gryffindor.example.com>
        C: RCPT TO:<malfoy@slitherin.example.com>
        C: BURL {URL} LAST
        S: 250 2.5.0 Address Ok.
        S: 550 5.7.1 Relaying not allowed: malfoy@slitherin.example.com
        S: 554 5.5.0 No recipients have been specified.
        """,
    ),
    Dialogue(
        "RFC 4468 3.4, no authorization",
        f"""
        S: 220 owlry.example.com
        C: EHLO potter.example.com
        S: 250-owlry.example.com
        S: 250-PIPELINING
        S: 250 BURL imap
        C: MAIL FROM:<harry@gryffindor.example.com>
        C: RCPT TO:<ron@gryffindor.example.com>
        C: BURL {WRONG_URL} LAST
        S: 250 2.5.0 Address Ok.
        S: 250 2.1.5 ron@gryffindor.example.com OK.
        S: 554 5.7.0 IMAP URL authorization failed
        """,
    ),
    Dialogue(
        "RFC 4954 4.1, PLAIN with an initial response",
        """
        S: 220 smtp.example.com ESMTP Server
        C: EHLO client.example.com
        S: 250-smtp.example.com Hello client.example.com
        S: 250-AUTH GSSAPI DIGEST-MD5
        S: 250-ENHANCEDSTATUSCODES
        S: 250 STARTTLS
        C: STARTTLS
        S: 220 Ready to start TLS
        C: EHLO client.example.com
        S: 250-smtp.example.com Hello client.example.com
        S: 250 AUTH GSSAPI DIGEST-MD5 PLAIN
        C: AUTH PLAIN dGVzdAB0ZXN0ADEyMzQ=
        S: 235 2.7.0 Authentication successful
        """,
    ),
    Dialogue(
        "RFC 4954 4.1, PLAIN without one",
        """
        S: 220 smtp.example.com ESMTP Server
        C: EHLO client.example.com
        S: 250-smtp.example.com Hello client.example.com
        S: 250 AUTH GSSAPI DIGEST-MD5 PLAIN
        C: AUTH PLAIN
        S: 334
        C: dGVzdAB0ZXN0ADEyMzQ=
        S: 235 2.7.0 Authentication successful
        """,
    ),
    Dialogue(
        "RFC 4954 4.1, CRAM-MD5",
        """
        S: 220 smtp.example.com ESMTP Server
        C: EHLO client.example.com
        S: 250-smtp.example.com Hello client.example.com
        S: 250-AUTH DIGEST-MD5 CRAM-MD5
        S: 250-ENHANCEDSTATUSCODES
        S: 250 STARTTLS
        C: AUTH CRAM-MD5
        S: 334 PDQxOTI5NDIzNDEuMTI4Mjg0NzJAc291cmNlZm91ci5hbmRyZXcuY211LmVkdT4=
        C: cmpzMyBlYzNhNTlmZWQzOTVhYmExZWM2MzY3YzRmNGI0MWFjMA==
        S: 235 2.7.0 Authentication successful
        """,
    ),
    Dialogue(
        "RFC 4954 4.1, EXTERNAL",
        """
        S: 220 smtp.example.com ESMTP Server
        C: EHLO client.example.com
        S: 250-smtp.example.com Hello client.example.com
        S: 250-AUTH GSSAPI DIGEST-MD5
        S: 250-ENHANCEDSTATUSCODES
        S: 250 STARTTLS
        C: STARTTLS
        S: 220 Ready to start TLS
        C: EHLO client.example.com
        S: 250-smtp.example.com Hello client.example.com
        S: 250 AUTH EXTERNAL GSSAPI DIGEST-MD5 PLAIN
        C: AUTH EXTERNAL =
        S: 235 2.7.0 Authentication successful
        """,
    ),
    Dialogue(
        "RFC 6152 4",
        """
        S: 220 dbc.mtview.ca.us SMTP service ready
        C: EHLO ymir.claremont.edu
        S: 250-dbc.mtview.ca.us says hello
        S: 250 8BITMIME
        C: MAIL FROM:<ned@ymir.claremont.edu> BODY=8BITMIME
        S: 250 <ned@ymir.claremont.edu>... Sender and 8BITMIME ok
        C: RCPT TO:<mrose@dbc.mtview.ca.us>
        S: 250 <mrose@dbc.mtview.ca.us>... Recipient ok
        C: DATA
        S: 354 Send 8BITMIME message, ending in CRLF.CRLF.
        C: Subject: eight bits
        C: .
        S: 250 OK
        C: QUIT
        S: 250 Goodbye
        """,
    ),
    Dialogue(
        "RFC 6710 8, relayed",
        """
        S: 220 example.net SMTP server here
        C: EHLO example.com
        S: 250-example.net
        S: 250-DSN
        S: 250-DELIVERBY
        S: 250 MT-PRIORITY STANAG4406
        C: MAIL FROM:<eljefe@example.com> BY=120;R ENVID=QQ314159 MT-PRIORITY=3
        S: 250 <eljefe@example.com> sender ok
        C: RCPT TO:<topbanana@example.net>
        S: 250 <topbanana@example.net> recipient ok
        C: RCPT TO:<Dana@Ivory.example.net> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Dana@Ivory.example.net
        S: 250 <Dana@Ivory.example.net> recipient ok
        C: DATA
        S: 354 okay, send message
        C: Subject: urgent
        C: .
        S: 250 message accepted
        C: QUIT
        S: 221 goodbye
        """,
    ),
    Dialogue(
        "RFC 7293 12.1",
        """
        S: 220 server.example.com ESMTP ready
        C: EHLO client.example.net
        S: 250-server.example.com
        S: 250 RRVS
        C: MAIL FROM:<sender@example.net>
        S: 250 OK
        C: RCPT TO:<receiver@example.com> RRVS=2014-04-03T23:01:00Z
        S: 550 5.7.17 receiver@example.com is no longer valid
        C: QUIT
        S: 221 So long!
        """,
    ),
    Dialogue(
        "RFC 8689 A.1, within TLS",
        """
        S: 220 mail.example.net ESMTP
        C: EHLO mail.example.org
        S: 250-mail.example.net Hello example.org [192.0.2.1]
        S: 250-SIZE 52428800
        S: 250-8BITMIME
        S: 250-PIPELINING
        S: 250-REQUIRETLS
        S: 250 HELP
        C: MAIL FROM:<roger@example.org> REQUIRETLS
        S: 250 OK
        C: RCPT TO:<editor@example.net>
        S: 250 Accepted
        C: DATA
        S: 354 Enter message, ending with "." on a line by itself
        C: Subject: sealed
        C: .
        S: 250 OK
        """,
    ),
    Dialogue(
        "RFC 9422 5",
        """
        S: 220 mail.example.com ESMTP service ready
        C: EHLO example.org
        S: 250-mail.example.com
        S: 250-SMTPUTF8
        S: 250-LIMITS RCPTMAX=20 MAILMAX=5
        S: 250-SIZE 100000000
        S: 250-8BITMIME
        S: 250-ENHANCEDSTATUSCODES
        S: 250-PIPELINING
        S: 250-CHUNKING
        S: 250 STARTTLS
        """,
    ),
    Dialogue(
        "Postfix's XCLIENT_README",
        """
        S: 220 server.example.com ESMTP Postfix
        C: EHLO client.example.com
        S: 250-server.example.com
        S: 250-PIPELINING
        S: 250-SIZE 10240000
        S: 250-VRFY
        S: 250-ETRN
        S: 250-XCLIENT NAME ADDR PROTO HELO
        S: 250 8BITMIME
        C: XCLIENT NAME=spike.porcupine.org ADDR=168.100.189.2
        S: 220 server.example.com ESMTP Postfix
        C: EHLO spike.porcupine.org
        S: 250-server.example.com
        S: 250-PIPELINING
        S: 250-SIZE 10240000
        S: 250-VRFY
        S: 250-ETRN
        S: 250-XCLIENT NAME ADDR PROTO HELO
        S: 250 8BITMIME
        C: MAIL FROM:<wietse@porcupine.org>
        S: 250 Ok
        C: RCPT TO:<user@example.com>
        S: 250 Ok
        C: DATA
        S: 354 End data with <CR><LF>.<CR><LF>
        C: Subject: from spike
        C: .
        S: 250 Ok: queued as 763402AAE6
        C: QUIT
        S: 221 Bye
        """,
    ),
    Dialogue(
        "Postfix's XFORWARD_README",
        """
        S: 220 server.example.com ESMTP Postfix
        C: EHLO client.example.com
        S: 250-server.example.com
        S: 250-PIPELINING
        S: 250-SIZE 10240000
        S: 250-VRFY
        S: 250-ETRN
        S: 250-XFORWARD NAME ADDR PROTO HELO
        S: 250 8BITMIME
        C: XFORWARD NAME=spike.porcupine.org ADDR=168.100.189.2 PROTO=ESMTP
        S: 250 Ok
        C: XFORWARD HELO=spike.porcupine.org
        S: 250 Ok
        C: MAIL FROM:<wietse@porcupine.org>
        S: 250 Ok
        C: RCPT TO:<user@example.com>
        S: 250 Ok
        C: DATA
        S: 354 End data with <CR><LF>.<CR><LF>
        C: Subject: through spike
        C: .
        S: 250 Ok: queued as 3CF6B2AAE8
        C: QUIT
        S: 221 Bye
        """,
    ),
]
BY_SOURCE = {dialogue.source: dialogue for dialogue in DIALOGUES}
