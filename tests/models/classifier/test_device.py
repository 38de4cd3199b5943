import pytest
import torch

from models.classifier.device import computes_in_bf16, resolve_device
from models.errors import InputError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


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
