"""The blocking client against servers and networks at their worst, and against the worst that callers can hand it.

Whatever happens, it ends in bounded time with the right exception, leaves nothing open, and never takes one reply for
another.
"""
