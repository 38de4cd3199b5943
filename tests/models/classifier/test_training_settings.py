from dataclasses import replace

import pytest
import torch

from models.classifier.training_settings import TrainingSettings, check_settings, computes_in_bf16, resolve_device
from models.errors import InputError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_the_defaults_make_a_training():
    check_settings(TrainingSettings(), classes=2)


@pytest.mark.parametrize("change", [{"epochs": 0}, {"batch_size": 1}, {"learning_rate": 0.0}, {"mixup": -0.1}])
def test_numbers_that_make_no_training_are_refused(change):
    with pytest.raises(InputError, match="change the training settings"):
        check_settings(replace(TrainingSettings(), **change), classes=2)


@pytest.mark.parametrize("field", ["architecture", "schedule", "augmentation", "precision"])
def test_unknown_names_are_refused(field):
    with pytest.raises(InputError, match=f"Unknown {field} 'other'; choose one of"):
        check_settings(replace(TrainingSettings(), **{field: "other"}), classes=2)


def test_a_patience_below_one_is_refused():
    with pytest.raises(InputError, match="patience is 0"):
        check_settings(TrainingSettings(patience=0), classes=2)


def test_a_loss_that_does_not_fit_the_classes_is_refused():
    with pytest.raises(InputError, match="does not fit a data set of 8 classes"):
        check_settings(TrainingSettings(loss="balanced_bce"), classes=8)


def test_bf16_is_chosen_only_where_hardware_computes_in_it():
    assert not computes_in_bf16("auto", CPU)
    assert computes_in_bf16("bf16", CPU)
    assert not computes_in_bf16("fp32", CUDA)
    native = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    assert computes_in_bf16("auto", CUDA) == native


def test_cuda_is_refused_where_there_is_none():
    if torch.cuda.is_available():
        assert resolve_device("auto").type == "cuda"
        return
    assert resolve_device("auto").type == "cpu"
    with pytest.raises(InputError, match="no CUDA device"):
        resolve_device("cuda")
