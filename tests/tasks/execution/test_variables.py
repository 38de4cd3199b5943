import logging

import pytest
from prefect import flow
from prefect.variables import Variable

from tasks.execution.variables import DRIFT_VARIABLE, drift_threshold

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def threshold(caplog):
    """The threshold as a run reads it, and the warnings in its log."""

    @flow
    def reading():
        return drift_threshold()

    def read(value):
        if value is not None:
            Variable.set(DRIFT_VARIABLE, value, overwrite=True)
        found = reading()
        return found, [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]

    yield read
    Variable.unset(DRIFT_VARIABLE)


def test_without_the_variable_there_is_none(threshold):
    assert threshold(None) == (None, [])


@pytest.mark.parametrize("value", [0.5, 0.8, 1])
def test_it_is_what_a_person_set(threshold, value):
    assert threshold(value) == (value, [])


@pytest.mark.parametrize("value", ["high", 0.49, 75, True, {"auc": 0.8}])
def test_what_is_no_such_number_is_one_warning(threshold, value):
    found, (warning,) = threshold(value)
    assert found is None
    assert f"The variable {DRIFT_VARIABLE} is {value!r}, which is not a number from 0.5 to 1" in warning
