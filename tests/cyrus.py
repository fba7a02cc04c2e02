"""Cyrus' SASL library (libsasl2) by ctypes: the client's end of one exchange, with a channel binding it is told.

The library knows nothing of TLS: what the exchange is bound to is the application's to say, by any name.
"""

from __future__ import annotations

import ctypes
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_char_p, c_int, c_uint, c_ulong, c_void_p
from ctypes.util import find_library
from pathlib import Path
from typing import Any

from .needs import needs

PACKAGES = "apt-get install libsasl2-2 libsasl2-modules"

# sasl.h: callbacks by number, properties, results.
_USER, _AUTHNAME, _PASSWORD, _END = 0x4001, 0x4002, 0x4004, 0
_CHANNEL_BINDING = 21
_OK, _CONTINUE = 0, 1


class _Callback(Structure):
    _fields_ = (("id", c_ulong), ("proc", c_void_p), ("context", c_void_p))


class _Secret(Structure):
    _fields_ = (("len", c_ulong), ("data", ctypes.c_char * 64))


class _Binding(Structure):
    _fields_ = (("name", c_char_p), ("critical", c_int), ("len", c_ulong), ("data", c_char_p))


_GetSimple = CFUNCTYPE(c_int, c_void_p, c_int, POINTER(c_char_p), POINTER(c_uint))
_GetSecret = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, POINTER(POINTER(_Secret)))


class Failed(Exception):
    """The library does not go on; the server has not said what it must, for instance."""


class CyrusClient:
    """The client's end of an exchange by `mechanism`, bound to `data`, which is a channel binding called `binding`."""

    def __init__(self, mechanism: str, user: str, password: str, binding: str, data: bytes) -> None:
        found = find_library("sasl2")
        needs(found is not None and _has_scram(), f"Cyrus' SASL with SCRAM (Debian: {PACKAGES})")
        assert found is not None
        self._library = ctypes.CDLL(found)
        self._mechanism = mechanism.encode()
        self._user = user.encode()
        self._secret = _Secret(len(password.encode()), password.encode())
        # All that the library keeps pointers to is kept here.
        self._get_simple = _GetSimple(self._simple)
        self._get_secret = _GetSecret(self._give_secret)
        simple, secret = (ctypes.cast(each, c_void_p) for each in (self._get_simple, self._get_secret))
        self._callbacks = (_Callback * 4)(
            _Callback(_USER, simple), _Callback(_AUTHNAME, simple), _Callback(_PASSWORD, secret), _Callback(_END)
        )
        self._binding = _Binding(binding.encode(), 1, len(data), data)
        self._connection = c_void_p()
        self._call("sasl_client_init", None)
        self._call(
            "sasl_client_new", b"smtp", b"localhost", None, None, self._callbacks, c_uint(0), byref(self._connection)
        )
        self._call("sasl_setprop", self._connection, c_int(_CHANNEL_BINDING), byref(self._binding))

    def _simple(self, context: Any, which: int, result: Any, length: Any) -> int:
        result[0] = self._user if which == _AUTHNAME else b""
        if length:
            length[0] = len(self._user) if which == _AUTHNAME else 0
        return _OK

    def _give_secret(self, connection: Any, context: Any, which: int, result: Any) -> int:
        result[0] = ctypes.pointer(self._secret)
        return _OK

    def _call(self, function: str, *arguments: object) -> int:
        result: int = self._library[function](*arguments)
        if result not in (_OK, _CONTINUE):
            self._library.sasl_errdetail.restype = c_char_p
            raise Failed(function, result, self._library.sasl_errdetail(self._connection))
        return result

    def start(self) -> bytes:
        """The initial response."""
        out, length, chosen = c_void_p(), c_uint(), c_char_p()
        self._call(
            "sasl_client_start", self._connection, self._mechanism, None, byref(out), byref(length), byref(chosen)
        )
        return ctypes.string_at(out, length.value) if out.value else b""

    def step(self, challenge: bytes) -> bytes:
        """The response to a challenge."""
        out, length = c_void_p(), c_uint()
        self._call(
            "sasl_client_step", self._connection, challenge, c_uint(len(challenge)), None, byref(out), byref(length)
        )
        return ctypes.string_at(out, length.value) if out.value else b""

    def close(self) -> None:
        self._library.sasl_dispose(byref(self._connection))


def _has_scram() -> bool:
    return any(Path("/usr/lib").glob("*/sasl2/libscram.so"))
