"""Limits on what strangers send: files only as uploads, and no long bodies."""

import re

import gradio as gr
import httpx
from gradio import processing_utils
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 8 * 2**20  # of a request in bytes; uploads have gradio's own limit
REMOTE_FILE = re.compile(r"/file[=/]\s*https?:", re.IGNORECASE)  # gradio would fetch it in the caller's stead
NO_ADDRESSES = "a file is taken as an upload or as data:image/...;base64, not by an address on the web"


class RequestLimits:
    """ASGI middleware: no body over `MAX_BODY` but an upload's, and no fetching of pages of the web for others."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it with a sentence."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if REMOTE_FILE.search(scope["path"]):
            return await PlainTextResponse(NO_ADDRESSES, 404)(scope, receive, send)
        if scope["path"].rstrip("/").endswith("/upload"):
            return await self.app(scope, receive, send)
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > MAX_BODY:
            return await PlainTextResponse(f"at most {MAX_BODY >> 20} MB", 413)(scope, receive, send)
        return await self.app(scope, counted(receive), send)


def counted(receive: Receive) -> Receive:
    """A body that does not say its length beforehand ends, as if its sender had left, where it gets too long."""
    total = 0

    async def receive_counted() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        return message if total <= MAX_BODY else {"type": "http.disconnect"}

    return receive_counted


class NoDownloads(httpx.AsyncBaseTransport):
    """What gradio would fetch files through that callers name by an address: it fetches nothing.

    A limit would have to hold for slow servers, redirects, any number of addresses in one call, and every address
    that only looks public; a file can as well be sent.
    """

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Always a sentence for the caller."""
        raise gr.Error(NO_ADDRESSES, print_exception=False)


def forbid_downloads() -> None:
    """From now on gradio fetches no file that a caller names by an address."""
    processing_utils.async_transport = NoDownloads()
