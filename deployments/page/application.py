"""One page where a person drops an X-ray and sees what the flow `cases` finds.

It stores pictures, starts runs of the deployment `cases` and shows what they have written; it computes nothing itself.
A file comes as the body of one request, so that it is stored as it arrives. What the client says of it is its name.
"""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote
from uuid import UUID

from fastapi import FastAPI, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from fastapi.templating import Jinja2Templates
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

import tasks.shared
from deployments.page import products, runs
from deployments.page.guard import HEALTH, Guard
from deployments.page.refusal import RefusalError
from deployments.page.settings import PageSettings
from deployments.page.tracked import tracked_page
from deployments.page.uploads import Limits, Uploads
from models.notices import RESEARCH_NOTICE
from tasks.execution.server import flow_run_page, prefect_page
from tasks.storage.locations import tracking_page
from tasks.tracking.pages import start_page

_HERE = Path(__file__).parent
_ASSETS = {  # the look is that of the pages that the flows write
    "base.css": Path(tasks.shared.__file__).parent / "page_templates" / "style.css",
    "page.css": _HERE / "assets" / "page.css",
    "page.js": _HERE / "assets" / "page.js",
}
_ASSET_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
_EARLIER = 20
_LONGEST_REQUEST = 1 << 16


class Asked(BaseModel):
    """Pictures to look at together.

    Attributes:
        pictures: what the page answered when each was uploaded.
    """

    model_config = ConfigDict(extra="forbid")
    pictures: list[str]


def application(settings: PageSettings, folder: Path, limits: Limits | None = None) -> Guard:
    """Make the application.

    Args:
        settings: under which names it is reached, and who may use it.
        folder: of all products, in which `uploads` and `cases` lie.
        limits: how much it takes.

    Returns:
        An ASGI application.
    """
    limits = limits or Limits()
    uploads, cases = Uploads(folder / "uploads", limits), folder / "cases"
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    _answer_errors(app)

    @app.get(HEALTH)
    async def health() -> PlainTextResponse:
        return PlainTextResponse("OK")

    @app.get("/assets/{name}")
    async def asset(name: str) -> Response:
        if name not in _ASSETS:
            raise HTTPException(404)
        return FileResponse(_ASSETS[name], media_type=_ASSET_TYPES[_ASSETS[name].suffix])

    @app.get("/")
    def front(request: Request) -> HTMLResponse:
        return _page(
            request,
            "front.html",
            limits=asdict(limits),
            earlier=products.newest(cases, _EARLIER),
            prefect=prefect_page(),
            mlflow=start_page(tracking_page()),
        )

    @app.put("/uploads", status_code=201)
    async def upload(
        request: Request, x_picture_name: Annotated[str, Header(max_length=10_000)] = ""
    ) -> dict[str, str]:
        uploads.admit(request.headers.get("Content-Length"))
        try:
            async with asyncio.timeout(limits.seconds):
                return {"picture": await uploads.keep(request.stream(), unquote(x_picture_name))}
        except TimeoutError as error:
            raise RefusalError(408, f"The file did not arrive within {limits.seconds:g} s: try again.") from error

    @app.post("/runs", status_code=201)
    async def start(request: Request) -> dict[str, str]:
        asked = Asked.model_validate_json(await _body(request))
        pictures = await run_in_threadpool(uploads.paths, asked.pictures)
        return {"address": f"/runs/{await runs.start(pictures)}"}

    @app.get("/runs/{run}")
    async def show(request: Request, run: UUID) -> HTMLResponse:
        result = await run_in_threadpool(products.results, cases, run)
        try:
            progress = await runs.progress(run)
        except RefusalError as error:  # what has been found is shown all the same
            progress = runs.Progress("done" if result else "waiting", str(error))
        if progress is None and result is None:
            raise RefusalError(404, "There is no such run: start anew.")
        if progress is None:
            progress = runs.Progress("done", "Done.")
        if progress.stage == "done" and result is None:
            said = "The run is done, but its results are not in this page's outputs folder: Prefect shows what it did."
            progress = runs.Progress("failed", said)
        return _page(
            request,
            "run.html",
            run=run,
            progress=progress,
            result=result if progress.stage == "done" else None,
            place=cases / str(run),
            prefect=flow_run_page(str(run)),
            mlflow=await run_in_threadpool(tracked_page, run) if progress.stage == "done" else None,
        )

    @app.get("/runs/{run}/progress")
    async def progress(run: UUID) -> dict[str, str]:
        found = await runs.progress(run)
        if found is None:
            raise RefusalError(404, "There is no such run: start anew.")
        return found._asdict()

    @app.get("/cases/{run}/{name:path}")
    def file(run: UUID, name: str) -> Response:
        path = products.product(cases, run, name)
        if path is None:
            raise HTTPException(404)
        headers = {}
        if path.suffix in products.SHOWN:
            policy = products.policy(path) if path.suffix == ".html" else "default-src 'none'; frame-ancestors 'self'"
            headers["Content-Security-Policy"] = policy
        kind = "inline" if path.suffix in products.SHOWN else "attachment"
        return FileResponse(
            path,
            headers=headers,
            media_type=products.TYPES[path.suffix],
            filename=path.name,
            content_disposition_type=kind,
        )

    return Guard(app, settings)


async def _body(request: Request) -> bytes:
    """Read a small body.

    Raises:
        RefusalError: it is not JSON, which no form of another site can send, or too large.
    """
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
        raise RefusalError(415, "The pictures to look at are named in JSON: send application/json.")
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _LONGEST_REQUEST:
            raise RefusalError(413, f"More than {_LONGEST_REQUEST >> 10} kB name the pictures: choose fewer.")
    return body


def _answer_errors(app: FastAPI) -> None:
    """Answer what goes wrong with one sentence: to a script as JSON, to a person as a page."""

    @app.exception_handler(RefusalError)
    async def refused(request: Request, error: RefusalError) -> Response:
        return _problem(request, error.status, str(error))

    @app.exception_handler(HTTPException)
    async def not_answered(request: Request, error: HTTPException) -> Response:
        sentence = {404: "There is nothing here: begin at the first page.", 405: "This is not asked like that."}
        return _problem(request, error.status_code, sentence.get(error.status_code, error.detail))

    @app.exception_handler(RequestValidationError)
    @app.exception_handler(ValidationError)
    async def not_understood(request: Request, error: Exception) -> Response:
        return _problem(request, 400, "The request is not one that this page understands: begin at the first page.")

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=400)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:  # its traceback is in the server's log
        return _problem(request, 500, "The page failed at this: outputs/services/page.log says why.")


def _problem(request: Request, status: int, sentence: str) -> Response:
    headers = {"Retry-After": "1"} if status == 503 else None
    if "text/html" in request.headers.get("Accept", ""):
        return _page(request, "problem.html", status, sentence=sentence)
    return JSONResponse({"problem": sentence}, status, headers)


def _page(request: Request, name: str, status: int = 200, **values: object) -> HTMLResponse:
    return _TEMPLATES.TemplateResponse(request, name, values, status)


_TEMPLATES = Jinja2Templates(
    env=Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
)
_TEMPLATES.env.globals["research_notice"] = RESEARCH_NOTICE
