import errno
import os
import signal
import sqlite3

import pytest
from prefect.exceptions import TerminationSignal
from pydantic import BaseModel, model_serializer
from pydantic_core import PydanticSerializationError

from models.errors import DiskError, InputError
from tasks.execution.plain_words import in_plain_words
from tasks.storage.disks import disk_error, require_room


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    monkeypatch.setenv("OUTPUTS", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG])
def test_what_the_system_says_counts_where_the_disks_take_something(outputs, number):
    @in_plain_words
    def write():
        try:
            raise OSError(number, os.strerror(number), "/elsewhere/file")
        except OSError as error:
            raise RuntimeError("cannot save") from error

    with pytest.raises(DiskError, match="/elsewhere/file cannot be written") as caught:
        write()
    assert f"({os.strerror(number)})" in str(caught.value)


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), InputError("a mistake"), FileNotFoundError(2, "absent"), sqlite3.OperationalError()]
)
def test_other_errors_stay_what_they_are(outputs, error):
    require_room()
    assert disk_error(error) is None

    @in_plain_words
    def fail():
        raise error

    with pytest.raises(type(error)) as caught:
        fail()
    assert caught.value is error


class Interrupted(BaseModel):
    """What ends the process while pydantic's compiled code waits for Python."""

    number: int

    @model_serializer
    def end(self):
        os.kill(os.getpid(), self.number)
        return {}


def test_a_signal_that_a_library_takes_for_an_error_of_its_own_is_one(raising_handlers):
    with pytest.raises(PydanticSerializationError):  # this is the library that does
        Interrupted(number=signal.SIGTERM).model_dump()
    with pytest.raises(TerminationSignal) as caught:
        in_plain_words(lambda: Interrupted(number=signal.SIGTERM).model_dump())()
    assert isinstance(caught.value.__cause__, PydanticSerializationError)
    with pytest.raises(KeyboardInterrupt):
        in_plain_words(lambda: Interrupted(number=signal.SIGINT).model_dump())()


def test_an_error_after_a_run_that_was_ended_is_an_error(raising_handlers):
    with pytest.raises(TerminationSignal):
        in_plain_words(lambda: Interrupted(number=signal.SIGTERM).model_dump())()
    with pytest.raises(ZeroDivisionError):
        in_plain_words(lambda: 1 / 0)()
