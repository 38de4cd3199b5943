import hashlib
import shutil
import urllib.error
from pathlib import Path
from typing import get_args

import medmnist
import pytest
from pydantic import ValidationError

from models.errors import InputError
from tasks.data import catalogue
from tasks.data.catalogue import Source, locate, look_up
from tasks.parameters.dataset import DatasetParameters

NAME = "pneumoniamnist.npz"
USABLE = [flag for flag in medmnist.INFO if not flag.endswith("3d")]


@pytest.fixture
def places(tmp_path, monkeypatch) -> tuple[Path, Path]:
    """An empty home, and a checkout to work in, without a network."""

    def no_network(*_args, **_kwargs):
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr("torchvision.datasets.utils.urllib.request.urlopen", no_network)
    home, checkout = tmp_path / "home", tmp_path / "checkout"
    home.mkdir()
    checkout.mkdir()
    return home, checkout


def put(file: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(file, folder / NAME))


def files_in(cache: Path) -> list[str]:
    return [file.name for file in cache.rglob("*") if file.is_file()]


def find(places, **options) -> Source:
    home, checkout = places
    return locate(home=home, working_directory=checkout, **options)


@pytest.mark.parametrize("size", [28, 64, 128, 224])
def test_look_up_reads_the_published_entry(size: int):
    entry = look_up("pneumoniamnist", size)
    suffix = "" if size == 28 else f"_{size}"
    assert entry.file_name == f"pneumoniamnist{suffix}.npz"
    assert entry.md5 == medmnist.INFO["pneumoniamnist"][f"MD5{suffix}"]
    assert entry.labels == {0: "normal", 1: "pneumonia"}
    assert (entry.task, entry.channels) == ("binary-class", 1)
    assert entry.images == {"train": 4708, "val": 524, "test": 624}
    assert entry.licence == "CC BY 4.0"


@pytest.mark.parametrize(
    ("name", "task", "classes", "channels"),
    [
        ("pathmnist", "multi-class", 9, 3),
        ("chestmnist", "multi-label, binary-class", 14, 1),
        ("dermamnist", "multi-class", 7, 3),
        ("octmnist", "multi-class", 4, 1),
        ("retinamnist", "ordinal-regression", 5, 3),
        ("breastmnist", "binary-class", 2, 1),
        ("bloodmnist", "multi-class", 8, 3),
        ("tissuemnist", "multi-class", 8, 1),
        ("organamnist", "multi-class", 11, 1),
        ("organcmnist", "multi-class", 11, 1),
        ("organsmnist", "multi-class", 11, 1),
    ],
)
def test_look_up_knows_classes_and_channels_of_the_other_sets(name: str, task: str, classes: int, channels: int):
    """The figures are those of the MedMNIST v2 paper (Yang et al. 2023, table 2)."""
    entry = look_up(name, 28)
    assert (entry.task, sorted(entry.labels), entry.channels) == (task, list(range(classes)), channels)
    assert len(set(entry.labels.values())) == classes  # records and tables name classes by these words


def test_form_offers_what_can_be_used():
    offered = get_args(DatasetParameters.model_fields["name"].annotation)
    assert list(offered) == USABLE
    for name in medmnist.INFO:
        if name in offered:
            assert look_up(name).flag == DatasetParameters(name=name).name
            continue
        with pytest.raises(InputError):
            look_up(name)
        with pytest.raises(ValidationError, match="images are volumes"):
            DatasetParameters(name=name)


def test_unknown_names_and_sizes_are_refused():
    with pytest.raises(InputError, match=r"'mnist' cannot be used, since MedMNIST has no .* one of .*pneumoniamnist"):
        look_up("mnist", 28)
    with pytest.raises(InputError, match=r"'nodulemnist3d' cannot be used, since its images are volumes"):
        look_up("nodulemnist3d", 28)
    with pytest.raises(InputError, match=r"--dataset\.size 32 does not exist: expected one of 28, 64, 128, 224"):
        look_up("pneumoniamnist", 32)


def test_places_are_searched_in_order(places, official_file):
    home, checkout = places
    shared = put(official_file, checkout.parent / "shared" / "data")
    found = find(places)
    assert found.path is not None
    assert found.path.resolve() == shared.resolve()
    beside = put(official_file, checkout / "data")
    assert find(places).path == beside
    cached = put(official_file, home / ".medmnist")
    assert find(places).path == cached
    named = put(official_file, checkout / "elsewhere")
    assert find(places, folder=Path("elsewhere")).path == named
    own = checkout / "mine.npz"
    own.write_bytes(b"anything: an own file is not compared with a checksum")
    source = find(places, folder=named.parent, path=Path("mine.npz"))
    assert source == Source(
        path=own,
        kind="own file",
        flag="pneumoniamnist",
        size=28,
        md5=hashlib.md5(own.read_bytes()).hexdigest(),
        sha256=hashlib.sha256(own.read_bytes()).hexdigest(),
    )


def test_official_file_has_its_digests(places, official_file):
    source = find(places, folder=official_file.parent.resolve())
    assert source.kind == "official"
    assert source.md5 == "28209eda62fecd6e6a2d98b1501bb15f"
    assert source.sha256 == hashlib.sha256(official_file.read_bytes()).hexdigest()


@pytest.mark.parametrize("allow_phantoms", [False, True])
def test_changed_official_file_is_refused_with_both_sums(places, allow_phantoms: bool):
    file = places[1] / "data" / NAME
    file.parent.mkdir()
    file.write_bytes(b"changed")
    actual = hashlib.md5(b"changed").hexdigest()
    with pytest.raises(InputError) as caught:
        find(places, allow_phantoms=allow_phantoms)
    for fragment in (f"{NAME} is not the official", actual, "28209eda62fecd6e6a2d98b1501bb15f", "--dataset.path"):
        assert fragment in str(caught.value)


def test_other_size_has_another_file(places, official_file):
    put(official_file, places[1] / "data")
    with pytest.raises(InputError, match=r"pneumoniamnist_64\.npz was not found"):
        find(places, size=64)


@pytest.mark.parametrize("allow_phantoms", [False, True])
def test_named_places_must_hold_the_file(places, official_file, allow_phantoms: bool):
    put(official_file, places[1] / "data")  # a file elsewhere must not stand in for what was named
    (places[1] / "empty").mkdir()
    with pytest.raises(InputError, match=r"^empty does not hold pneumoniamnist\.npz: .*DATA=dir.*--dataset\.path"):
        find(places, folder=Path("empty"), allow_phantoms=allow_phantoms)
    with pytest.raises(InputError, match=r"^absent is not a folder that holds pneumoniamnist\.npz: "):
        find(places, folder=Path("absent"), allow_phantoms=allow_phantoms)
    with pytest.raises(InputError, match=r"^--dataset\.path absent\.npz is neither a file nor a folder: expected"):
        find(places, path=Path("absent.npz"), allow_phantoms=allow_phantoms)


def test_without_network_every_way_is_named(places):
    home, _ = places
    with pytest.raises(InputError) as caught:
        find(places)
    message = str(caught.value)
    for fragment in (NAME, "no network in tests", "put it at ", "DATA=dir", "--dataset.path", "network"):
        assert fragment in message
    assert "\n" not in message
    assert not files_in(home / ".medmnist")


def test_phantoms_stand_in_only_where_allowed(places):
    assert find(places, allow_phantoms=True) == Source(None, "phantoms", "pneumoniamnist", 28, None, None)


def test_phantoms_stand_in_for_no_other_set(places):
    with pytest.raises(InputError, match=r"pathmnist\.npz was not found and could not be downloaded") as without:
        find(places, name="pathmnist")
    with pytest.raises(InputError) as allowed:
        find(places, name="pathmnist", allow_phantoms=True)
    assert str(allowed.value) == str(without.value)


def test_set_too_large_for_memory_is_refused_before_it_is_fetched(places, monkeypatch):
    fetched = []

    def fetch(url, *_args, **_kwargs):
        fetched.append(url)
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr("torchvision.datasets.utils._get_redirect_url", fetch)
    gib = (89996 + 10004 + 7180) * 224 * 224 * 3 / 2**30
    with pytest.raises(InputError, match=rf"pathmnist_224\.npz unpacks to {gib:.1f} GiB: expected at most 4 GiB"):
        find(places, name="pathmnist", size=224)
    assert fetched == []
    with pytest.raises(InputError, match="could not be downloaded"):
        find(places, name="pathmnist", size=64)
    assert len(fetched) == 1
    own = places[1] / "few.npz"
    own.write_bytes(b"an own file may hold fewer images")
    assert find(places, name="pathmnist", size=224, path=own).kind == "own file"


def test_download_arrives_whole(places, official_file, monkeypatch):
    """MedMNIST's own code runs; only the transfer itself is replaced by a copy."""
    transfers = []

    def transfer(url: str, target: str) -> None:
        transfers.append(Path(target))
        shutil.copy(official_file, target)

    monkeypatch.setattr("torchvision.datasets.utils._get_redirect_url", lambda url, max_hops: url)
    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve", transfer)
    source = find(places)
    cache = places[0] / ".medmnist"
    assert source.path == cache / NAME
    assert source.kind == "official"
    assert files_in(cache) == [NAME]
    assert transfers[0].is_relative_to(cache) and transfers[0].parent != cache  # never straight to the final name
    assert find(places) == source
    assert len(transfers) == 1


def test_damaged_download_is_not_kept(places, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.utils._get_redirect_url", lambda url, max_hops: url)
    monkeypatch.setattr(
        "torchvision.datasets.utils._urlretrieve", lambda url, target: Path(target).write_bytes(b"half")
    )
    with pytest.raises(InputError, match="could not be downloaded"):
        find(places)
    assert not files_in(places[0] / ".medmnist")


def test_interrupting_the_download_interrupts(places, monkeypatch):
    def interrupt(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("torchvision.datasets.utils._get_redirect_url", interrupt)
    with pytest.raises(KeyboardInterrupt):
        find(places, allow_phantoms=True)


def test_waiting_for_the_network_is_bounded(places, monkeypatch):
    import socket

    seen = []

    def observe(*_args, **_kwargs):
        seen.append(socket.getdefaulttimeout())
        raise urllib.error.URLError("observed")

    monkeypatch.setattr("torchvision.datasets.utils._get_redirect_url", observe)
    before = socket.getdefaulttimeout()
    with pytest.raises(InputError, match="observed"):
        find(places)
    assert seen == [catalogue._NETWORK_PATIENCE]
    assert socket.getdefaulttimeout() == before
