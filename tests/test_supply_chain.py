import re

import pytest

from tests.conftest import CHECKOUT
from tests.supply_chain import Ahead, _direct, _lock, held, licences, runs_ahead, weaknesses

PREFECT = {"prefect": ["sqlalchemy[asyncio]<3.0.0,>=2.0", "aiosqlite<1.0.0,>=0.17.0", "tool>=1; extra == 'never'"]}


def test_a_minor_version_beneath_a_server_that_upstream_does_not_speak_of_is_named():
    """With SQLAlchemy 2.1 the scheduler of Prefect 3.8 made no run, and said so in its own log only."""
    locked = {"sqlalchemy": "2.1.9", "tool": "5"}
    assert runs_ahead(PREFECT, locked, frozenset()) == ([], [Ahead("prefect", "sqlalchemy<3.0.0,>=2.0", "2.1.9")])
    assert runs_ahead(PREFECT, locked, held(["sqlalchemy>=2.0.40,<2.1  # why"])) == ([], [])
    assert runs_ahead(PREFECT, {"sqlalchemy": "2.0.58"}, frozenset()) == ([], [])


@pytest.mark.parametrize(
    ("need", "locked", "forbidden", "ahead"),
    [("a>=1", "1.9", 0, 0), ("a>=1", "2", 0, 1), ("a>=1,<2", "2", 1, 0), ("a<2", "2.1", 1, 0), ("a", "9", 0, 0)],
)
def test_what_a_library_forbids_and_what_it_has_not_seen_are_told_apart(need, locked, forbidden, ahead):
    found = runs_ahead({"library": [need]}, {"a": locked}, frozenset())
    assert tuple(map(len, found)) == (forbidden, ahead)


def test_no_direct_dependency_forbids_what_is_locked():
    import importlib.metadata

    named, bounded = _direct()
    installed = {
        re.sub(r"[-_.]+", "-", each.metadata["Name"]).lower(): each for each in importlib.metadata.distributions()
    }
    needs = {name: installed[name].requires or [] for name in named if name in installed}
    assert len(needs) > 60
    forbidden, ahead = runs_ahead(needs, _lock(), bounded)
    assert forbidden == []
    assert not any("sqlalchemy" in row.needs for row in ahead if row.dependency == "prefect")


def test_data_out_of_reach_are_not_taken_for_no_weakness():
    skipped = {"name": "idna", "skip_reason": "Dependency not found on PyPI and could not be audited: idna (3.6)"}
    assert weaknesses({"dependencies": [skipped]}) == ([], 0)
    known = {"name": "idna", "version": "3.6", "vulns": [{"id": "PYSEC-2024-60"}]}
    assert weaknesses({"dependencies": [skipped, known]}) == (["idna 3.6: PYSEC-2024-60"], 1)


def test_licences_are_listed():
    components = [
        {"name": "b", "version": "1", "licenses": [{"license": {"id": "MIT"}}, {"license": {"name": "MIT\nLicense"}}]},
        {"name": "A", "version": "2", "licenses": [{"expression": "Apache-2.0"}]},
        {"name": "c"},
    ]
    assert licences({"components": components}) == ['A,2,"Apache-2.0"', 'b,1,"MIT AND MIT License"', 'c,,"not told"']


def test_every_package_of_the_lock_has_a_hash():
    text = (CHECKOUT / "requirements.txt").read_text()
    packages = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert len(packages) > 300
    assert all("--hash=sha256:" in package for package in packages)
