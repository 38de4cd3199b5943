"""Inbox: the pictures in a folder that no run has handled yet → cases → an alert where they are foreign or drift."""

from collections.abc import Sequence

from filelock import FileLock
from prefect import flow
from prefect.logging import get_run_logger
from pydantic import TypeAdapter

from flows.cases import cases as look_at
from flows.cases import reference_of
from flows.support.naming import run_name
from models.errors import InputError
from tasks.cases import sources
from tasks.cases.steps.drift import FEWEST, counted_pictures, measure_drift_of_cases
from tasks.execution import events
from tasks.execution.plain_words import in_plain_words
from tasks.execution.variables import drift_threshold
from tasks.parameters.cases import CasesParameters
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.execution import ExecutionParameters
from tasks.parameters.reports import ReportParameters
from tasks.records.cases import CasesResult, PictureFile
from tasks.storage.finished_rows import FinishedRows
from tasks.storage.locations import locks, outputs
from tasks.storage.store import Store
from tasks.tracking import registry

_CASES, _DATASET = CasesParameters(), DatasetParameters()
_REPORTS, _EXECUTION = ReportParameters(), ExecutionParameters()
_MOST = 1_000  # files of a run, which Prefect keeps by their names
_DIGESTS: TypeAdapter[Sequence[str]] = TypeAdapter(list[str])


@flow(name="cases-inbox", flow_run_name=run_name)
@in_plain_words
def inbox(
    cases: CasesParameters = _CASES,
    reports: ReportParameters = _REPORTS,
    dataset: DatasetParameters = _DATASET,
    execution: ExecutionParameters = _EXECUTION,
) -> CasesResult | None:
    """Handle the pictures that are new in a folder, `outputs/inbox` where none is named; each of them once."""
    if not cases.images and cases.dicomweb is None:
        folder = outputs() / "inbox"
        folder.mkdir(parents=True, exist_ok=True)
        cases = cases.model_copy(update={"images": [str(folder)]})
    watched = {"images": sorted(cases.images), "archive": cases.dicomweb}
    handled = FinishedRows(Store(), "inbox", watched, _DIGESTS)
    locks().mkdir(parents=True, exist_ok=True)
    place = locks() / f"{handled.place.replace('/', '-')}.lock"
    with FileLock(place):  # another one at the same time finds nothing new
        new = _new(cases, set(handled.read()))
        if not new:
            get_run_logger().info("Nothing is new.")
            return None
        found = look_at(
            cases.model_copy(update={"images": [file.address for file in new], "dicomweb": None}),
            reports,
            dataset,
            execution,
        )
        handled.write([file.sha256 for file in new])
    _tell(found, new, dataset, cases)
    return found


def _new(form: CasesParameters, known: set[str]) -> list[PictureFile]:
    """Find files that nobody has handled; what is being written, or is beyond `_MOST`, waits for the next time."""
    try:
        addresses = sources.find_pictures(form)
    except sources.EmptyFolderError:
        return []
    new: dict[str, PictureFile] = {}
    for address in filter(sources.is_settled, addresses):
        try:
            file = sources.identify(address, form.login_block)
        except InputError as error:
            get_run_logger().warning("%s", error)  # each time, until it can be read or is gone
        else:
            if file.sha256 not in known:
                new.setdefault(file.sha256, file)
        if len(new) == _MOST:
            get_run_logger().info("%d files are new; if there are more, the next run handles them.", _MOST)
            break
    return list(new.values())


def _tell(found: CasesResult, files: Sequence[PictureFile], dataset: DatasetParameters, form: CasesParameters) -> None:
    """Tell people of foreign pictures, and of others that are not like those that the classifier learned from."""
    name = registry.registered_name(dataset.name)
    events.pictures_screened(name, found.metrics)
    counted = counted_pictures(files, found)
    if len(counted.files) >= FEWEST:
        data, reference, predictions = reference_of(dataset, form.classifier, form.corrupted_images)
        drift = measure_drift_of_cases(counted, reference, predictions, data)
        events.drift_measured(name, drift.metrics, drift_threshold())


if __name__ == "__main__":
    from flows.support.shell import main

    raise SystemExit(main(inbox))
