"""The page in a real browser, on a desk and on a phone: what a person does, and that nothing comes from elsewhere."""

import io
import shutil
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from conftest import draw
from PIL import Image
from space_server import load_space, serve

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("there is no Chromium on this machine (apt-get install chromium)", allow_module_level=True)

QUIET = "no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update"
SCREENS = {
    "desk": {"viewport": {"width": 1280, "height": 900}},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}
PATIENCE = 60_000


@pytest.fixture(scope="module")
def space():
    return load_space()


@pytest.fixture(scope="module")
def url(space) -> Iterator[str]:
    with serve(space) as address:
        yield address


@pytest.fixture(scope="module")
def chromium():
    arguments = [f"--{switch}" for switch in (*QUIET.split(), "disable-sync", "disable-dev-shm-usage")]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, url) -> Iterator[Callable]:
    """Open the page on a screen; the test fails where it asks anything of another server, or reports an error."""
    contexts, complaints = [], []

    def opened(screen: str = "desk"):
        context = chromium.new_context(accept_downloads=True, reduced_motion="reduce", **SCREENS[screen])
        contexts.append(context)

        def only_from_here(route):
            if not route.request.url.startswith(url):
                complaints.append(f"asks for {route.request.url}")
                return route.abort()
            return route.continue_()

        context.route(lambda address: address.startswith("http"), only_from_here)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not complaints


def finished(page, text: str) -> None:
    idle = "document.getElementById('busy').hidden"
    page.wait_for_function(f"text => {idle} && document.getElementById('status').textContent.includes(text)", arg=text)


def give(page, drawing: Image.Image) -> None:
    file = io.BytesIO()
    drawing.save(file, "PNG")
    page.set_input_files("#file", {"name": "two shapes.png", "mimeType": "image/png", "buffer": file.getvalue()})
    finished(page, "Drag to paint")


def on_screen(page, x: float, y: float, drawing: Image.Image) -> tuple[float, float]:
    box = page.locator("#overlay").bounding_box()
    return box["x"] + x / drawing.width * box["width"], box["y"] + y / drawing.height * box["height"]


def saved(page, button: str = "#download") -> tuple[str, np.ndarray]:
    with page.expect_download() as download:
        page.click(button)
    return download.value.suggested_filename, np.asarray(Image.open(download.value.path()))


@pytest.mark.parametrize("screen", SCREENS)
def test_from_a_drawing_to_a_painted_picture(open_page, space, screen):
    page, drawing = open_page(screen), draw(320, 240)
    give(page, drawing)
    name, first = saved(page)
    assert name == "two shapes_colorized.png"
    assert np.array_equal(first, np.asarray(space.pipeline(drawing).image))
    with page.expect_download() as download:
        page.click("#get-psd")
    assert download.value.suggested_filename == "two shapes_colorized.psd"
    assert download.value.path().read_bytes().startswith(b"8BPS")

    page.evaluate(
        "color => { const box = document.getElementById('color'); box.value = color; box.oninput() }", "#00a040"
    )
    page.mouse.move(*on_screen(page, 60, 80, drawing))
    page.mouse.down()
    page.mouse.move(*on_screen(page, 60, 110, drawing))
    page.mouse.move(*on_screen(page, 60, 160, drawing))
    page.mouse.up()
    finished(page, "Done")
    _, painted = saved(page)
    assert tuple(painted[120, 60]) == (0, 160, 64)
    is_ink = np.asarray(drawing) == 0
    assert (painted[is_ink] == first[is_ink]).all()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    page.click("#undo")
    assert np.array_equal(saved(page)[1], first)


@pytest.mark.parametrize("screen", SCREENS)
def test_a_tap_shows_the_colours_that_suit_the_place(open_page, screen):
    page, drawing = open_page(screen), draw(320, 240)
    give(page, drawing)
    place = on_screen(page, 60, 120, drawing)
    page.touchscreen.tap(*place) if screen == "phone" else page.mouse.click(*place)
    page.wait_for_selector("#guesses .mine")
    chip = page.locator("#guesses .chip").nth(1)
    color = chip.get_attribute("value")
    chip.click()
    finished(page, "Done")
    assert "#{:02x}{:02x}{:02x}".format(*saved(page, "#get-colors")[1][120, 60]) == color
    assert page.locator("#ask").is_hidden()


def test_ideas_palette_doubts_and_comparison(open_page):
    page, drawing = open_page(), draw(320, 240)
    give(page, drawing)
    page.click("#propose")
    finished(page, "Pick the one")
    assert page.locator("#ideas img").count() == 4
    page.locator("#ideas button").nth(2).click()
    finished(page, "Done")
    assert page.locator("#ideas [aria-checked=true]").get_attribute("value") == "2"

    tiles = Image.new("RGB", (80, 40), "#204080")
    tiles.paste("#e0a020", (0, 0, 40, 40))
    file = io.BytesIO()
    tiles.save(file, "PNG")
    page.set_input_files("#reference", {"name": "tiles.png", "mimeType": "image/png", "buffer": file.getvalue()})
    finished(page, "Done")
    assert {each.get_attribute("value") for each in page.locator("#swatches .chip").all()} == {"#204080", "#e0a020"}

    page.get_by_label("Show where it is unsure").check()
    finished(page, "the less sure")
    assert page.locator("#pins button").count() >= 1

    compare = page.get_by_label("Compare the drawing with the colours")
    compare.focus()
    page.keyboard.press("Home")
    assert compare.input_value() == "0"


def test_the_keyboard_is_enough(open_page):
    page, drawing = open_page(), draw(320, 240)
    page.get_by_label("Example: cat").focus()
    page.keyboard.press("Enter")
    finished(page, "Drag to paint")
    give(page, drawing)
    page.locator("#overlay").focus()
    for key in ("ArrowLeft", "ArrowUp", "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector("#guesses .mine")
    assert page.evaluate("document.activeElement.className") == "chip"
    page.keyboard.press("Enter")
    finished(page, "Done")
    page.keyboard.press("Control+z")
    finished(page, "Undone")
    unlabelled = "[...document.querySelectorAll('button, input')].filter(each => each.checkVisibility() && "
    unlabelled += (
        "!(each.ariaLabel || each.textContent.trim() || each.labels?.length || each.querySelector('img[alt]')))"
    )
    assert page.evaluate(f"{unlabelled}.map(each => each.outerHTML)") == []


def test_what_is_no_picture_gets_a_sentence(open_page):
    page = open_page("phone")
    page.set_input_files("#file", {"name": "notes.png", "mimeType": "image/png", "buffer": b"dear diary"})
    page.wait_for_selector("#toast:not([hidden])")
    assert "notes.png is not a picture that can be read" in page.locator("#toast").text_content()
    assert page.locator("#drop").is_visible()


def test_a_drawing_made_by_hand_is_coloured(open_page):
    page = open_page()
    page.click("#draw")
    box = page.locator("#overlay").bounding_box()
    corners = [(0.3, 0.3), (0.7, 0.3), (0.7, 0.7), (0.3, 0.7), (0.3, 0.3)]
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place)
    page.mouse.up()
    page.click("#finish")
    finished(page, "Drag to paint")
    lines = saved(page, "#get-lines")[1]
    assert lines.shape[:2] == (900, 1200)
    assert lines[270, 360:840].max() < 128
    assert lines[450, 600] == 255
