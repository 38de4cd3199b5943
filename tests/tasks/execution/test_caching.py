"""Steps on a real Prefect server, with results and store in a folder of the test's own."""

import errno
import json
import os
import pickle

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from prefect import flow
from prefect.context import get_run_context
from prefect.filesystems import LocalFileSystem
from prefect.settings import PREFECT_RESULTS_LOCAL_STORAGE_PATH, temporary_settings

from models.errors import DiskError
from tasks.execution.caching import current_key, is_kept, outcomes, step
from tasks.parameters.base import Parameters
from tasks.records.base import DocumentRecord, RunReference
from tasks.storage.store import Store
from tests.tasks.hostile_results import HOSTILE, hostile_result

pytestmark = pytest.mark.usefixtures("prefect_server", "outputs")
RUN = RunReference(run_id="run")


class FailOnce:
    """Raises an error when something whose name holds some words is read for the first time."""

    def __init__(self, error, words):
        self.error, self.words, self.failed = error, words, False

    def __call__(self, name):
        if not self.failed and self.words in name:
            self.failed = True
            raise self.error


class FailingFileSystem(MemoryFileSystem):
    """Files in memory, of which one cannot be read now and then."""

    protocol = "failing"
    fault = staticmethod(lambda name: None)

    def cat_file(self, path, start=None, end=None, **kwargs):
        """Read a file, or fail."""
        type(self).fault(path)
        return super().cat_file(path, start, end, **kwargs)


class Form(Parameters):
    """A form."""

    size: int = 1


@step
def write_text(form: Form, run: RunReference) -> DocumentRecord:
    """Store a text."""
    return DocumentRecord(document=Store().put(b"text " * form.size, "text/markdown"))


@step
def repeat_text(text: DocumentRecord, times: int) -> DocumentRecord:
    """Store a text again and again."""
    return DocumentRecord(document=Store().put(Store().get(text.document) * times, "text/markdown"))


@step
def name_own_key(form: Form) -> DocumentRecord:
    """Store the step's own key."""
    return DocumentRecord(document=Store().put(current_key().encode(), "text/markdown"))


@flow
def chain(form: Form, run: RunReference = RUN, times: int = 2) -> tuple[str, DocumentRecord]:
    last = repeat_text(write_text(form, run), times)
    return str(get_run_context().flow_run.id), last


def _run(*args, **kwargs):
    flow_run_id, last = chain(*args, **kwargs)
    return {outcome.step: outcome for outcome in outcomes([flow_run_id])}, last


def _hits(found):
    return {name: outcome.hit for name, outcome in found.items()}


def test_the_second_run_is_all_hits_with_equal_records():
    first, record = _run(Form())
    assert _hits(first) == {"write-text": False, "repeat-text": False}
    assert {outcome.why for outcome in first.values()} == {"first run"}
    second, again = _run(Form())
    assert _hits(second) == {"write-text": True, "repeat-text": True}
    assert {outcome.why for outcome in second.values()} == {"same code, configuration and inputs"}
    assert again == record
    assert Store().get(record.document) == b"text text "


def test_only_steps_whose_configuration_or_inputs_changed_run_again():
    _run(Form())
    found, _ = _run(Form(), times=3)
    assert _hits(found) == {"write-text": True, "repeat-text": False}
    assert found["repeat-text"].why == "changed: times 2 → 3"
    found, _ = _run(Form(size=4), times=3)
    assert _hits(found) == {"write-text": False, "repeat-text": False}
    assert found["write-text"].why == "changed: form.size 1 → 4"
    assert found["repeat-text"].why == "changed: inputs text"


def test_a_step_is_compared_with_its_latest_runs_only_in_one_file():
    for times in range(1, 20):
        repeats = _run(Form(), times=times)[0]["repeat-text"].why
    assert repeats == "changed: times 18 → 19"
    notes = json.loads(Store().read("keys/repeat-text.json"))
    assert [note["configuration"]["times"] for note in notes] == list(range(19, 3, -1))


def test_where_a_step_logs_does_not_count():
    _run(Form())
    found, _ = _run(Form(), run=RunReference(run_id="another"))
    assert all(_hits(found).values())


@pytest.mark.parametrize("damage", ["corrupt", "delete"])
def test_a_damaged_file_makes_only_its_step_run_again(damage):
    _, record = _run(Form())
    store = Store()
    if damage == "corrupt":
        store.write(record.document.uri, b"torn")
    else:
        store.remove(record.document.uri)
    found, again = _run(Form())
    assert _hits(found) == {"write-text": True, "repeat-text": False}
    assert found["repeat-text"].why == f"stored file missing or damaged: {record.document.uri}"
    assert store.get(again.document) == b"text text "
    assert all(_hits(_run(Form())[0]).values())


@pytest.mark.parametrize("content", [b"", b'{"metadata": {}, "result": {"torn'])
def test_a_torn_result_is_no_result(outputs, content):
    _run(Form())
    (result,) = (outputs / "results" / "repeat-text").iterdir()
    result.write_bytes(content)
    found, _ = _run(Form())
    assert _hits(found) == {"write-text": True, "repeat-text": False}
    assert all(_hits(_run(Form())[0]).values())


@pytest.mark.parametrize("attack", [*HOSTILE, "json 5", "another record"])
def test_a_result_that_is_none_of_the_steps_own_is_not_read_and_the_step_runs_again(outputs, tmp_path, attack):
    _run(Form())
    (result,) = (outputs / "results" / "repeat-text").iterdir()
    good, marker = result.read_bytes(), tmp_path / "marker"
    if attack == "json 5":
        planted = json.dumps(json.loads(good) | {"result": "5"}).encode()
    elif attack == "another record":
        other = {"__class__": "tasks.records.RunReference", "data": {"run_id": "run"}}
        planted = json.dumps(json.loads(good) | {"result": json.dumps(other)}).encode()
    else:
        planted = hostile_result(attack, marker)
    result.write_bytes(planted)
    found, record = _run(Form())
    assert not marker.exists()
    assert _hits(found) == {"write-text": True, "repeat-text": False}
    assert found["repeat-text"].why.startswith("stored result is ")
    assert Store().get(record.document) == b"text text "
    assert json.loads(result.read_bytes())["result"] == json.loads(good)["result"]
    assert all(_hits(_run(Form())[0]).values())


def test_a_hostile_result_is_not_kept(outputs, tmp_path):
    @flow
    def ask() -> bool:
        return is_kept(write_text, {"form": Form(), "run": RUN})

    _run(Form())
    (result,) = (outputs / "results" / "write-text").iterdir()
    result.write_bytes(hostile_result("pickle", tmp_path / "marker"))
    assert not ask()
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), MemoryError()])
@pytest.mark.parametrize("what", ["result", "stored file"])
def test_what_cannot_be_read_at_the_moment_stays_and_is_used(outputs, monkeypatch, error, what):
    monkeypatch.setenv("STORE_URI", "failing://store")
    fsspec.register_implementation("failing", FailingFileSystem, clobber=True)
    _, record = _run(Form())
    (result,) = (outputs / "results" / "repeat-text").iterdir()
    before = result.read_bytes()
    fail_once = FailOnce(error, record.document.uri if what == "stored file" else "repeat-text")
    monkeypatch.setattr(FailingFileSystem, "fault", fail_once)
    whole = LocalFileSystem.read_path

    def read_path(storage, path, **kwargs):
        fail_once(str(path))
        return whole(storage, path, **kwargs)

    monkeypatch.setattr(LocalFileSystem, "read_path", read_path)
    found, again = _run(Form())
    assert fail_once.failed
    assert _hits(found) == {"write-text": True, "repeat-text": True}
    assert found["repeat-text"].why.startswith("stored result could not be checked: ")
    assert again == record
    assert result.read_bytes() == before


@pytest.mark.parametrize("content", [b"{", b"5", b"[" * 100_000, b'{"code": 5}', b"\xff"])
def test_a_damaged_note_of_what_ran_before_stops_nothing(outputs, content):
    flow_run_id, _ = chain(Form())
    store = Store()
    for name in ("keys/repeat-text.json", *store.list(f"ledger/{flow_run_id}")[:1]):
        store.write(name, content)
    assert len(outcomes([flow_run_id])) == 1
    found, _ = _run(Form(), times=3)
    assert _hits(found) == {"write-text": True, "repeat-text": False}
    assert found["repeat-text"].why == "first run"
    assert all(_hits(_run(Form(), times=3)[0]).values())


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), DiskError("no room")])
def test_a_note_that_cannot_be_written_costs_no_result(monkeypatch, error):
    write = Store.write

    def refuse_notes(store, name, content):
        if name.startswith("keys/"):
            raise error
        write(store, name, content)

    monkeypatch.setattr(Store, "write", refuse_notes)

    @flow
    def keep_and_ask() -> tuple[DocumentRecord, bool]:
        made = write_text(Form(size=7), RUN)
        return made, is_kept(write_text, {"form": Form(size=7), "run": RUN})

    assert keep_and_ask()[1]


def test_results_are_json_and_name_no_pickle(outputs):
    _run(Form())
    (result,) = (outputs / "results" / "write-text").iterdir()
    assert '"type":"json"' in result.read_text().replace(" ", "")


def test_a_step_knows_its_own_key():
    @flow
    def ask() -> DocumentRecord:
        return name_own_key(Form())

    key = Store().get(ask().document).decode()
    assert key.startswith("name-own-key/")
    with pytest.raises(RuntimeError, match="outside a running step"):
        current_key()


def test_a_flow_can_tell_what_is_kept_before_the_step_runs():
    @flow
    def ask() -> list[bool]:
        arguments = {"form": Form(), "run": RUN}
        before = is_kept(write_text, arguments)
        write_text(**arguments)
        return [before, is_kept(write_text, arguments), is_kept(write_text, {"form": Form(size=2), "run": RUN})]

    assert ask() == [False, True, False]


def test_the_function_of_a_step_is_found_by_another_process_where_it_is():
    assert pickle.loads(pickle.dumps(write_text.fn)) is write_text.fn  # noqa: S301  our own bytes


@step
def fail_with(text: str) -> DocumentRecord:
    """Fail as a library does that quotes a file."""
    raise ValueError(text)


@flow
def failing(text: str) -> DocumentRecord:
    return fail_with(text)


def test_the_state_of_a_run_quotes_no_file_at_length_and_steers_no_terminal():
    ends = failing("\x1b[31mname\x07" + "x" * 100_000, return_state=True)
    assert isinstance(ends.result(raise_on_failure=False), ValueError)
    assert ends.message.isprintable()
    assert "\\x1b[31mname\\x07xx" in ends.message
    assert len(ends.message) < 400


@step
def find_no_room() -> DocumentRecord:
    """Write to a disk that is full."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/full/file")


@flow
def without_room() -> DocumentRecord:
    return find_no_room()


def test_a_step_that_finds_no_room_says_so_in_its_state():
    ends = without_room(return_state=True)
    assert isinstance(ends.result(raise_on_failure=False), DiskError)
    assert "DiskError: /full/file cannot be written (No space left on device): make room there" in ends.message


def test_moved_products_are_hits(outputs, tmp_path, monkeypatch):
    _, record = _run(Form())
    place = outputs.rename(tmp_path / "another place")
    monkeypatch.setenv("OUTPUTS", str(place))
    with temporary_settings({PREFECT_RESULTS_LOCAL_STORAGE_PATH: place / "results"}):
        found, again = _run(Form())
    assert _hits(found) == {"write-text": True, "repeat-text": True}
    assert again == record
    assert not outputs.exists()
