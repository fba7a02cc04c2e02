"""What is built is complete: the wheel, installed away from the checkout, runs the demonstration."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import Distribution, PathDistribution
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.command.test_demo import check_demo
from tests.needs import needs

ROOT = Path(__file__).parent.parent


def run(*command: str | Path, cwd: Path) -> str:
    # Without what would let the checkout, or this environment, show through.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE"))}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs(find_spec("hatchling") is not None, "hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder, cwd=ROOT)
    [built] = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    packages = {"smtp_proto", "smtp_surface", "smtp_blocking", "smtp_asyncio", "smtp_trio", "smtp_anyio"}
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == packages
    assert {f"{package}/py.typed" for package in packages} <= set(names)
    assert "smtp_blocking/demo_certificate.pem" in names


def test_the_wheel_installed_elsewhere_runs_the_demo(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "environment", with_pip=True)
    programs = tmp_path / "environment" / "bin"
    run(programs / "pip", "install", "--quiet", "--no-index", wheel, cwd=tmp_path)
    check_demo(run(programs / "smtp-proto", "demo", cwd=tmp_path))
    shown = run(programs / "python", "-c", "import smtp_proto; print(smtp_proto.__file__)", cwd=tmp_path)
    assert Path(shown.strip()).is_relative_to(tmp_path)


def needed(distribution: Distribution, extra: str) -> set[str]:
    """The names of all distributions that one needs here, those of the extra included."""
    found: set[str] = set()
    for text in distribution.requires or ():
        requirement = Requirement(text)
        if requirement.name in found or (requirement.marker and not requirement.marker.evaluate({"extra": extra})):
            continue
        found |= {requirement.name}
        for each in requirement.extras or {""}:
            found |= needed(Distribution.from_name(requirement.name), each)
    return found


# The backends that need an extra, and those that none is needed for.
NEEDY = {"trio": "smtp_trio", "anyio": "smtp_anyio"}
PACKAGES = ["smtp_proto", "smtp_surface", "smtp_blocking", "smtp_asyncio", *NEEDY.values()]


@pytest.mark.parametrize("extra", ["", *NEEDY])
def test_each_backend_needs_its_extra_and_no_other(wheel: Path, tmp_path: Path, extra: str) -> None:
    """With one extra exactly the backends are there that it is for, and the others say what to install."""
    venv.create(tmp_path / "environment", with_pip=False)
    [packages] = (tmp_path / "environment").glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)  # which is all that installing a wheel of nothing but Python comes to
    [metadata] = packages.glob("sansio_smtp-*.dist-info")
    for name in needed(PathDistribution(metadata), extra):
        # What an index would give, taken from where the tests run.
        installed = Distribution.from_name(name)
        for top in {Path(file).parts[0] for file in installed.files or () if ".." not in Path(file).parts}:
            if not (packages / top).exists():
                (packages / top).symlink_to(Path(str(installed.locate_file(top))))
    for package in PACKAGES:
        program = f"""
try:
    import {package}
except ImportError as error:
    print(error)
else:
    print("there")
"""
        said = run(tmp_path / "environment" / "bin" / "python", "-c", program, cwd=tmp_path).strip()
        lacks = next((name for name, needy in NEEDY.items() if needy == package and name != extra), None)
        if lacks is None:
            assert said == "there", package
        else:
            assert f"pip install 'sansio-smtp[{lacks}]'" in said


def test_the_core_imports_nothing_that_does_io() -> None:
    code = (
        "import sys, smtp_proto; "
        "print({'socket','ssl','asyncio','select','selectors','threading','smtplib'} & set(sys.modules))"
    )
    assert run(sys.executable, "-c", code, cwd=ROOT) == "set()\n"
