"""The flow `reports` without what its reports are not written from: a retrieval's scores, analyses, figures and map.

python -m tests.support.short_reports --reports.cases 4
"""

import flows  # noqa: F401, I001  first, since it sets the environment that Prefect reads
from prefect import flow
from prefect.runtime import flow_run

from flows.classification import classification
from flows.reports import report
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.evaluation import EvaluationParameters
from tasks.parameters.reports import ReportParameters
from tasks.parameters.training import TrainingParameters
from tasks.records.base import RunReference
from tasks.records.classification import ClassifierRecord
from tasks.records.data import DatasetRecord
from tasks.records.reports import ReportsResult
from tasks.records.retrieval import RetrievalRecord, RetrievalResult
from tasks.reports.steps.planning import locate_generator, locate_references
from tasks.retrieval.steps.encoding import embed_images, own_encoder
from tasks.retrieval.steps.indexing import index_embeddings, search_neighbours
from tasks.execution.plain_words import in_plain_words
from tasks.storage.store import Store

_DATASET, _TRAINING, _EVALUATION = DatasetParameters(), TrainingParameters(), EvaluationParameters()
_REPORTS = ReportParameters()


@flow
@in_plain_words
def short_reports(
    dataset: DatasetParameters = _DATASET,
    training: TrainingParameters = _TRAINING,
    evaluation: EvaluationParameters = _EVALUATION,
    reports: ReportParameters = _REPORTS,
) -> ReportsResult:
    """Write reports from the evidence of a classifier and its neighbours."""
    generator, references = locate_generator(reports), locate_references(reports, None)
    classified = classification(dataset, training, evaluation)
    neighbours = neighbours_of(classified.dataset, classified.classifier)
    return report(classified, neighbours, generator, reports, references)


def neighbours_of(data: DatasetRecord, classifier: ClassifierRecord) -> RetrievalResult:
    """Find, within a flow, what reports take of a retrieval: the neighbours of the test images."""
    embeddings = embed_images(data, own_encoder(data, classifier, "classifier"))
    index = index_embeddings(data, embeddings, "flat")
    empty = Store().put_json({})
    return RetrievalResult(
        flow_run_id=str(flow_run.id),
        run=RunReference(run_id=""),
        retrieval=RetrievalRecord(encoder="classifier", metrics={}, per_query=empty, worst=()),
        embeddings=embeddings,
        neighbours=search_neighbours(data, embeddings, index, 5),
        index=index,
    )


if __name__ == "__main__":
    from flows.support.shell import main

    raise SystemExit(main(short_reports))
