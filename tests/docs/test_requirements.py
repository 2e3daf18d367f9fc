"""Check that what is installed is pinned, and is what the short lists ask for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2]
FUNCTION = FOLDER / "requirements.txt"
DEVELOPMENT = FOLDER / "requirements/dev.txt"
PIN = re.compile(r"(?P<name>[a-z0-9-]+)==\S+( ; .+)?( \\\n    --hash=sha256:[0-9a-f]{64})+(\n +# .+)+")


def asked(file: Path) -> set[str]:
    """Read the names of a short list, as the index spells them."""
    names = re.findall(r"^[\w-]+", file.read_text(), re.MULTILINE)
    return {name.lower().replace("_", "-") for name in names}


def lines(file: Path) -> list[str]:
    """Read the requirements of a short list, whole."""
    return [line for line in file.read_text().splitlines() if line and not line.startswith("#")]


def pins(file: Path) -> list[str]:
    """Read the entries of a compiled file, each with its hashes and the comment that says who wants it."""
    return re.split(r"\n(?! )", file.read_text().rstrip("\n"))


def versions(file: Path) -> dict[str, set[str]]:
    """Read the versions of each package; there can be one for old Pythons and one for new."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^(\S+)==(\S+)", file.read_text(), re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found


@pytest.mark.parametrize("file", [FUNCTION, DEVELOPMENT], ids=["function", "development"])
def test_every_package_is_pinned_by_hash(file: Path) -> None:
    """Pin each package's version and files, and name no address to fetch them from."""
    assert [pin for pin in pins(file) if not PIN.fullmatch(pin)] == []


@pytest.mark.parametrize(
    ("file", "short_list"),
    [(FUNCTION, "requirements/requirements.in"), (DEVELOPMENT, "requirements/dev.in")],
    ids=["function", "development"],
)
def test_short_list_is_compiled(file: Path, short_list: str) -> None:
    """Ask for the packages of the short list, and no others; `make lock` writes who asks beside each."""
    wanted = {pin.split("==")[0] for pin in pins(file) if re.search(rf"-r {short_list}$", pin, re.MULTILINE)}

    assert wanted == asked(FOLDER / short_list)


def test_package_needs_what_the_function_needs() -> None:
    """Ask for the same when the package is installed, but leave pyarrow to those who want Parquet."""
    project = (FOLDER / "pyproject.toml").read_text()
    (needed,) = re.findall(r"^dependencies = \[$(.*?)^\]$", project, re.MULTILINE | re.DOTALL)
    (parquet,) = re.findall(r"^parquet = \[(.*)\]$", project, re.MULTILINE)

    assert sorted(re.findall(r'"(.+?)"', needed + parquet)) == sorted(lines(FOLDER / "requirements/requirements.in"))


def test_development_keeps_the_functions_versions() -> None:
    """Pin no other version of what the function has: both files are installed together."""
    function, development = versions(FUNCTION), versions(DEVELOPMENT)
    shared = function.keys() & development.keys()

    assert shared
    assert {name for name in shared if not development[name] <= function[name]} == set()
