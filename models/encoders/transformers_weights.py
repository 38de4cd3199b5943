"""A network of transformers with the weights of a folder.

What of it is not documented is checked in `tests/upstream/test_transformers_clip.py`.
"""

from pathlib import Path
from typing import Any

from models.errors import InputError


def load_network(network: Any, folder: Path) -> Any:
    """Load a network and see that it has all its weights: transformers itself would draw what is missing.

    Args:
        network: the class, of transformers.
        folder: a whole checkpoint.

    Returns:
        The network in float32, on the CPU.

    Raises:
        InputError: weights are missing, or do not fit the configuration.
    """
    import torch

    # Safetensors where there are any; else transformers unpickles tensors only (`weights_only`).
    model, report = network.from_pretrained(
        folder,
        dtype=torch.float32,
        local_files_only=True,
        ignore_mismatched_sizes=True,  # they are refused here, not in a traceback
        output_loading_info=True,
    )
    if unfit := [*report["missing_keys"], *report["mismatched_keys"], *report["error_msgs"]]:
        raise InputError(
            f"The weights in {folder} do not fit its config.json ({len(unfit)} tensors are missing or of another "
            f"shape, such as {unfit[0]}); copy or download the checkpoint again."
        )
    return model
