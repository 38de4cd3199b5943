"""The reason for which a picture is not read, in words that may be shown."""


class UnreadableImageError(ValueError):
    """A file whose picture cannot be read, or not without guessing.

    Args:
        reason: what is wrong, as a clause without a full stop ("it has 0 × 30 pixels"). It quotes numbers and terms of
            the file format only, never other text of the file, in which a patient's name may stand.
        advice: what to do.
    """

    def __init__(self, reason: str, advice: str = "export or copy it again") -> None:
        super().__init__(reason)
        self.advice = advice
