import contextlib
import errno
import json
import os
import shutil
import sqlite3
import threading
import zipfile

import pytest

from models.errors import DiskError, InputError
from tasks.storage import backup


@pytest.fixture
def folder(tmp_path):
    """Products with a database in the middle of its work: what it has committed lies in its log, `-wal`."""
    root = tmp_path / "outputs"
    for name, content in {
        "results/step/key": b'{"uri": "sha256/ab/c.json"}',
        "store/sha256/ab/c.json": b"{}",
        "store/sha256/ab/d.json.0f.tmp": b"half",
        "store/retrieval/classifier.json": b"{}",
        "mlartifacts/pneumonia/a picture+step+0.png": bytes(range(256)) * 400,
        "locks/step.lock": b"",
        "services.json": b"{}",
        "empty.csv": b"",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
        os.utime(root / name, (1_700_000_000.25,) * 2)
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as database:
        database.execute("PRAGMA journal_mode=wal")
        database.execute("CREATE TABLE runs (name TEXT)")
        database.executemany("INSERT INTO runs VALUES (?)", [("a run",)] * 1000)
        database.commit()
        database.execute("INSERT INTO runs VALUES ('not committed')")
        yield root


@pytest.fixture
def archive(folder, tmp_path):
    backup.write(tmp_path / "b.zip", folder, {})
    return tmp_path / "b.zip"


def _restore(archive, place):
    with backup.unpacked(archive, place):
        pass


def _files(folder):
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def test_what_comes_back_elsewhere_is_what_was_there(folder, archive, tmp_path):
    place = tmp_path / "another place" / "outputs"
    _restore(archive, place)
    before, after = _files(folder), _files(place)
    passing = {"locks/step.lock", "services.json", "store/sha256/ab/d.json.0f.tmp", "mlflow.db-wal", "mlflow.db-shm"}
    assert before.keys() - after.keys() == passing
    assert after.keys() <= before.keys()
    for name in after.keys() - {"mlflow.db"}:
        assert after[name].read_bytes() == before[name].read_bytes()
        assert after[name].stat().st_mtime == 1_700_000_000.25
    with contextlib.closing(sqlite3.connect(place / "mlflow.db")) as database:
        assert database.execute("SELECT name, count(*) FROM runs GROUP BY name").fetchall() == [("a run", 1000)]
    assert [path.name for path in place.parent.iterdir()] == ["outputs"]


def test_a_database_that_is_written_meanwhile_is_copied_at_one_moment(folder, tmp_path):
    """Each transaction adds a row to two tables."""
    with contextlib.closing(sqlite3.connect(folder / "two.db")) as made:
        made.execute("PRAGMA journal_mode=wal")
        made.executescript("CREATE TABLE a (n INTEGER, padding TEXT); CREATE TABLE b (n INTEGER, padding TEXT);")
    done = threading.Event()

    def write():
        with contextlib.closing(sqlite3.connect(folder / "two.db", timeout=60)) as connection:
            number = 0
            while not done.is_set():
                with connection:
                    for table in "ab":
                        connection.execute(f"INSERT INTO {table} VALUES (?, ?)", (number, "x" * 2000))
                number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            backup.write(tmp_path / f"{number}.zip", folder, {})
    finally:
        done.set()
        writer.join()
    for number in range(3):
        _restore(tmp_path / f"{number}.zip", tmp_path / f"restored {number}")
        with contextlib.closing(sqlite3.connect(tmp_path / f"restored {number}" / "two.db")) as database:
            counted = database.execute("SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b)").fetchone()
        assert counted[0] == counted[1]


def test_what_names_others_is_read_before_them(folder, archive):
    with zipfile.ZipFile(archive) as made:
        order = [name.removeprefix("outputs/") for name in made.namelist()]
    kept = ["mlflow.db", "results/step/key", "store/retrieval/classifier.json", "store/sha256/ab/c.json"]
    assert [name for name in order if name in kept] == kept
    assert order[-1] == backup.MANIFEST


def test_a_folder_that_is_linked_comes_along_and_a_circle_ends(folder, tmp_path):
    disk = tmp_path / "large disk"
    (folder / "store").rename(disk)
    (folder / "store").symlink_to(disk)
    (disk / "again").symlink_to(folder)
    backup.write(tmp_path / "b.zip", folder, {})
    _restore(tmp_path / "b.zip", tmp_path / "restored")
    assert (tmp_path / "restored/store/sha256/ab/c.json").read_bytes() == b"{}"
    assert not (tmp_path / "restored/store").is_symlink()
    assert not (tmp_path / "restored/store/again").exists()


def test_nothing_is_overwritten(folder, archive, tmp_path):
    with pytest.raises(InputError, match="is there already"):
        backup.write(archive, folder, {})
    with pytest.raises(InputError, match="is not empty, and nothing is overwritten"):
        _restore(archive, folder)
    with pytest.raises(InputError, match="lies within"):
        backup.write(folder / "b.zip", folder, {})
    with pytest.raises(InputError, match="There is nothing to keep in"):
        backup.write(tmp_path / "c.zip", tmp_path / "nothing", {})
    assert (folder / "store/sha256/ab/c.json").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.zip", "outputs"]


def _rewritten(archive, change):
    """Write the archive anew, with its members changed."""
    with zipfile.ZipFile(archive) as made:
        members = {name: made.read(name) for name in made.namelist()}
    change(members)
    with zipfile.ZipFile(archive, "w") as made:
        for name, content in members.items():
            made.writestr(name, content)


def _named(members, **changes):
    manifest = json.loads(members[backup.MANIFEST])
    manifest["files"] |= changes
    members[backup.MANIFEST] = json.dumps(manifest).encode()


def _redigested(members, letter):
    manifest = json.loads(members[backup.MANIFEST])
    manifest["files"]["empty.csv"]["sha256"] = letter * 64
    members[backup.MANIFEST] = json.dumps(manifest).encode()


_ENTRY = {"sha256": "0" * 64, "size": 2, "modified": 0}
DAMAGE = {
    "no file": (lambda archive: archive.unlink(), "There is no file"),
    "a folder": (lambda archive: (archive.unlink(), archive.mkdir()), "cut off, or no zip archive"),
    "cut off": (lambda archive: archive.write_bytes(archive.read_bytes()[:-100]), "cut off, or no zip archive"),
    "text": (lambda archive: archive.write_bytes(b"hello"), "cut off, or no zip archive"),
    "no manifest": (
        lambda archive: _rewritten(archive, lambda members: members.pop(backup.MANIFEST)), "has no manifest.json",
    ),
    "manifest of something else": (
        lambda archive: _rewritten(archive, lambda members: members.update({backup.MANIFEST: b"[" * 100_000})),
        "its manifest.json cannot be read",
    ),
    "a file is missing": (
        lambda archive: _rewritten(archive, lambda members: members.pop("outputs/results/step/key")),
        "results/step/key is missing from it",
    ),
    "other content": (
        lambda archive: _rewritten(archive, lambda members: members.update({"outputs/results/step/key": b"other"})),
        "results/step/key in it is not what the manifest says",
    ),
    "another digest": (
        lambda archive: _rewritten(archive, lambda members: _redigested(members, "0")),
        "empty.csv in it is not what the manifest says",
    ),
    "another digest, of a greater number": (
        lambda archive: _rewritten(archive, lambda members: _redigested(members, "f")),
        "empty.csv in it is not what the manifest says",
    ),
    "longer content": (
        lambda archive: _rewritten(archive, lambda members: members.update({"outputs/empty.csv": b"x" * 10**6})),
        "empty.csv in it is not what the manifest says",
    ),
    "a name elsewhere": (
        lambda archive: _rewritten(archive, lambda members: _named(members, **{"../../stolen": _ENTRY})),
        "names a file elsewhere, ../../stolen",
    ),
    "an absolute name": (
        lambda archive: _rewritten(archive, lambda members: _named(members, **{"/etc/stolen": _ENTRY})),
        "names a file elsewhere, /etc/stolen",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", list(DAMAGE))
def test_damage_is_one_sentence_and_nothing_is_restored(archive, tmp_path, kind):
    damage, said = DAMAGE[kind]
    damage(archive)
    with pytest.raises(InputError, match=said):
        _restore(archive, tmp_path / "restored")
    assert not (tmp_path / "restored").exists()
    assert not list(tmp_path.rglob("*.tmp/**")) and not list(tmp_path.glob(".*"))


def test_every_byte_counts(archive, tmp_path):
    """Wherever a byte is changed, the restored files are right or a sentence says that the backup is damaged."""
    whole = archive.read_bytes()
    with zipfile.ZipFile(archive) as made:
        right = {name.removeprefix("outputs/"): made.read(name) for name in made.namelist() if name != backup.MANIFEST}
    refused = 0
    for number, place in enumerate(range(1, len(whole), max(len(whole) // 60, 1))):
        archive.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        target = tmp_path / f"restored {number}"
        try:
            _restore(archive, target)
        except InputError as error:
            refused += 1
            assert "is damaged: " in str(error)
            assert not target.exists()
        else:
            assert {name: path.read_bytes() for name, path in _files(target).items()} == right
    assert refused > 40


def test_a_damaged_database_is_no_backup(folder, tmp_path):
    content = bytearray(4096 * 3)
    content[:16] = b"SQLite format 3\0"
    (folder / "prefect").mkdir()
    (folder / "prefect/prefect.db").write_bytes(content)
    with pytest.raises(InputError, match=r"prefect.db cannot be copied \(.*\): mend it"):
        backup.write(tmp_path / "b.zip", folder, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outputs"]


def test_dumps_of_databases_come_back_for_the_body_alone(folder, tmp_path):
    dumps = {name: tmp_path / f"{name}.dump" for name in ("mlflow", "prefect")}
    for name, dump in dumps.items():
        dump.write_text(f"of {name}")
    made = backup.write(tmp_path / "b.zip", folder, dumps)
    with backup.unpacked(tmp_path / "b.zip", tmp_path / "restored") as (manifest, found):
        assert manifest == made
        assert {name: dump.read_text() for name, dump in found.items()} == {name: f"of {name}" for name in dumps}
    assert not [dump for dump in found.values() if dump.exists()]


def test_a_disk_without_room_is_told_of_before_anything_is_written(archive, tmp_path, monkeypatch):
    size = sum(entry.size for entry in _manifest(archive).files.values())
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=size - 1))
    with pytest.raises(DiskError, match=rf"restored has too little room for the backup's {size / 1e6:,.0f} MB: make"):
        _restore(archive, tmp_path / "restored")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=size))
    _restore(archive, tmp_path / "restored")


def _manifest(archive):
    with zipfile.ZipFile(archive) as source:
        return backup.Manifest.model_validate_json(source.read(backup.MANIFEST))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EINVAL, "Invalid argument"), r"b\.zip is damaged: its table of contents is wrong\. Nothing"),
        (OSError(errno.EIO, "Input/output error"), r"restored cannot be read or written \(Input/output error\): mend"),
        (OSError(errno.EIO, "Input/output error", "disk"), r"^disk cannot be read or written \(Input/output error\):"),
        (OSError(errno.ENOSPC, "No space left on device", "disk"), r"^disk cannot be written \(No space left"),
        (OSError(errno.ENOSPC, "No space left on device"), r"restored cannot be written \(No space left"),
    ],
)
def test_an_error_of_the_disk_is_one_sentence_and_nothing_is_restored(archive, tmp_path, monkeypatch, error, said):
    def fail(*_args):
        raise error

    monkeypatch.setattr(backup, "_extract", fail)
    with pytest.raises(InputError, match=said):
        _restore(archive, tmp_path / "restored")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.zip", "outputs"]


def test_a_body_that_fails_restores_nothing(archive, tmp_path):
    with pytest.raises(RuntimeError), backup.unpacked(archive, tmp_path / "restored"):
        raise RuntimeError
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.zip", "outputs"]
