import hashlib
import json
import os
import random
from pathlib import Path

import pytest
from filelock import FileLock

from tasks.storage.finished_rows import FinishedRows
from tasks.storage.garbage import DAY, find_beyond, find_leftovers, remove
from tasks.storage.store import Store

NOW = 2_000_000_000.0
DAYS = 30.0


@pytest.fixture
def places(tmp_path):
    return tmp_path / "store", tmp_path / "results"


def _write(root, name, text, days):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (NOW - days * DAY,) * 2)
    return name


def _content(root, text, days, suffix="json"):
    digest = hashlib.sha256(text.encode()).hexdigest()
    return _write(root, f"sha256/{digest[:2]}/{digest}.{suffix}", text, days)


def _find(places, used=None):
    found = find_leftovers(*places, used or {}, DAYS, NOW)
    return {
        (root.name, each.path.relative_to(root).as_posix())
        for each in found
        for root in places
        if root in each.path.parents
    }


@pytest.mark.parametrize("seed", range(30))
def test_what_is_found_is_what_no_result_reaches(places, seed):
    """Beside a graph of drawn files, whose reachable part is known without reading any."""
    store, results = places
    draw = random.Random(seed)
    names, edges, ages = [], {}, {}
    for number in range(draw.randint(1, 25)):
        suffix = draw.choice(["json", "json", "png"])
        below = draw.sample(names, draw.randint(0, min(3, len(names))))
        age = draw.choice([1, 10, 100])
        name = _content(store, json.dumps({"number": number, "files": [{"uri": each} for each in below]}), age, suffix)
        names.append(name)
        edges[name], ages[name] = below if suffix == "json" else [], age
    roots, used, expired = [], {}, set()
    for number in range(draw.randint(0, 8)):
        below, age, use = draw.sample(names, min(2, len(names))), draw.choice([1, 100]), draw.choice([None, 1, 100])
        key = _write(results, f"step-{number % 3}/{number:064x}", json.dumps([{"uri": each} for each in below]), age)
        if use is not None:
            used[key] = NOW - use * DAY
        if min(age, use or age) > DAYS:
            expired.add(("results", key))
        else:
            roots += below
    reached, waiting = set(), [*roots, *(name for name in names if ages[name] < 7)]
    for name in waiting:
        if name not in reached:
            reached.add(name)
            waiting += edges[name]
    assert _find(places, used) == expired | {("store", name) for name in names if name not in reached}


def test_what_people_made_stays_and_keeps_what_it_names(places):
    store, _ = places
    vectors = _content(store, "vectors", 900, "npz")
    pictures = _content(store, json.dumps({"uri": vectors}), 900)
    kept = [
        _write(store, "retrieval/classifier.json", json.dumps({"index": {"uri": pictures}}), 900),
        _write(store, "retrieval/added/pictures.json", "{}", 900),
        _write(store, "inbox/0123456789abcdef/shards/a.json", "[]", 900),
    ]
    assert _find(places) == set()
    assert all((store / name).is_file() for name in kept)


def test_rows_age_with_their_youngest_file_and_others_alone(places):
    store, _ = places
    old, young = "jobs/0123456789abcdef", "jobs/fedcba9876543210"
    gone = [_write(store, f"{old}/{name}", "{}", 31) for name in ("job.json", "shards/a.json", "shards/b.json")]
    _write(store, f"{young}/shards/a.json", "{}", 300)
    _write(store, f"{young}/shards/b.json", "{}", 29)
    gone.append(_write(store, "checkpoints/train-classifier/0a/epoch-00001-ab.safetensors", "", 31))
    _write(store, "checkpoints/train-classifier/0b/epoch-00001-ab.safetensors", "", 29)
    gone.append(_write(store, "ledger/flow-run/task-run.json", "{}", 31))
    gone.append(_write(store, "sha256/ab/abc.json.0f.tmp", "", 2))
    _write(store, "sha256/ab/abd.json.0f.tmp", "", 0.5)
    assert _find(places) == {("store", name) for name in gone}


def test_what_is_written_or_opened_again_is_young(places):
    root, _ = places
    store = Store(str(root))
    stored = store.put(b"content", "text/csv")
    rows = FinishedRows(store, "jobs", {"model": "a"}, None)
    for path in root.rglob("*.*"):
        os.utime(path, (0, 0))
    assert len(find_leftovers(*places, {}, DAYS)) == 2
    store.put(b"content", "text/csv")
    FinishedRows(store, "jobs", {"model": "a"}, None)
    assert find_leftovers(*places, {}, DAYS) == []
    assert store.get(stored) == b"content"
    assert store.list(rows.place) == [f"{rows.place}/job.json"]


def test_what_is_as_old_as_the_limit_stays(places):
    _write(places[1], "step/a", "{}", DAYS)
    _write(places[1], "step/b", "{}", DAYS + 1e-3)
    assert _find(places) == {("results", "step/b")}


def test_a_result_that_a_run_replaces_meanwhile_names_nothing(places, monkeypatch):
    store, results = places
    content = _content(store, "1", 100)
    _write(results, "step/a", json.dumps({"uri": content}), 1)
    read = Path.read_bytes

    def read_once_gone(path):
        if path.name == "a":
            path.unlink()
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", read_once_gone)
    assert _find(places) == {("store", content)}


def test_emptied_results_leave_and_folders_with_what_was_in_them(places):
    store, results = places
    _write(results, "step/a", "", 2)
    _write(results, "step/b", "", 0.5)
    _write(store, "checkpoints/train-classifier/0a/epoch.safetensors", "12345", 31)
    assert remove(find_leftovers(*places, {}, DAYS, NOW)) == 5
    assert sorted(path.name for path in results.rglob("*")) == ["b", "step"]
    assert [path.name for path in store.rglob("*")] == ["checkpoints"]


def test_a_folder_that_cannot_be_read_ends_it_since_what_it_names_is_unknown(places, monkeypatch):
    store, results = places
    _content(store, "1", 100)
    _write(results, "step/a", "", 0)
    scandir = os.scandir

    def scan(path):
        if str(path).endswith("step"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    with pytest.raises(PermissionError):
        find_leftovers(*places, {}, DAYS, NOW)


def test_lock_files_and_notes_leave_with_the_results_they_are_about(places, tmp_path):
    store, results = places
    locks = tmp_path / "locks"
    kept, gone = "a" * 64, "b" * 64
    _write(results, f"step/{kept}", "{}", 1)
    for name, days in ((f"step-{kept}.lock", 100), (f"step-{gone}.lock", 100), ("mlflow.lock", 100)):
        _write(locks, name, "", days)
    _write(locks, f"other-step-{gone}.lock", "", 0.5)
    held = FileLock(locks / f"held-{gone}.lock")
    held.acquire()
    os.utime(held.lock_file, (NOW - 100 * DAY,) * 2)
    for name, days in (("step", 900), ("renamed-step", 900), ("new-step", 1)):
        _write(store, f"keys/{name}.json", "[]", days)
    remove(find_leftovers(store, results, {}, DAYS, NOW, locks))
    held.release()
    assert sorted(path.name for path in locks.iterdir()) == sorted(
        [f"step-{kept}.lock", "mlflow.lock", f"other-step-{gone}.lock", f"held-{gone}.lock"]
    )
    assert sorted(path.name for path in (store / "keys").iterdir()) == ["new-step.json", "step.json"]


@pytest.mark.parametrize(
    ("most", "stay"), [(1000, [8, 15, 20, 25]), (350, [8, 15, 20]), (250, [8, 15]), (0, []), (150, [8])]
)
def test_a_limit_of_size_lets_leave_what_was_used_longest_ago(places, most, stay):
    store, results = places
    for days in (8, 15, 20, 25):
        _write(results, f"step/{days:064x}", "x" * 100, days)
    days, found = find_beyond(most, store, results, {}, DAYS, now=NOW)
    assert 7 <= days <= 30
    left = {path.name for path in results.rglob("*") if path.is_file()} - {each.path.name for each in found}
    assert left == {f"{days:064x}" for days in stay}


def test_no_limit_of_size_takes_what_is_young_or_needed(places):
    store, results = places
    content = _content(store, "x" * 1000, 100)
    _write(results, "step/a", json.dumps({"uri": content}), 6)
    assert find_beyond(0, store, results, {}, DAYS, now=NOW) == (7, [])
