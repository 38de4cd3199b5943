"""Which losses fit which number of classes; asked before a run, without PyTorch, which takes seconds to load."""

from models.choices import MORE_CLASS_LOSSES, SEVERAL_LABEL_LOSSES, TWO_CLASS_LOSSES, LossName
from models.errors import InputError


def check_loss(name: LossName, classes: int, *, focal_alpha: float | None = None, several: bool = False) -> None:
    """Refuse a loss that does not fit the number of classes.

    Args:
        name: the loss.
        classes: number of classes, at least 2.
        focal_alpha: weight of class 1 in the focal loss.
        several: whether an image may have several of the classes, each of which is then a question of two.

    Raises:
        InputError: it does not fit.
    """
    fitting = SEVERAL_LABEL_LOSSES if several else TWO_CLASS_LOSSES if classes == 2 else MORE_CLASS_LOSSES
    if name not in fitting:
        kind = f"{classes} labels, several an image" if several else f"{classes} classes"
        raise InputError(f"The loss {name!r} does not fit a data set of {kind}; choose one of: {', '.join(fitting)}.")
    if name == "focal" and classes > 2 and focal_alpha is not None:
        raise InputError(
            f"focal_alpha is {focal_alpha:g}, but it weighs one class against one other and the data set has {classes} "
            "classes; leave it empty, which balances the classes."
        )
