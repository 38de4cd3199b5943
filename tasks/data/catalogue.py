"""Where the dataset comes from: the user's own file or folder, MedMNIST's official file, or drawn phantoms."""

import hashlib
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from models.errors import InputError
from models.medmnist_sets import published_sets
from models.text import printable
from tasks.data.image_folder import list_folder
from tasks.data.validation import refuse_oversize
from tasks.storage.temporary_files import temporary_folder

Task = Literal["binary-class", "multi-class", "ordinal-regression", "multi-label, binary-class"]
SEVERAL: Task = "multi-label, binary-class"
SIZES = (28, 64, 128, 224)
PHANTOMS = "pneumoniamnist"  # the one dataset that drawn phantoms can stand in for
_NETWORK_PATIENCE = 20  # seconds without an answer; MedMNIST sets no limit and would wait for ever


@dataclass(frozen=True)
class Source:
    """A dataset that was found, and what it is.

    Attributes:
        path: the file or the folder; None for phantoms, which are drawn.
        kind: "official" has the checksum that MedMNIST publishes; "own file" and "own folder" were named by the user
            and are not compared.
        flag: MedMNIST's name of the dataset.
        size: height and width of the images in pixels.
        md5: hexadecimal digest of the file as found, of a folder that of all names and contents; None for phantoms.
        sha256: likewise.
    """

    path: Path | None
    kind: Literal["official", "own file", "own folder", "phantoms"]
    flag: str
    size: int
    md5: str | None
    sha256: str | None


@dataclass(frozen=True)
class Entry:
    """What MedMNIST publishes about a dataset.

    Attributes:
        flag: MedMNIST's name of the dataset.
        file_name: name of its file at the size asked for.
        md5: published checksum of that file, hexadecimal.
        task: what MedMNIST makes of the labels; each is one class per image, of an ordinal set its grade, of
            `SEVERAL` each label may be there or not.
        labels: the classes, from label to name.
        channels: 1 for grey images, 3 for colour images.
        images: number of images by split.
        licence: licence of the images.
        description: what MedMNIST says of the images.
        address: where the file is published.
    """

    flag: str
    file_name: str
    md5: str
    task: Task
    labels: dict[int, str]
    channels: int
    images: Mapping[str, int]
    licence: str
    description: str
    address: str


def look_up(name: str = "pneumoniamnist", size: int = 28) -> Entry:
    """Look a dataset up in `medmnist.INFO`, the one source of labels, licence and checksums.

    Args:
        name: MedMNIST's name of the dataset.
        size: height and width of the images in pixels.

    Returns:
        The entry.

    Raises:
        InputError: MedMNIST has no such dataset or size, or it is not one of flat images.
    """
    published = published_sets()
    obstacles = {flag: _obstacle(info) for flag, info in published.items()}
    obstacle = obstacles.get(name, "MedMNIST has no such set")
    if obstacle:
        usable = ", ".join(flag for flag, found in obstacles.items() if not found)
        raise InputError(f"--dataset.name {name!r} cannot be used, since {obstacle}: expected one of {usable}.")
    if size not in SIZES:
        raise InputError(f"--dataset.size {size} does not exist: expected one of {', '.join(map(str, SIZES))} pixels.")
    info = published[name]
    suffix = "" if size == 28 else f"_{size}"
    return Entry(
        flag=name,
        file_name=f"{name}{suffix}.npz",
        md5=info[f"MD5{suffix}"],
        task=info["task"],
        labels={int(label): word for label, word in info["label"].items()},
        channels=info["n_channels"],
        images=dict(info["n_samples"]),
        licence=info["license"],
        description=info["description"],
        address=info[f"url{suffix}"],
    )


def locate(
    name: str = "pneumoniamnist",
    size: int = 28,
    *,
    path: Path | None = None,
    folder: Path | None = None,
    working_directory: Path | None = None,
    home: Path | None = None,
    allow_phantoms: bool = False,
) -> Source:
    """Find the dataset, or fetch it.

    The order is: the user's own file or folder of pictures; the folder that the user named; `~/.medmnist`; `data` and
    `../shared/data` below the working directory; MedMNIST's own download into `~/.medmnist`; phantoms where they are
    allowed, which stand in for PneumoniaMNIST only.

    Args:
        name: MedMNIST's name of the dataset.
        size: height and width of the images in pixels.
        path: the user's own file or folder of pictures; its digests are recorded, not compared.
        folder: folder named by `DATA` or `MEDMNIST_ROOT`; it must hold the official file.
        working_directory: where relative folders start; None is the process's.
        home: where `.medmnist` lies; None is the user's home.
        allow_phantoms: whether drawn phantoms may stand in where no dataset is found or fetched.

    Returns:
        The source.

    Raises:
        InputError: nothing was found at a place that was named, a found file is not the official one, a folder has
            another layout, nothing was found or fetched at all, or the official dataset does not fit into memory.
    """
    entry = look_up(name, size)
    working_directory = working_directory or Path.cwd()
    cache = (home or Path.home()) / ".medmnist"
    if path is not None:
        file = working_directory / path.expanduser()
        if file.is_dir():
            return _own_folder(file, entry, size)
        if not file.is_file():
            raise InputError(
                f"--dataset.path {path} is neither a file nor a folder: expected a dataset in MedMNIST's .npz layout, "
                f"or a folder of pictures; correct the path, or leave it out to use the official {entry.file_name}."
            )
        return _source(file, "own file", entry, size)
    refuse_oversize(entry.file_name, sum(entry.images.values()) * size**2 * entry.channels)  # before it is fetched
    if folder is not None:
        file = working_directory / folder.expanduser() / entry.file_name
        if not file.is_file():
            problem = "does not hold" if file.parent.is_dir() else "is not a folder that holds"
            raise InputError(f"{printable(folder)} {problem} {entry.file_name}: {_ways(entry, cache)}.")
        return _official(file, entry, size)
    for place in (cache, working_directory / "data", working_directory / ".." / "shared" / "data"):
        if (place / entry.file_name).is_file():
            return _official(place / entry.file_name, entry, size)
    try:
        file = _download(entry, size, cache)
    except InputError:
        if allow_phantoms and name == PHANTOMS:
            return Source(None, "phantoms", name, size, None, None)
        raise
    return _official(file, entry, size)


def _obstacle(info: dict[str, Any]) -> str:
    """Say why a set of MedMNIST cannot be used; nothing where it can."""
    if f"MD5_{SIZES[-1]}" not in info:  # only the sets of flat images are published at this size
        return "its images are volumes and the networks read flat images"
    if info["task"] not in get_args(Task):
        return f"its task is {info['task']}, of which nothing is known here"
    return ""


def _official(file: Path, entry: Entry, size: int) -> Source:
    source = _source(file, "official", entry, size)
    if source.md5 != entry.md5:
        raise InputError(
            f"{printable(file)} is not the official {entry.file_name}: its MD5 is {source.md5}, expected {entry.md5}; "
            "replace it, or name it in --dataset.path to use it as your own file."
        )
    return source


def _source(file: Path, kind: Literal["official", "own file"], entry: Entry, size: int) -> Source:
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    try:
        refuse_oversize(printable(file), file.stat().st_size)  # before its digests are taken
        with file.open("rb") as stream:
            while block := stream.read(2**20):
                md5.update(block)
                sha256.update(block)
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}): expected a readable .npz file.") from error
    return Source(file, kind, entry.flag, size, md5.hexdigest(), sha256.hexdigest())


def _own_folder(folder: Path, entry: Entry, size: int) -> Source:
    if entry.channels != 1:
        raise InputError(
            f"--dataset.path {printable(folder, 60)} is a folder, whose pictures are read in grey, but the images of "
            f"{entry.flag} are in colour: give an .npz file in MedMNIST's layout, or choose a grey set with "
            "--dataset.name."
        )
    if entry.task == SEVERAL:
        raise InputError(
            f"--dataset.path {printable(folder, 60)} is a folder, which gives each picture one class, but the images "
            f"of {entry.flag} have several labels each: give an .npz file in MedMNIST's layout."
        )
    found = list_folder(folder, entry.labels, entry.flag)
    return Source(folder, "own folder", entry.flag, size, found.md5, found.sha256)


def _download(entry: Entry, size: int, cache: Path) -> Path:
    """Fetch into a folder of its own, then rename, so that no other run sees half a file."""
    import medmnist

    dataset = getattr(medmnist, medmnist.INFO[entry.flag]["python_class"])
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with temporary_folder(cache) as folder:
            with _network_patience():
                dataset(split="train", download=True, size=size, root=str(folder))
            return (folder / entry.file_name).replace(cache / entry.file_name)
    except (RuntimeError, OSError) as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # MedMNIST's bare `except` turns Ctrl-C into this
            raise error.__context__ from None
        cause = error.__context__ or error
        raise InputError(
            f"{entry.file_name} was not found and could not be downloaded ({printable(cause, 45)}): "
            f"{_ways(entry, cache)}."
        ) from error


@contextmanager
def _network_patience() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_NETWORK_PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _ways(entry: Entry, cache: Path) -> str:
    return (
        f"put it at {printable(cache / entry.file_name, 60)}, name its folder with DATA=dir or MEDMNIST_ROOT, give "
        "your own with --dataset.path, or connect to the network"
    )
