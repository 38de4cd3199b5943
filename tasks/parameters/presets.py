"""Presets: the defaults are those of `standard`; the others are the few fields that differ."""

from typing import Any, Literal

from tasks.parameters.base import Parameters

Preset = Literal["quickstart", "standard", "debug"]


PRESETS: dict[Preset, dict[str, dict[str, Any]]] = {
    "standard": {},
    "quickstart": {
        "dataset": {"phantoms": True},
        "training": {"architecture": "compact28", "epochs": 20, "augmentation": "standard"},
        "evaluation": {"threshold_rule": "fixed", "label_folds": 0, "corrupted_images": 0},
        "retrieval": {"encoders": ["classifier"]},
    },
    "debug": {
        "dataset": {"limit": 160},
        "training": {"architecture": "compact28", "epochs": 1, "batch_size": 16, "augmentation": "standard"},
        "evaluation": {
            "threshold_rule": "fixed",
            "bootstrap_samples": 100,
            "failures": 8,
            "explained_images": 8,
            "explanation_draws": 2,
            "label_folds": 2,
            "corrupted_images": 0,
        },
        "retrieval": {"encoders": ["classifier"], "bootstrap_samples": 100, "galleries": 3},
        "reports": {"cases": 6, "batch_size": 32, "controlled_cases": 3},
    },
}
"""Fields that differ from the defaults, by preset and form."""


def form(preset: Preset, name: str, parameters: type[Parameters]) -> Parameters:
    """Fill in a form with a preset.

    Args:
        preset: name of the preset.
        name: name of the form, `training` for instance.
        parameters: its model.

    Returns:
        The model with the preset's values.
    """
    return parameters(**PRESETS[preset].get(name, {}))
