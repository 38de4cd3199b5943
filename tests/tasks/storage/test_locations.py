import http.server
import json
import os
import sysconfig
import threading

import pytest
from prefect.settings import Settings

from deployments.automations.heartbeat import heartbeat_window
from models.errors import InputError
from tasks.storage import locations


@pytest.fixture(autouse=True)
def _plain(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith(("PREFECT_", "MLFLOW_")) or name in ("DATA", "MEDMNIST_ROOT", "STORE_URI", "OUTPUTS"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_all_products_lie_under_outputs(tmp_path, monkeypatch):
    for folder in (tmp_path / "outputs", tmp_path / "elsewhere"):
        if folder.name != "outputs":
            monkeypatch.setenv("OUTPUTS", str(folder))
        assert locations.outputs() == folder
        assert locations.store_uri() == str(folder / "store")
        assert locations.tracking_uri() == f"sqlite:///{folder}/mlflow.db"
        assert locations.environment()["PREFECT_HOME"] == str(folder / "prefect")
        assert locations.environment()["PREFECT_UI_STATIC_DIRECTORY"] == str(folder / "prefect" / "pages")


def test_an_empty_variable_is_no_variable(tmp_path, monkeypatch):
    """`make` exports DATA and OUTPUTS even where they are not given."""
    for name in ("DATA", "OUTPUTS"):
        monkeypatch.setenv(name, "")
    assert locations.data_folder() is None
    assert locations.outputs() == tmp_path / "outputs"


def test_data_goes_before_medmnist_root(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDMNIST_ROOT", "second")
    assert locations.data_folder() == tmp_path / "second"
    monkeypatch.setenv("DATA", "first")
    assert locations.data_folder() == tmp_path / "first"


def test_what_the_user_has_set_is_left_alone(monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", "mine")
    assert "PREFECT_HOME" not in locations.environment()
    assert locations.environment()["PREFECT_UI_STATIC_DIRECTORY"] == "mine/pages"


def test_runs_give_a_sign_of_life_more_often_than_the_server_waits_for_one(monkeypatch):
    for name in ("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "HEARTBEAT_WINDOW"):
        monkeypatch.delenv(name, raising=False)
    assert 2 * int(locations.environment()["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]) < heartbeat_window()


def test_a_server_waits_for_a_busy_database(monkeypatch):
    for name, value in locations.environment().items():
        monkeypatch.setenv(name, value)
    database = Settings().server.database
    assert (database.connection_timeout, database.timeout) == (60, 60)


def test_services_are_used_only_while_they_answer():
    class Healthy(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Healthy)
    address = f"http://127.0.0.1:{server.server_port}"
    locations.outputs().mkdir()
    locations.services_file().write_text(json.dumps({"prefect_api": f"{address}/api", "mlflow": address}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found = locations.environment()
    assert found["PREFECT_API_URL"] == f"{address}/api"
    assert found["MLFLOW_TRACKING_URI"] == address
    server.shutdown()
    server.server_close()
    assert "PREFECT_API_URL" not in locations.environment()
    odd = (
        "torn",
        "5",
        "[]",
        "[" * 100_000,
        '{"prefect_api": 5, "mlflow": []}',
        '{"prefect_api": "http://127.0.0.1:x"}',
    )
    for content in odd:
        locations.services_file().write_text(content)
        assert "PREFECT_API_URL" not in locations.environment()


def test_people_may_reach_mlflow_under_another_name_than_workers(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000/")
    assert locations.tracking_page() == "http://mlflow:5000"
    monkeypatch.setenv("MLFLOW_UI_URL", "http://team.example:5300")
    assert locations.tracking_page() == "http://team.example:5300"
    assert locations.tracking_uri() == "http://mlflow:5000/"


def test_what_a_file_in_the_working_folder_sets_is_left_alone(tmp_path):
    (tmp_path / ".env").write_text("PREFECT_RESULTS_LOCAL_STORAGE_PATH=/mine\n")
    assert "PREFECT_RESULTS_LOCAL_STORAGE_PATH" not in locations.environment()


def test_a_machine_with_an_account_and_a_home_keeps_them(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    kept = {"HOME", "LOGNAME", "XDG_CACHE_HOME", "MPLCONFIGDIR", "NUMBA_CACHE_DIR"}
    assert not kept & locations.environment().keys()


def test_what_is_compiled_of_libraries_lies_under_outputs_where_they_cannot_be_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr(sysconfig, "get_path", lambda name: "/proc/1/nobody")
    assert locations.environment()["NUMBA_CACHE_DIR"] == str(tmp_path / "outputs" / "cache" / "numba")


@pytest.mark.parametrize("home", ["/proc/1/nobody", "/dev/null"])
def test_without_room_in_the_home_caches_lie_under_outputs(tmp_path, monkeypatch, home):
    monkeypatch.setenv("HOME", home)
    found = locations.environment()
    assert found["XDG_CACHE_HOME"] == str(tmp_path / "outputs" / "cache")
    assert found["MPLCONFIGDIR"] == str(tmp_path / "outputs" / "cache" / "matplotlib")
    assert "HOME" not in found


def test_a_store_whose_address_holds_a_login_is_none_and_is_not_told(monkeypatch):
    monkeypatch.setenv("STORE_URI", "ftp://me:secret@store.example/x")
    with pytest.raises(InputError, match="STORE_URI holds a login") as refused:
        locations.store_uri()
    assert "secret" not in str(refused.value)


def test_links_to_the_tracker_hold_no_login(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@mlflow.example:5000/")
    assert locations.tracking_page() == "http://mlflow.example:5000"
