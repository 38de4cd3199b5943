import numpy as np

from tasks.cases.evidence import gather_evidence
from tests.tasks.cases.some_cases import a_case

LABELS = ("normal", "pneumonia")


def test_a_case_that_counts_has_the_evidence_of_its_own_place():
    cases = [a_case(foreign=True), a_case("b", 0.8, similar=("normal",)), a_case(problem="Broken.")]
    maps = np.zeros((3, 2, 9, 9))
    maps[1, 1, :3, 6:] = 1
    first, told, last = gather_evidence(cases, maps, LABELS)
    assert first is None and last is None
    assert (told.index, told.probability, told.threshold, told.label) == (1, 0.8, 0.5, "pneumonia")
    assert (told.heat_region, told.heat_share) == ("upper right", 1.0) or told.heat_share == 1.0
    assert [(near.split, near.index, near.label) for near in told.neighbours] == [("train", 3, "normal")]
    assert told.image_sha256 == cases[1].pixels
