"""`make soak`: bad luck on everything, many times; prints what was tried, what survived, and what was lost.

    python -m tests.soak [--rounds N] [--seed N] [--only kill] [--at-once N] [--room FOLDER]

The exit code is 1 where anything was lost. The same seed does the same again: what was lost says which. In a room that
is named, one goes on where one was interrupted: what has survived is not tried again.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_ROOM = tempfile.mkdtemp(prefix="pneumonia-soak-")
os.environ["OUTPUTS"] = f"{_ROOM}/own"  # before anything of the project is imported: nothing lands in the checkout

from tests.soak.catalogue import TRIALS  # noqa: E402
from tests.soak.faults import Outcome, World  # noqa: E402
from tests.soak.forked import Forks  # noqa: E402
from tests.soak.ledger import Ledger  # noqa: E402


def main() -> int:
    """Try every fault as often as is asked, or let the services work, and print a table; keep what was lost."""
    asked = _parser().parse_args()
    lost = True
    try:
        lost = _soak(asked)
    finally:
        if asked.room or not lost:
            shutil.rmtree(_ROOM, ignore_errors=True)
    return int(lost)


def _soak(asked: argparse.Namespace) -> bool:
    room = Path(asked.room or _ROOM).resolve()
    room.mkdir(parents=True, exist_ok=True)
    data = os.environ.get("DATA") or os.environ.get("MEDMNIST_ROOT")
    folder = Path(data).resolve() if data else Path.home() / ".medmnist"
    if asked.services:
        from tests.soak.hour import hour  # loads Prefect

        return hour(room, folder, asked.services, asked.every) > 0
    world = World(room, folder, Forks())
    ledger = Ledger(room / "trials.jsonl")
    survived = ledger.survived()
    trials = [
        (name, number)
        for number in range(asked.rounds)
        for name in TRIALS
        if (not asked.only or any(word in name for word in asked.only)) and (name, asked.seed, number) not in survived
    ]
    with ThreadPoolExecutor(asked.at_once) as pool:
        list(pool.map(lambda trial: _try(world, ledger, asked.seed, *trial), trials))
    world.forks.close()
    _say("\n" + "\n".join(ledger.table()))
    done = ledger.trials()
    for warning, times in Counter(warning for trial in done for warning in trial.warned).most_common():
        _say(f"warned in {times} of {len(done)} trials: {warning}")
    lost = any(trial.lost for trial in done)
    if lost:
        _say(f"What was lost is kept in {room}.")
    return lost


def _try(world: World, ledger: Ledger, seed: int, name: str, number: int) -> None:
    fault, program = TRIALS[name]
    started = time.monotonic()
    try:
        outcome = fault(world, program, random.Random(f"{seed} {name} {number}"))
    except Exception as error:  # the others go on
        outcome = Outcome(tried=1, lost=[f"{type(error).__name__}: {error}"])
    ledger.note(name, seed, number, outcome.tried, outcome.lost, outcome.moments, outcome.warned)
    _say(
        "\n".join(
            [
                f"{name}, round {number}: {'; '.join(outcome.moments)} ({time.monotonic() - started:.0f} s)",
                *(f"  LOST (--seed {seed} --only '{name}', round {number}): {said}" for said in outcome.lost),
            ]
        )
    )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=17, metavar="N", help="of each fault (17)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of all moments (1)")
    parser.add_argument("--only", nargs="*", metavar="WORD", help="faults whose names hold one of these")
    parser.add_argument("--at-once", type=int, default=1, metavar="N", help="trials side by side (1)")
    parser.add_argument("--services", type=float, metavar="MINUTES", help="let the services of `make up` work instead")
    parser.add_argument("--every", type=float, default=60, metavar="SECONDS", help="the clock of --services (60)")
    parser.add_argument("--room", metavar="FOLDER", help="where the products lie, and stay")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
