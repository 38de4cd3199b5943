"""Small checkpoints with random weights that load as the published encoders do."""

import io
import json
import string
from pathlib import Path
from typing import Any

import open_clip
import safetensors.torch
import sentencepiece
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertTokenizer,
    BitImageProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTokenizer,
    Dinov2Config,
    Dinov2Model,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    SiglipTokenizer,
)

from models.hub import RANDOM_WEIGHTS_MARK

CLIP_CONTEXT, BIOMEDCLIP_CONTEXT, MEDSIGLIP_CONTEXT = 77, 256, 64  # tokens a text, as in the published models

_WORDS = """
normal pneumonia chest radiograph of a child an adult with without clear lungs consolidation in the right left lower
lobe x-ray showing no finding opacity effusion photograph cat
"""


def write_clip(folder: Path, *, seed: int = 0, pickled: bool = False) -> Path:
    """Write a `CLIPModel` of 32×32 pixels and 24-dimensional vectors; pickled as PubMedCLIP's weights are."""
    tokenizer = _clip_tokenizer()
    towers = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = CLIPConfig(
        text_config=towers | ends | {"vocab_size": len(tokenizer), "max_position_embeddings": CLIP_CONTEXT},
        vision_config=towers | {"image_size": 32, "patch_size": 8},
        projection_dim=24,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPModel(config)
    _save(model, folder, pickled)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def write_biomedclip(folder: Path, *, seed: int = 0, pickled: bool = False) -> Path:
    """Write an open_clip model of timm's smallest transformer and a BERT; pickled as BiomedCLIP's weights are."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _bert_tokenizer()
    text_tower = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=96,
        initializer_range=0.3,  # more than usual, so that an untrained tower tells texts apart
    )
    text_tower.save_pretrained(folder / "text")
    named = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
    text: dict[str, Any] = {"hf_proj_type": "mlp", "hf_pooler_type": "cls_last_hidden_state_pooler"}
    text["context_length"] = BIOMEDCLIP_CONTEXT
    vision: dict[str, Any] = {"timm_model_name": "test_vit", "timm_model_pretrained": False, "timm_proj": "linear"}
    vision |= {"timm_pool": "", "image_size": 160}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = open_clip.CustomTextCLIP(
            20, vision, text | {"hf_model_name": str(folder / "text"), "hf_model_pretrained": False}
        )
    weights = model.state_dict()
    if pickled:
        weights["text.transformer.embeddings.position_ids"] = torch.arange(512)[None]  # from an older transformers
        torch.save(weights, folder / "open_clip_pytorch_model.bin")
    else:
        safetensors.torch.save_file(weights, folder / "open_clip_model.safetensors")
    config = {
        "model_cfg": {
            "embed_dim": 20,
            "vision_cfg": vision,
            "text_cfg": text | {"hf_model_name": named, "hf_tokenizer_name": named},
        },
        "preprocess_cfg": {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    tokenizer.save_pretrained(folder)
    return folder


def write_rad_dino(folder: Path, *, seed: int = 0, pickled: bool = False) -> Path:
    """Write a `Dinov2Model` of 28×28 pixels and 24-dimensional vectors, with RAD-DINO's processor but for the size."""
    config = Dinov2Config(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=7, initializer_range=0.3
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Dinov2Model(config)
        torch.nn.init.normal_(model.layernorm.weight)  # with ones, all vectors have the same length
    _save(model, folder, pickled)
    BitImageProcessor(
        size={"shortest_edge": 28},
        crop_size={"height": 28, "width": 28},
        image_mean=[0.5307] * 3,
        image_std=[0.2583] * 3,
    ).save_pretrained(folder)
    return folder


def write_medsiglip(folder: Path, *, seed: int = 0, pickled: bool = False) -> Path:
    """Write a `SiglipModel` of 32×32 pixels and 24-dimensional vectors, with a tokenizer of sentencepiece."""
    folder.mkdir(parents=True, exist_ok=True)
    learned = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_WORDS.split() * 3),
        model_writer=learned,
        vocab_size=60,
        hard_vocab_limit=False,
        **{"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
        minloglevel=2,
    )
    (folder / "spiece.model").write_bytes(learned.getvalue())
    tokenizer = SiglipTokenizer(
        str(folder / "spiece.model"), model_max_length=MEDSIGLIP_CONTEXT, model_input_names=["input_ids"]
    )
    towers = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = SiglipConfig(
        text_config=towers
        | {"vocab_size": len(tokenizer), "max_position_embeddings": MEDSIGLIP_CONTEXT}
        | {"bos_token_id": None, "eos_token_id": 1},
        vision_config=towers | {"image_size": 32, "patch_size": 8},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SiglipModel(config)
        for parameter in model.parameters():  # as drawn by transformers, texts are hardly told apart
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    _save(model, folder, pickled)
    tokenizer.save_pretrained(folder)
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def mark_as_random(folder: Path) -> Path:
    """Let a checkpoint of transformers say that its weights were never trained."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {RANDOM_WEIGHTS_MARK: True}))
    return folder


def _save(model: Any, folder: Path, pickled: bool) -> None:
    model.save_pretrained(folder)
    if pickled:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")


def _clip_tokenizer() -> CLIPTokenizer:
    start, end, suffix = "<|startoftext|>", "<|endoftext|>", "</w>"
    learner = Tokenizer(models.BPE(end_of_word_suffix=suffix))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=800,
        special_tokens=[start, end, *(f"{letter}{suffix}" for letter in alphabet)],
        initial_alphabet=alphabet,
        end_of_word_suffix=suffix,
    )
    learner.train_from_iterator([_WORDS] * 3, trainer)
    learned = json.loads(learner.to_str())["model"]
    return CLIPTokenizer(learned["vocab"], [tuple(merge) for merge in learned["merges"]], model_max_length=CLIP_CONTEXT)


def _bert_tokenizer() -> BertTokenizer:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = sorted({*string.ascii_lowercase, *string.digits, *string.punctuation})
    words = sorted({*_WORDS.split()} - {"x-ray"})
    vocabulary = [*special, *letters, *(f"##{letter}" for letter in letters), *(word for word in words if word != "a")]
    return BertTokenizer({token: number for number, token in enumerate(vocabulary)})
