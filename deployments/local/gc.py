"""`make gc`: show what nothing needs any more in the folder of products, and remove it where one says so.

    python -m deployments.local.gc [--older-than DAYS] [--at-most GB] [--runs-older-than DAYS] [--delete]

What is looked at is said in `tasks.storage.garbage`, and of MLflow's runs in `tasks.tracking.old_runs`. Those of
Prefect leave by its own service, see docs/operations.md.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from models.errors import InputError
from models.text import printable
from tasks.storage.garbage import YOUNGEST_DAYS, Leftover, find_beyond, remove
from tasks.storage.locations import environment, locks, outputs, store_uri

_MEGABYTE, _GIGABYTE = 1e6, 1e9


def main(arguments: Sequence[str]) -> int:
    """Show or remove what nothing needs.

    Args:
        arguments: those of the shell.

    Returns:
        Exit code: 0 when done, 2 where it is refused; nothing is removed then.
    """
    asked = _parser().parse_args(arguments)
    os.environ.update(environment())  # which Prefect and MLflow read when they are imported
    from tasks.execution.caching import last_uses
    from tasks.tracking.old_runs import remove_runs

    try:
        store, results = _places()
        if asked.delete:
            _require_rest()
        try:
            most = float("inf") if asked.at_most is None else asked.at_most * _GIGABYTE
            days, leftovers = find_beyond(most, store, results, last_uses(), asked.older_than, locks=locks())
            sys.stdout.write(_table(leftovers))
            if days < asked.older_than:
                sys.stdout.write(f"Results leave from {days:.1f} days on, so that {asked.at_most:g} GB are kept.\n")
            old = _old_runs(store, asked.runs_older_than)
            if not asked.delete:
                sys.stdout.write("Nothing was removed: add ARGS=--delete to `make gc`, or --delete here.\n")
            else:
                remove_runs(old)
                sys.stdout.write(f"Removed: {remove(leftovers) / _MEGABYTE:,.1f} MB are free again.\n")
        except OSError as error:
            raise InputError(
                f"{printable(error.filename)} cannot be read or removed ({error.strerror}): mend that and run again. "
                "Nothing that is needed was removed."
            ) from error
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


def _places() -> tuple[Path, Path]:
    """Return the roots of store and results, where they are this machine's own.

    Raises:
        InputError: they are elsewhere, where results of other machines may name what they hold.
    """
    from prefect.settings import get_current_settings

    settings = get_current_settings().results
    store, results = Path(store_uri()), Path(settings.local_storage_path).resolve()
    if "://" in store_uri() or store.resolve().parent != outputs() or results.parent != outputs():
        raise InputError(
            f"The store at {printable(store_uri())} or the results at {printable(results)} lie outside "
            f"{printable(outputs())}, so others may share them: run this where OUTPUTS holds both."
        )
    if settings.default_storage_block is not None:
        raise InputError("Results lie in a storage block of Prefect, which this does not read: remove them there.")
    return store.resolve(), results


def _old_runs(store: Path, days: float | None) -> list[str]:
    if days is None:
        return []
    named = [path.read_text(errors="replace") for path in sorted((store / "retrieval").rglob("*")) if path.is_file()]
    from tasks.tracking.old_runs import old_runs

    found = old_runs(days, named)
    many = "1 run of MLflow" if len(found) == 1 else f"{len(found):,} runs of MLflow"
    sys.stdout.write(f"{many} that ended over {days:g} days ago, with no version, published index or younger kin.\n")
    return found


def _require_rest() -> None:
    from tasks.tracking import runs

    running = runs.under_way()
    if running:
        many = "1 run is" if len(running) == 1 else f"{len(running)} runs are"
        raise InputError(f"{many} under way ({printable(', '.join(running))}): wait for the end. Nothing was removed.")


def _table(leftovers: Sequence[Leftover]) -> str:
    lines = [f"{'':<18}{'files':>9}{'MB':>12}\n"]
    for kind, group in groupby(sorted(leftovers, key=lambda each: each.kind), key=lambda each: each.kind):
        sizes = [each.size for each in group]
        lines.append(f"{kind:<18}{len(sizes):>9,}{sum(sizes) / _MEGABYTE:>12,.1f}\n")
    sizes = [each.size for each in leftovers]
    return "".join([*lines, f"{'together':<18}{len(sizes):>9,}{sum(sizes) / _MEGABYTE:>12,.1f}\n"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deployments.local.gc", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--older-than",
        type=_days,
        default=30.0,
        metavar="DAYS",
        help=f"age from which results that no run used leave (30); at least {YOUNGEST_DAYS:g}",
    )
    parser.add_argument(
        "--at-most",
        type=_size,
        metavar="GB",
        help=f"of store and results: what was used longest ago leaves first, down to {YOUNGEST_DAYS:g} days",
    )
    parser.add_argument(
        "--runs-older-than",
        type=_days,
        metavar="DAYS",
        help="also runs of MLflow that ended so long ago and that no version or published index comes from",
    )
    parser.add_argument("--delete", action="store_true", help="remove what is shown")
    return parser


def _days(text: str) -> float:
    days = float(text)
    if not days >= YOUNGEST_DAYS:
        raise argparse.ArgumentTypeError(f"{text} days are too few: at least {YOUNGEST_DAYS:g}.")
    return days


def _size(text: str) -> float:
    gigabytes = float(text)
    if not 0 <= gigabytes < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no size: gigabytes, 0 or more.")
    return gigabytes


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
