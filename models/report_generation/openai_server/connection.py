"""The connection to a server: what is tried again, what is the request's fault, and what ends a run.

OpenAI's own library tries again what passes by itself: 408, 409, 429 and 5xx, connections that are refused or break
and answers that take too long; after as long as `Retry-After` asks for, up to two minutes, else after half a second,
doubled each time up to eight, less a random part. Here is decided what it means when that does not help.
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, NoReturn, Self

from models.bounded_json import parse_json
from models.errors import InputError
from models.report_generation.openai_server.address import is_loopback
from models.report_generation.openai_server.exchange import RefusedError
from models.text import printable

CONNECT_SECONDS = 10.0
"""In which a server must take a connection."""
READ_SECONDS = 300.0
"""In which it must begin to answer, and go on: a slow one writes a report of 400 tokens in two minutes."""
RETRIES = 6
"""Further tries of a request, which wait 20 to 25 seconds together unless the server asks for more."""
UNREADABLE_TRIES = 3
"""Tries until an answer that is no JSON, such as half of one, counts as what the server says."""

_ENDS_THE_RUN = {
    401: "does not accept the key: put the right one into the Secret block of --reports.key_block or OPENAI_API_KEY",
    402: "wants to be paid first",
    403: "does not allow this with the key: put another into the Secret block of --reports.key_block or OPENAI_API_KEY",
    404: "knows no such model or address: name both as `GET /v1/models` does",
    405: "does not answer chat completions at this address: give the one that ends in /v1 or the like",
    429: "takes no more requests: lower --reports.at_once or go on later",
}
_WORDS = 150


class Connection:
    """An open connection to a server, in an event loop.

    Args:
        server: its address, as `address.normalised` writes it.
        key: what it is opened with, or None where it takes everyone.
        retries: further tries of a request.
    """

    def __init__(self, server: str, key: str | None, *, retries: int = RETRIES) -> None:
        import httpx2  # what the library connects with
        import openai  # takes half a second to import, and only writing needs it

        self._library, self._transport, self._server, self._key = openai, httpx2, server, key
        # What the environment holds for OpenAI itself (organisation, project, an administrator's key) stays here.
        unsent: dict[str, Any] = {"OpenAI-Organization": openai.Omit(), "OpenAI-Project": openai.Omit()}
        if key is None:
            unsent["Authorization"] = openai.Omit()
        self._options: Any = {"headers": unsent}
        self._client = openai.AsyncOpenAI(
            base_url=server,
            api_key=key or "none",  # which is not sent
            max_retries=retries,
            http_client=openai.DefaultAsyncHttpxClient(
                base_url=server,
                timeout=openai.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
                trust_env=not is_loopback(server),  # a proxy knows nothing of this machine's servers
                follow_redirects=False,  # pictures go to the named server only
            ),
        )

    async def __aenter__(self) -> Self:
        """Return the connection."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        await self._client.close()

    async def chat(self, body: Mapping[str, Any]) -> Any:
        """Send a request for a chat completion.

        Args:
            body: JSON values.

        Returns:
            The body of the answer, JSON values.

        Raises:
            RefusedError: the server does not answer this request, in its words.
            InputError: it answers none.
        """
        for _ in range(UNREADABLE_TRIES):
            text = await self._post(body)
            try:
                return parse_json(text)
            except ValueError:
                continue
        raise RefusedError(f"no JSON was answered: {self._shown(text)}")

    async def get(self, path: str) -> tuple[Any, Mapping[str, str]]:
        """Ask for what a server tells of itself.

        Args:
            path: below the server's address, or another address of the same server.

        Returns:
            The body, None where there is no such thing or it is no JSON, and the headers.

        Raises:
            InputError: the server cannot be reached, or does not accept the key.
        """
        library = self._library
        try:
            response = await self._client.get(path, cast_to=self._transport.Response, options=self._options)
        except library.APIStatusError as error:
            if error.status_code in (401, 403):
                self._fail(error)
            return None, error.response.headers
        except library.APIConnectionError as error:
            self._fail(error)
        try:
            return parse_json(response.text), response.headers
        except ValueError:
            return None, response.headers

    async def _post(self, body: Mapping[str, Any]) -> str:
        library = self._library
        try:
            response = await self._client.post(
                "/chat/completions", body=dict(body), cast_to=self._transport.Response, options=self._options
            )
            return str(response.text)
        except (library.APIStatusError, library.APIConnectionError) as error:
            self._fail(error)

    def _fail(self, error: Any) -> NoReturn:
        """Say what a fault means that trying again did not cure; nothing of the request goes along with it."""
        library = self._library
        if isinstance(error.__cause__, self._transport.ReadTimeout | self._transport.WriteTimeout):
            raise RefusedError("the server took too long") from None
        if isinstance(error, library.APIConnectionError):
            why = printable(error.__cause__ or error)
            raise InputError(
                f"The server {printable(self._server)} cannot be reached ({why}): start it, or mend --reports.server; "
                "what was written is kept."
            ) from None
        status = error.status_code
        said = self._shown(_words(error))
        if 300 <= status < 400:
            to = printable(error.response.headers.get("location", "elsewhere"))
            raise InputError(
                f"The server {printable(self._server)} sends requests on to {to}: name that address."
            ) from None
        if status in _ENDS_THE_RUN:
            raise InputError(
                f"The server {printable(self._server)} {_ENDS_THE_RUN[status]}; it answered {status}: {said}"
            ) from None
        raise RefusedError(f"{status}: {said}") from None

    def _shown(self, words: str) -> str:
        """Make the server's words fit to be shown and kept: some servers quote the key."""
        return printable(words if self._key is None else words.replace(self._key, "(key)"), _WORDS)


def _words(error: Any) -> str:
    """Find the sentence in the body of an answer that is an error."""
    body = error.body  # of {"error": …} the library gives the inner part
    if isinstance(body, dict):
        inner = body.get("error", body)
        found = inner.get("message") or body.get("detail") if isinstance(inner, dict) else inner
        return str(found or body)
    return str(body or error.response.reason_phrase or "nothing")
