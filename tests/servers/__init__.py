"""The server, on every backend: real sockets, clients of every make, and whatever they do to it."""
