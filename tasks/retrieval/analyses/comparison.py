"""Paired comparison of encoders on the same queries."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from tasks.retrieval.metrics.ranking import RankingResult
from tasks.retrieval.metrics.table import metric_of
from tasks.shared.bootstrap import mean_interval
from tasks.shared.holm import holm
from tasks.shared.markdown import table

PERMUTATIONS = 9_999  # drawn where not all sign flips can be tried: p is a multiple of 1 / 10 000, two-sided 1 / 5 000

_BATCH = 1000  # permutations at once: far fewer or many more take longer; 8 kB per query


@dataclass(frozen=True)
class Difference:
    """How one metric of an encoder differs from that of the baseline.

    Attributes:
        encoder: name of the encoder.
        metric: `precision_at_K`, `map` and so on.
        baseline_mean: mean over queries with the baseline.
        mean: mean over queries with the encoder.
        difference: `mean` − `baseline_mean`, positive where the encoder is better.
        low: lower bound of the difference's 95 % interval.
        high: upper bound.
        p: two-sided p-value that the difference is zero.
        p_holm: the same, corrected for the number of encoders compared by this metric.
    """

    encoder: str
    metric: str
    baseline_mean: float
    mean: float
    difference: float
    low: float
    high: float
    p: float
    p_holm: float


def sign_flip_p(differences: NDArray[np.float64], *, seed: int) -> float:
    """Test whether paired differences are centred on zero by flipping their signs (Fisher, 1935; Pitman, 1937).

    If the two encoders were interchangeable, each difference would be as likely with the other sign. Where few
    differences are not zero all flips are tried and p is exact; else `PERMUTATIONS` are drawn and the observed one is
    counted among them (Phipson and Smyth, "Permutation p-values should never be zero", 2010).

    Args:
        differences: one per query, shape (queries,).
        seed: seed of the draw.

    Returns:
        Two-sided p-value of the mean difference, in (0, 1].
    """
    from scipy.stats import permutation_test

    changed = differences[differences != 0]  # the flip of a zero changes nothing
    if not len(changed):
        return 1.0
    found = permutation_test(
        (changed,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        batch=_BATCH,
        rng=seed,
    )
    return float(found.pvalue)


def compare(results: Mapping[str, RankingResult], baseline: str, *, samples: int, seed: int) -> tuple[Difference, ...]:
    """Compare encoders with a baseline by each metric that the table says to compare.

    Intervals and p-values are paired: they come from the differences query by query, since the same queries are hard
    for every encoder. The p-values of one metric are corrected over the encoders (Holm, "A simple sequentially
    rejective multiple test procedure", 1979); one metric is not corrected for another.

    Args:
        results: values of the same queries under one protocol, by name of the encoder.
        baseline: name of the encoder that the others are compared with.
        samples: bootstrap samples of the intervals.
        seed: seed of the bootstrap and of the permutations.

    Returns:
        One difference for each metric and each other encoder, metric by metric, encoders in the order given. A metric
        that is undefined for every query is left out.

    Raises:
        InputError: the baseline is missing or alone, or the results are not of the same queries and cut-offs.
    """
    _require_comparable(results, baseline)
    series = {name: _series(result) for name, result in results.items()}
    encoders = [name for name in results if name != baseline]
    rows: list[Difference] = []
    for metric, reference in series[baseline].items():
        if not len(reference):
            continue
        differences = [series[encoder][metric] - reference for encoder in encoders]
        p_values = [sign_flip_p(values, seed=seed) for values in differences]
        corrected = holm(p_values)
        for encoder, values, p, p_holm in zip(encoders, differences, p_values, corrected, strict=True):
            low, high = mean_interval(values, samples, seed)
            rows.append(
                Difference(
                    encoder=encoder,
                    metric=metric,
                    baseline_mean=float(reference.mean()),
                    mean=float(series[encoder][metric].mean()),
                    difference=float(values.mean()),
                    low=low,
                    high=high,
                    p=p,
                    p_holm=float(p_holm),
                )
            )
    return tuple(rows)


def comparison_table(rows: Sequence[Difference], baseline: str) -> str:
    """Write the comparison as a Markdown table.

    Args:
        rows: what `compare` returned.
        baseline: name of the baseline.

    Returns:
        The table, ending in a newline.
    """
    header = ("encoder", "metric", baseline, "encoder's", "difference", "low", "high", "p", "p (Holm)")
    return table(header, [(*astuple(row)[:-2], _p_value(row.p), _p_value(row.p_holm)) for row in rows])


def _series(result: RankingResult) -> dict[str, NDArray[np.float64]]:
    return {
        metric_of(column).mean or column: result.defined(column)
        for column in result.values
        if metric_of(column).compared
    }


def _p_value(p: float) -> str:
    return f"{p:.4f}" if p >= 0.001 else "< 0.001"


def _require_comparable(results: Mapping[str, RankingResult], baseline: str) -> None:
    if baseline not in results or len(results) < 2:
        raise InputError(
            f"A comparison with {baseline!r} needs its result and another's, but there are results of "
            f"{', '.join(map(repr, results)) or 'no encoder'}; evaluate the baseline and at least one more encoder."
        )
    expected = results[baseline]
    for name, result in results.items():
        same = (
            np.array_equal(result.query_ids, expected.query_ids)
            and np.array_equal(result.query_labels, expected.query_labels)
            and result.values.keys() == expected.values.keys()
            and all(
                np.array_equal(np.isnan(result.values[name]), np.isnan(expected.values[name])) for name in result.values
            )
        )
        if not same:
            raise InputError(
                f"The results of {name!r} and {baseline!r} are not of the same queries, gallery and cut-offs, which a "
                "paired comparison needs; evaluate both on the same images with the same k."
            )
