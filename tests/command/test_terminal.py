"""What is written is text, whatever it was; certificates are read as they are, whatever they are."""

from __future__ import annotations

import contextlib
import io
import ipaddress
import ssl
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_blocking.command.certificate import read_certificate
from smtp_blocking.command.terminal import Terminal, visible
from tests import certificates


@given(st.text())
def test_all_that_is_written_is_visible(text: str) -> None:
    """No control character, no mark of direction, no lone surrogate is left, and what is printable stays as it was."""
    shown = visible(text)
    assert all(line.isprintable() for line in shown.split("\n"))
    assert shown.count("\n") == text.count("\n")
    if text.isprintable():
        assert shown == text


def test_a_terminal_without_the_characters_gets_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    octets = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(octets, encoding="ascii"))
    assert Terminal().say("ä €")
    assert octets.getvalue() == b"\\xe4 \\u20ac\n"


class _Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_gives_way_to_what_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar is drawn over itself, and removed before anything else is written."""
    screen = _Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    terminal = Terminal()
    terminal.progress(50, 100)
    terminal.progress(50, 100)
    terminal.tell("done")
    bar = f"[{'#' * 15}{' ' * 15}]  50 % of 100 octets"
    assert screen.getvalue() == f"\r{bar}\r{' ' * len(bar)}\rdone\n"


def test_no_bar_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    Terminal().progress(50, 100)
    assert pipe.getvalue() == ""


# -- certificates -----------------------------------------------------------------------------------------------------

LEAF = certificates.authority().issue_cert("mx.test", "192.0.2.1", "2001:db8::1", common_name="Grüße")
DER = ssl.PEM_cert_to_DER_cert(LEAF.cert_chain_pems[0].bytes().decode())


def test_a_certificate_is_read() -> None:
    from cryptography import x509

    theirs = x509.load_der_x509_certificate(DER)
    ours = read_certificate(DER)
    assert ours.names == ("mx.test", "192.0.2.1", "2001:db8::1")
    assert "CN=Grüße" in ours.subject
    assert "O=sansio-smtp tests" in ours.issuer
    assert (ours.not_before, ours.not_after) == (theirs.not_valid_before_utc, theirs.not_valid_after_utc)
    assert ipaddress.ip_address(ours.names[2]).version == 6


@given(st.binary(max_size=300) | st.sampled_from([b"0\0", b"0\x020\0", b"0"]))
def test_octets_that_are_no_certificate_are_a_value_error(octets: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # that it is one is all that is promised
        read_certificate(octets)


@given(st.integers(0, len(DER) - 1), st.integers(0, 255))
def test_a_broken_certificate_is_read_or_a_value_error(place: int, octet: int) -> None:
    with contextlib.suppress(ValueError):
        read_certificate(DER[:place] + bytes([octet]) + DER[place + 1 :])


@given(st.integers(0, len(DER) - 1))
def test_a_certificate_that_is_cut_off_is_a_value_error(length: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        read_certificate(DER[:length])
