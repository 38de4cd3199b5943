"""Do the tests bite? `make mutants`: small faults put into pure modules, each of which a module's own tests should see.

    python -m tests.mutants [--count 300] [--seed 1] [--module tasks/shared/auc.py …]

Cosmic Ray makes the faults: a `<` that becomes a `<=`, a number that is one greater, a loop that is left out. They are
drawn from all that it can make of these modules, but for those that nothing reads (within annotations) and those that
Python warns of. What fails, or takes ten times as long as without a fault, has seen it. No file is changed.

What was tried is kept in outputs/mutants.jsonl, and tried again once the module or its tests are others. A fault that
changes nothing that anyone could want otherwise stands in judged.toml, with the reason.
"""

import argparse
import contextlib
import hashlib
import importlib
import itertools
import json
import os
import sys
import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.faults import CHECKOUT, MODULES, Mutant, all_mutants, draw
from tests.mutants.trial import TestsFail, tests_of, try_all

LEDGER = CHECKOUT / "outputs" / "mutants.jsonl"
JUDGED = Path(__file__).with_name("judged.toml")
_PRELOADED = "faiss matplotlib.pyplot mlflow numpy pandas prefect pytest scipy.stats sklearn.metrics torch hypothesis"


def main(arguments: Sequence[str]) -> int:
    """Draw faults, try each, and print which were not seen.

    Returns:
        Exit code: 0, or 1 where a fault was not seen and not judged, or the tests of a module fail without any.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--module", nargs="*", default=MODULES)
    asked = parser.parse_args(arguments)
    os.chdir(CHECKOUT)
    every = list(all_mutants(asked.module))
    drawn = draw(every, asked.count, asked.seed)
    _say(f"Seed {asked.seed}: {len(drawn)} of {len(every):,} mutants of {len(asked.module)} modules")
    known, failing = _known(), []
    keys = {mutant: _key(mutant) for mutant in drawn}
    waiting = sorted((mutant for mutant in drawn if keys[mutant] not in known), key=lambda mutant: mutant.module)
    for name in _PRELOADED.split() if waiting else ():
        importlib.import_module(name)
    with contextlib.suppress(KeyboardInterrupt):  # what was tried until then counts
        for module, mutants in itertools.groupby(waiting, key=lambda mutant: mutant.module):
            try:
                for mutant, seen in try_all(module, list(mutants)):
                    known[keys[mutant]] = seen
                    _keep(keys[mutant], seen, mutant)
            except TestsFail:
                failing.append(module)
            tried = [keys[mutant] for mutant in drawn if keys[mutant] in known]
            _say(f"{sum(map(known.__getitem__, tried))} of {len(tried)} seen, after {module}")
    return _report(
        [mutant for mutant in drawn if keys[mutant] in known], {m: known.get(k) for m, k in keys.items()}, failing
    )


def _report(tried: Sequence[Mutant], seen: dict[Mutant, bool | None], failing: Sequence[str]) -> int:
    judged = {(row["module"], row["old"], row["new"]): row["why"] for row in tomllib.loads(JUDGED.read_text())["same"]}
    why, unseen = Counter[str](), []
    for mutant in tried:
        if not seen[mutant]:
            number, old, new = mutant.line()
            if (reason := judged.get((mutant.module, old, new))) is not None:
                why[reason] += 1
            else:
                unseen.append(f"not seen: {mutant.module}:{number}  {old}  →  {new}")
    for line in sorted(unseen):
        _say(line)
    for module in failing:
        _say(f"The tests of {module} fail without any fault: it is left out.")
    count, same = len(tried), why.total()
    killed = count - same - len(unseen)
    _say(f"tried {count}, seen {killed} ({killed / max(count, 1):.1%}), equivalent {same}, open {len(unseen)}")
    for reason, cases in why.most_common():
        _say(f"  {cases:3}  {reason}")
    return 1 if unseen or failing else 0


def _key(mutant: Mutant) -> str:
    """Name a fault, its module's text and the tests' text."""
    texts = [(CHECKOUT / path).read_bytes() for path in (mutant.module, tests_of(mutant.module))]
    return hashlib.sha256(b"\0".join([str(mutant).encode(), *texts])).hexdigest()[:16]


def _known() -> dict[str, bool]:
    if not LEDGER.exists():
        return {}
    return {row["key"]: row["seen"] for row in map(json.loads, LEDGER.read_text().splitlines())}


def _keep(key: str, seen: bool, mutant: Mutant) -> None:
    LEDGER.parent.mkdir(exist_ok=True)
    number, old, new = mutant.line()
    with LEDGER.open("a") as ledger:
        row = {"key": key, "seen": seen, "line": f"{mutant.module}:{number}", "old": old, "new": new}
        ledger.write(json.dumps(row) + "\n")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
