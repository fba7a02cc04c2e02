"""The GSS-API of the system's Kerberos (RFC 2744) by ctypes: what pyspnego has from a package that has to be compiled.

A `Ticketed` is the client's end of a security context with the tickets of `kinit`, and no more than a log-in needs.
"""

from __future__ import annotations

import ctypes
from ctypes import CDLL, POINTER, byref, c_int, c_size_t, c_uint32, c_void_p
from ctypes.util import find_library
from types import SimpleNamespace

from tests.needs import needs

_CONTINUE = 1  # RFC 2744 3.9.1: GSS_S_CONTINUE_NEEDED
_MUTUAL = 2  # GSS_C_MUTUAL_FLAG


class _Buffer(ctypes.Structure):
    _fields_ = (("length", c_size_t), ("value", c_void_p))

    def octets(self) -> bytes:
        return ctypes.string_at(self.value, self.length) if self.value else b""


def _buffer(octets: bytes) -> _Buffer:
    return _Buffer(len(octets), ctypes.cast(ctypes.c_char_p(octets), c_void_p))


class Ticketed:
    """The security context of a client that has tickets, for the service smtp at `host`: a `Context` of `Gssapi`'s."""

    def __init__(self, host: str) -> None:
        found = find_library("gssapi_krb5")
        needs(found is not None, "MIT's Kerberos (Debian: apt-get install krb5-user)")
        assert found is not None
        self._library = CDLL(found)
        self._context = c_void_p()
        self.complete = False
        by_host = c_void_p.in_dll(self._library, "GSS_C_NT_HOSTBASED_SERVICE")
        self._name = c_void_p()
        self._call("gss_import_name", byref(_buffer(f"smtp@{host}".encode())), by_host, byref(self._name))

    def _call(self, function: str, *arguments: object) -> int:
        minor = c_uint32()
        called = self._library[function]
        called.restype = c_uint32
        major: int = called(byref(minor), *arguments)
        if major >> 16:  # RFC 2744 3.9.1: errors are above the supplementary information
            raise OSError(f"{function}: {major:#x}, {minor.value}")
        return major

    def step(self, in_token: bytes | None = None) -> bytes | None:
        """The next token, if there is one."""
        out = _Buffer()
        major = self._call(
            "gss_init_sec_context",
            c_void_p(),  # the credentials of the cache
            byref(self._context),
            self._name,
            c_void_p.in_dll(self._library, "gss_mech_krb5"),
            c_uint32(_MUTUAL),
            c_uint32(0),
            c_void_p(),
            byref(_buffer(in_token or b"")),
            POINTER(c_void_p)(),
            byref(out),
            POINTER(c_uint32)(),
            POINTER(c_uint32)(),
        )
        self.complete = major != _CONTINUE
        return out.octets() or None

    def wrap(self, data: bytes, encrypt: bool = True) -> SimpleNamespace:
        """`data` with its integrity protected."""
        out, kept = _Buffer(), c_int()
        given = byref(_buffer(data))
        self._call("gss_wrap", self._context, c_int(encrypt), c_uint32(0), given, byref(kept), byref(out))
        return SimpleNamespace(data=out.octets())

    def unwrap(self, data: bytes) -> SimpleNamespace:
        """What was wrapped."""
        out, kept, quality = _Buffer(), c_int(), c_uint32()
        self._call("gss_unwrap", self._context, byref(_buffer(data)), byref(out), byref(kept), byref(quality))
        return SimpleNamespace(data=out.octets())
