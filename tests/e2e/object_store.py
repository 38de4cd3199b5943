"""An object store as tests have it: moto's server, which speaks S3's interface, or says that keys have expired."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "pneumonia"
_EXPIRED = """<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message><Token-0>{token}</Token-0>
<RequestId>0</RequestId></Error>"""


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing: what a test does wrong it sees itself."""


@contextlib.contextmanager
def object_store() -> Iterator[SimpleNamespace]:
    """Have a server with an empty bucket, and the environment by which clients find it.

    Yields:
        Its `uri`; the `variables` of the environment; `client`, boto3's; and `state`, whose `expired` makes it answer
        as S3 does once a token has expired, which it quotes, whose `writes` are how many it takes until then, and
        whose `tokens` have been shown.
    """
    application = DomainDispatcherApplication(create_backend_app)
    state = SimpleNamespace(expired=False, writes=sys.maxsize, tokens=set())

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        token = environ.get("HTTP_X_AMZ_SECURITY_TOKEN", "")
        state.tokens.add(token)
        state.writes -= environ["REQUEST_METHOD"] == "PUT"
        if state.expired or state.writes < 0:
            said = _EXPIRED.format(token=token).encode()
            start("400 Bad Request", [("Content-Type", "application/xml"), ("Content-Length", str(len(said)))])
            return [b"" if environ["REQUEST_METHOD"] == "HEAD" else said]
        answered: Iterable[bytes] = application(environ, start)
        return answered

    server = make_server("127.0.0.1", 0, answer, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    variables = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "key-of-a-test",
        "AWS_SECRET_ACCESS_KEY": "secret-of-a-test",
        "AWS_SESSION_TOKEN": "token-of-a-test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "STORE_URI": f"s3://{BUCKET}/store",
    }
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            import boto3

            client = boto3.client("s3")
            client.create_bucket(Bucket=BUCKET)
            yield SimpleNamespace(variables=variables, uri=variables["STORE_URI"], client=client, state=state)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
