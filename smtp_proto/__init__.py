"""SMTP and LMTP as pure state machines: commands to octets, octets to replies, and nothing else.

No socket, no clock, no thread, no TLS: a program of your own moves the octets (`ClientConnection`, `ServerConnection`),
or drives one of the ready-made conversations (`smtp_proto.session`).  The packages `smtp_blocking` and its siblings do
that for you, with the names of `smtplib`.
"""
