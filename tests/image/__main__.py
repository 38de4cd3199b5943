"""`make image-check`: the image of the containers, built without an engine, and a flow in it. It needs root.

    python -m tests.image [--root FOLDER] [--room FOLDER]

The image's own entrance runs the pipeline twice as user 1000, with a read-only root, no home and no capability, and the
data mounted read-only. What came of it is looked at from outside. A root that was built before is taken again, with the
project as it is now. It takes 8 GB and some ten minutes.
"""

import argparse
import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.image.build import Image, build

USER = 1000
_CONTAINER = """
set -e
root=$0 outputs=$1 data=$2
mount --bind "$root" "$root"
mount --bind "$outputs" "$root/outputs"
mount --bind "$data" "$root/mnt" && mount -o remount,bind,ro "$root/mnt"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o ro,mode=755 tmpfs "$root/home"
for place in proc dev; do mount --rbind "/$place" "$root/$place"; done
mount -o remount,bind,ro "$root"
exec chroot "$root" setpriv --reuid "$3" --regid "$3" --clear-groups --no-new-privs \
  --bounding-set=-all --inh-caps=-all env -i --chdir="$4" "${@:5}"
"""


def main() -> int:
    """Build the image, run the pipeline in it, and look at its products.

    Returns:
        Exit code: 0 where all is as it should be, 2 where the machine lacks what the check needs.
    """
    asked = _parser().parse_args()
    lacking = [name for name in ("debootstrap", "unshare") if shutil.which(name) is None]
    data = os.environ.get("DATA") or os.environ.get("MEDMNIST_ROOT")
    if os.geteuid() or lacking or not data:
        sys.stderr.write("error: the check needs root, debootstrap, unshare, and DATA=folder of the dataset.\n")
        return 2
    with contextlib.ExitStack() as stack:
        room = Path(asked.room or stack.enter_context(tempfile.TemporaryDirectory(prefix="pneumonia-image-")))
        root = Path(asked.root) if asked.root else room / "root"
        image = build(root.resolve(), again=not (root / "app").is_dir())
        outputs = room.resolve() / "outputs"
        outputs.mkdir(parents=True, exist_ok=True)
        os.chown(outputs, USER, USER)
        for time in ("first", "second"):
            run(image, outputs, Path(data).resolve(), ["python", "-m", "flows.pipeline", "--preset", "debug"])
            problems = look(outputs, again=time == "second")
            if problems:
                raise SystemExit(f"The {time} run: {'; '.join(problems)}.")
            sys.stdout.write(f"The {time} run is as it should be.\n")
    return 0


def run(image: Image, outputs: Path, data: Path, command: list[str]) -> None:
    """Run a command by the image's entrance, as a container does.

    Args:
        image: the image.
        outputs: mounted for the products; the user's.
        data: mounted read-only.
        command: program and arguments.

    Raises:
        subprocess.CalledProcessError: it ended with another code than 0.
    """
    variables = image.variables | {"OUTPUTS": "/outputs", "DATA": "/mnt"}
    places = [str(image.root), str(outputs), str(data), str(USER), image.folder]
    words = [*(f"{name}={value}" for name, value in variables.items()), *image.entrance, *command]
    space = ["unshare", "--mount", "--pid", "--fork", "bash", "-c", _CONTAINER]
    subprocess.run([*space, *places, *words], check=True, stdin=subprocess.DEVNULL)


def look(outputs: Path, *, again: bool) -> list[str]:
    """Say what is wrong with the products of a run, looked at from outside.

    Args:
        outputs: the folder of products.
        again: nothing may have been computed.
    """
    problems = []
    summary = json.loads((outputs / "summary.json").read_text())
    if bool(summary["tasks"]["executed"]) == again:
        problems.append(f"{summary['tasks']['executed']} steps ran, {summary['tasks']['cached']} were kept")
    for database, question, good in (
        ("mlflow.db", "SELECT DISTINCT status FROM runs", "FINISHED"),
        ("prefect/prefect.db", "SELECT DISTINCT state_type FROM flow_run", "COMPLETED"),
    ):
        with contextlib.closing(sqlite3.connect(outputs / database)) as connection:
            found = {row[0] for row in connection.execute(question)}
        if found != {good}:
            problems.append(f"{database} says {', '.join(sorted(found))}")
    strangers = [path for path in outputs.rglob("*") if path.lstat().st_uid != USER]
    if strangers:
        problems.append(f"{strangers[0]} belongs to another user")
    return problems


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.image", description=__doc__.splitlines()[0])
    parser.add_argument("--root", metavar="FOLDER", help="where the image's files lie, and stay")
    parser.add_argument("--room", metavar="FOLDER", help="where the products lie, and stay")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
