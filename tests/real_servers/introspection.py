"""An endpoint for token introspection (RFC 7662): Dovecot asks it whether a bearer token is good, and whose it is."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from .processes import HOST


@contextmanager
def introspection(tokens: Mapping[str, str]) -> Iterator[str]:
    """The endpoint, for the time of the block; gives its address.  `tokens` has the users of those that are good."""

    class Endpoint(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            fields = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode("utf-8"))
            user = tokens.get(fields.get("token", [""])[0])
            # RFC 7662 2.2: of a token that is not good nothing else is said.
            found = {"active": False} if user is None else {"active": True, "username": user, "scope": "mail"}
            body = json.dumps(found).encode("ascii")
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Dovecot has a log of its own."""

    server = ThreadingHTTPServer((HOST, 0), Endpoint)
    server.daemon_threads = True  # a connection that Dovecot keeps open is not waited for
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_address[1]}/introspect"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
