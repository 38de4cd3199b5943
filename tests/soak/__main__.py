"""`make soak`: bad luck on everything, many times; prints what was tried, what survived, and what was lost.

    python -m tests.soak [--rounds N] [--seed N] [--only kill] [--room FOLDER]

The exit code is 1 where anything was lost. The same seed does the same again: what was lost says which.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

_ROOM = tempfile.mkdtemp(prefix="pneumonia-soak-")
os.environ["OUTPUTS"] = f"{_ROOM}/own"  # before anything of the project is imported: nothing lands in the checkout

from tests.soak.catalogue import TRIALS  # noqa: E402
from tests.soak.faults import World  # noqa: E402


def main() -> int:
    """Try every fault as often as is asked, and print the table."""
    asked = _parser().parse_args()
    room = Path(asked.room or _ROOM).resolve()
    data = os.environ.get("DATA") or os.environ.get("MEDMNIST_ROOT")
    folder = Path(data).resolve() if data else Path.home() / ".medmnist"
    if asked.services:
        from tests.soak.hour import hour  # loads Prefect

        return hour(room, folder, asked.services, asked.every)
    world = World(room, Path(data).resolve() if data else Path.home() / ".medmnist")
    rows, lost = [], 0
    for name, (fault, program) in TRIALS.items():
        if asked.only and not any(word in name for word in asked.only):
            continue
        tried = failed = 0
        for number in range(asked.rounds):
            started = time.monotonic()
            outcome = fault(world, program, random.Random(f"{asked.seed} {name} {number}"))
            tried += outcome.tried
            failed += bool(outcome.lost)
            _say(f"{name}, round {number}: {'; '.join(outcome.moments)} ({time.monotonic() - started:.0f} s)")
            for said in outcome.lost:
                _say(f"  LOST (--seed {asked.seed} --only '{name}', round {number}): {said}")
        rows.append((name, tried, tried - failed, failed))
        lost += failed
    _say(f"\n{'fault':<44}{'tried':>8}{'survived':>10}{'lost':>6}   seed {asked.seed}")
    for name, *numbers in rows:
        _say(f"{name:<44}{numbers[0]:>8}{numbers[1]:>10}{numbers[2]:>6}")
    if lost:
        _say(f"What was lost is kept in {room}.")
    elif not asked.room:
        shutil.rmtree(room)
    return int(lost > 0)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=17, metavar="N", help="of each fault (17)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of all moments (1)")
    parser.add_argument("--only", nargs="*", metavar="WORD", help="faults whose names hold one of these")
    parser.add_argument("--services", type=float, metavar="MINUTES", help="let the services of `make up` work instead")
    parser.add_argument("--every", type=float, default=60, metavar="SECONDS", help="the clock of --services (60)")
    parser.add_argument("--room", metavar="FOLDER", help="where the products lie, and stay")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
