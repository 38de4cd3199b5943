"""Steps that plan the reports: find the generator, choose the cases, and ask for every report."""

from pathlib import Path

from models.report_generation.generator import Row
from models.report_generation.schema import CHEST_CLASSES
from tasks.execution.caching import step
from tasks.execution.secrets import generator_secret
from tasks.parameters.reports import ReportParameters
from tasks.records.base import ArrayRecord
from tasks.records.classification import EvaluationRecord
from tasks.records.data import DatasetRecord
from tasks.records.reports import CasesRecord, ChosenCasesRecord, GeneratorRecord, ReferencesRecord, RequestsRecord
from tasks.reports import generators
from tasks.reports.audit.reference_file import read_references
from tasks.reports.cases import gather_evidence
from tasks.reports.class_cases import Classified, choose, decisions
from tasks.reports.requests import plan_requests, rows_per_case
from tasks.reports.stored_lists import CASES, REFERENCES, ROWS
from tasks.storage.store import Store

CONTROL_SEED = 0  # of the noise images and of the choice of other patients


def locate_generator(parameters: ReportParameters) -> GeneratorRecord:
    """Find out what is to write the reports, which is quick and therefore done first in every run.

    Raises:
        InputError: the weights cannot be had, or the device cannot run them; or the server does not answer.
    """
    form = parameters
    return generators.locate(form, generator_secret(form.generator, form.token_block, form.key_block, form.server))


def locate_references(parameters: ReportParameters, tests: int | None) -> ReferencesRecord | None:
    """Read the reference reports, if the form names any, and keep them as they are now.

    Args:
        parameters: the form.
        tests: images of the test split, or None where that is not known yet.

    Raises:
        InputError: the file cannot be read or has a fault.
    """
    if parameters.references is None:
        return None
    references = read_references(Path(parameters.references).expanduser(), tests)
    return ReferencesRecord(references=REFERENCES.save(Store(), references), count=len(references))


@step
def choose_report_cases(dataset: DatasetRecord, evaluation: EvaluationRecord, count: int) -> ChosenCasesRecord:
    """Choose test cases, a fixed mix of correct, incorrect and borderline ones."""
    found = _classified(dataset, evaluation)
    chosen, groups = choose(found, count)
    return ChosenCasesRecord(indices=tuple(chosen), groups=groups, explained=tuple(found.explained(chosen)))


@step
def gather_report_evidence(
    dataset: DatasetRecord,
    evaluation: EvaluationRecord,
    chosen: ChosenCasesRecord,
    heat_maps: ArrayRecord,
    neighbours: ArrayRecord,
    neighbour_count: int,
) -> CasesRecord:
    """Gather what the classifier knows of each case: probability, heat region, similar cases."""
    store, found, indices = Store(), _classified(dataset, evaluation), chosen.indices
    maps, similar = store.get_arrays(heat_maps.arrays)["maps"], store.get_arrays(neighbours.arrays)
    splits, told = store.get_arrays(dataset.splits), decisions(found, indices)
    cases = gather_evidence(indices, splits, told, maps, similar, neighbour_count, dataset.labels)
    return CasesRecord(
        cases=CASES.save(store, cases),
        indices=indices,
        groups=chosen.groups,
        truths=tuple(dataset.labels[found.labels[index]] for index in indices),
        heat_maps=heat_maps.arrays,
        classifier_sha256=evaluation.classifier_sha256,
        classifier=evaluation.classifier,
    )


def _classified(dataset: DatasetRecord, evaluation: EvaluationRecord) -> Classified:
    store = Store()
    probabilities = store.get_arrays(evaluation.predictions)["probabilities"]
    labels = store.get_arrays(dataset.splits)["test_labels"]
    return Classified(probabilities, labels, evaluation.threshold, dataset.labels)


@step
def plan_reports(
    dataset: DatasetRecord, cases: CasesRecord, generator: GeneratorRecord, controls: list[str], controlled_cases: int
) -> RequestsRecord:
    """Ask for every report: each case in each strategy, and some chest X-rays again under controls."""
    store = Store()
    splits = store.get_arrays(dataset.splits)
    writer = generators.make(generator, dataset, cases.classifier_sha256)
    plan = plan_requests(
        writer,
        CASES.load(store, cases.cases),
        controls if dataset.labels == CHEST_CLASSES else (),
        controlled_cases,
        splits["test_images"],
        splits["test_labels"],
        CONTROL_SEED,
    )
    rows = [Row(id=i, request=request) for i, request in zip(plan.row_ids, plan.requests, strict=True)]
    return RequestsRecord(
        requests=ROWS.save(store, rows),
        images=store.put_arrays({"images": plan.images}),
        rows_per_case=rows_per_case(rows),
        generator=generator,
        settings={strategy: dict(writer.settings(strategy)) for strategy in writer.strategies},
        classifier_sha256=cases.classifier_sha256,
    )
