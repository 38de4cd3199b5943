"""Steps that explain cases: heat maps, and what is asked of the generator of reports."""

import numpy as np

from models.report_generation.generator import Row
from tasks.cases.stored_cases import load_cases, store_cases
from tasks.execution.caching import step
from tasks.records.cases import ExplainedRecord, JudgedRecord, PicturesRecord, ReferenceRecord, ShownRecord
from tasks.records.data import DatasetRecord
from tasks.records.reports import AnswersRecord, GeneratorRecord, RequestsRecord
from tasks.reports import generators
from tasks.reports.requests import plan_requests, rows_per_case
from tasks.reports.stored_lists import ANSWERS, ROWS
from tasks.storage.store import Store


@step
def explain_pictures(files: PicturesRecord, reference: ReferenceRecord) -> ExplainedRecord:
    """Map the evidence for two classes in pictures that can be read; others have an empty picture and no heat."""
    from tasks.cases.judging import explained_classes, heat_maps, read_pictures
    from tasks.classification.classifier_file import load_classifier

    store, side = Store(), reference.size
    places = {file.sha256: place for place, file in enumerate(files.files)}
    pictures, _ = read_pictures(files.files, side, reference.channels)
    images = np.zeros((len(places), side, side) if reference.channels == 1 else (len(places), side, side, 3), np.uint8)
    maps = np.zeros((len(places), 2, side, side), np.float16)
    targets = np.tile(np.arange(2), (len(places), 1))
    if pictures:
        rows = [places[picture.file.sha256] for picture in pictures]
        images[rows] = np.stack([picture.image for picture in pictures])
        loaded = load_classifier(store.get(reference.classifier.weights))
        targets[rows] = explained_classes(loaded, images[rows])
        maps[rows] = heat_maps(loaded, images[rows], targets[rows])
    return ExplainedRecord(arrays=store.put_arrays({"images": images, "maps": maps, "targets": targets}))


@step
def ask_reports(shown: ShownRecord, dataset: DatasetRecord, generator: GeneratorRecord) -> RequestsRecord:
    """Ask for a report of every case in every strategy, but of foreign pictures, of which none could be true."""
    from tasks.cases.evidence import gather_evidence

    store, reference = Store(), shown.reference
    arrays = store.get_arrays(shown.explained.arrays)
    evidence = gather_evidence(load_cases(store, shown.judged), arrays["maps"], reference.labels)
    told = [each for each in evidence if each is not None]
    writer = generators.make(generator, dataset, reference.classifier.weights.sha256)
    nothing = np.zeros(0, np.int64)  # no controls, for which other patients' images would be needed
    plan = plan_requests(writer, told, (), 0, arrays["images"], nothing, seed=0)
    rows = [Row(id=i, request=request) for i, request in zip(plan.row_ids, plan.requests, strict=True)]
    return RequestsRecord(
        requests=ROWS.save(store, rows),
        images=store.put_arrays({"images": plan.images}),
        rows_per_case=rows_per_case(rows),
        generator=generator,
        settings={strategy: dict(writer.settings(strategy)) for strategy in writer.strategies},
        classifier_sha256=reference.classifier.weights.sha256,
    )


@step
def add_reports(judged: JudgedRecord, answers: AnswersRecord) -> JudgedRecord:
    """Say in each case which class its reports come to."""
    store = Store()
    cases = load_cases(store, judged)
    for answer in ANSWERS.load(store, answers.answers):
        case = cases[answer.case_index]
        label = answer.report.label if answer.report else None
        cases[answer.case_index] = case.model_copy(update={"reports": case.reports | {answer.strategy: label}})
    return store_cases(store, cases)
