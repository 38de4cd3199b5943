"""The errors that a user can cause, and mend."""

import errno

from models.text import printable

LONGEST_SENTENCE = 300
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""What the system says of a disk that takes no more."""


def keep_printable(error: Exception) -> None:
    """Make the message of a library's error fit to be shown, as that of `InputError` is.

    Args:
        error: its arguments, of which it makes its message, are changed where they are texts.
    """
    error.args = tuple(printable(part, LONGEST_SENTENCE) if isinstance(part, str) else part for part in error.args)


class InputError(ValueError):
    """A mistake in what the user supplied: a file, an option, a combination of them.

    Its message is one clear sentence that says what is wrong, where, what was expected and what to do. The shell
    prints the sentence without a traceback and exits with code 2; a deployment shows it as the state's message.

    Args:
        sentence: the message. It is kept on one line, printable and at most `LONGEST_SENTENCE` characters long; what
            it quotes of a file should be shortened with `models.text.printable` first, so that the rest is not cut.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(printable(sentence, LONGEST_SENTENCE))


class DiskError(InputError):
    """A disk that takes no more, which no step and no server can help: its user has to make room."""
