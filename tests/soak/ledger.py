"""What was tried, a line of JSON a trial, so that a table can be completed over several sittings."""

import json
import subprocess
import threading
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from tests.soak.forked import CHECKOUT


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        fault: name in the catalogue.
        seed: of the moments.
        round: number among those of the seed.
        tried: how often something went wrong.
        lost: what was lost, in words.
        moments: when.
        warned: of what the runs warned.
        commit: of the checkout; `+` behind it says that files were changed.
        day: when it ended.
    """

    fault: str
    seed: int
    round: int
    tried: int
    lost: list[str]
    moments: list[str]
    warned: list[str]
    commit: str
    day: str


class Ledger:
    """The trials of a room.

    Args:
        file: where they are kept.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._lock = file, threading.Lock()
        self.commit = _commit()

    def trials(self) -> list[Trial]:
        """Return the last trial of each round; a line that was not written whole is none."""
        found: dict[tuple[str, int, int], Trial] = {}
        for line in self._file.read_text().splitlines() if self._file.exists() else []:
            try:
                trial = Trial(**json.loads(line))
            except ValueError:
                continue
            found[trial.fault, trial.seed, trial.round] = trial
        return list(found.values())

    def survived(self) -> set[tuple[str, int, int]]:
        """Return the rounds that need not be tried again: fault, seed and number."""
        return {(trial.fault, trial.seed, trial.round) for trial in self.trials() if not trial.lost}

    def note(
        self, fault: str, seed: int, number: int, tried: int, lost: list[str], moments: list[str], warned: set[str]
    ) -> None:
        """Keep a trial."""
        trial = Trial(fault, seed, number, tried, lost, moments, sorted(warned), self.commit, f"{date.today()}")
        with self._lock, self._file.open("a") as file:
            file.write(f"\n{json.dumps(asdict(trial))}\n")  # what was being written when one was killed stays apart

    def table(self) -> list[str]:
        """Write the table: by fault, what was tried, survived and lost, with the seeds and commits."""
        lines = [f"{'fault':<44}{'rounds':>8}{'tried':>8}{'survived':>10}{'lost':>6}   seeds; commits; days"]
        trials = self.trials()
        for fault in dict.fromkeys(trial.fault for trial in trials):
            own = [trial for trial in trials if trial.fault == fault]
            tried, lost = sum(trial.tried for trial in own), sum(bool(trial.lost) for trial in own)
            sources = "; ".join(
                ", ".join(sorted({str(getattr(trial, name)) for trial in own})) for name in ("seed", "commit", "day")
            )
            lines.append(f"{fault:<44}{len(own):>8}{tried:>8}{tried - lost:>10}{lost:>6}   {sources}")
        return lines


def _commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=CHECKOUT, capture_output=True, text=True, check=False).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
