"""The names of `smtplib` beside those of a backend: what is missing, differs, or is more.

Versions of `smtplib` differ in `keyfile` and `certfile`, which are gone in 3.12, where `context` and what follows them
became keyword-only.  A backend takes the union: each argument that any version takes, in the place where it has it.
So what a version allows is compared: each argument that it takes by position must have that position here, each that
it takes by keyword must have that name, and the defaults must be equal.
"""

from __future__ import annotations

import inspect
import smtplib
import ssl
from collections.abc import Callable, Iterator
from inspect import Parameter
from types import ModuleType
from typing import Any, Final

#: What a backend has beyond, by class and method; each is keyword-only.
EXTRA_ARGUMENTS: Final = {
    "server_hostname": "the name that a certificate must have, where the host is only an address",
    "allow_cleartext_auth": "the way back to log-ins in the clear",
    "pipelining": "the way back to one command at a time",
    "chunking": "the way back to DATA alone, and on to one flight",
    "progress": "is told how much of a message is out",
    "transcript": "is told all that is said",
    "stream": "a connection that is made already, and is no socket",
    "tls": "the policy: when to encrypt",
    "context": "what is verified, wherever TLS begins",
    "reencode": "the way back to messages that are sent as they are given",
    "token": "log-ins with OAuth",
    "mechanisms": "which log-ins to try, in which order",
    "authorization_identity": "whom to act as, where a log-in can say it",
}
#: What `smtplib` requires and a backend does not: `login` with a token or a certificate has no password.
OPTIONAL: Final = {"user", "password"}
#: Arguments that only some versions of `smtplib` have.
UNION: Final = {"keyfile", "certfile"}
#: Methods and attributes that the classes have beyond those of `smtplib`, and the arguments above under their names.
EXTRA_NAMES: Final = {
    "deliver": "what became of a message as one value, refusals included",
    "send_many": "many messages on the way at a time, each with an outcome",
    "etrn": "a command of an extension",
    "burl": "a command of an extension",
    "xclient": "a command of an extension",
    "xforward": "a command of an extension",
    "reconnect": "the way to another connection where the server takes so many messages only (RFC 9422)",
    "tls_state": "what is known of the TLS session",
    "reply": "exceptions: the whole reply behind it, typed",
    "enhanced": "exceptions: its enhanced status",
    "temporary": "exceptions: whether the same may succeed later",
    "outcome": "exceptions: how far a transaction came",
    "attempts": "exceptions: every log-in that was tried, with its answer",
    "oauth_error": "exceptions: what the server said of a token",
    "may_be_delivered": "exceptions: whether trying again could deliver twice",
    **EXTRA_ARGUMENTS,
}
#: What has another value by default: EHLO's name, for which nothing is looked up.
OTHER_VALUES: Final = {"local_hostname"}
#: Names of the module that `smtplib` has for itself alone: what it imports, but for `socket`, `ssl` and `sys`, which
#: programs are known to read through it.
PRIVATE: Final = {"io", "re", "email", "base64", "hmac", "copy", "datetime"}

_BY_POSITION = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def names(theirs: ModuleType, ours: ModuleType) -> Iterator[str]:
    """What a backend's module lacks, or has with another value."""
    for name, value in vars(theirs).items():
        if name.startswith("__") or name in PRIVATE:
            continue
        if not hasattr(ours, name):
            yield f"{name} is missing"
        elif isinstance(value, (int, str, bytes)) and getattr(ours, name) != value:
            yield f"{name} is {getattr(ours, name)!r}, not {value!r}"
    for name in sorted(set(theirs.__all__) - set(ours.__all__)):
        yield f"{name} is not in __all__"


def attributes(theirs: Any, ours: Any, name: str) -> Iterator[str]:
    """What a class or an instance lacks, or has with another value."""
    for attribute in dir(theirs):
        value = getattr(theirs, attribute)
        if attribute.startswith("__") or attribute in OTHER_VALUES or (callable(value) and hasattr(ours, attribute)):
            continue
        if not hasattr(ours, attribute):
            yield f"{name}.{attribute} is missing"
        elif getattr(ours, attribute) != value and not isinstance(value, ssl.SSLContext):
            yield f"{name}.{attribute} is {getattr(ours, attribute)!r}, not {value!r}"


def more(theirs: Any, ours: Any, name: str) -> Iterator[str]:
    """What an instance or a class has beyond what is listed."""
    public = {attribute for attribute in dir(ours) if not attribute.startswith("_")}
    for attribute in sorted(public - set(dir(theirs)) - set(EXTRA_NAMES) - UNION):
        yield f"{name}.{attribute} is more, and not in the list"


def classes(theirs: ModuleType, ours: ModuleType) -> Iterator[str]:
    """What the classes lack or have beyond: clients as they are made without arguments, exceptions as classes."""
    for name, value in vars(theirs).items():
        if not inspect.isclass(value) or value.__module__ != theirs.__name__ or not hasattr(ours, name):
            continue
        counterpart = getattr(ours, name)
        yield from attributes(value, counterpart, name)
        if issubclass(value, Exception):
            yield from more(value, counterpart, name)
        else:
            yield from attributes(value(), counterpart(), f"{name}()")
            yield from more(value(), counterpart(), f"{name}()")


def functions(theirs: ModuleType, ours: ModuleType) -> Iterator[tuple[str, Callable[..., Any], Callable[..., Any]]]:
    """All functions, methods and constructors by name, with their counterparts."""
    for name, value in vars(theirs).items():
        if getattr(value, "__module__", None) != theirs.__name__ or not hasattr(ours, name):
            continue
        if inspect.isfunction(value):
            yield name, value, getattr(ours, name)
        elif inspect.isclass(value):
            for method, function in inspect.getmembers(value, inspect.isfunction):
                if hasattr(getattr(ours, name), method):
                    yield f"{name}.{method}", function, getattr(getattr(ours, name), method)


def arguments(name: str, theirs: Callable[..., Any], ours: Callable[..., Any]) -> Iterator[str]:
    """What one function does not take, or takes and does not list."""
    wanted, given = inspect.signature(theirs).parameters, inspect.signature(ours).parameters
    positions = [each for each in given.values() if each.kind in _BY_POSITION]
    for position, each in enumerate(wanted.values()):
        if each.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
            if each.kind not in {other.kind for other in given.values()}:
                yield f"{name} does not take {each}"
            continue
        there = given.get(each.name)
        if there is None:
            yield f"{name} does not take {each.name}"
        elif there.default != each.default and not (each.default is Parameter.empty and each.name in OPTIONAL):
            yield f"{name}: {each.name} is {there.default!r} by default, not {each.default!r}"
        if each.kind in _BY_POSITION and (len(positions) <= position or positions[position].name != each.name):
            yield f"{name} does not take {each.name} as number {position}"
    for each in given.values():
        if each.name in wanted or each.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
            continue
        if each.name not in UNION and not (each.kind is Parameter.KEYWORD_ONLY and each.name in EXTRA_ARGUMENTS):
            yield f"{name} takes {each}, which is not in the list"


def differences(ours: ModuleType) -> list[str]:
    """All there is to say about the names and signatures of a backend."""
    found = [*names(smtplib, ours), *classes(smtplib, ours)]
    for name, theirs, function in functions(smtplib, ours):
        if not name.endswith(".__exit__"):  # Python itself gives it three arguments, which `smtplib` calls *args
            found += arguments(name, theirs, function)
    return found
