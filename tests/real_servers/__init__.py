"""Real mail servers, started by the tests: Postfix, Exim and Dovecot, each with a throw-away configuration.

Theory of operation.  `conftest` starts each server once, when the first test asks for it, in a directory of its own
that goes with it (`processes`), on ports of the loopback address that were free.  No server can send anything: Postfix
has no service that would connect to anybody, Exim no transport but a file, Dovecot only delivers; none looks up names.
All deliver into Maildirs, where the tests read what has arrived (`mailboxes`) and compare it, octet by octet, with what
was sent (`messages`).

They come from Debian's packages, which `.ci/run` installs; Exim is unpacked beside Postfix, with which it conflicts as
a package.  All of them change to users of their own, so that only root can run them.  Where something of this is
absent the tests are skipped, or fail where CI is set (`tests.needs`).
"""
