"""Laws of the Space's API: it gives what the pipeline gives, and strangers get sentences, never files or traces."""

import asyncio
import base64
import io
import json
import random
import re
import struct
import threading
import time
import zipfile
import zlib
from pathlib import Path

import httpx
import numpy as np
import pytest
from conftest import draw
from PIL import Image
from space_server import ROOT, SPACE, call, join, load_space, outcome, serve, upload

from sketch_colorizer import save_result

RED = "#c81e1e"


@pytest.fixture(scope="module")
def space():
    return load_space()


@pytest.fixture(scope="module")
def url(space):
    with serve(space) as address:
        yield address


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def huge_header(width: int, height: int) -> bytes:
    """A PNG of a few bytes that announces many pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def drawing():
    return draw(160, 120)


@pytest.fixture(scope="module")
def sent(url, drawing):
    return upload(url, encoded(drawing))


def fetched(url: str, file: dict) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(httpx.get(f"{url}/gradio_api/file={file['path']}").content)))


def test_the_picture_is_the_pipelines_own(space, url, drawing, sent):
    kind, text = call(url, "colorize", drawing=sent, hints=[[30, 60, RED, 5]])
    assert kind == "complete", text
    expected = space.pipeline(drawing, hints=[(30, 60, RED, 5)])
    picture = fetched(url, json.loads(text)[0])
    assert np.array_equal(picture, np.asarray(expected.image))
    assert tuple(picture[60, 30]) == (200, 30, 30)
    for part, layer in (("colors", expected.colors), ("lines", expected.line_art)):
        _, text = call(url, "colorize", drawing=sent, hints=[[30, 60, RED, 5]], part=part)
        assert np.array_equal(fetched(url, json.loads(text)[0]), np.asarray(layer))


def test_the_layers_come_as_files_for_painting_programs(space, url, drawing, sent, tmp_path):
    expected = space.pipeline(drawing)
    for part in ("psd", "ora"):
        kind, text = call(url, "colorize", drawing=sent, part=part)
        assert kind == "complete", text
        file = json.loads(text)[0]
        assert file["orig_name"] == f"layers.{part}"
        save_result(expected, tmp_path / file["orig_name"])
        content = httpx.get(f"{url}/gradio_api/file={file['path']}").content
        if part == "psd":
            assert content == (tmp_path / "layers.psd").read_bytes()
        else:  # a zip tells the time
            with zipfile.ZipFile(io.BytesIO(content)) as sent_back, zipfile.ZipFile(tmp_path / "layers.ora") as own:
                assert {name: sent_back.read(name) for name in sent_back.namelist()} == {
                    name: own.read(name) for name in own.namelist()
                }


def test_an_idea_is_the_one_that_was_shown(url, sent):
    _, shown = call(url, "propose", drawing=sent)
    ideas = json.loads(shown)[0]
    assert len(ideas) == 4
    _, plain = call(url, "colorize", drawing=sent)
    assert np.array_equal(fetched(url, json.loads(plain)[0]), fetched(url, ideas[0]))
    _, third = call(url, "colorize", drawing=sent, idea=2)
    assert np.array_equal(fetched(url, json.loads(third)[0]), fetched(url, ideas[2]))


def test_the_snippet_of_the_documentation_runs(url, monkeypatch):
    snippet = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "SPACE.md").read_text(), flags=re.DOTALL)[1]
    monkeypatch.chdir(ROOT)
    found: dict = {}
    exec(snippet.replace("http://127.0.0.1:7860", url), found)
    assert found["picture"].endswith(".png")
    assert Image.open(found["picture"]).size == Image.open("examples/cat.png").size
    assert len(found["ideas"]) == 4
    assert len(found["guesses"]) == 5
    assert sum(guess["probability"] for guess in found["guesses"]) <= 1.001
    assert {"x", "y", "colors"} == set(found["unsure"]["places"][0])
    assert all(re.fullmatch("#[0-9a-f]{6}", color) for color in found["colors"])
    assert largest_area(found["in_those_colors"]) in found["colors"]


def test_the_snippet_of_the_first_page_runs(url, monkeypatch):
    [snippet] = re.findall(r"```python\n(from gradio_client.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    monkeypatch.chdir(ROOT)
    found: dict = {}
    exec(snippet.replace("http://127.0.0.1:7860", url), found)
    assert Image.open(found["picture"]).size == Image.open("examples/cat.png").size


def largest_area(file: str) -> str:
    pixels = np.asarray(Image.open(file)).reshape(-1, 3)
    colors, counts = np.unique(pixels[(pixels.max(1) > 40) & (pixels.min(1) < 250)], axis=0, return_counts=True)
    return f"#{bytes(colors[counts.argmax()]).hex()}"


def test_documented_endpoints_are_those_there_are(url):
    names = {name.strip("/") for name in httpx.get(f"{url}/gradio_api/info").json()["named_endpoints"]}
    for page in (ROOT / "docs" / "SPACE.md", ROOT / "README.md", SPACE / "README.md"):
        text = page.read_text()
        assert all(f"`/{name}`" in text for name in names), page
    info = httpx.get(f"{url}/gradio_api/info").json()["named_endpoints"]
    rows = dict(re.findall(r"^\| `/(\w+)` \| (.*?) \|", (ROOT / "docs" / "SPACE.md").read_text(), flags=re.MULTILINE))
    for name in names:
        parameters = [each["parameter_name"] for each in info[f"/{name}"]["parameters"]]
        assert re.findall(r"`(\w+)`", rows[name]) == parameters


def test_tools_for_models_are_the_same_endpoints(url, drawing):
    mcp = pytest.importorskip("mcp")
    from mcp.client.streamable_http import streamablehttp_client

    async def use() -> tuple[set[str], str]:
        async with (
            streamablehttp_client(f"{url}/gradio_api/mcp/") as (read, write, _),
            mcp.ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = await session.list_tools()
            picture = "data:image/png;base64," + base64.b64encode(encoded(drawing)).decode()
            answer = await session.call_tool("suggest_colors", {"drawing": picture, "x": 30, "y": 60})
            return {tool.name: tool.description for tool in tools.tools}, answer.content[0].text

    tools, answer = asyncio.run(use())
    assert set(tools) == {"colorize", "propose", "suggest_colors", "show_uncertainty", "read_palette"}
    assert all(len(description) > 40 for description in tools.values())
    assert "probability" in answer


# --------------------------------------------------------------------------------------------------------------------
# Strangers


@pytest.mark.parametrize("meta", [{}, {"meta": {"_type": "gradio.FileData"}}])
@pytest.mark.parametrize("path", ["/etc/passwd", str(ROOT / "examples" / "cat.png"), "../../etc/passwd", "", "/"])
def test_no_file_of_the_server_is_read(url, path, meta):
    kind, text = call(url, "colorize", drawing={"path": path, **meta})
    assert kind == "error"
    assert "root:" not in text
    assert httpx.get(f"{url}/gradio_api/file={path}").status_code in (403, 404, 405)


def test_a_palette_never_names_a_file(url, sent):
    for palette in (str(ROOT / "docs" / "gallery.webp"), [str(ROOT / "docs" / "gallery.jpg")]):
        kind, text = call(url, "colorize", drawing=sent, palette=palette)
        assert kind == "error", text


def test_limits_are_told(url):
    kind, text = call(url, "colorize", drawing=upload(url, huge_header(6000, 5000)))
    assert (kind, "24 megapixels" in text) == ("error", True), text
    answer = httpx.post(f"{url}/gradio_api/upload", files={"files": ("a.png", b"0" * (21 * 2**20))}, timeout=60)
    assert answer.status_code == 413
    assert "maximum allowed size" in answer.text


def malformed(url: str, sent: dict) -> list[tuple[str, dict]]:
    """200 calls that no page of ours makes."""
    dice, good = random.Random(0), encoded(draw(64, 48))
    junk = [
        None,
        "",
        "x",
        -1,
        1e308,
        10**30,
        [],
        {},
        [[]],
        [[1, 2]],
        [[1, 2, "#zz", 3]],
        [[None] * 4],
        [["a"] * 4],
        True,
    ]
    junk += [[[1e9, 1, RED, 2]], [[1, 1, RED, -5]], "9" * 5000, [["/etc/passwd"]], {"path": None}, {"path": {"a": 1}}]
    calls: list[tuple[str, dict]] = []
    for number in range(70):
        content = bytearray(
            good if number % 2 else encoded(draw(64, 48), dice.choice(["JPEG", "WEBP", "GIF", "TIFF", "BMP"]))
        )
        for _ in range(dice.randint(1, 60)):
            content[dice.randrange(len(content))] = dice.randrange(256)
        content = content[: dice.randint(0, len(content))] if number % 3 else content
        name = dice.choice(["a.png", "b.jpg", "c.svg", "d.exe", "é ü.png", "x" * 200, "..png"])
        calls.append(("colorize", {"drawing": upload(url, bytes(content) or b"\0", name)}))
    endpoints = {
        "colorize": ["drawing", "hints", "palette", "reference", "idea", "seed", "part"],
        "propose": ["drawing", "hints", "palette", "reference", "seed"],
        "suggest_colors": ["drawing", "x", "y", "hints"],
        "show_uncertainty": ["drawing", "hints"],
        "read_palette": ["picture"],
    }
    while len(calls) < 200:
        endpoint = dice.choice(list(endpoints))
        arguments = {"picture" if endpoint == "read_palette" else "drawing": sent}
        arguments |= {"x": 5, "y": 5} if endpoint == "suggest_colors" else {}
        calls.append((endpoint, arguments | {dice.choice(endpoints[endpoint]): dice.choice(junk)}))
    return calls


def test_two_hundred_malformed_calls_get_sentences_and_leave_the_server_alive(space, url, sent):
    for endpoint, arguments in malformed(url, sent):
        kind, text = call(url, endpoint, **arguments)
        assert "Traceback" not in text
        if kind == "error":
            assert str(space.__file__) not in text
            assert "/sketch-colorizer-" not in text, text
            assert text != "null", (endpoint, arguments)
    assert call(url, "colorize", drawing=sent)[0] == "complete"


def test_a_slow_call_does_not_stop_a_cheap_one_and_the_queue_is_bounded(space, url, sent, monkeypatch):
    finish, plain = threading.Event(), space.pipeline

    def slow(picture, **settings):
        if settings["num_proposals"] == 4:
            finish.wait(60)
        return plain(picture, **settings)

    monkeypatch.setattr(space, "pipeline", slow)
    try:
        waiting = [join(url, "propose", drawing=sent, seed=seed) for seed in range(1, space.MAX_QUEUE)]
        assert call(url, "colorize", drawing=sent, hints=[[40, 50, RED, 3]])[0] == "complete"
        more = [join(url, "propose", drawing=sent, seed=1000 + seed) for seed in range(5)]
        refused = [answer for answer in more if answer.status_code == 503]
        assert refused
        assert "full" in refused[0].text
        monkeypatch.setattr(space, "_color", lambda *arguments: [])  # what waits is no work any more
    finally:
        finish.set()
    last = [answer for answer in [*waiting, *more] if answer.status_code == 200][-1]
    assert outcome(url, "propose", last.json()["event_id"])[0] == "complete"


def test_files_do_not_stay(space, monkeypatch):
    monkeypatch.setattr(space, "CLEANING", (1, 1))
    with serve(space) as address:
        file = upload(address, encoded(draw(50, 40)))
        _, text = call(address, "colorize", drawing=file)
        made = [Path(file["path"]), Path(json.loads(text)[0]["path"])]
        assert all(path.is_relative_to(made[0].parents[1]) for path in made)
        deadline = time.monotonic() + 20
        while any(path.exists() for path in made) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not any(path.exists() for path in made)
        assert "upload it again" in call(address, "colorize", drawing=file, hints=[[9, 9, RED, 2]])[1]


def test_the_page_loads_from_its_own_server_only(url):
    answer = httpx.get(url)
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    for file in (SPACE / "page").iterdir():
        addresses = re.findall(r"https?://[^\s\"'<>)]+", file.read_text())
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}, file
        assert httpx.get(f"{url}/page/{file.name}").status_code == 200
    config = httpx.get(f"{url}/config").json()
    assert not config["analytics_enabled"]
