"""Names of metrics that belong to a class."""

import re


def class_metric(metric: str, label: str) -> str:
    """Name a metric of one class with what trackers allow in a name.

    Args:
        metric: such as `conformal/coverage_90`.
        label: name of the class, which may hold any character.

    Returns:
        Such as `conformal/coverage_90_normal`.
    """
    return f"{metric}_{class_word(label)}"


def class_word(label: str) -> str:
    """Write the name of a class in letters, digits and underlines alone, which every tracker takes.

    Args:
        label: name of the class, which may hold any character.

    Returns:
        Such as `normal_benign`.
    """
    return re.sub("[^a-z0-9]+", "_", label.lower()).strip("_")
