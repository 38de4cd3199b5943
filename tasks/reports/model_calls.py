"""Answers of a report generator as calls of a model, and its strategies as prompts, for the tracker."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from models.notices import PHANTOM_NOTICE, RANDOM_WEIGHTS_NOTICE
from models.report_generation.prompting import Strategy
from models.report_generation.schema import Answer
from models.text import visible
from tasks.records.model_calls import ModelCall, Prompt
from tasks.records.reports import GeneratorRecord


def prompts(strategies: Iterable[Strategy]) -> list[Prompt]:
    """Describe strategies as prompts: new words make a new version, a new number in the file does not."""
    found = []
    for strategy in strategies:
        roles = {"system": strategy.system, "user": strategy.user}
        tags = {"file_version": str(strategy.version), "digest": strategy.digest, "output": strategy.output}
        found.append(
            Prompt(
                prompt_name(strategy.name),
                [{"role": role, "content": content} for role, content in roles.items() if content],
                strategy.description,
                words={"paraphrase": strategy.paraphrase},  # a template holds one wording
                tags=tags,
            )
        )
    return found


def prompt_name(strategy: str) -> str:
    """Return the name under which a strategy is registered."""
    return f"pneumonia-report-{strategy}"


def model_calls(
    answers: Sequence[Answer],
    images: Mapping[str, bytes],
    scores: Mapping[str, Mapping[str, float | bool | str]],
    *,
    generator: GeneratorRecord,
    settings: Mapping[str, Mapping[str, Any]],
    versions: Mapping[str, int],
    phantoms: bool,
) -> list[ModelCall]:
    """Describe answers as calls; characters that steer a display are written as escapes.

    Args:
        answers: what came of the requests.
        images: the image that was shown, as PNG, by row id; a row that was shown none is not in it.
        scores: what scorers found, by row id and by scorer.
        generator: what wrote the answers.
        settings: what decides the texts of each strategy, as `ReportGenerator.settings` gives it.
        versions: version in the prompt registry by registered name.
        phantoms: whether the images are drawn phantoms.
    """
    notices = {"random_weights": RANDOM_WEIGHTS_NOTICE} if generator.random_weights else {}
    notices |= {"phantoms": PHANTOM_NOTICE} if phantoms else {}
    calls = []
    for answer in answers:
        words = dict.fromkeys((generator.name, answer.strategy))  # a template is its own strategy
        name = " ".join(words) + ("" if answer.control == "none" else f", {answer.control}")
        label = (answer.report and answer.report.label) or "none"
        usage, registered = answer.usage, prompt_name(answer.strategy)
        tags = {
            "row_id": answer.row_id,
            "case": str(answer.case_index),
            "strategy": answer.strategy,
            "control": answer.control,
            "label": label,
        }
        calls.append(
            ModelCall(
                answer.row_id,
                name,
                messages=[{"role": "user", "content": _question(answer, images.get(answer.row_id), generator)}],
                outputs=_outputs(answer, label) | notices,
                seconds=usage.seconds if usage else 0.0,
                request_preview=f"Case {answer.case_index}, {name}: {visible(answer.prompt)}",
                response_preview=" ".join((*notices.values(), visible(answer.text) or answer.problem or "")),
                problem=answer.problem,
                model=generator.model,
                tokens=(usage.prompt_tokens, usage.generated_tokens) if usage else None,
                attributes=_attributes(answer, generator, settings.get(answer.strategy, {})),
                tags=tags | notices,
                feedback=scores.get(answer.row_id, {}),
                prompt=(registered, versions[registered]) if registered in versions else None,
            )
        )
    return calls


def _question(answer: Answer, image: bytes | None, generator: GeneratorRecord) -> list[dict[str, Any]]:
    text: dict[str, Any] = {"type": "text", "text": visible(answer.prompt)}
    if image is None:
        return [text]
    url = f"data:image/png;base64,{base64.b64encode(image).decode()}"
    picture: dict[str, Any] = {"type": "image_url", "image_url": {"url": url}}
    return [picture, text] if generator.image_first else [text, picture]


def _outputs(answer: Answer, label: str) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": visible(answer.text)}}
    if answer.usage:
        choice["finish_reason"] = answer.usage.finish_reason
    outputs: dict[str, Any] = {"choices": [choice], "label": label}
    if answer.score is not None:
        outputs["probability_of_yes"] = "undecided" if answer.undecided else answer.score
    if answer.decided_by is not None:
        outputs["decided_by"] = answer.decided_by
    if answer.problem:
        outputs["problem"] = answer.problem
    return outputs


def _attributes(answer: Answer, generator: GeneratorRecord, settings: Mapping[str, Any]) -> dict[str, Any]:
    attributes = {
        "row_id": answer.row_id,
        "case": answer.case_index,
        "strategy": answer.strategy,
        "control": answer.control,
        "shown_probability": answer.shown_probability,
        "model": generator.model,
        "revision": generator.revision,
        "precision": generator.precision,
        "server": generator.server,
        "server_version": generator.server_version,
        "prompt_version": settings.get("version"),
        "max_new_tokens": settings.get("max_new_tokens"),
        "constrained": settings.get("json_schema") is not None,
        "conventions": generator.conventions,
        "choice_mass": answer.choice_mass,
    }
    if answer.usage:
        usage = answer.usage
        attributes |= {
            "finish_reason": usage.finish_reason, "batch_size": usage.batch_size, "peak_gib": usage.peak_gib,
            "attention": usage.attention, "thought_tokens": usage.thought_tokens or None,
        }  # fmt: skip
    return {name: value for name, value in attributes.items() if value is not None}
