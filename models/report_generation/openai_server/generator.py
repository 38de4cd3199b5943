"""Reports by a language model on a server: the prompting strategies, put to it over OpenAI's interface."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.report_generation.generator import NOTHING_DONE, Row, Written
from models.report_generation.openai_server.exchange import (
    SEED,
    Completion,
    NoCompletionError,
    Prompt,
    RefusedError,
    Send,
    ask,
)
from models.report_generation.openai_server.identification import ServedModel
from models.report_generation.openai_server.in_flight import InFlight
from models.report_generation.parsing import report_json_schema
from models.report_generation.prompted import PromptedGenerator
from models.report_generation.prompting import load_strategy
from models.report_generation.schema import Usage
from models.text import printable

AT_ONCE = 8
"""Requests in flight where nothing else is asked for."""
FAILURES_IN_A_ROW = 8
"""Rows that may fail one after the other until it is the server that fails."""
_ERROR_CHARACTERS = 500


@dataclass(frozen=True)
class OpenAIGenerator(PromptedGenerator):
    """Writes reports with a model on a server.

    Attributes:
        served: the model, and where it is.
        report_strategies: prompting strategies, one report each.
        image_first: whether the image stands before the text of the prompt.
        at_once: requests in flight, or None for `AT_ONCE`.
        dataset: name of the dataset.
        classifier_sha256: digest of the classifier's weights.
        phantoms: whether the images are drawn phantoms.
        system: system message for a strategy that has none of its own, or None.
        key: what the server is opened with, or None.
    """

    served: ServedModel
    report_strategies: tuple[str, ...]
    image_first: bool
    at_once: int | None
    dataset: str
    classifier_sha256: str
    phantoms: bool
    system: str | None = None
    key: str | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Short name of the generator."""
        return "openai"

    @property
    def identity(self) -> Mapping[str, object]:
        """Server, version and model, all as the server says, and how the model is asked."""
        return {
            "server": self.served.server,
            "server_version": self.served.version,
            "model": self.served.model,
            "revision": self.served.revision,
            "image_first": self.image_first,
            "decoding": f"temperature 0, seed {SEED}",
        }

    @property
    def code(self) -> Callable[..., object]:
        """What is asked and how the answer is taken make the texts; how often a request is tried does not."""
        return ask

    def prepare(self) -> None:
        """Do nothing: what takes long, the server has done."""

    def write(
        self, rows: Sequence[Row], images: NDArray[np.uint8], done: Mapping[str, int] = NOTHING_DONE
    ) -> Iterator[list[Written]]:
        """Have the rows' texts written, some at once; under the control `alone` one after the other.

        A row that the server refuses has failed. Where it refuses row after row, it is the server that has: then the
        run ends, and these rows count as not asked.

        Args:
            rows: all rows of a task, in any order.
            images: what their requests' `image` counts in, shape (images, height, width), 0–255.
            done: rows that are written already, by id.

        Yields:
            What has been answered since the last time; every row that is not done once, written or failed.

        Raises:
            InputError: the server cannot be reached, does not accept the key, lost the model, or answers nothing.
        """
        from anyio.from_thread import start_blocking_portal

        from models.report_generation.openai_server.connection import Connection

        missing = [row for row in rows if row.id not in done]
        alone = [row for row in missing if row.request.control == "alone"]
        others = [row for row in missing if row.request.control != "alone"]
        refused: list[Written] = []
        with (
            start_blocking_portal() as portal,
            portal.wrap_async_context_manager(Connection(self.served.server, self.key)) as connection,
        ):
            for group, at_once in ((others, self.at_once or AT_ONCE), (alone, 1)):
                flight = InFlight(at_once)
                pending = {
                    portal.start_task_soon(self._write, flight, connection.chat, row, images): row for row in group
                }
                # Not `futures.wait`: interrupted while it locks them, it leaves locks that nobody opens any more.
                ended: SimpleQueue[Future[Written]] = SimpleQueue()
                for future in pending:
                    future.add_done_callback(ended.put)
                while pending:
                    answered: list[Written] = []
                    fault: InputError | None = None
                    for future in (ended.get(), *_those_in(ended)):
                        row = pending.pop(future)
                        try:
                            answered.append(future.result())
                        except RefusedError as error:
                            refused.append(Written(row_id=row.id, error=printable(error, _ERROR_CHARACTERS)))
                        except InputError as error:
                            fault = error
                    if answered:
                        yield [*answered, *refused]
                        refused = []
                    if fault is not None:
                        raise fault
                    if len(refused) >= FAILURES_IN_A_ROW:
                        raise InputError(
                            f"The server {printable(self.served.server)} refused {len(refused)} rows one after the "
                            f"other, the last because of: {printable(refused[-1].error, 120)}"
                        )
        if refused:
            yield refused

    async def _write(self, flight: InFlight, send: Send, row: Row, images: NDArray[np.uint8]) -> Written:
        async with flight.place() as share:
            try:
                completion = await ask(send, self.served.model, self._asked(row, images))
            except NoCompletionError as error:  # which is an answer, of the model
                return Written(row_id=row.id, error=printable(error, _ERROR_CHARACTERS))
            return _written(row, completion, share())

    @property
    def origin(self) -> dict[str, Any]:
        """Model and server, as the server says."""
        return {
            "generator": self.name,
            "model": self.served.model,
            "revision": self.served.revision,
            "server": f"{self.served.server} ({self.served.version})",
        }

    def _asked(self, row: Row, images: NDArray[np.uint8]) -> Prompt:
        request = row.request
        strategy, rendered = load_strategy(request.strategy), self.rendered(request)
        return Prompt(
            text=rendered.user,
            system=rendered.system,
            image=None if request.image is None else images[request.image],
            image_first=self.image_first,
            max_tokens=strategy.max_new_tokens,
            json_schema=report_json_schema() if strategy.output == "json" else None,
            choices=("Yes", "No") if strategy.output == "yes_no" else None,
        )


def _written(row: Row, completion: Completion, share: float) -> Written:
    usage = Usage(
        prompt_tokens=completion.prompt_tokens,
        generated_tokens=completion.generated_tokens,
        thought_tokens=completion.thought_tokens,
        finish_reason=completion.finish_reason,
        seconds=share,
        batch_size=max(1, round(completion.seconds / share)) if share > 0 else 1,
        peak_gib=None,
    )
    return Written(
        row_id=row.id,
        text=completion.text,
        score=completion.probability,
        choice_mass=completion.choice_mass,
        decided_by=completion.decided_by,
        usage=usage,
    )


def _those_in(ended: SimpleQueue[Future[Written]]) -> Iterator[Future[Written]]:
    while not ended.empty():
        yield ended.get()
