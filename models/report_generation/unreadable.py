"""The error of a text in which there is no report."""


class UnreadableReport(ValueError):  # noqa: N818 - the report is what cannot be read
    """A language model's answer that holds no report.

    Its message is one sentence that says why.
    """
