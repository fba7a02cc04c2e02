"""The conformance suite: what every backend's client does, tested over real sockets.

Every test is written once, against the blocking surface, and runs for each entry of `tests.conformance.backends`.  It
asks the `backend` fixture for a client and calls its methods; what a backend must provide for that is the class
`Backend` there.
"""
