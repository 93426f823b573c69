"""Limits on what strangers send: the bodies of requests, and files that they name by an address on the web."""

import time
from collections.abc import AsyncIterator

import gradio as gr
import httpx
from gradio import processing_utils
from safehttpx import AsyncSecureTransport, async_validate_url
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 32 * 2**20  # of a request in bytes: a file at its limit, written as base64, fits
MAX_DOWNLOAD = 20 * 2**20  # bytes
MAX_SECONDS = 30.0  # of a download


class RequestLimits:
    """ASGI middleware: no body over `MAX_BODY`, and no fetching of pages of the web in a caller's stead."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it with a sentence."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if "file=http" in scope["path"].lower():
            return await PlainTextResponse("only files of this page are served", 404)(scope, receive, send)
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > MAX_BODY:
            return await PlainTextResponse(f"at most {MAX_BODY >> 20} MB", 413)(scope, receive, send)
        return await self.app(scope, _counted(receive), send)


def _counted(receive: Receive) -> Receive:
    """A body that does not say its length beforehand ends, as if its sender had left, where it gets too long."""
    total = 0

    async def receive_counted() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        return message if total <= MAX_BODY else {"type": "http.disconnect"}

    return receive_counted


class _Download(httpx.AsyncByteStream):
    """A body that is cut off, with a sentence for the caller, where it gets too long or takes too long."""

    def __init__(self, stream: httpx.AsyncByteStream, transport: httpx.AsyncBaseTransport) -> None:
        self._stream, self._transport = stream, transport

    async def __aiter__(self) -> AsyncIterator[bytes]:
        total, end = 0, time.monotonic() + MAX_SECONDS
        async for chunk in self._stream:
            total += len(chunk)
            if total > MAX_DOWNLOAD:
                raise gr.Error(f"a file may have at most {MAX_DOWNLOAD >> 20} MB", print_exception=False)
            if time.monotonic() > end:
                raise gr.Error(f"the file did not arrive within {MAX_SECONDS:g} seconds", print_exception=False)
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
        await self._transport.aclose()


class LimitedDownloads(httpx.AsyncBaseTransport):
    """Fetches from public addresses alone, as gradio does, but neither much nor long."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The response as it was sent: what is compressed stays so, since it might unpack to any size."""
        transport = AsyncSecureTransport(await async_validate_url(request.url.host))
        request.headers["Accept-Encoding"] = "identity"
        response = await transport.handle_async_request(request)
        response.headers.pop("Content-Encoding", None)
        response.stream = _Download(response.stream, transport)
        return response


def limit_downloads() -> None:
    """From now on gradio fetches the files that callers name by an address through `LimitedDownloads`."""
    processing_utils.async_transport = LimitedDownloads()
