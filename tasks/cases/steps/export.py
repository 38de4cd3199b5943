"""Give cases to other systems: DICOM, FHIR and an archive. It is no cached step, since it names patients."""

from datetime import datetime
from pathlib import Path

from prefect.logging import get_run_logger

from models.errors import InputError
from tasks.cases.algorithm import VERSION, Algorithm
from tasks.execution.secrets import archive_login
from tasks.parameters.cases import CasesParameters
from tasks.records.base import StoredFile
from tasks.records.cases import ShownRecord
from tasks.records.data import DatasetRecord
from tasks.records.reports import AnswersRecord
from tasks.reports.stored_lists import ANSWERS
from tasks.storage.store import Store


def export_cases(
    shown: ShownRecord, answers: AnswersRecord | None, dataset: DatasetRecord, form: CasesParameters, folder: Path
) -> dict[str, StoredFile]:
    """Write what other systems take of each case that is shown.

    What cannot be written or stored in the archive is said in the log, and ends nothing.

    Args:
        shown: the cases.
        answers: what came of the reports that were asked for.
        dataset: what the classifier was trained on.
        form: which DICOM results are wanted, and whether they go back to the archive.
        folder: where the DICOM results go; they name patients, so that they go nowhere else.

    Returns:
        FHIR bundles by path, which name none.
    """
    from tasks.cases import archive
    from tasks.cases.dicom.results import dicom_results, fhir_result, read_header
    from tasks.cases.views import case_views

    store, made, files = Store(), datetime.now().astimezone(), {}
    first, second = dataset.labels
    algorithm = Algorithm(
        version=VERSION,
        classifier_sha256=shown.reference.classifier.weights.sha256,
        classes=(first, second),
        phantoms=dataset.phantoms,
    )
    given = () if answers is None else ANSWERS.load(store, answers.answers)
    views = case_views(store, shown, range(shown.judged.count), given)
    for file, view in zip(shown.files.files, views, strict=True):
        try:
            source = read_header(file)
            bundle = fhir_result(source, view, algorithm, made=made)
            files[f"fhir/{view.case.short_name}.json"] = store.put_json(bundle)
            if form.dicom == "none" or (source is None and form.dicom == "dicom_only"):
                continue
            written = dict(dicom_results(source, view, algorithm, made=made))
            (folder / "dicom").mkdir(parents=True, exist_ok=True)
            for name, content in written.items():
                (folder / "dicom" / name).write_bytes(content)
            if form.store_back and archive.is_archive_address(file.address):
                service = archive.service_of(file.address)
                archive.store(service, list(written.values()), login=archive_login(form.login_block))
        except InputError as error:
            get_run_logger().warning("%s: a result is missing. %s", file.name, error)
    return files
