"""The one error a user can cause."""


class InputError(ValueError):
    """A mistake in what the user supplied: a file, an option, a combination of them.

    Its message is one clear sentence that says what is wrong, where, what was expected and what to do. The shell
    prints the sentence without a traceback and exits with code 2; a deployment shows it as the state's message.
    """
