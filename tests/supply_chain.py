"""What this project stands on: `python -m tests.supply_chain`, which is `make audit`.

Known weaknesses of the lock (pip-audit), a bill of materials with licences (CycloneDX), and where the lock runs ahead
of what a direct dependency names. The two tools run in environments of their own: nothing of theirs is in the lock.
"""

import importlib.metadata
import json
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

CHECKOUT = Path(__file__).resolve().parents[1]
FOLDER = CHECKOUT / "outputs" / "audit"
PIP_AUDIT, CYCLONEDX = "pip-audit==2.10.1", "cyclonedx-bom==7.5.0"
SERVERS = frozenset({"prefect", "mlflow"})
"""Of what they stand on, a new minor version counts too: SQLAlchemy 2.1 broke the scheduler of Prefect 3.8 silently."""

FOUND, UNKNOWN = 1, 3
"""Exit codes: there are known weaknesses, or it could not be told."""

_UPPER = ("<", "<=", "==", "~=", "===")


class Ahead(NamedTuple):
    """A package that is locked at a newer version than a direct dependency speaks of.

    Attributes:
        dependency: the direct dependency.
        needs: what it asks for.
        locked: the version in the lock.
    """

    dependency: str
    needs: str
    locked: str


def held(lines: Iterable[str]) -> frozenset[str]:
    """Name the packages that a file of requirements gives an upper bound.

    Args:
        lines: of the file.
    """
    stripped = [line.partition("#")[0].strip() for line in lines]
    found = [Requirement(line) for line in stripped if line]
    return frozenset(
        canonicalize_name(each.name) for each in found if any(part.operator in _UPPER for part in each.specifier)
    )


def runs_ahead(
    needs: Mapping[str, Iterable[str]], locked: Mapping[str, str], bounded: frozenset[str]
) -> tuple[list[Ahead], list[Ahead]]:
    """Compare a lock with what the direct dependencies ask for.

    Args:
        needs: their requirements, by name.
        locked: versions by name.
        bounded: packages whose newest version requirements.in decides.

    Returns:
        What a dependency forbids, and what is a major version (of `SERVERS`, a minor one) ahead of the lowest that it
        names where neither it nor requirements.in sets a bound below the next such version.
    """
    forbidden, ahead = [], []
    for dependency, lines in sorted(needs.items()):
        for need in map(Requirement, lines):
            name = canonicalize_name(need.name)
            if name not in locked or (need.marker and not need.marker.evaluate({"extra": ""})):
                continue
            version, row = Version(locked[name]), Ahead(dependency, f"{name}{need.specifier}", locked[name])
            floors = [Version(part.version) for part in need.specifier if part.operator in (">=", ">")]
            capped = any(part.operator in _UPPER for part in need.specifier)
            if not need.specifier.contains(version, prereleases=True):
                forbidden.append(row)
            elif name in bounded or not floors:
                continue
            elif capped:
                if dependency in SERVERS and version.release[:2] > max(floors).release[:2] >= (1,):
                    ahead.append(row)
            elif version.major > max(floors).major:
                ahead.append(row)
    return forbidden, ahead


def _direct() -> tuple[set[str], frozenset[str]]:
    lines = [
        line
        for file in ("requirements.in", "requirements-dev.in")
        for line in (CHECKOUT / file).read_text(encoding="utf-8").splitlines()
    ]
    named = {canonicalize_name(found[0]) for line in lines if (found := re.match(r"[\w.-]+", line))}
    return named, held(lines)


def _lock() -> dict[str, str]:
    text = (CHECKOUT / "requirements.txt").read_text(encoding="utf-8")
    return {canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.M)}


def _tool(package: str, *words: str) -> subprocess.CompletedProcess[str]:
    uv = Path(sysconfig.get_path("scripts")) / "uv"
    command = [str(uv), "tool", "run", "--quiet", "--python", sys.executable, "--from", package, *words]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)


def weaknesses(report: Mapping[str, Any]) -> tuple[list[str], int]:
    """Read what pip-audit found.

    Args:
        report: its JSON.

    Returns:
        A line for each known weakness, and how many packages it has data of: none where its data are out of reach,
        which it calls "no known vulnerabilities".
    """
    asked = [each for each in report["dependencies"] if "skip_reason" not in each]
    return [
        f"{each['name']} {each['version']}: {', '.join(found['id'] for found in each['vulns'])}"
        for each in asked
        if each["vulns"]
    ], len(asked)


def licences(bill: Mapping[str, Any]) -> list[str]:
    """List name, version and licence of each component of a bill of materials, as lines of CSV."""
    lines = []
    for each in bill["components"]:
        told = [
            one.get("expression") or one["license"].get("id") or one["license"]["name"]
            for one in each.get("licenses", ())
        ]
        shown = " AND ".join(dict.fromkeys(" ".join(name.split())[:80] for name in told)) or "not told"
        lines.append(f'{each["name"]},{each.get("version", "")},"{shown.replace(chr(34), chr(39))}"')
    return sorted(lines, key=str.lower)


def main(say: Callable[[str], object] = print) -> int:
    """Run from the shell.

    Args:
        say: prints a line.

    Returns:
        Exit code.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    named, bounded = _direct()
    needs = {
        canonicalize_name(each.metadata["Name"]): each.requires or []
        for each in importlib.metadata.distributions()
        if canonicalize_name(each.metadata["Name"]) in named
    }
    forbidden, ahead = runs_ahead(needs, _lock(), bounded)
    for title, rows in (("forbidden by", forbidden), ("newer than what is spoken of by", ahead)):
        for row in rows:
            say(f"warning: {row.needs} is locked at {row.locked}, {title} {row.dependency}")
    bill = FOLDER / "sbom.json"
    made = _tool(
        CYCLONEDX, "cyclonedx-py", "environment", sys.executable, "--output-reproducible", "--output-format", "JSON",
        "--output-file", str(bill),
    )  # fmt: skip
    if made.returncode:
        say(f"error: no bill of materials could be made ({made.stderr.strip()[-200:]}).")
        return UNKNOWN
    lines = licences(json.loads(bill.read_text(encoding="utf-8")))
    (FOLDER / "licences.csv").write_text("\n".join(["name,version,licence", *lines, ""]), encoding="utf-8")
    say(f"{len(lines)} packages: {bill} and {FOLDER / 'licences.csv'}")
    audit = _tool(
        PIP_AUDIT, "pip-audit", "--requirement", "requirements.txt", "--disable-pip", "--require-hashes",
        "--format", "json", "--progress-spinner", "off",
    )  # fmt: skip
    try:
        found, asked = weaknesses(json.loads(audit.stdout))
    except ValueError:
        found, asked = [], 0
    if not asked:
        say("error: The data of known weaknesses cannot be reached from here, so that nothing is known of the lock: "
            "ask again where pypi.org answers.")  # fmt: skip
        return UNKNOWN
    for line in found:
        say(f"weakness: {line}")
    say(f"{len(found)} known weaknesses in {asked} packages of the lock")
    return FOUND if found else UNKNOWN if forbidden else 0


if __name__ == "__main__":
    sys.exit(main())
