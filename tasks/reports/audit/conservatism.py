"""Do the reports lean to the safe side: call disease normal, hedge, or decline to judge?"""

import re
from collections.abc import Sequence

from models.report_generation.schema import Label, Report
from models.report_generation.wording import leaves_open
from tasks.shared.estimates import UNKNOWN, Estimate, share

_DISEASE = re.compile(r"pneumonia|consolidation|opaci|infiltrat", re.IGNORECASE)


def label_bias(labels: Sequence[Label | None], truths: Sequence[Label]) -> dict[str, Estimate]:
    """Compare the two ways to give the wrong label.

    Args:
        labels: of the reports; None where there is none, which is neither of the two errors.
        truths: the true classes.

    Returns:
        `pneumonia_called_normal`, the share of true pneumonia labelled normal; `normal_called_pneumonia`, the share of
        true normals labelled pneumonia; and `conservative_bias`, the first less the second, with Newcombe's interval
        (1998): above 0 the reports err towards normal. The bias is unknown without cases of both classes.
    """
    from statsmodels.stats.proportion import confint_proportions_2indep

    pairs = list(zip(labels, truths, strict=True))
    missed = [label == "normal" for label, truth in pairs if truth == "pneumonia"]
    alarms = [label == "pneumonia" for label, truth in pairs if truth == "normal"]
    bias = UNKNOWN
    if missed and alarms:
        counts = sum(missed), len(missed), sum(alarms), len(alarms)
        low, high = confint_proportions_2indep(*counts, method="newcomb", compare="diff")
        difference = sum(missed) / len(missed) - sum(alarms) / len(alarms)
        bias = Estimate(difference, float(low), float(high), len(pairs))
    return {
        "pneumonia_called_normal": share(missed),
        "normal_called_pneumonia": share(alarms),
        "conservative_bias": bias,
    }


def is_hedged(report: Report) -> bool:
    """Tell whether a report leaves open whether there is pneumonia.

    Args:
        report: the report.

    Returns:
        True where it gives no label, where words of its impression or certainty hedge or decline to judge ("probable",
        "likely" and "consistent with" commit to a side), or where a finding that names pneumonia, consolidation,
        opacity or infiltrate is uncertain.
    """
    open_finding = any(f.presence == "uncertain" and _DISEASE.search(f.name) for f in report.findings)
    return report.label is None or open_finding or leaves_open(report.impression) or leaves_open(report.certainty)


def reticence(reports: Sequence[Report | None]) -> dict[str, Estimate]:
    """Measure how often the reports do not commit themselves.

    Args:
        reports: None for what does not parse.

    Returns:
        `unparsed_rate` of all; of those that parse `hedging_rate` (`is_hedged`) and `not_assessable_reports`, the share
        with at least one finding that is not assessable; `not_assessable_findings`, the share of all findings. Findings
        of one report are not independent, so the interval of the last is too narrow.
    """
    parsed = [report for report in reports if report is not None]
    unassessed = [[finding.presence == "not assessable" for finding in report.findings] for report in parsed]
    return {
        "unparsed_rate": share(report is None for report in reports),
        "hedging_rate": share(is_hedged(report) for report in parsed),
        "not_assessable_findings": share(flag for flags in unassessed for flag in flags),
        "not_assessable_reports": share(any(flags) for flags in unassessed),
    }
