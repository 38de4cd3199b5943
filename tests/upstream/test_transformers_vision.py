"""What `models.encoders` uses of the vision transformers of transformers and timm beyond their documentation."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.encoders.loading import published_class
from tests.models.encoders.twins import write_biomedclip, write_clip, write_medsiglip, write_rad_dino

CASES = {  # patches of a twin's image, and the tokens before them
    "clip": (write_clip, 16, 1), "biomedclip": (write_biomedclip, 100, 1),
    "rad_dino": (write_rad_dino, 16, 1), "medsiglip": (write_medsiglip, 16, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_layer_of_the_patches_is_where_it_is_looked_for_and_gives_a_token_a_patch(name: str, tmp_path: Path):
    write, patches, before = CASES[name]
    kind = published_class(name)
    encoder = kind(kind.resolve(str(write(tmp_path / name))))
    layer, found = encoder.require_patches()
    kept: list[torch.Tensor] = []
    with layer.register_forward_hook(lambda _, inputs, output: kept.append(output)):
        encoder.encode_images(np.zeros((2, 28, 28), np.uint8))
    (tokens,) = kept
    assert found == before
    assert tokens.shape[:2] == (2, before + patches)
