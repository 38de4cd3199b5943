"""One's own results before both traps, whatever made them.

RETRIEVAL=embeddings.npz PRECISION=1:0.951,5:0.946 python -m pytest tests/traps     # `vectors` and `labels`
EPOCHS=epochs.csv CLAIMED=0.985 python -m pytest tests/traps                        # `validation` and `test`
"""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from tests.traps.checks import require_epoch_from_validation, require_no_self_match


@pytest.mark.skipif("RETRIEVAL" not in os.environ, reason="no RETRIEVAL=FILE.npz names vectors to look at")
def test_no_image_is_its_own_neighbour():
    claimed = dict(pair.split(":") for pair in os.environ["PRECISION"].split(","))
    with np.load(os.environ["RETRIEVAL"], allow_pickle=False) as file:
        require_no_self_match(file["vectors"], file["labels"], {int(k): float(at_k) for k, at_k in claimed.items()})


@pytest.mark.skipif("EPOCHS" not in os.environ, reason="no EPOCHS=FILE.csv names epochs to look at")
def test_the_epoch_was_chosen_on_validation():
    with Path(os.environ["EPOCHS"]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    validation, test = ([float(row[name]) for row in rows] for name in ("validation", "test"))
    require_epoch_from_validation(validation, test, float(os.environ["CLAIMED"]))
