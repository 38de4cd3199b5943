"""`make backup` and `make restore`: all products and both databases in one file, and back, also on another path.

    python -m deployments.local.backup backup [FILE]
    python -m deployments.local.backup restore FILE

The folder is `OUTPUTS` (`outputs/`). Databases on PostgreSQL are found by the servers' own variables: see
`deployments.local.databases`.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from deployments.local import databases
from models.errors import InputError
from models.text import printable
from tasks.storage import backup
from tasks.storage.locations import outputs, store_uri, tracking_artifacts
from tasks.tracking.relocation import follow_the_move

_MEGABYTE = 1e6


def main(arguments: Sequence[str]) -> int:
    """Make a backup, or restore one.

    Args:
        arguments: those of the shell.

    Returns:
        Exit code: 0 when done, 2 where it is refused; nothing was changed then.
    """
    asked = _parser().parse_args(arguments)
    try:
        sys.stdout.write(make(asked.file) if asked.action == "backup" else _restore(asked.file))
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


def make(file: Path | None = None) -> str:
    """Make a backup.

    Args:
        file: the archive; None names it by the time, in `backups/`.

    Returns:
        What was done, in lines.

    Raises:
        InputError: it cannot be made.
    """
    archive = file or Path("backups") / f"outputs-{datetime.now().astimezone():%Y%m%dT%H%M%S}.zip"
    with tempfile.TemporaryDirectory(prefix="pneumonia-backup-") as folder:
        dumps = {name: Path(folder, name) for name in databases.on_postgresql()}
        for name, url in databases.on_postgresql().items():
            databases.dump(url, dumps[name])
        made = backup.write(archive, outputs(), dumps)
    megabytes = archive.stat().st_size / _MEGABYTE
    return f"{archive}: {_content(made)}, {megabytes:,.1f} MB.\n{_left_out()}"


def _restore(file: Path) -> str:
    targets = databases.on_postgresql()
    with backup.unpacked(file, outputs()) as (manifest, dumps):
        missing = next((name for name in dumps if name not in targets), None)
        if missing is not None:
            raise InputError(
                f"The backup holds the database of {missing} on PostgreSQL: say where it is to go with "
                f"{databases.VARIABLES[missing]}=postgresql://USER@HOST:PORT/DATABASE, an empty database."
            )
        for name in dumps:
            databases.require_empty(targets[name])
        for name, dump in dumps.items():
            databases.put_back(targets[name], dump)
    follow_the_move()
    return f"{outputs()}: {_content(manifest)}, as of {manifest.made:%Y-%m-%d %H:%M} UTC.\n"


def _content(manifest: backup.Manifest) -> str:
    dumped = f" and the databases {' and '.join(manifest.dumps)}" if manifest.dumps else ""
    return f"{len(manifest.files):,} files{dumped}"


def _left_out() -> str:
    """Say what lies elsewhere and is not in a backup."""
    home, artifacts = Path(os.environ.get("PREFECT_HOME") or outputs() / "prefect"), tracking_artifacts()
    elsewhere = [
        store_uri() if "://" in store_uri() or not Path(store_uri()).resolve().is_relative_to(outputs()) else None,
        None if artifacts.startswith(outputs().as_uri()) else artifacts,
        None if home.resolve().is_relative_to(outputs()) else str(home),
    ]
    return "".join(f"Not in it, since it lies elsewhere: {printable(place)}\n" for place in elsewhere if place)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deployments.local.backup", description=__doc__.splitlines()[0])
    actions = parser.add_subparsers(dest="action", required=True)
    made = actions.add_parser("backup", help="put all products into one file, while runs and services work")
    made.add_argument("file", type=Path, nargs="?", help="the archive (backups/outputs-TIME.zip)")
    restored = actions.add_parser("restore", help="make OUTPUTS, which must be empty, of a backup")
    restored.add_argument("file", type=Path, help="the archive")
    return parser


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
