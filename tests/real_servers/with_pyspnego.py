"""GSSAPI through pyspnego, with real tickets: ``pytest tests/real_servers/with_pyspnego.py``.

Run by hand, and no part of the test command: `pyspnego[kerberos]` is built from source with the headers of Kerberos,
which takes minutes.
"""

from __future__ import annotations

from importlib.util import find_spec

import pytest

import smtp_blocking
from smtp_proto.sasl_spnego import Gssapi
from tests.needs import needs

from .doors import TIMEOUT
from .kerberos import SERVICE, realm
from .processes import HOST
from .test_kerberos import PASSWORD, USER, kinit, logging_in, with_tickets


@pytest.fixture(autouse=True)
def pyspnego() -> None:
    needs(all(find_spec(name) for name in ("spnego", "gssapi", "krb5")), "pyspnego[kerberos]")


def test_pyspnego(monkeypatch: pytest.MonkeyPatch) -> None:
    """By pyspnego a password logs in, and the tickets of `kinit`; whoever has neither does not."""
    with logging_in(monkeypatch) as (send, relay):
        with pytest.raises(Exception, match=r"(?i)credential|cache"):  # whatever it raises where there are none
            send(Gssapi(SERVICE))
        send(Gssapi(SERVICE, USER, PASSWORD))
        with pytest.raises(Exception, match=r"(?i)password|preauth|decrypt"):
            send(Gssapi(SERVICE, USER, "other"))
        kinit()
        send(Gssapi(SERVICE))
        assert len(relay.messages) == 2


def test_login(monkeypatch: pytest.MonkeyPatch) -> None:
    """`login` takes the ticket for the host that was said to be connected to, without a name or a password."""
    with realm(USER, PASSWORD) as tickets, with_tickets(tickets) as service:
        for name, value in tickets.environment.items():
            monkeypatch.setenv(name, value)
        kinit()
        with smtp_blocking.SMTP(HOST, service.port, "client.test", TIMEOUT, server_hostname=SERVICE) as client:
            assert client.login(mechanisms=["GSSAPI"])[0] == 235
