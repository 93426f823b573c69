"""Laws of what strangers may make the Space fetch and hold: nothing from elsewhere, and no long bodies."""

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from space_server import call, load_space, serve

MEGABYTE = 2**20


@pytest.fixture(scope="module")
def url():
    with serve(load_space()) as address:
        yield address


@pytest.fixture
def web(monkeypatch):
    """A server elsewhere that counts as public, and the paths that it was asked for."""
    import safehttpx

    async def public(host: str) -> str:
        return "127.0.0.1"

    asked = []

    class Web(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"remote")

        def log_message(self, *_: object) -> None: ...

    monkeypatch.setattr(safehttpx, "async_validate_url", public)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://pictures.example:{server.server_port}", asked
    server.shutdown()


def linked(address: str) -> dict:
    return {"path": address, "meta": {"_type": "gradio.FileData"}}


def test_the_server_of_these_tests_would_be_asked_without_the_ban(url, web, monkeypatch):
    from gradio import processing_utils

    address, asked = web
    monkeypatch.setattr(processing_utils, "async_transport", None)
    call(url, "colorize", drawing=linked(f"{address}/picture.png"))
    assert asked == ["/picture.png"]


def test_a_file_named_by_an_address_is_refused_with_a_sentence(url, web):
    address, asked = web
    kind, text = call(url, "colorize", drawing=linked(f"{address}/picture.png"))
    assert (kind, "taken as an upload" in text) == ("error", True), text
    assert asked == []


def test_addresses_are_refused_in_whatever_argument_they_hide(url, web):
    address, asked = web
    many = [linked(f"{address}/{number}.png") for number in range(30)]
    for arguments in ({"hints": many}, {"palette": many}, {"reference": many[0]}):
        kind, _ = call(url, "colorize", drawing=many, **arguments)
        assert kind == "error"
    kind, _ = call(url, "read_palette", picture=many)
    assert kind == "error"
    assert asked == []


@pytest.mark.parametrize(
    "route", ["/gradio_api/file=", "/file=", "/gradio_api/file/", "/file/", "/gradio_api/file=%20"]
)
def test_the_space_fetches_no_pages_for_others(url, web, route):
    address, asked = web
    answer = httpx.get(f"{url}{route}{address}/picture.png")
    assert answer.status_code >= 400
    assert b"remote" not in answer.content
    assert asked == []


def test_long_bodies_are_refused(url):
    body = json.dumps({"data": []}).encode() + b" " * (9 * MEGABYTE)
    assert httpx.post(f"{url}/gradio_api/call/colorize", content=body, timeout=60).status_code == 413


def test_a_body_of_unknown_length_ends_where_it_gets_too_long(url):
    from limits import MAX_BODY, counted

    async def endless() -> dict:
        return {"type": "http.request", "body": bytes(MEGABYTE), "more_body": True}

    async def read() -> list[str]:
        receive = counted(endless)
        return [(await receive())["type"] for _ in range(MAX_BODY // MEGABYTE + 2)]

    assert asyncio.run(read()) == ["http.request"] * (MAX_BODY // MEGABYTE) + ["http.disconnect"] * 2
