"""An image projector for llama.cpp with random weights, in Gemma 3's layout: an eye that has never seen anything."""

from pathlib import Path

import numpy as np

WIDTH = 640
"""Of the embeddings of Gemma 3 270M."""


def write_projector(path: Path, *, width: int = WIDTH, image_size: int = 224) -> Path:
    """Write a small vision tower with its projector.

    Args:
        path: the file, in GGUF.
        width: of the language model's embeddings.
        image_size: pixels that an image is enlarged to; patches have 14, and 16 of them become one token.

    Returns:
        The file.
    """
    import gguf

    size, hidden, layers, patch = 64, 128, 2, 14
    random = np.random.default_rng(0)
    file = gguf.GGUFWriter(str(path), "clip")
    file.add_string("general.type", "mmproj")
    file.add_string("general.name", "random eye")
    file.add_clip_has_vision_encoder(True)
    file.add_clip_projector_type("gemma3")
    file.add_vision_projection_dim(width)
    file.add_vision_patch_size(patch)
    file.add_vision_embedding_length(size)
    file.add_vision_feed_forward_length(hidden)
    file.add_vision_block_count(layers)
    file.add_vision_head_count(4)
    file.add_vision_attention_layernorm_eps(1e-6)
    file.add_vision_image_size(image_size)
    file.add_vision_image_mean([0.5, 0.5, 0.5])
    file.add_vision_image_std([0.5, 0.5, 0.5])
    file.add_vision_use_gelu(True)

    def weights(name: str, *shape: int) -> None:
        values = random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        file.add_tensor(f"{name}.weight", values.astype(np.float32))

    def constant(name: str, value: float, count: int = size) -> None:
        file.add_tensor(name, np.full(count, value, np.float32))

    weights("v.patch_embd", size, 3, patch, patch)
    constant("v.patch_embd.bias", 0)
    weights("v.position_embd", (image_size // patch) ** 2, size)
    for layer in range(layers):
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            weights(f"v.blk.{layer}.{name}", size, size)
            constant(f"v.blk.{layer}.{name}.bias", 0)
        for name in ("ln1", "ln2"):
            constant(f"v.blk.{layer}.{name}.weight", 1)
            constant(f"v.blk.{layer}.{name}.bias", 0)
        weights(f"v.blk.{layer}.ffn_up", hidden, size)
        constant(f"v.blk.{layer}.ffn_up.bias", 0, hidden)
        weights(f"v.blk.{layer}.ffn_down", size, hidden)
        constant(f"v.blk.{layer}.ffn_down.bias", 0)
    constant("v.post_ln.weight", 1)
    constant("v.post_ln.bias", 0)
    weights("mm.input_projection", size, width)
    constant("mm.soft_emb_norm.weight", 1)
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()
    return path
