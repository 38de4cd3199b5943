"""What the page refuses, in one sentence and with a status."""

from models.errors import InputError


class RefusalError(InputError):
    """A request that is not answered as it was meant.

    Args:
        status: of HTTP.
        sentence: what is wrong and what to do.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
