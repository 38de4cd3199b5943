import warnings

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models.classifier.classifiers import build_classifier
from models.classifier.networks.probe import FrozenFeatures
from models.classifier.preprocessing import Normalization
from models.classifier.probe_fit import STRENGTHS, TIE, fit_probe
from models.encoders.checkpoint import Source
from models.errors import InputError

FEATURES = 12


def drawn(count, classes, seed):
    """Features of very different lengths, classes of different frequency."""
    generator = np.random.default_rng(seed)
    labels = generator.choice(classes, count, p=np.array([1, *[3] * (classes - 1)]) / (3 * classes - 2))
    centres = np.random.default_rng(99).normal(size=(classes, FEATURES))
    features = centres[labels] + generator.normal(0, 1.5, (count, FEATURES))
    return (features * 10.0 ** np.linspace(-2, 2, FEATURES) + 5).astype(np.float32), labels


def by_scikit_learn(train, train_labels, c):
    model = LogisticRegression(C=c, class_weight="balanced", max_iter=5000)
    return make_pipeline(StandardScaler(), model).fit(train.astype(np.float64), train_labels)


def balanced(labels):
    return (1 / np.bincount(labels))[labels]


@pytest.mark.parametrize("classes", [2, 4])
def test_the_head_says_what_scikit_learn_says_with_the_strength_that_a_plain_search_finds(classes):
    (train, train_labels), (val, val_labels) = drawn(120, classes, 0), drawn(80, classes, 1)
    fitted = fit_probe(train, train_labels, val, val_labels, classes)

    plain = {c: by_scikit_learn(train, train_labels, c) for c in STRENGTHS}
    losses = {
        c: log_loss(val_labels, model.predict_proba(val.astype(np.float64)), sample_weight=balanced(val_labels))
        for c, model in plain.items()
    }
    best = min(c for c, loss in losses.items() if loss <= min(losses.values()) + TIE)
    assert fitted.c == best
    assert [candidate.c for candidate in fitted.candidates] == list(STRENGTHS)
    np.testing.assert_allclose([each.val_loss for each in fitted.candidates], list(losses.values()), rtol=1e-4)
    wanted = plain[best].predict_proba(val.astype(np.float64))
    chosen = next(candidate for candidate in fitted.candidates if candidate.c == best)
    auc = roc_auc_score(val_labels, wanted[:, 1] if classes == 2 else wanted, multi_class="ovr")
    assert chosen.val_auc == pytest.approx(auc, abs=1e-4)

    frozen = FrozenFeatures(Source("rad_dino", "a/b", "0" * 40, "a/b"), FEATURES, Normalization([0.5], [0.25]))
    model = build_classifier("probe", classes=classes, frozen=frozen)
    model.load_state_dict(fitted.weights)
    with torch.inference_mode():
        logits = model.classify(torch.from_numpy(val)).double()
    found = torch.stack([-logits, logits], 1).sigmoid() if classes == 2 else logits.softmax(1)
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-4)


def test_it_repeats_to_the_bit_and_needs_no_warning():
    arrays = *drawn(60, 2, 0), *drawn(40, 2, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, again = fit_probe(*arrays, 2), fit_probe(*(array.copy() for array in arrays), 2)
    assert first[1:] == again[1:]
    assert all(torch.equal(tensor, again.weights[name]) for name, tensor in first.weights.items())


def test_of_equal_strengths_the_strongest_regularisation_is_taken():
    features = np.zeros((40, FEATURES), np.float32)  # nothing to learn: all strengths are the same
    labels = np.arange(40) % 2
    assert fit_probe(features, labels, features, labels, 2).c == STRENGTHS[0]


def test_a_split_without_a_class_is_refused():
    features, labels = drawn(40, 2, 0)
    with pytest.raises(InputError, match=r"^The validation labels are \[1\], but every class from 0 to 1 is needed"):
        fit_probe(features, labels, features, np.ones(40, int), 2)
