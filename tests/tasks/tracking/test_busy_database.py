import pytest
import sqlalchemy as sa

from tasks.tracking import runs
from tasks.tracking.busy_database import WAIT_SECONDS

pytestmark = pytest.mark.usefixtures("outputs")


def test_mlflow_waits_longer_for_its_turn_in_every_session():
    store = runs.new_client()._tracking_client.store
    for _ in range(2):
        with store.ManagedSessionMaker() as session:
            assert session.execute(sa.text("PRAGMA busy_timeout")).scalar() == WAIT_SECONDS * 1000
