"""Guard: who may ask, and what a browser may do with what it gets."""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN = "x-wherefrom-token"  # noqa: S105
NAMES = ("127.0.0.1", "localhost")
"""Hosts that a request may be addressed to: a site whose name was made to point here has another."""
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


class Guard:
    """Lets through what the page itself asks, and sends every answer with strict headers.

    Requests must be addressed to this machine by a loopback name (DNS rebinding); those that change or
    start something must come from the page's own origin and carry the token of this start (CSRF).

    Args:
        app: what is guarded.
        token: of this start; the page carries it.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        why = self._refusal(scope)
        if why is None:
            await self._app(scope, receive, sent)
        else:
            await JSONResponse({"error": why}, 403)(scope, receive, sent)

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if _name(host) not in NAMES:
            return "This page answers only to 127.0.0.1 and localhost."
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return "This page answers only to itself, not to other sites."
        if scope["method"] in ("GET", "HEAD"):
            return None
        origin = headers.get("origin")
        if origin is not None and origin != f"{scope['scheme']}://{host}":
            return "This request comes from another site."
        if not secrets.compare_digest(headers.get(TOKEN, "").encode(), self._token.encode()):
            return "This page is from an earlier start of the server. Reload it."
        return None


def _name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
