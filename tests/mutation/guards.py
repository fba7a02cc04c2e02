"""The guards: what each protects, the change that takes it away, and the tests that must notice."""

from __future__ import annotations

from typing import NamedTuple

CORE = "smtp_proto"
SURFACE = "backends/smtp_surface"


class Guard(NamedTuple):
    """One guard.  `old`, which stands once in `file`, becomes `new`, and one of `tests` (pytest's names) fails."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def _core(name: str, module: str, old: str, new: str, *tests: str) -> Guard:
    return Guard(name, f"{CORE}/{module}.py", old, new, tuple(f"tests/test_{test}" for test in tests))


_LIMITS = (
    _core(
        "a line without an end is bounded",
        "buffer",
        "if self._searched >= self.max_line:",
        "if False:",
        "buffer.py::test_lines_at_every_split",
    ),
    _core("a line with an end is bounded", "buffer", "if end > self.max_line:", "if False:", "buffer.py"),
    _core(
        "a reply line in one segment is bounded",
        "replies",
        'if raw[3:4] == b" " and end - at <= MAX_REPLY_LINE',
        'if raw[3:4] == b" "',
        "replies.py",
        "client_hostile.py",
    ),
    _core(
        "a reply in one segment is bounded",
        "replies",
        "if len(raw) <= MAX_REPLY_SIZE:",
        "if raw:",
        "replies.py",
        "client_hostile.py",
    ),
    _core(
        "the octets of a reply are bounded",
        "replies",
        "if self._size > MAX_REPLY_SIZE or len(self._lines) > MAX_REPLY_LINES:",
        "if len(self._lines) > MAX_REPLY_LINES:",
        "replies.py",
    ),
    _core(
        "the lines of a reply are bounded",
        "replies",
        "if self._size > MAX_REPLY_SIZE or len(self._lines) > MAX_REPLY_LINES:",
        "if self._size > MAX_REPLY_SIZE:",
        "replies.py",
    ),
    _core(
        "the challenges of a log-in are bounded",
        "session",
        "if challenges > MAX_CHALLENGES + 1:",
        "if False:",
        "client_session_auth.py::test_endless_challenges",
    ),
    _core(
        "the iterations of SCRAM are bounded",
        "sasl_scram",
        "if iterations > MAX_ITERATIONS:",
        "if False:",
        "sasl_scram.py",
    ),
    _core(
        "what comes in while writing is bounded",
        "session",
        "if connection.unread > MAX_UNREAD + REPLY_LENGTH * connection.due:",
        "if False:",
        "client_session.py::test_a_flood_while_writing_is_bounded",
    ),
    _core(
        "an AUTH line is bounded",
        "session",
        "if len(command.line) > MAX_AUTH_LINE:",
        "if False:",
        "client_session_auth.py",
        "sasl_oauth.py",
    ),
    _core(
        "a command is bounded",
        "grammar",
        "if len(text) > MAX_COMMAND_LENGTH:",
        "if False:",
        "command_arguments.py",
        "grammar.py",
    ),
)

_REPLIES = (
    _core(
        "the codes of one reply agree",
        "replies",
        "if self._code:\n                    #",
        "if False:\n                    #",
        "replies.py",
    ),
    _core(
        "a code is three digits, and then SP, - or the end",
        "replies",
        "(separator not in SEPARATORS and line[3:] not in LINE_ENDS)",
        "False",
        "client_hostile.py::test_what_is_no_reply",
    ),
    _core(
        "an answer that cannot be one is for good (a 2xx to DATA, a 3xx to MAIL)",
        "client",
        'self._poison(f"{code} is no answer to {name}", reply)',
        "state = before",
        "client_hostile.py::test_impossible_answers",
    ),
    _core(
        "an unasked reply is for good",
        "client",
        'self._poison(f"a reply that no command asked for: {reply}", reply)',
        "return ServiceClosing(reply)",
        "client_hostile.py::test_any_other_reply_that_nobody_asked_for",
    ),
    _core(
        "a command looks first at what has come unasked",
        "session",
        "        yield from self.look()\n        self.say(command)",
        "        self.say(command)",
        "client_session.py",
    ),
    _core(
        "a part of a reply that nobody asked for ends the connection",
        "session",
        "        if connection.unread:\n            # A part",
        "        if False:\n            # A part",
        "client_session.py",
    ),
    _core(
        "a success before the message is out is none",
        "client",
        '        if reply.code // 100 in (2, 3):\n            self._poison(f"{reply.code} before',
        '        if False:\n            self._poison(f"{reply.code} before',
        "client_messages.py",
        "transaction_early.py",
    ),
    _core(
        "a refusal before the message is out is heard",
        "writing",
        "            if self.connection.answered >= self._first:\n                return True",
        "            if self.connection.answered >= self._first:\n                return False",
        "transaction_early.py",
    ),
    _core(
        "a 421 closes, whatever it answers",
        "client",
        "state = row.answers[code // 100] if code != 421 else State.CLOSED",
        "state = row.answers[code // 100]",
        "client_hostile.py::test_codes_that_close",
    ),
    _core(
        "broken framing is for good",
        "client",
        "        self._error = error\n        self.closed = True",
        "        self.closed = True",
        "client_hostile.py",
    ),
    _core(
        "behind an abort nothing is read",
        "client",
        "        self._out = []\n        self._reader.clear()",
        "        self._out = []",
        "client_endings.py",
        "client_connection.py",
    ),
    _core(
        "the end of what the server says ends the wait for an answer",
        "client",
        "clean = not self._queue and self._reader.quiet and self._encoder is None",
        "clean = True",
        "client_endings.py",
    ),
    _core(
        "no end of a message that was not asked for",
        "client",
        'if command.row == "end of data" and self._encoder is None:',
        "if False:",
        "client_exchanges.py::test_no_end_of_a_message_that_is_not_asked_for_yet",
    ),
)

_ARGUMENTS = (
    _core(
        "no control character in an argument",
        "grammar",
        "if CONTROL.search(text):",
        "if False:",
        "command_arguments.py",
    ),
    _core("a path does not end early", "commands", "if not PATH.fullmatch(path):", "if False:", "command_arguments.py"),
    _core(
        "a parameter is one word", "commands", "if not WORD.fullmatch(parameter):", "if False:", "command_arguments.py"
    ),
    _core(
        "no control character in a line written by hand", "commands", "if control:", "if False:", "command_arguments.py"
    ),
    _core(
        "the name of a mechanism is one",
        "commands",
        "if not SASL_MECHANISM.fullmatch(mechanism):",
        "if False:",
        "command_arguments.py",
    ),
    _core("no NUL in credentials", "sasl", 'if "\\0" in text:', "if False:", "sasl.py"),
    _core(
        "paths that go out together have no line feed",
        "grammar",
        'if octets.translate(None, _DOT_STRING) != b"\\n".join([b"@"] * len(paths)):',
        'if set(octets.translate(None, _DOT_STRING)) != set(b"\\n@"):',
        "groups.py",
    ),
    _core(
        "a group is sent as a whole or not at all",
        "client",
        "problem = self._refuse(command, row, state, last, mail)",
        "problem = None",
        "groups.py",
    ),
    _core("no NUL in a message", "body", 'if b"\\0" in octets:', "if False:", "body.py"),
    _core(
        "a reply of the server is one",
        "replies",
        'if b"\\r" in line or b"\\n" in line or b"\\0" in line:',
        "if False:",
        "reply_values.py",
    ),
    _core(
        "a verb is ASCII",
        "parsing",
        "parse = _PARSERS.get(verb.upper()) if verb.isascii() else None",
        "parse = _PARSERS.get(verb.upper())",
        "commands.py",
    ),
    _core(
        "a chunk is no longer than was announced",
        "client",
        "elif len(chunk) <= self._chunk_left:",
        "elif self._chunk_left:",
        "client_messages.py",
    ),
)

_BODIES = (
    _core(
        "dots are stuffed across chunks",
        "body",
        'if octets.startswith(b".") and self._at_line_start:',
        "if False:",
        "body.py",
    ),
    _core("dots are stuffed within a chunk", "body", 'b"\\n..".join(', 'b"\\n.".join(', "body.py"),
    _core(
        "dots are stuffed in a whole text",
        "body",
        'octets = octets.replace(b"\\r\\n.", b"\\r\\n..")',
        "pass",
        "groups.py",
    ),
    _core(
        "a dot at the start of a whole text is stuffed",
        "body",
        'return b"." + octets + END_OF_DATA if octets.startswith(b".") else',
        "return",
        "groups.py",
    ),
    _core(
        "line ends are normalised in a whole text",
        "body",
        "self.octets = normalise_line_ends(octets)",
        "self.octets = octets",
        "groups.py",
    ),
    _core(
        "a part of a message is not followed by a whole one",
        "client",
        "if self._encoder is None or self._encoder.begun or self.closed or self._eof:",
        "if self._encoder is None:",
        "groups.py",
    ),
    _core(
        "line ends are normalised across chunks",
        "body",
        'self._held_cr = chunk.endswith(b"\\r")',
        "self._held_cr = False",
        "body.py",
    ),
    _core(
        "a bare CR becomes a line end",
        "body",
        'octets.replace(b"\\r\\n", b"\\n").replace(b"\\r", b"\\n").replace(b"\\n", b"\\r\\n")',
        'octets.replace(b"\\r\\n", b"\\n").replace(b"\\n", b"\\r\\n")',
        "body.py",
    ),
    _core(
        "a message has a line end before its end",
        "body",
        'return self._give(b"" if self._at_line_start else b"\\r\\n")',
        'return self._give(b"")',
        "body.py",
    ),
    _core(
        "the end of a message is found across segments",
        "body",
        "if octets.endswith(_TERMINATOR[:n])), 0)",
        "if False), 0)",
        "body.py",
    ),
    _core(
        "what a server hands over has no bare line ends",
        "server_session",
        "content = normalise_line_ends(content)",
        "pass",
        "server_session_bodies.py",
    ),
    _core(
        "a message for nobody is a lone dot",
        "transaction",
        "            begun = yield from self._nothing()",
        "            begun = yield from self.writer.lines(self._source)",
        "transaction.py",
        "transaction_pipelining.py",
    ),
    _core(
        "RSET behind a refusal",
        "transaction",
        "elif not self.delivered and not connection.closed:",
        "elif False:",
        "transaction.py",
        "transaction_pipelining.py",
    ),
    _core(
        "who has sent a message to its end knows that it may be delivered",
        "writing",
        "        self.outcome.phase = Phase.SENT\n",
        "",
        "transaction_loss.py",
        "transaction_early.py",
    ),
)

_TLS = (
    _core(
        "octets behind STARTTLS's 220 are an injection (client)",
        "client",
        "            if not self._reader.quiet:\n                # RFC 3207",
        "            if False:\n                # RFC 3207",
        "client_session_tls.py::test_injected_octets_never_reach_the_secured_session",
    ),
    _core(
        "octets behind STARTTLS are an injection (server)",
        "server",
        "        if self._buffer:\n            # RFC 3207",
        "        if False:\n            # RFC 3207",
        "server_endings.py::test_octets_behind_starttls_are_an_injection",
    ),
    _core(
        "what the server listed in the clear is forgotten",
        "client",
        "        self._sent = None\n        self._extensions = None",
        "        self._sent = None",
        "client_session_tls.py",
        "client_connection.py",
        "client_exchanges.py",
    ),
    _core(
        "who logged in in the clear is forgotten",
        "server_session",
        "        self.credentials = None\n        self._forget_transaction()\n\n",
        "        self._forget_transaction()\n\n",
        "server_session_auth_tls.py",
    ),
    _core(
        "where TLS is required nothing of worth is sent before",
        "client",
        "if self.require_tls and command.row not in _BEFORE_TLS:",
        "if False:",
        "client_connection.py",
        "client_exchanges.py",
        "client_session_tls.py",
    ),
    Guard(
        "TLS that is required and not to be had is an exception",
        f"{SURFACE}/client.py",
        'if self.tls == "required" or self._session is None or isinstance(error, SMTPHeloError):',
        "if self._session is None or isinstance(error, SMTPHeloError):",
        ("tests/conformance/test_tls_policy.py",),
    ),
    Guard(
        "certificates are verified by default",
        "backends/smtp_blocking/__init__.py",
        "= ssl.create_default_context\n",
        "= ssl._create_unverified_context\n",
        ("tests/conformance/test_tls.py::test_verified_without_a_context",),
    ),
    Guard(
        "certificates are verified by default (asyncio)",
        "backends/smtp_asyncio/__init__.py",
        "= ssl.create_default_context\n",
        "= ssl._create_unverified_context\n",
        ("tests/conformance/test_tls.py::test_verified_without_a_context",),
    ),
)

_LOG_INS = (
    Guard(
        "no password in the clear",
        f"{SURFACE}/login.py",
        "if step.shows_secret and not self.allow_cleartext_auth and self._may_be_overheard():",
        "if False:",
        ("tests/conformance/test_login.py::test_in_the_clear",),
    ),
    Guard(
        "no other mechanism behind a 535",
        f"{SURFACE}/login.py",
        "if error.smtp_code in (535, 454, 421) or",
        "if error.smtp_code in (454, 421) or",
        ("tests/conformance/test_login.py::test_no_other_mechanism",),
    ),
    _core(
        "a challenge that is not base64 cancels",
        "session",
        "b64decode(reply.lines[0].strip(), validate=True)",
        "b64decode(reply.lines[0].strip())",
        "client_session_auth.py::test_broken_base64_cancels",
    ),
    _core(
        "a server that has not proven itself is not believed",
        "sasl_scram",
        "        if not self._proven:\n",
        "        if False:\n",
        "sasl_scram.py",
    ),
    _core(
        "a mechanism is good for one exchange",
        "session",
        "        if mechanism.used:\n",
        "        if False:\n",
        "client_session_auth.py::test_a_mechanism_is_good_for_one_exchange",
    ),
    _core(
        "an initial response is masked",
        "commands",
        'return f"AUTH {self.mechanism}" + (" ***" if self.initial_response is not None else "")',
        "return self.line[:-2].decode()",
        "command_arguments.py",
        "client_session_auth.py",
    ),
    _core(
        "a response is masked",
        "commands",
        'return "*" if self.octets is None else "***"',
        "return self.line[:-2].decode()",
        "command_arguments.py",
        "client_session_auth.py",
    ),
    _core(
        "an AUTH written by hand is masked",
        "commands",
        'if words and words[0].upper() == "AUTH" and len(words) > 1:',
        "if False:",
        "command_arguments.py",
    ),
    _core(
        "a password is in no repr",
        "sasl_exchange",
        'return f"Credentials({self.mechanism!r}, {self.user!r}, ***)"',
        'return f"Credentials({self.mechanism!r}, {self.user!r}, {self.password!r})"',
        "server_session_auth_tls.py::test_a_password_is_in_no_repr",
    ),
    _core(
        "nobody acts as somebody else",
        "handler",
        "None if expected is not None and right and himself else INVALID",
        "None if expected is not None and right else INVALID",
        "sasl_server.py",
        "server_session_auth_tls.py",
    ),
    _core(
        "a broken token is the server's fault, not an exception of pyspnego's",
        "sasl_spnego",
        "if not begun and not challenge:",
        "if not challenge:",
        "sasl_spnego.py::test_broken_tokens",
    ),
)

_INTERRUPTIONS = (
    Guard(
        "interrupted or cancelled inside an exchange, the connection is dropped",
        f"{SURFACE}/client.py",
        "if begun and not (isinstance(error, Exception) and connection.at_boundary):",
        "if False:",
        ("tests/hostile/test_interrupts.py::test_between_a_command_and_its_reply",),
    ),
    Guard(
        "a driver notices that the flow has asked for I/O",
        f"{SURFACE}/driver.py",
        "                        self.touched = True\n",
        "",
        ("tests/hostile/test_interrupts.py::test_between_a_command_and_its_reply",),
    ),
    Guard(
        "callers in several threads wait for their turn",
        f"{SURFACE}/blocking.py",
        "        with self._lock:\n            if self._calling_out",
        "        if True:\n            if self._calling_out",
        ("tests/hostile/test_threads.py::test_others_wait_for_their_turn",),
    ),
    _core(
        "a deadline is for the whole reply (client)",
        "session",
        "if again else _RECEIVE[connection.stage]",
        "if False else _RECEIVE[connection.stage]",
        "client_session.py",
    ),
    _core(
        "a deadline is for the whole command (server)",
        "server_session",
        "                    octets = yield from Receive(Stage.SERVER, again)\n                again = True",
        "                    octets = yield from Receive(Stage.SERVER, again)",
        "server_session.py::test_a_drip_does_not_stretch_the_deadline",
    ),
    Guard(
        "a driver keeps the deadline of a wait that goes on",
        f"{SURFACE}/driver.py",
        "if effect.again and self._deadline is not None:",
        "if False:",
        (
            "tests/conformance/test_timeouts.py::test_deadline_is_for_each_reply",
            "tests/hostile/test_writing.py",
        ),
    ),
    _core(
        "interrupted inside AUTH, the connection is aborted",
        "session",
        "        except BaseException:\n            connection.abort()\n            raise\n        connection.abort()",
        "        except BaseException:\n            raise\n",
        "client_session_auth.py",
    ),
    _core(
        "a transaction that is cut off aborts the connection",
        "transaction",
        "            if self.begun:\n                connection.abort()",
        "            if False:\n                connection.abort()",
        "transaction_loss.py",
        "transaction_messages.py",
    ),
)

_SERVER = (
    _core(
        "the octets of a refused BDAT are read past",
        "server",
        "        if isinstance(command, Bdat):\n            self._chunk = command",
        "        if isinstance(command, Bdat) and hint is None:\n            self._chunk = command",
        "server_messages.py::test_a_rejected_chunk_is_read_past",
    ),
    _core(
        "a BDAT whose size cannot be read closes",
        "server",
        "self._unreadable = error.hint.code == 521",
        "self._unreadable = False",
        "server_messages.py::test_a_chunk_whose_size_cannot_be_read",
    ),
    _core(
        "a BDAT whose line is too long closes",
        "server",
        "                self._unreadable = True\n",
        "",
        "server_messages.py::test_a_chunk_whose_line_is_too_long",
    ),
    _core(
        "a line that is too long is not kept",
        "server",
        "            self._skipping = True\n            return self._read_command()",
        "            return NEED_DATA",
        "server_connection.py",
    ),
    _core(
        "a message that is too large is not kept",
        "server_session",
        "if self.settings.max_size and len(self._content) > self.settings.max_size:",
        "if False:",
        "server_session_bodies.py",
    ),
    _core(
        "a message that says that it is too large is refused",
        "server_session",
        "if size is not None and settings.max_size and size.octets > settings.max_size:",
        "if False:",
        "server_session_bodies.py",
        "server_session_parameters.py",
    ),
    _core(
        "mistakes are bounded",
        "server_session",
        "if self._errors > self.settings.max_errors:",
        "if False:",
        "server_session.py::test_too_many_errors_close",
    ),
    _core(
        "tries to log in are bounded",
        "server_session",
        "if self._auth_failures >= self.settings.max_auth_failures:",
        "if False:",
        "server_session_auth_tls.py::test_too_many_tries",
    ),
    _core(
        "recipients are bounded",
        "server_session",
        "if len(self._recipients) >= most or ",
        "if ",
        "server_session.py::test_too_many_recipients",
    ),
    _core(
        "the octets of recipients are bounded",
        "server_session",
        " or self._recipients_octets >= most * RECIPIENT_LENGTH:",
        ":",
        "server_session.py::test_recipients_that_are_too_long",
    ),
    _core(
        "replies that nobody reads are bounded",
        "server_session",
        "if connection.replies_waiting >= MAX_REPLIES:",
        "if False:",
        "server_session_stopping.py::test_replies_are_not_held_back_without_end",
    ),
    _core(
        "no password is taken in the clear",
        "server_session",
        "if not self.tls and not settings.cleartext_auth:",
        "if False:",
        "server_session_auth_tls.py::test_passwords_in_the_clear_are_refused",
    ),
    _core(
        "no mail before a log-in that is required",
        "server_session",
        "if settings.require_auth and self.credentials is None:",
        "if False:",
        "server_session_auth_tls.py::test_mail_needs_a_log_in",
    ),
    _core(
        "a server owes one reply for each recipient (LMTP)",
        "server",
        "self._final_left = max(1, self._accepted) if many else 1",
        "self._final_left = 1",
        "server_messages.py::test_lmtp_owes_one_reply_for_each_recipient",
    ),
    _core(
        "a client waits for one reply for each recipient (LMTP)",
        "client",
        "            if self._final:\n                return ReplyReceived(reply, command, ticket, recipient)",
        "            if False:\n                return ReplyReceived(reply, command, ticket, recipient)",
        "client_lmtp.py",
    ),
    _core(
        "a message for nobody closes (LMTP)",
        "client",
        "if self.lmtp and not self._accepted:",
        "if False:",
        "client_lmtp.py",
        "client_hostile.py",
    ),
    _core(
        "a handler that fails is a 451",
        "server_session",
        "            yield from self._tell(error)\n            return _FAILED\n        return decision",
        "            yield from self._tell(error)\n            return None\n        return decision",
        "server_session_handler.py",
    ),
)


def _while_writing(name: str, file: str, old: str, new: str) -> Guard:
    tests = ("conformance/test_send_many.py", "hostile/test_bodies.py")
    name = f"what comes while writing is taken in ({name})"
    return Guard(name, f"backends/{file}.py", old, new, tuple(f"tests/{test}::test_two_full_buffers" for test in tests))


_DEADLOCKS = (
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
    Guard(
        "an answer over TLS is to what is out (blocking)",
        "backends/smtp_blocking/transport.py",
        "view[:RECORD] if self._holds_back else view",
        "view",
        ("tests/conformance/test_send_many.py::test_two_full_buffers",),
    ),
    Guard(
        "what a cancelled send_many leaves is told once and for all",
        f"{SURFACE}/sending.py",
        "self.left += self._batch.rest()",
        "self.left = self._batch.rest()",
        ("tests/cancellation/test_send_many.py::test_cancelled_at_every_point",),
    ),
)

GUARDS = (*_LIMITS, *_REPLIES, *_ARGUMENTS, *_BODIES, *_TLS, *_LOG_INS, *_INTERRUPTIONS, *_SERVER, *_DEADLOCKS)
