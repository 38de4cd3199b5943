"""The flags of cuDNN while trainings overlap."""

import torch

from models.determinism import repeatable_cudnn


def test_the_flags_stay_until_the_last_that_needs_them_goes():
    flags = torch.backends.cudnn
    before = (flags.deterministic, flags.benchmark)
    first, second = repeatable_cudnn(), repeatable_cudnn()
    first.__enter__()
    second.__enter__()
    assert (flags.deterministic, flags.benchmark) == (True, False)
    first.__exit__(None, None, None)
    assert (flags.deterministic, flags.benchmark) == (True, False)
    second.__exit__(None, None, None)
    assert (flags.deterministic, flags.benchmark) == before


def test_the_flags_are_put_back_after_an_error():
    before = torch.backends.cudnn.deterministic
    try:
        with repeatable_cudnn():
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert torch.backends.cudnn.deterministic == before
