"""Pages: the addresses that the server knows."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from html import escape
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from wherefrom.app._asked import LONGEST_ANSWER, Asked
from wherefrom.app._desk import Desk
from wherefrom.app._export import MEDIA, export
from wherefrom.app._faults import sentence, told
from wherefrom.app._guard import Guard
from wherefrom.app._thread import ModelThread, Tell
from wherefrom.atomic import file_name
from wherefrom.errors import WherefromError
from wherefrom.safetext import printable

_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml; charset=utf-8",
}


def make_app(desk: Desk, thread: ModelThread | None = None, token: str | None = None) -> Starlette:
    """The page and what it asks, as an ASGI application.

    Args:
        desk: of the run.
        thread: where the model works; one of its own when None.
        token: of this start; drawn when None.
    """
    token = token or secrets.token_urlsafe(24)
    pages = _Pages(desk, thread or ModelThread(), token)
    return Starlette(
        routes=[
            Route("/", pages.page),
            *(Route(f"/{name}", _static(name)) for name in _names()),
            Route("/api/run", pages.about),
            Route("/api/ask", pages.ask, methods=["POST"]),
            Route("/api/rows", pages.rows, methods=["POST"]),
            Route("/api/verdict", pages.verdict, methods=["POST"]),
            Route("/api/tokens", pages.tokens, methods=["POST"]),
            Route("/api/text", pages.text, methods=["POST"]),
            Route("/api/marks", pages.mark, methods=["POST"]),
            Route("/marked.{ending}", pages.marked),
        ],
        middleware=[Middleware(Guard, token=token)],
        exception_handlers={WherefromError: told, HTTPException: told, Exception: told},
    )


class _Pages:
    def __init__(self, desk: Desk, thread: ModelThread, token: str) -> None:
        self._desk = desk
        self._thread = thread
        self._html = _read("page.html").replace("{token}", escape(token))

    async def page(self, _: Request) -> Response:
        """The page itself."""
        return HTMLResponse(self._html)

    async def about(self, _: Request) -> Response:
        """What is known of the run before anything is asked."""
        return JSONResponse(self._desk.about())

    async def ask(self, request: Request) -> Response:
        """A question: the answer piece by piece, then the rows; one JSON object a line."""
        asked = await Asked.of(request)
        prompt, response = asked.text("prompt"), asked.text("response", "").strip()
        method = asked.text("method", self._desk.leading)
        longest = asked.number("longest", 1, LONGEST_ANSWER, 64)
        chosen, (start, count), sides = asked.filter(), asked.range(), asked.sides()

        def work(tell: Tell) -> None:
            try:
                tell({"kind": "begun"})
                text = response
                if not text:
                    heard = True

                    def hear(piece: str) -> bool:
                        nonlocal heard
                        heard = tell({"kind": "piece", "text": printable(piece)})
                        return heard

                    text = self._desk.speak(prompt, longest, hear)
                    if not heard:
                        return
                key = self._desk.put(prompt, text, generated=not response)
                shown = {"kind": "answer", "question": key, "response": printable(text)}
                if tell({**shown, "generated": not response}):
                    found = self._desk.rows(key, method, chosen, start, count, sides)
                    tell({"kind": "rows", **found})
            except Exception as error:
                tell({"kind": "error", "error": sentence(error)})

        return StreamingResponse(self._lines(work), media_type="application/x-ndjson")

    async def rows(self, request: Request) -> Response:
        """Rows by a method, filtered."""
        asked = await Asked.of(request)
        key, method, chosen = asked.text("question"), asked.text("method"), asked.filter()
        (start, count), sides = asked.range(), asked.sides()
        return await self._json(lambda: self._desk.rows(key, method, chosen, start, count, sides))

    async def verdict(self, request: Request) -> Response:
        """The verdict on a method's answer."""
        asked = await Asked.of(request)
        key, method = asked.text("question"), asked.text("method")
        return await self._json(lambda: self._desk.verdict(key, method))

    async def tokens(self, request: Request) -> Response:
        """Which tokens carry a row's score."""
        asked = await Asked.of(request)
        key, method, number = asked.text("question"), asked.text("method"), _row(asked)
        return await self._json(lambda: self._desk.tokens(key, method, number))

    async def text(self, request: Request) -> Response:
        """A piece of a row's text."""
        asked = await Asked.of(request)
        start = asked.number("start", 0, 2_000_000_000, 0)
        return JSONResponse(self._desk.piece(_row(asked), asked.text("part"), start))

    async def mark(self, request: Request) -> Response:
        """Marks a row."""
        asked = await Asked.of(request)
        key, method = asked.text("question", ""), asked.text("method", "")
        return JSONResponse(self._desk.mark(_row(asked), asked.mark(), key, method))

    async def marked(self, request: Request) -> Response:
        """The marked rows as a file."""
        ending = request.path_params["ending"]
        run = self._desk.run
        content = export(run.train, self._desk.marks.held(), ending)
        name = file_name(run.path.resolve().name).encode("ascii", "replace").decode()
        saved = f'attachment; filename="{name.replace("?", "_")}-marked.{ending}"'
        return Response(
            content, headers={"Content-Disposition": saved, "Content-Type": MEDIA[ending]}
        )

    async def _json(self, work: Any) -> Response:
        return JSONResponse(await self._thread.run(work))

    async def _lines(self, work: Any) -> AsyncIterator[str]:
        async for item in self._thread.stream(work):
            yield json.dumps(item, allow_nan=False) + "\n"


def _row(asked: Asked) -> int:
    return asked.number("row", 1, 2_000_000_000)


def _read(name: str) -> str:
    return (files("wherefrom.app") / name).read_text(encoding="utf-8")


def _names() -> list[str]:
    found = [entry.name for entry in files("wherefrom.app").iterdir()]
    return sorted(name for name in found if name.rpartition(".")[2] in _TYPES)


def _static(name: str) -> Any:
    async def static(_: Request) -> Response:
        return Response(_read(name), media_type=_TYPES[name.rpartition(".")[2]])

    return static
