"""Runs of one stage that are killed, at whatever moment, and gone on with: the short part of `make soak`.

What is asserted holds for every moment. Where it is, an act of the run decides (see `tests.soak.program`), so that the
same code is killed in the same place on any machine. The runs that are killed are forked, the one they are compared
with was started by its command: both must find the same.
"""

import signal

import pytest

from tests.server_logs import EMBEDDED, unexpected
from tests.soak.aftermath import look, losses
from tests.soak.catalogue import ONE_STAGE
from tests.soak.forked import Forks
from tests.soak.runs import Place

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
ACTS = {"kill": 60, "kill_all": 130}
"""Where a run that begins is in the middle of its work, and where one that goes on with it is."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, official_file):
    """What is left where nothing happens."""
    room = tmp_path_factory.mktemp("undisturbed")
    place = Place(room, official_file.parent, room)
    assert place.run(ONE_STAGE) == 0, place.said()
    return look(place.outputs, place.temporary)


def test_runs_that_are_killed_leave_what_an_undisturbed_one_does(undisturbed, tmp_path, official_file, request):
    forks = Forks()
    request.addfinalizer(forks.close)
    place = Place(tmp_path, official_file.parent, tmp_path, forks)
    for luck, act in ACTS.items():
        assert place.run(ONE_STAGE, SOAK_ACT=str(act), SOAK_LUCK=luck) == -signal.SIGKILL, place.said()
        assert place.wait_until_left() == []
    assert place.run(ONE_STAGE) == 0, place.said()
    assert not unexpected(place.said(), EMBEDDED)
    assert place.wait_until_left() == []
    found = look(place.outputs, place.temporary)
    assert losses(undisturbed, found) == []
    assert found.finished == undisturbed.finished
