"""Fixtures that more than one test file needs."""

import contextlib
import functools
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Before anything imports PyTorch: tests that run side by side share the cores, and waiting threads would spin.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Before anything imports Prefect or MLflow: their products must not land in the checkout or in the user's home.
_ROOM = tempfile.TemporaryDirectory(prefix="pneumonia-tests-")
os.environ["OUTPUTS"] = str(Path(_ROOM.name) / "outputs")
for _name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "STORE_URI"):
    os.environ.pop(_name, None)

import flows  # noqa: E402, F401  sets the environment that Prefect reads when it is imported
from models.standard_streams import written_to  # noqa: E402
from tests.server_logs import EMBEDDED, ServerLogs  # noqa: E402

OFFICIAL_FILE = "pneumoniamnist.npz"
CHECKOUT = Path(__file__).resolve().parent.parent
_EMBEDDED_LOG = Path(_ROOM.name) / "embedded.log"
_DASK_LOG = Path(_ROOM.name) / "dask.log"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run once more, and tell of it, what fails beside real processes: a race ends otherwise then, a fault does not."""
    for item in items:
        if item.get_closest_marker("e2e"):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="session")
def official_file() -> Path:
    """The real PneumoniaMNIST file, where one lies in a folder that the project looks into."""
    named = [Path(os.environ[name]) for name in ("DATA", "MEDMNIST_ROOT") if os.environ.get(name)]
    folders = [*named, CHECKOUT / "data", CHECKOUT.parent / "shared" / "data", Path.home() / ".medmnist"]
    for folder in folders:
        if (folder / OFFICIAL_FILE).is_file():
            return folder / OFFICIAL_FILE
    pytest.skip(f"{OFFICIAL_FILE} is not in any of {', '.join(map(str, folders))}")


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """One Prefect server with a database of its own for all tests that run flows in this process."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    from tasks.execution.gpu import ensure_limit

    with contextlib.ExitStack() as stack:
        with written_to(_EMBEDDED_LOG):
            stack.enter_context(prefect_test_harness(server_startup_timeout=500))
        stack.enter_context(temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}))
        ensure_limit()
        yield


@pytest.fixture(scope="module")
def server_logs(request: pytest.FixtureRequest) -> Iterator[ServerLogs]:
    """The logs of the servers and workers of a test file: who starts one lets it be watched.

    They are read at the end of every test, and once more when all that the file started has ended.
    """
    marks = request.node.iter_markers("expected_in_logs")
    logs = ServerLogs([name for mark in marks for name in mark.args])
    logs.watch(_EMBEDDED_LOG, *EMBEDDED)
    yield logs
    logs.check()


@pytest.fixture(autouse=True)
def _server_logs_are_read(server_logs: ServerLogs, tmp_path: Path) -> Iterator[None]:
    own = tmp_path / "outputs" / "prefect" / "embedded.log"  # of runs from the shell
    server_logs.watch(own, *EMBEDDED)
    yield
    server_logs.check()
    if not own.exists():  # a file may have hundreds of tests
        server_logs.watched.pop(own)


@pytest.fixture(scope="module")
def start_cluster(server_logs: ServerLogs) -> Iterator[Callable[..., Any]]:
    """Starts Dask clusters on this machine, as `distributed.LocalCluster` does, whose logs are read.

    A worker process writes where the process that starts it does; the scheduler logs within this one.
    """
    from distributed import LocalCluster

    server_logs.watch(_DASK_LOG)
    scheduler_log = logging.FileHandler(_DASK_LOG)
    scheduler_log.setFormatter(logging.Formatter("%(asctime)s - %(name)s - %(levelname)s - %(message)s"))
    logging.getLogger("distributed").addHandler(scheduler_log)
    with contextlib.ExitStack() as stack:

        def start(**options: Any) -> LocalCluster:
            with written_to(_DASK_LOG):
                return stack.enter_context(LocalCluster(**options))

        yield start
        server_logs.check()
        server_logs.watch(_DASK_LOG, "a Dask worker ends")
    logging.getLogger("distributed").removeHandler(scheduler_log)
    scheduler_log.close()


@functools.cache
def _tracking_tables() -> Path:
    """A tracking database with its tables and no rows: to make one takes MLflow a second of the processor."""
    from mlflow import MlflowClient

    database = Path(_ROOM.name) / "tables.db"
    MlflowClient(f"sqlite:///{database}").search_experiments()
    return database


@contextlib.contextmanager
def isolated_outputs(folder: Path) -> Iterator[Path]:
    """Send store, results and tracking to a folder."""
    from prefect.settings import PREFECT_RESULTS_LOCAL_STORAGE_PATH, temporary_settings

    with (
        pytest.MonkeyPatch.context() as patch,
        temporary_settings({PREFECT_RESULTS_LOCAL_STORAGE_PATH: folder / "results"}),
    ):
        patch.setenv("OUTPUTS", str(folder))
        folder.mkdir(parents=True)
        shutil.copy(_tracking_tables(), folder / "mlflow.db")
        yield folder


@pytest.fixture
def outputs(tmp_path: Path) -> Iterator[Path]:
    """A folder of products of its own for one test: store, results, tracking."""
    with isolated_outputs(tmp_path / "outputs") as folder:
        yield folder


@pytest.fixture(scope="module")
def shared_outputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of products for the tests of one file, which build on each other's cached steps."""
    with isolated_outputs(tmp_path_factory.mktemp("shared") / "outputs") as folder:
        yield folder
