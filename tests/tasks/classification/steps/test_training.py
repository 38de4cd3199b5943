"""What `check_training` refuses before any data is read, and what it records of pretrained weights."""

import hashlib
import subprocess
import sys

import pytest

from models.errors import InputError
from tasks.classification.steps.training import check_training, train_classifier
from tasks.data.catalogue import look_up
from tasks.execution.caching import cache_key, components
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.training import TrainingParameters
from tests.models.encoders.twins import mark_as_random, write_rad_dino


def check(name="breastmnist", *, dataset=None, **training):
    """Check a training on a published set; `dataset` holds other fields of its form."""
    published = look_up(name)
    forms = TrainingParameters(**training), DatasetParameters(name=name, **dataset or {})
    return check_training(*forms, len(published.labels), published.images["train"])


@pytest.mark.parametrize("dataset", [{}, {"limit": 2000}])
def test_a_batch_may_hold_the_whole_training_split_but_no_more(dataset):
    assert check(batch_size=546, dataset=dataset) is None
    with pytest.raises(InputError, match=r"^--training.batch_size 547 is larger than the training split of 546 images"):
        check(batch_size=547, dataset=dataset)


def test_the_limit_counts_where_it_is_smaller_than_the_split():
    assert check(batch_size=100, dataset={"limit": 100}) is None
    with pytest.raises(InputError, match=r"^--training.batch_size 101 is larger than the training split of 100 images"):
        check(batch_size=101, dataset={"limit": 100})


def test_the_size_of_the_official_split_says_nothing_about_a_file_of_ones_own():
    assert check(batch_size=4096, dataset={"path": "mine.npz"}) is None


def test_a_probe_is_told_by_its_encoder_and_asks_for_no_loss_or_batch_that_fits(tmp_path):
    folder = mark_as_random(write_rad_dino(tmp_path / "rad_dino"))
    settings = {"architecture": "probe", "encoder": "rad_dino", "pretrained": str(folder), "batch_size": 4096}
    found = check("bloodmnist", dataset={"limit": 100}, **settings)
    assert (found.name, found.model, found.random_weights) == ("rad_dino", str(folder), True)
    assert found.identity == f"rad_dino {found.revision}"


@pytest.mark.parametrize(
    ("name", "training", "told"),
    [
        ("breastmnist", {"loss": "cross_entropy"}, r"'cross_entropy' does not fit .* 2 classes.* balanced_bce"),
        ("bloodmnist", {"loss": "bce"}, r"'bce' does not fit .* 8 classes.* balanced_cross_entropy"),
        ("retinamnist", {"loss": "balanced_bce"}, r"'balanced_bce' does not fit .* 5 classes"),
        ("bloodmnist", {"loss": "focal", "focal_alpha": 0.3}, r"focal_alpha is 0\.3, .* 8 classes"),
    ],
)
def test_a_loss_that_does_not_fit_is_refused(name, training, told):
    with pytest.raises(InputError, match=told):
        check(name, **training)


@pytest.mark.parametrize(
    ("name", "loss"),
    [("breastmnist", "bce"), ("breastmnist", "focal"), ("bloodmnist", "focal"), ("bloodmnist", "cross_entropy")],
)
def test_a_loss_that_fits_is_taken(name, loss):
    assert check(name, loss=loss) is None


def test_pretrained_weights_that_are_missing_are_refused(tmp_path):
    for path in (tmp_path / "missing.pth", tmp_path):
        with pytest.raises(InputError) as raised:
            check(pretrained=str(path))
        assert str(raised.value).startswith(f"The pretrained weights {path} are not a file: expected `imagenet`, or ")


def test_imagenet_weights_of_a_network_that_has_none_are_one_sentence():
    with pytest.raises(InputError) as raised:
        check(architecture="compact28", pretrained="imagenet")
    assert str(raised.value) == (
        "There are no ImageNet weights for 'compact28', only for resnet18_gray, efficientnet_b0, "
        "efficientnet_lite0; choose one of these or train without pretrained weights."
    )


def test_the_digest_of_pretrained_weights_is_recorded_and_decides_the_cache_key(tmp_path, monkeypatch):
    weights = {"a/one.pth": b"weights", "b/two.pth": b"weights", "c/one.pth": b"other weights"}
    for name, content in weights.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)  # a relative path is recorded as a whole one, which another process can follow
    records = {name: check(pretrained=name) for name in weights}
    for name, content in weights.items():
        assert records[name].sha256 == hashlib.sha256(content).hexdigest()
        assert records[name].path == str(tmp_path / name)
    one, moved, other = (_key(record) for record in records.values())
    assert one == moved
    assert one != other


def _key(record):
    return cache_key(train_classifier.fn, components(train_classifier.fn, {"pretrained": record}))


def test_to_plan_a_run_waits_for_no_pytorch():
    program = (
        "import sys, flows.pipeline, flows.sweep, flows.cases; from tasks.data.catalogue import look_up; look_up(); "
        "print({'torch', 'transformers', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["set()"]
