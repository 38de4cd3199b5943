"""The image of `deployments/containers/Dockerfile` as a folder, for machines without a container engine.

`debootstrap` lays the base image: Debian with its Python and pip, and nothing else. The instructions of the Dockerfile
follow one by one, each command in that root alone.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
DOCKERFILE = CHECKOUT / "deployments" / "containers" / "Dockerfile"
MIRROR = "http://deb.debian.org/debian"
_BASE = ["ca-certificates", "netbase", "tzdata", "python3", "python3-pip", "python-is-python3"]
_OF_THE_BUILD = ["PIP_CERT", "PIP_INDEX_URL", "SSL_CERT_FILE", "UV_DEFAULT_INDEX"]
_OF_THE_BUILD += ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"]
ENTER = """
set -e
for place in proc dev sys; do mount --rbind "/$place" "$0/$place"; done
mount --bind /etc/resolv.conf "$0/etc/resolv.conf"
mount --bind /etc/ssl/certs/ca-certificates.crt "$0/etc/ssl/certs/ca-certificates.crt"
exec chroot "$0" env --chdir="$1" "${@:2}"
"""


@dataclass
class Image:
    """A root and what the Dockerfile says of the processes in it."""

    root: Path
    folder: str = "/"
    user: str = "root"
    entrance: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(
        default_factory=lambda: {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    )


def build(root: Path, *, again: bool = True) -> Image:
    """Do what the Dockerfile says.

    Args:
        root: where the image's files lie.
        again: else what its commands make lies there already, and only the project is copied.

    Returns:
        The image.

    Raises:
        subprocess.CalledProcessError: a command of the Dockerfile failed.
    """
    image = Image(root)
    for word, rest in instructions(DOCKERFILE.read_text()):
        sys.stdout.write(f"{word} {rest}\n")
        sys.stdout.flush()
        if word == "FROM" and again:
            _lay(rest, root)
        elif word == "ENV":
            image.variables |= dict(pair.split("=", 1) for pair in shlex.split(rest))
        elif word == "WORKDIR":
            image.folder = rest
            (root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "COPY":
            _copy(shlex.split(rest), root / image.folder.lstrip("/"))
        elif word == "RUN" and again:
            given = image.variables | {name: os.environ[name] for name in _OF_THE_BUILD if name in os.environ}
            _run(root, image.folder, ["-i", *(f"{name}={value}" for name, value in given.items())], rest)
        elif word == "USER":
            image.user = rest
        elif word == "ENTRYPOINT":
            image.entrance = json.loads(rest)
    return image


def instructions(text: str) -> list[tuple[str, str]]:
    """Read a Dockerfile: its instructions and what stands after them, lines joined and comments left out."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines()) if word]


def _lay(base: str, root: Path) -> None:
    found = re.fullmatch(r"python:(3\.\d+)\.\d+-slim-(\w+)", base)
    assert found, f"{base} is no slim image of Python on Debian"
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(_BASE)}", found[2], str(root), MIRROR]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    # Python belongs to nobody's package manager in the base image.
    for file in root.glob("usr/lib/python3.*/EXTERNALLY-MANAGED"):
        assert found[1] in file.parent.name, f"Debian {found[2]} has {file.parent.name}, the image {found[1]}"
        file.unlink()


def _copy(words: Sequence[str], folder: Path) -> None:
    *sources, place = words
    target = folder / place
    left_out = {line.rpartition("/")[2] for line in (CHECKOUT / ".dockerignore").read_text().splitlines()}
    for source in sources:
        if (CHECKOUT / source).is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(CHECKOUT / source, target, ignore=shutil.ignore_patterns(*left_out - {"*"}))
        else:
            shutil.copy(CHECKOUT / source, target)


def _run(root: Path, folder: str, variables: Sequence[str], command: str) -> None:
    space = ["unshare", "--mount", "--pid", "--fork", "bash", "-c", ENTER]
    subprocess.run([*space, str(root), folder, *variables, "/bin/sh", "-c", command], check=True)
