"""What `tasks/reports/audit/references.py` relies on in sacreBLEU beyond what it documents."""

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF

SAID, MEANT = ["a small opacity is seen", "clear", ""], ["an opacity is seen in the lung", "lungs clear", "normal"]


@pytest.mark.parametrize("metric", [BLEU(), CHRF()], ids=["BLEU", "chrF"])
def test_a_score_is_made_of_the_sums_of_what_is_counted_in_each_text(metric):
    counted = np.array(metric._extract_corpus_statistics(SAID, [MEANT]))
    assert len(counted) == len(SAID)
    assert metric._compute_score_from_stats(counted.sum(0).tolist()).score == metric.corpus_score(SAID, [MEANT]).score
