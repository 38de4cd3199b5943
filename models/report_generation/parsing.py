"""From a language model's answer to a report.

MedGemma 1.5 may think aloud first, between `<unused94>` and `<unused95>`: what comes before the end of the thought is
no part of the answer, and a thought that does not end leaves no answer. Nothing is guessed: what cannot be read is an
error, and the caller keeps the text. An answer longer than `LONGEST_ANSWER` is no report: the strategies ask for a
tenth of that. How the answer is read is told in `json_answer` and `free_text`.
"""

from typing import Literal

from models.report_generation.free_text import read_free_text
from models.report_generation.json_answer import read_json, report_json_schema
from models.report_generation.schema import ReportContent
from models.report_generation.unreadable import UnreadableReport

__all__ = ["UnreadableReport", "read_report", "report_json_schema"]

LONGEST_ANSWER = 20_000
"""Characters of the longest answer that is read."""

_THOUGHT, _END_OF_THOUGHT = "<unused94>", "<unused95>"


def read_report(text: str, output: Literal["free_text", "json"]) -> ReportContent:
    """Read the report out of an answer.

    Args:
        text: what the language model wrote.
        output: the form that it was asked for.

    Returns:
        What the report says; its label is none where it does not conclude on one.

    Raises:
        UnreadableReport: there is no report in it; the message is one sentence that says why.
    """
    answer = text.rpartition(_END_OF_THOUGHT)[2]
    if _THOUGHT in answer:
        raise UnreadableReport("It breaks off within the thinking that precedes an answer.")
    if len(answer) > LONGEST_ANSWER:
        raise UnreadableReport(
            f"It holds {len(answer):,} characters, of which no more than {LONGEST_ANSWER:,} are read."
        )
    if not any(character.isalpha() for character in answer):
        raise UnreadableReport("There are no words in it.")
    return read_json(answer) if output == "json" else read_free_text(answer)
