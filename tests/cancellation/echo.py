"""A server, in a process of its own, whose every answer says what it is the answer to.

``python -m tests.cancellation.echo CERTIFICATE`` prints two ports, of a door in the clear and of one with TLS from the
start, and serves until its standard input ends.  It takes everything: a line is answered 250 with itself, a message
with the first line that it begins with.  XTAKEN is answered with how often a message was taken to its end that begins
with each of the lines named, as soon as no other client is connected: by then whatever those sent is counted.  CHUNKING
is offered to clients whose name begins with that.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from collections import Counter
from contextlib import suppress

EXTENSIONS = [b"echo", b"PIPELINING", b"STARTTLS", b"AUTH PLAIN LOGIN CRAM-MD5"]


class House:
    """What the conversations have in common: the messages taken, by their first lines, and how many are under way."""

    def __init__(self) -> None:
        self.taken: Counter[bytes] = Counter()
        self.present = 0
        self.left = asyncio.Condition()

    async def alone(self) -> None:
        async with self.left:
            await self.left.wait_for(lambda: self.present == 1)


class Conversation:
    def __init__(
        self, house: House, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext
    ) -> None:
        self.house = house
        self.reader = reader
        self.writer = writer
        self.context = context
        self.recipients = 0

    def say(self, code: int, *lines: bytes) -> None:
        *before, last = lines
        self.writer.write(b"".join([*(b"%d-%b\r\n" % (code, line) for line in before), b"%d %b\r\n" % (code, last)]))

    async def line(self) -> bytes:
        return (await self.reader.readuntil(b"\r\n"))[:-2]

    def take(self, message: bytes, answers: int) -> None:
        first = message.partition(b"\r\n")[0]
        self.house.taken[first] += 1
        for _ in range(answers):
            self.say(250, first)
        self.recipients = 0

    async def run(self) -> None:
        self.say(220, b"echo")
        lmtp = False
        while True:
            line = await self.line()
            verb, _, rest = line.partition(b" ")
            verb = verb.upper()
            if verb in (b"EHLO", b"LHLO"):
                lmtp = verb == b"LHLO"
                self.say(250, *EXTENSIONS, *[b"CHUNKING"] * rest.startswith(b"chunking"))
            elif verb == b"QUIT":
                self.say(221, line)
                await self.writer.drain()
                return
            elif verb == b"DATA":
                self.say(354, line)
                self.take(await self.reader.readuntil(b"\r\n.\r\n"), self.recipients if lmtp else 1)
            elif verb == b"BDAT":
                self.take(await self.reader.readexactly(int(rest.split()[0])), self.recipients if lmtp else 1)
            elif verb == b"XTAKEN":
                await self.house.alone()
                self.say(250, *[b"%d" % self.house.taken[line] for line in rest.split()])
            elif verb == b"AUTH":
                if len(rest.split()) == 1:
                    self.say(334, b"PDE+")
                    await self.line()
                    if rest.upper() == b"LOGIN":
                        self.say(334, b"PDI+")
                        await self.line()
                self.say(235, line)
            elif verb == b"STARTTLS":
                self.say(220, line)
                await self.writer.drain()
                await self.writer.start_tls(self.context)
            else:
                self.recipients += verb == b"RCPT"
                self.say(250, line)


async def main(certificate: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    house = House()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        house.present += 1
        with suppress(OSError, EOFError):  # clients come to hang up in the middle of everything
            await Conversation(house, reader, writer, context).run()
        writer.close()
        async with house.left:
            house.present -= 1
            house.left.notify_all()

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: None)  # TLS connections that were cut
    plain = await asyncio.start_server(converse, "127.0.0.1", 0, limit=1 << 24)
    secure = await asyncio.start_server(converse, "127.0.0.1", 0, limit=1 << 24, ssl=context)
    sys.stdout.write(" ".join(str(server.sockets[0].getsockname()[1]) for server in (plain, secure)) + "\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)
    os._exit(0)  # whatever connections there are: nobody waits for them


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
