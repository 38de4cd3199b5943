"""What is checked before anything is computed, so that a mistake costs seconds, not hours."""

from flows.support.runners import require_workers
from models.errors import InputError
from tasks.data.steps import count_test_images, locate_source, require_pneumonia, smallest_test_class
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.execution import ExecutionParameters
from tasks.parameters.reports import ReportParameters
from tasks.parameters.retrieval import RetrievalParameters
from tasks.records.reports import GeneratorRecord, ReferencesRecord
from tasks.records.retrieval import EncoderRecord
from tasks.reports.steps.planning import locate_generator, locate_references
from tasks.retrieval.checks import check_cutoffs, locate_encoders


def preflight(
    dataset: DatasetParameters, retrieval: RetrievalParameters, execution: ExecutionParameters
) -> list[EncoderRecord]:
    """Check what the retrieval needs: the dataset, cut-offs that its classes allow, workers and encoders.

    Returns:
        The published encoders of the form.

    Raises:
        InputError: something is missing, or does not fit.
    """
    require_pneumonia(dataset)
    check_cutoffs(retrieval, smallest_test_class(locate_source(dataset), dataset.limit))
    require_workers(execution)
    return locate_encoders(retrieval)


def preflight_with_reports(
    dataset: DatasetParameters,
    retrieval: RetrievalParameters,
    reports: ReportParameters,
    execution: ExecutionParameters,
) -> tuple[list[EncoderRecord], GeneratorRecord, ReferencesRecord | None]:
    """Check what a flow needs that trains a classifier, searches with it and has reports written.

    Returns:
        The published encoders of the form, what is to write the reports, and what they are compared with, if anything.

    Raises:
        InputError: something is missing, or does not fit, or another classifier than the flow's own is asked for.
    """
    if retrieval.classifier != "train":
        raise InputError(
            f"--retrieval.classifier {retrieval.classifier}: this flow searches with the classifier that it trains; "
            "leave `train`, or run the retrieval flow alone."
        )
    encoders = preflight(dataset, retrieval, execution)
    references = locate_references(reports, count_test_images(locate_source(dataset), dataset.limit))
    return encoders, locate_generator(reports), references
