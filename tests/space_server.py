"""The Space served in this process, for tests that talk to it."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import httpx
import pytest

ROOT = Path(__file__).parents[1]
SPACE = ROOT / "space"


def load_space() -> ModuleType:
    """space/app.py, as the Space itself imports it."""
    pytest.importorskip("gradio", reason="the extra 'demo' is not installed")
    if not (ROOT / "sketch_colorizer" / "weights" / "model.safetensors").is_file():
        pytest.skip("this checkout has no embedded weights")
    if str(SPACE) not in sys.path:
        sys.path.insert(0, str(SPACE))
    import app

    return app


@contextmanager
def serve(space: ModuleType) -> Iterator[str]:
    """Its address, while it runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server, url, _ = space.launch(server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, quiet=True)
    try:
        yield url.rstrip("/")
    finally:
        server.get_blocks().close(verbose=False)


def upload(url: str, content: bytes, name: str = "drawing.png") -> dict:
    """A file as the server names it in later calls."""
    answer = httpx.post(f"{url}/gradio_api/upload", files={"files": (name, content)}, timeout=60)
    answer.raise_for_status()
    return {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}}


def join(url: str, endpoint: str, **named: object) -> httpx.Response:
    """Put a call into the queue."""
    return httpx.post(f"{url}/gradio_api/call/v2/{endpoint}", json=named, timeout=60)


def outcome(url: str, endpoint: str, event: str) -> tuple[str, str]:
    """How a call ended ("complete" or "error"), and what came back as JSON text."""
    with httpx.stream("GET", f"{url}/gradio_api/call/{endpoint}/{event}", timeout=120) as answer:
        lines = [line for line in answer.iter_lines() if line]
    return lines[-2].removeprefix("event: "), lines[-1].removeprefix("data: ")


def call(url: str, endpoint: str, **named: object) -> tuple[str, str]:
    """A call from beginning to end; one that is refused at once counts as an error."""
    answer = join(url, endpoint, **named)
    if answer.status_code != 200:
        return "error", answer.text
    return outcome(url, endpoint, answer.json()["event_id"])
