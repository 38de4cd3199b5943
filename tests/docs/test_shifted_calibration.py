"""The tool that calibrates the seeds of a frozen protocol on corrupted validation."""

import numpy as np

from docs.tools import shifted_calibration


def test_a_stand_in_that_is_like_test_keeps_the_promise_that_validation_breaks():
    generator = np.random.default_rng(0)

    def drawn(count, shift):
        labels = np.arange(count) % 2
        return labels, generator.normal(4 * labels - 2 + shift, 1.5)

    arrays, outputs = {}, {}
    for split, shift in (("val", 0), ("test", 1.5)):
        labels, logits = drawn(400, shift)
        outputs |= {f"{split}_labels": labels, f"{split}_logits": logits}
        outputs[f"{split}_embeddings"] = np.column_stack([logits, generator.normal(size=400)])
        arrays |= {f"{split}_labels": labels, f"{split}_images": np.zeros((400, 28, 28), np.uint8)}
    images = np.arange(200)
    labels = outputs["val_labels"][images]
    shifted = generator.normal(4 * labels - 0.5, 1.5, (13, 5, 200))

    found = shifted_calibration.calibrate(arrays, outputs, {"logits": shifted, "images": images}, ("healthy", "ill"))
    sets, probabilities = found
    covered = {
        way.name: next(row.coverage.value for row in way.coverage if (row.level, row.name) == (0.9, "healthy"))
        for way in sets
    }
    assert covered["validation"] < 0.8 < 0.85 < covered["corrupted"]
    assert probabilities[-1].ece < probabilities[0].ece - 0.05

    written = shifted_calibration.summarise([found, found], ("healthy", "ill"))
    assert f"| 90% | corrupted copies of validation | {covered['corrupted']:.4f} ± 0.0000" in written
    assert f"| {probabilities[-1].name} | {probabilities[-1].ece:.4f} ± 0.0000" in written
