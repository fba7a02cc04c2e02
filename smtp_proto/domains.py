"""Domain names that are not ASCII, as the A-labels that every mail server takes (RFC 5890, RFC 5891).

The standard library has only IDNA 2003, which maps some names to other domains than registries and browsers do; so this
is done by the package `idna`, an extra.
"""

from __future__ import annotations

import re

from .errors import InvalidArgument
from .grammar import excerpt

# What an ASCII label may hold beside what IDNA makes: underscores are in use.  The mapping makes ASCII of much that
# only looks like it, and a bracket, a quotation mark or a space that came of it would end the path early (U+FF1E).
_ASCII_LABEL = re.compile("[A-Za-z0-9_-]*")


def a_labels(domain: str) -> str:
    """`domain` with each label that is not ASCII as an A-label (``xn--...``); one that is ASCII stays as it is.

    What people type is mapped first (UTS 46, non-transitional, as registries, browsers and mail servers do): letter
    case, width, the ideographic full stops.  `InvalidArgument` if there is no such form, or nobody to make it.
    """
    if domain.isascii():
        return domain
    try:
        import idna
    except ImportError:
        raise InvalidArgument(
            "domain", f"{excerpt(domain)} needs a package that is not installed: pip install 'sansio-smtp[idna]'"
        ) from None
    try:
        labels = idna.uts46_remap(domain, std3_rules=False, transitional=False).split(".")
        # Label by label: those that are ASCII are none of IDNA's business, underscores for instance.
        made = [label if label.isascii() else idna.alabel(label).decode("ascii") for label in labels]
    except idna.IDNAError as error:
        raise InvalidArgument("domain", f"{excerpt(domain)} has no form in ASCII: {error}") from error
    if not all(map(_ASCII_LABEL.fullmatch, made)):
        raise InvalidArgument("domain", f"{excerpt(domain)} has no form in ASCII that is a domain name")
    return ".".join(made)


def with_a_labels(path: str) -> str:
    """A mailbox (RFC 5321 4.1.2) with its domain as A-labels; `InvalidArgument` as from `a_labels`."""
    local_part, at, domain = path.rpartition("@")
    return f"{local_part}{at}{a_labels(domain)}" if at else path
