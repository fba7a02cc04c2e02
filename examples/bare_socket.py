"""`ClientConnection` over a bare socket: everything that a loop of your own has to do."""

import socket

from smtp_proto import NEED_DATA, ClientConnection, Data, Ehlo, EndOfData, Mail, Quit, Rcpt, Reply, ReplyReceived


def send(sock: socket.socket, sender: str, recipient: str, message: bytes) -> Reply:
    """Send one message over a connected socket; returns the server's last word on it."""
    connection = ClientConnection()

    def reply() -> Reply:
        for chunk in connection.data_to_send():
            sock.sendall(chunk)
        while (event := connection.next_event()) is NEED_DATA:
            received = sock.recv(65536)
            if received:
                connection.receive_data(received)
            else:
                connection.receive_eof()
        if not isinstance(event, ReplyReceived) or event.reply.severity > 3:
            raise ConnectionError(str(event))
        return event.reply

    reply()  # the greeting
    for command in (Ehlo("client.example.org"), Mail(sender), Rcpt(recipient), Data()):
        connection.send(command)
        reply()
    connection.send_body(message)
    connection.send(EndOfData())
    accepted = reply()
    connection.send(Quit())
    reply()
    return accepted
