"""ESMTP parameters: each value has one text, each text its value, and what a RFC does not allow is built by nobody."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_proto import parameters
from smtp_proto.commands import Mail, Rcpt
from smtp_proto.errors import InvalidArgument
from smtp_proto.extensions import Extensions
from smtp_proto.parameter import Parameter, lacking, typed_parameter
from smtp_proto.parameters import (
    AuthenticatedAs,
    Body,
    By,
    EnvId,
    HoldFor,
    HoldUntil,
    MtPriority,
    Notify,
    ORcpt,
    RequireTLS,
    Ret,
    Rrvs,
    Size,
    SmtpUtf8,
    Solicit,
)

# Value and text.  Those behind a comment are the examples of the RFC.
PAIRS: list[tuple[Parameter, str]] = [
    (Size(500000), "SIZE=500000"),  # RFC 1870 8
    (Size(0), "SIZE=0"),
    (Body("7BIT"), "BODY=7BIT"),
    (Body("8bitmime"), "BODY=8BITMIME"),  # RFC 6152 4
    (Body("BINARYMIME"), "BODY=BINARYMIME"),  # RFC 3030 4.2
    (SmtpUtf8(), "SMTPUTF8"),
    (RequireTLS(), "REQUIRETLS"),  # RFC 8689 A.1
    (AuthenticatedAs("e=mc2@example.com"), "AUTH=e+3Dmc2@example.com"),  # RFC 4954 5.1
    (AuthenticatedAs(None), "AUTH=<>"),
    (Ret("hdrs"), "RET=HDRS"),  # RFC 3461 10.1
    (Ret("FULL"), "RET=FULL"),
    (EnvId("QQ314159"), "ENVID=QQ314159"),  # RFC 3461 10.1
    (EnvId("a + b = c"), "ENVID=a+20+2B+20b+20+3D+20c"),
    (Notify("SUCCESS"), "NOTIFY=SUCCESS"),
    (Notify("success", "FAILURE"), "NOTIFY=SUCCESS,FAILURE"),  # RFC 3461 10.1
    (Notify("NEVER"), "NOTIFY=NEVER"),
    (ORcpt("Bob@Example.COM"), "ORCPT=rfc822;Bob@Example.COM"),  # RFC 3461 10.1
    (ORcpt("a+b@example.com"), "ORCPT=rfc822;a+2Bb@example.com"),
    (ORcpt("/c=XX/o=Y", "x400"), "ORCPT=x400;/c+3DXX/o+3DY"),
    (ORcpt("jürgen+x@bücher.example"), "ORCPT=utf-8;j\\x{FC}rgen\\x{2B}x@b\\x{FC}cher.example"),
    (ORcpt("😀@example.com"), "ORCPT=utf-8;\\x{1F600}@example.com"),
    (ORcpt("jürgen\\@example.com", utf8=True), "ORCPT=utf-8;jürgen\\x{5C}@example.com"),
    (By(120, "R"), "BY=120;R"),
    (By(-30, "n", trace=True), "BY=-30;NT"),
    (HoldFor(25200), "HOLDFOR=25200"),
    (HoldUntil("2007-05-25T09:00:00Z"), "HOLDUNTIL=2007-05-25T09:00:00Z"),
    (HoldUntil(datetime(2027, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))), "HOLDUNTIL=2027-01-01T00:00:00Z"),
    (Rrvs("2014-04-03T23:01:00Z"), "RRVS=2014-04-03T23:01:00Z"),  # RFC 7293 12.1
    (Rrvs(datetime(2014, 4, 3, tzinfo=UTC), "c"), "RRVS=2014-04-03T00:00:00Z;C"),
    (MtPriority(6), "MT-PRIORITY=6"),
    (MtPriority(-9), "MT-PRIORITY=-9"),
    (Solicit("org.example:ADV:ADLT"), "SOLICIT=org.example:ADV:ADLT"),
    (Solicit("net.example:ADV", "org.example:ADV"), "SOLICIT=net.example:ADV,org.example:ADV"),
]
CLASSES = list(dict.fromkeys(type(pair[0]) for pair in PAIRS))


def through_pickle(value: Parameter) -> Parameter:
    return pickle.loads(pickle.dumps(value))  # type: ignore[no-any-return]  # noqa: S301  # our own octets


@pytest.mark.parametrize(("parameter", "text"), PAIRS)
def test_pairs_of_value_and_text(parameter: Parameter, text: str) -> None:
    """A parameter is its text, and its text read again is the same parameter with the same values."""
    assert parameter == text
    read = typed_parameter(parameter.command, text)
    assert type(read) is type(parameter)
    assert repr(read) == repr(parameter)
    lower = f"{text.partition('=')[0].lower()}{text[len(text.partition('=')[0]) :]}"
    came = typed_parameter(parameter.command, lower)
    assert came == lower  # kept as it came
    assert repr(came) == repr(parameter)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, through_pickle])
@pytest.mark.parametrize("parameter", [pair[0] for pair in PAIRS])
def test_copies(parameter: Parameter, copied: Callable[[Parameter], Parameter]) -> None:
    """A copy has the text and the values."""
    again = copied(parameter)
    assert again == parameter
    assert repr(again) == repr(parameter)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Size(-1),
        lambda: Size(10**20),
        lambda: Size.parse("SIZE"),
        lambda: Size.parse("SIZE=1e3"),
        lambda: Size.parse("SIZES=1"),
        lambda: Body("9BIT"),
        lambda: Body.parse("BODY"),
        lambda: SmtpUtf8.parse("SMTPUTF8="),
        lambda: RequireTLS.parse("REQUIRETLS=YES"),
        lambda: AuthenticatedAs(""),
        lambda: AuthenticatedAs("a\r\nb"),
        lambda: AuthenticatedAs("\ud800"),
        lambda: AuthenticatedAs("x" * 501),
        lambda: AuthenticatedAs.parse("AUTH"),
        lambda: AuthenticatedAs.parse("AUTH=+C3"),
        lambda: Ret("BODY"),
        lambda: Ret.parse("RET"),
        lambda: EnvId(""),
        lambda: EnvId("ä"),
        lambda: EnvId("x" * 101),
        lambda: EnvId("+" * 34),
        lambda: EnvId("a\tb"),
        lambda: EnvId.parse("ENVID=+4"),
        Notify,
        lambda: Notify("NEVER", "SUCCESS"),
        lambda: Notify("SUCCESS", "success"),
        lambda: Notify("SOMETIMES"),
        lambda: Notify.parse("NOTIFY"),
        lambda: Notify.parse("NOTIFY=SUCCESS,"),
        lambda: ORcpt(""),
        lambda: ORcpt("a\0b"),
        lambda: ORcpt("a@b", "rfc 822"),
        lambda: ORcpt("ä@b", "rfc822"),
        lambda: ORcpt("x" * 500),
        lambda: ORcpt("\ud800@b"),
        lambda: ORcpt.parse("ORCPT"),
        lambda: ORcpt.parse("ORCPT=a@b"),
        lambda: ORcpt.parse("ORCPT=rfc822;"),
        lambda: ORcpt.parse("ORCPT=utf-8;\\x{zz}"),
        lambda: ORcpt.parse("ORCPT=utf-8;\\x{FFFFFF}"),
        lambda: ORcpt.parse("ORCPT=utf-8;\\x{D800}"),
        lambda: ORcpt.parse("ORCPT=utf-8;\\x{0A}"),
        lambda: By(10**9, "N"),
        lambda: By(0, "R"),
        lambda: By(1, "X"),
        lambda: By.parse("BY"),
        lambda: By.parse("BY=120"),
        lambda: By.parse("BY=1234567890;N"),
        lambda: HoldFor(0),
        lambda: HoldFor(10**9),
        lambda: HoldFor.parse("HOLDFOR"),
        lambda: HoldFor.parse("HOLDFOR=01"),
        lambda: HoldUntil(datetime(2027, 1, 1)),  # noqa: DTZ001  # without a zone is what is refused
        lambda: HoldUntil("2027-01-01T00:00:00+01:00"),
        lambda: HoldUntil("2027-02-30T00:00:00Z"),
        lambda: HoldUntil("2027-01-01"),
        lambda: HoldUntil.parse("HOLDUNTIL"),
        lambda: Rrvs("yesterday"),
        lambda: Rrvs("2027-01-01T00:00:00Z", "X"),
        lambda: Rrvs.parse("RRVS=2027-01-01T00:00:00Z;"),
        lambda: MtPriority(10),
        lambda: MtPriority(-10),
        lambda: MtPriority.parse("MT-PRIORITY"),
        lambda: MtPriority.parse("MT-PRIORITY=-0"),
        Solicit,
        lambda: Solicit("1abc"),
        lambda: Solicit("a" * 1001),
        lambda: Solicit.parse("SOLICIT"),
    ],
)
def test_what_is_out_of_range_is_not_built(make: Callable[[], Parameter]) -> None:
    """A value that the RFC does not allow is an `InvalidArgument` that names keyword, extension and RFC."""
    with pytest.raises(InvalidArgument) as caught:
        make()
    known = {one.keyword: one for one in CLASSES}.get(caught.value.argument)
    assert known is not None or caught.value.argument == "parameter"
    assert known is None or f"({known.extension}, {known.rfc})" in str(caught.value)


def test_parameters_do_not_change() -> None:
    """A value of a parameter is set once."""
    size = Size(1)
    with pytest.raises(AttributeError, match="immutable"):
        size.octets = 2
    with pytest.raises(AttributeError, match="immutable"):
        del size.octets
    assert size.octets == 1


def test_moments() -> None:
    """A date-time is also there as a value that knows its zone."""
    assert HoldUntil("2027-01-01T00:00:00.5Z").moment == datetime(2027, 1, 1, 0, 0, 0, 500000, tzinfo=UTC)
    assert Rrvs("2027-01-01T01:00:00+01:00").moment == datetime(2027, 1, 1, tzinfo=UTC)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\x7f"), min_size=1, max_size=40))
def test_any_address_survives(address: str) -> None:
    """What goes into ORCPT and AUTH comes out of what is on the wire, whatever characters it has."""
    assert ORcpt.parse(str(ORcpt(address))).address == address
    assert ORcpt.parse(str(ORcpt(address, "utf-8", utf8=True))).address == address
    assert str(ORcpt(address)).isascii()
    assert AuthenticatedAs.parse(str(AuthenticatedAs(address))).mailbox == address


@given(st.sampled_from([pair[1] for pair in PAIRS]), st.text(max_size=12))
def test_nonsense_never_raises_anything_else(text: str, value: str) -> None:
    """Whatever stands behind the keyword, reading it gives a parameter with that text or an `InvalidArgument`."""
    text = f"{text.partition('=')[0]}={value}"
    for command in ("MAIL", "RCPT"):
        try:
            parameter = typed_parameter(command, text)
        except InvalidArgument:
            continue
        assert parameter == text


# -- their place ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameter", [pair[0] for pair in PAIRS])
def test_a_parameter_goes_with_its_own_command_only(parameter: Parameter) -> None:
    """On the wrong command a typed parameter is refused, with its RFC; on the right one it is in the line."""
    right, wrong = (Mail, Rcpt) if parameter.command == "MAIL" else (Rcpt, Mail)
    command = right("a@example.org", [parameter])
    assert command.line.endswith(f" {parameter}\r\n".encode())
    assert command.get(type(parameter)) is parameter
    with pytest.raises(InvalidArgument, match=f"{parameter.rfc}"):
        wrong("a@example.org", [parameter])


def test_parameters_beside_each_other() -> None:
    """Typed, none stands twice, and HOLDFOR not beside HOLDUNTIL; of plain strings nobody knows better than who wrote
    them."""
    until = HoldUntil("2027-01-01T00:00:00Z")
    for beside in ([Size(1), Size(2)], [Size(1), "size=2"], [HoldFor(1), until], [until, "holdfor=1"]):
        with pytest.raises(InvalidArgument):
            Mail("a@example.org", beside)
    assert Mail("a@example.org", ["SIZE=1", "SIZE=2", "NOTIFY=NEVER"]).get(Size) is None


def test_a_parameter_of_ones_own() -> None:
    """A subclass teaches both ends a parameter that this library does not know."""

    class XOwn(Parameter):
        __slots__ = ()
        keyword, extension, rfc, command = "XOWN", "XOWN", "a document", "MAIL"
        fields: ClassVar[tuple[str, ...]] = ()

    assert isinstance(typed_parameter("MAIL", "xown"), XOwn)
    assert typed_parameter("RCPT", "xown") == "xown"
    assert lacking([XOwn()], Extensions({"XOWN": ""}), encrypted=False) is None


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.keyword)
def test_each_mistake_with_each_parameter(kind: type[Parameter]) -> None:
    """Out of range, on the wrong command, or not offered: an error that names the extension, the RFC and the offer."""
    assert {one.keyword for one in CLASSES} == {one.keyword for one in vars(parameters).values() if is_parameter(one)}
    named = f"{kind.extension}, {kind.rfc}"
    with pytest.raises(InvalidArgument, match=named) as caught:
        typed_parameter(kind.command, f"{kind.keyword}=\x7f")
    assert caught.value.argument == kind.keyword
    parameter = next(pair[0] for pair in PAIRS if type(pair[0]) is kind)
    wrong = Rcpt if kind.command == "MAIL" else Mail
    with pytest.raises(InvalidArgument, match=f"{kind.keyword}.*of {kind.command}, not of .*{named}"):
        wrong("a@example.org", [parameter])
    problem = lacking([parameter], Extensions({"HELP": "", "X": "1"}), encrypted=True)
    assert problem is not None
    assert f"{kind.extension} ({kind.rfc}); the server offers HELP, X" in problem


def is_parameter(one: object) -> bool:
    return isinstance(one, type) and issubclass(one, Parameter) and "keyword" in vars(one)


# -- what a server offers ---------------------------------------------------------------------------------------------

OFFERS = {
    "SIZE": "1000",
    "8BITMIME": "",
    "DELIVERBY": "60",
    "FUTURERELEASE": "3600 2027-01-01T00:00:00Z",
    "NO-SOLICITING": "net.example:ADV",
}


@pytest.mark.parametrize("parameter", [pair[0] for pair in PAIRS])
def test_what_is_not_offered(parameter: Parameter) -> None:
    """A parameter whose extension is not offered is lacking, with the extension, its RFC and the offer in the text."""
    problem = lacking(["X=1", parameter], Extensions({"PIPELINING": "", "HELP": ""}), encrypted=True)
    assert problem is not None
    for extension, rfc in parameter.needs():
        offered = dict.fromkeys([name for name, _ in parameter.needs() if name != extension], "")
        problem = lacking([parameter], Extensions({**offered, "HELP": ""}), encrypted=True)
        assert problem is not None
        assert extension in problem
        assert rfc in problem
        assert problem.endswith("HELP")
    offer = Extensions(dict.fromkeys([name for name, _ in parameter.needs()], ""))
    assert lacking([parameter], offer, encrypted=True) is None
    assert "no extensions" in str(lacking([parameter], Extensions({}), encrypted=True))


@pytest.mark.parametrize(
    ("parameter", "problem"),
    [
        (By(60, "R"), None),
        (By(59, "R"), "less than the server's minimum of 60"),
        (By(-59, "N"), None),
        (HoldFor(3600), None),
        (HoldFor(3601), "3600"),
        (HoldUntil("2027-01-01T00:00:00Z"), None),
        (HoldUntil("2027-01-01T00:00:01Z"), "2027-01-01T00:00:00Z"),
        (HoldUntil("2027-01-01T00:00:00.5Z"), "2027-01-01T00:00:00Z"),
        (HoldUntil("2026-12-31T23:59:59.5Z"), None),
        (Solicit("org.example:ADV"), None),
        (Solicit("net.example:adv"), "net.example:adv"),
    ],
)
def test_what_is_beyond_the_offer(parameter: Parameter, problem: str | None) -> None:
    """A value beyond what the server says it takes is lacking too."""
    found = lacking([parameter], Extensions(OFFERS), encrypted=True)
    assert (found is None) == (problem is None)
    assert problem is None or (found is not None and problem in found and parameter.rfc in found)


def test_requiretls_needs_an_encrypted_connection() -> None:
    """RFC 8689 2: what is to be protected all the way is not handed over in the clear."""
    offer = Extensions({"REQUIRETLS": ""})
    assert lacking([RequireTLS()], offer, encrypted=True) is None
    assert "not encrypted" in str(lacking([RequireTLS()], offer, encrypted=False))
