"""The test suites of other projects that are run on `smtp_blocking`: what they are, and what of them is left out."""

from __future__ import annotations

from typing import Final, NamedTuple


class Suite(NamedTuple):
    """One suite, from the source distribution of a project."""

    name: str
    #: The source distribution, and the SHA-256 of its octets: what is run here was looked at before.
    requirement: str
    sha256: str
    #: The folder below the source in which it runs, and what: a module or a file, and its arguments.
    folder: str
    command: tuple[str, ...]
    #: What of the project's tests is not run, and why.
    left_out: str
    #: Set `default_ssl_context` to one that verifies nothing; the reason.
    unverified: str = ""
    #: Ports that the suite uses whatever is free.
    ports: tuple[int, ...] = ()
    #: Too long to wait for in every run of our own tests.
    long: bool = False


_AIOSMTPD: Final = Suite(
    name="aiosmtpd",
    requirement="aiosmtpd==1.4.6",
    sha256="5a811826e1a5a06c25ebc3e6c4a704613eb9a1bcf6b78428fbe865f4f6c9a4b8",
    folder=".",
    # Its pytest.ini wants a plugin for coverage, and turns warnings of others into errors.
    command=("pytest", "-q", "-c", "pyproject.toml", "-p", "no:cacheprovider"),
    left_out="`aiosmtpd/qa`, which is about the style of its sources",
    unverified="its tests say starttls() without a context to a server with a self-signed certificate",
    ports=(8025,),
)

SUITES: Final = (
    Suite(
        name="django",
        requirement="django==5.2.19",
        sha256="ad03d8abc51dbff95ebf34b27123cf0c26a3b62db7ba0cd520783686362533d1",
        folder="tests",
        command=("runtests.py", "--parallel", "1", "mail"),
        left_out="all but the tests of `django.core.mail`: nothing else of it knows SMTP",
    ),
    Suite(
        name="trac",
        requirement="trac==1.6",
        sha256="61d73c61f670d68ffc346829d24b2f1d2050aa561aa71cb98e2fb43992c27304",
        folder=".",
        command=(
            "unittest",
            "trac.tests.notification",
            "trac.notification.tests.mail",
            "trac.ticket.tests.notification",
        ),
        left_out="all but the tests of notifications: nothing else of it sends mail",
    ),
    Suite(
        name="smtpdfix",
        requirement="smtpdfix==0.5.3",
        sha256="2ea49b22fe084c9cb92a52e56e8351c753c985eecf713c77f08516ec5e2e7fd0",
        folder=".",
        command=("pytest", "-q", "-p", "no:cacheprovider", "tests"),
        left_out="nothing",
        unverified="its tests say starttls() and SMTP_SSL() without a context to a certificate made for the moment",
    ),
    # In two parts.  Its tests of the server's life (of ports that are taken, of signals) mostly wait.
    _AIOSMTPD._replace(
        command=(
            *_AIOSMTPD.command,
            "aiosmtpd/tests/test_handlers.py",
            "aiosmtpd/tests/test_lmtp.py",
            "aiosmtpd/tests/test_proxyprotocol.py",
            "aiosmtpd/tests/test_smtp.py",
            "aiosmtpd/tests/test_smtps.py",
            "aiosmtpd/tests/test_smtpsmuggling.py",
            "aiosmtpd/tests/test_starttls.py",
        ),
    ),
    _AIOSMTPD._replace(
        name="aiosmtpd-rest",
        command=(
            *_AIOSMTPD.command,
            "aiosmtpd/tests/test_main.py",
            "aiosmtpd/tests/test_misc.py",
            "aiosmtpd/tests/test_server.py",
        ),
        long=True,
    ),
)

#: What the suites need beside themselves and `aiosmtpd`, whose source is on the path of all of them.
REQUIREMENTS: Final = (
    "asgiref==3.13.0",  # django
    "sqlparse==0.6.1",
    "jinja2==3.1.6",  # trac
    "multipart==2.0.1",
    "attrs==26.1.0",  # aiosmtpd
    "atpublic==9.0.0",
    "setuptools==79.0.1",  # the last with pkg_resources in it as these know it
    "cryptography==50.0.2",  # smtpdfix
    "portpicker==1.6.0",
    "pytest==8.4.2",
    "pytest-asyncio==1.5.0",
    "pytest-mock==3.17.0",
    "pytest-timeout==2.4.0",
    "wheel==0.48.0",  # for pip to read what the source distributions say of themselves
    "hatchling>=1.27",  # to install this checkout
)
