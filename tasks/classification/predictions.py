"""What the classifier predicts for some images, and which of these the figures show."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tasks.classification.trust.calibration import by_class, decide

OUTCOMES = ("true positive", "true negative", "false positive", "false negative")
OUTCOMES_OF_MORE_CLASSES = ("correct", "incorrect")


@dataclass(frozen=True)
class Predictions:
    """What the classifier predicts for some images of which the truth is known.

    Attributes:
        probabilities: of class 1 of two, shape (images,); of more, shape (images, classes).
        labels: shape (images,).
        threshold: probability of class 1 from which it is predicted; None for more than two classes, of which the
            likeliest is.
        class_names: by label.
    """

    probabilities: NDArray[np.floating]
    labels: NDArray[np.integer]
    threshold: float | None
    class_names: Sequence[str]

    @cached_property
    def by_class(self) -> NDArray[np.floating]:
        """Probability of each class, shape (images, classes)."""
        return by_class(self.probabilities)

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """Predicted class of each image, shape (images,)."""
        return decide(self.probabilities, self.threshold)

    @property
    def outcome_names(self) -> tuple[str, ...]:
        """The kinds of outcome that are told apart: of two classes, class 1 is the positive one."""
        return OUTCOMES if len(self.class_names) == 2 else OUTCOMES_OF_MORE_CLASSES

    @property
    def outcomes(self) -> NDArray[np.int64]:
        """Kind of outcome of each image, as position in `outcome_names`, shape (images,)."""
        wrong = (self.predicted != self.labels).astype(np.int64)
        # Of two classes positive predictions come before negative ones, right before wrong, as in `OUTCOMES`.
        return wrong if self.threshold is None else 2 * wrong + (self.predicted == 0)

    @property
    def errors(self) -> NDArray[np.int64]:
        """Positions of the misclassified images by the probability of the predicted class, the surest error first."""
        wrong = np.flatnonzero(self.predicted != self.labels)
        return wrong[np.argsort(-self.by_class[wrong, self.predicted[wrong]], kind="stable")]

    @property
    def explained_classes(self) -> NDArray[np.int64]:
        """The two classes whose evidence is mapped for each image, shape (images, 2).

        Of two classes both; of more the predicted one, and the true one where the prediction is wrong, the next
        likeliest where it is right.
        """
        if self.threshold is not None:
            return np.tile(np.arange(2), (len(self.labels), 1))
        next_likeliest = np.argsort(-self.probabilities, axis=1, kind="stable")[:, 1]
        right = self.predicted == self.labels
        return np.column_stack([self.predicted, np.where(right, next_likeliest, self.labels)])

    def explained_cases(self, cases: int = 4) -> NDArray[np.int64]:
        """Choose the images whose evidence is shown: the first of each outcome.

        Args:
            cases: most images of each outcome.

        Returns:
            Positions, outcome by outcome; a montage of these images alone shows the same as one of all.
        """
        kinds = range(len(self.outcome_names))
        return np.concatenate([np.flatnonzero(self.outcomes == kind)[:cases] for kind in kinds])

    def take(self, chosen: NDArray[np.integer]) -> "Predictions":
        """Restrict the predictions to some images.

        Args:
            chosen: positions of the images.

        Returns:
            Their predictions, in this order.
        """
        return replace(self, probabilities=self.probabilities[chosen], labels=self.labels[chosen])
