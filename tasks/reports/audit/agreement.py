"""Do the reports' labels agree with the truth, and with the classifier that they may have been told of?"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from models.report_generation.schema import Label
from tasks.shared.estimates import UNKNOWN, Estimate, share
from tasks.shared.holm import holm as correct


def label_scores(labels: Sequence[Label | None], truths: Sequence[Label]) -> dict[str, Estimate]:
    """Score the labels against the truth.

    Args:
        labels: of the reports; None where a report does not conclude or does not parse, which counts as wrong
            everywhere: a reader who needs a label did not get the right one.
        truths: the true classes.

    Returns:
        `label_accuracy`; `sensitivity`, the share of true pneumonia labelled pneumonia; `specificity`, the share of
        true normals labelled normal; with Wilson intervals. The last two are unknown where no image is of that class.
    """
    pairs = list(zip(labels, truths, strict=True))
    return {
        "label_accuracy": share(label == truth for label, truth in pairs),
        "sensitivity": share(label == "pneumonia" for label, truth in pairs if truth == "pneumonia"),
        "specificity": share(label == "normal" for label, truth in pairs if truth == "normal"),
    }


class Agreement(NamedTuple):
    """The reports' labels beside the classifier's.

    Attributes:
        agreement: share of reports with the classifier's label; a missing label never agrees.
        kappa: Cohen's κ over the classes and none, with its asymptotic interval (Fleiss, Cohen and Everitt, 1969);
            unknown where both always give the same one category.
        both_right: cases that both label rightly.
        only_report_right: cases that only the report labels rightly.
        only_classifier_right: cases that only the classifier labels rightly.
        both_wrong: cases that neither labels rightly.
        mcnemar_p: two-sided p of McNemar's exact (binomial) test of equal accuracy; 1 where they are never right apart.
    """

    agreement: Estimate
    kappa: Estimate
    both_right: int
    only_report_right: int
    only_classifier_right: int
    both_wrong: int
    mcnemar_p: float


def agreement_with_classifier(
    labels: Sequence[Label | None], classifier_labels: Sequence[Label | None], truths: Sequence[Label]
) -> Agreement:
    """Compare the reports' labels with the classifier's, case by case.

    Args:
        labels: of the reports; None where there is none, which counts as wrong.
        classifier_labels: of the classifier.
        truths: the true classes.

    Returns:
        The comparison.
    """
    from statsmodels.stats.contingency_tables import mcnemar

    both = list(zip(labels, classifier_labels, strict=True))
    right = [(report == truth, machine == truth) for (report, machine), truth in zip(both, truths, strict=True)]
    table = [[right.count((report, machine)) for machine in (True, False)] for report in (True, False)]
    (both_right, only_report), (only_classifier, both_wrong) = table
    return Agreement(
        agreement=share(report is not None and report == machine for report, machine in both),
        kappa=cohens_kappa(labels, classifier_labels),
        both_right=both_right,
        only_report_right=only_report,
        only_classifier_right=only_classifier,
        both_wrong=both_wrong,
        mcnemar_p=float(mcnemar(table, exact=True).pvalue) if both else float("nan"),
    )


def cohens_kappa(first: Sequence[Label | None], second: Sequence[Label | None]) -> Estimate:
    """Compute Cohen's κ over the classes and none.

    Args:
        first: labels of one generator.
        second: labels of the other, of the same cases.

    Returns:
        κ in [-1, 1] with its asymptotic 95 % interval; unknown where both give one and the same category throughout.
    """
    from statsmodels.stats.inter_rater import cohens_kappa as statsmodels_kappa

    if len(set(first) | set(second)) < 2:
        return UNKNOWN
    pairs = list(zip(first, second, strict=True))
    categories = sorted({*first, *second}, key=lambda label: (label is None, label or ""))
    with np.errstate(invalid="ignore"):  # of a test statistic that is not used
        result = statsmodels_kappa([[pairs.count((row, column)) for column in categories] for row in categories])
    return Estimate(float(result.kappa), float(result.kappa_low), float(result.kappa_upp), len(pairs))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjust p-values for their number (Holm, 1979).

    Args:
        p_values: one per strategy.

    Returns:
        The adjusted p-values, by strategy; each is at least the raw one.
    """
    return dict(zip(p_values, correct(list(p_values.values())), strict=True))
