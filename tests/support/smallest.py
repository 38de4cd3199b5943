"""The smallest forms, for tests that ask what becomes of a run and not what it finds."""

from typing import Any

SMALLEST: dict[str, dict[str, Any]] = {
    "dataset": {"limit": 64},
    "training": {"architecture": "compact28", "epochs": 1, "batch_size": 16},
    "evaluation": {
        "bootstrap_samples": 50,
        "failures": 4,
        "explained_images": 4,
        "explanation_draws": 2,
        "label_folds": 0,
        "corrupted_images": 0,
    },
    "retrieval": {"encoders": ["classifier"], "bootstrap_samples": 50, "galleries": 2},
    "reports": {"cases": 2, "batch_size": 1, "controlled_cases": 1},
}


def words(*forms: str, **others: Any) -> list[str]:
    """Write forms as a command line.

    Args:
        forms: their names.
        others: values by field that replace or join those above, `training__epochs` for instance.
    """
    values = {f"{form}.{name}": value for form in forms for name, value in SMALLEST[form].items()}
    values |= {field.replace("__", "."): value for field, value in others.items()}
    return [
        word
        for field, value in values.items()
        for word in (f"--{field}", ",".join(map(str, value)) if isinstance(value, list) else str(value))
    ]
