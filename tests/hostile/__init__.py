"""Every client against servers and networks at their worst, and against the worst that callers can hand it.

Whatever happens, it ends in bounded time with the right exception, leaves nothing open, and never takes one reply for
another.  Each test runs on each backend; `test_interrupts`, `test_threads` and `test_writing` are about what only the
blocking client has: signals that come between two lines, threads, and a socket of one's own making.
"""

#: What a test's report says of the backend that it ran on.
PROPERTY = "hostile backend"
