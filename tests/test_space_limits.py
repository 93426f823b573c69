"""Laws of what strangers may make the Space fetch and hold: little, from public addresses, and not for long."""

import io
import os
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from conftest import draw
from space_server import call, load_space, serve

MEGABYTE = 2**20


@pytest.fixture(scope="module")
def url():
    with serve(load_space()) as address:
        yield address


def picture() -> bytes:
    file = io.BytesIO()
    draw(160, 120).save(file, "PNG")
    return file.getvalue()


class Web(BaseHTTPRequestHandler):
    """A picture, one without an end, one that never comes, and one that is small only as it is sent."""

    sent = 0

    def do_GET(self) -> None:
        self.send_response(200)
        name = self.path.split("?")[0]
        if name == "/packed.png":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        try:
            if name == "/picture.png":
                self.wfile.write(picture())
            elif name == "/packed.png":
                packer = zlib.compressobj(9, wbits=31)
                self.wfile.write(packer.compress(bytes(200 * MEGABYTE)) + packer.flush())
            while name in ("/endless.png", "/slow.png"):
                self.wfile.write(bytes(MEGABYTE if name == "/endless.png" else 1))
                Web.sent += MEGABYTE
                if name == "/slow.png":
                    threading.Event().wait(0.05)
        except OSError:  # the other side has had enough
            pass

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def web(monkeypatch):
    """The address of a server that counts as public."""
    import limits

    async def public(host: str) -> str:
        return "127.0.0.1"

    monkeypatch.setattr(limits, "async_validate_url", public)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://pictures.example:{server.server_port}"
    server.shutdown()


def linked(address: str) -> dict:
    return {"path": address, "meta": {"_type": "gradio.FileData"}}


def bytes_on_disk() -> int:
    folder = Path(os.environ["GRADIO_TEMP_DIR"])
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_a_drawing_may_be_named_by_its_address(url, web):
    kind, text = call(url, "suggest_colors", drawing=linked(f"{web}/picture.png"), x=30, y=60)
    assert kind == "complete", text
    assert "probability" in text


def test_a_file_without_an_end_is_cut_off(url, web):
    Web.sent, before = 0, bytes_on_disk()
    kind, text = call(url, "colorize", drawing=linked(f"{web}/endless.png"))
    assert (kind, "at most 20 MB" in text) == ("error", True), text
    assert Web.sent < 60 * MEGABYTE  # what lies in the network's buffers included
    assert bytes_on_disk() == before


def test_a_file_that_never_comes_is_given_up(url, web, monkeypatch):
    import limits

    monkeypatch.setattr(limits, "MAX_SECONDS", 0.5)
    kind, text = call(url, "colorize", drawing=linked(f"{web}/slow.png"))
    assert (kind, "did not arrive" in text) == ("error", True), text


def test_what_is_compressed_is_not_unpacked(url, web):
    before = bytes_on_disk()
    kind, text = call(url, "colorize", drawing=linked(f"{web}/packed.png"))
    assert kind == "error", text
    assert bytes_on_disk() - before < MEGABYTE


@pytest.mark.parametrize("host", ["127.0.0.1", "169.254.169.254", "10.0.0.1"])
def test_private_addresses_are_not_asked(url, host):
    kind, _ = call(url, "colorize", drawing=linked(f"http://{host}:9/picture.png"))
    assert kind == "error"


def test_the_space_fetches_no_pages_for_others(url, web):
    for file in ("/gradio_api/file=", "/file="):
        assert httpx.get(f"{url}{file}{web}/picture.png").status_code == 404


def test_long_bodies_are_refused(url):
    answer = httpx.post(f"{url}/gradio_api/call/v2/colorize", content=b" " * (33 * MEGABYTE), timeout=60)
    assert answer.status_code == 413

    def without_length():
        for _ in range(40):
            yield b" " * MEGABYTE

    try:
        answer = httpx.post(f"{url}/gradio_api/call/v2/colorize", content=without_length(), timeout=60)
    except httpx.HTTPError:
        return  # hung up on
    assert answer.status_code >= 400
