"""Takes the pictures of the page that README and docs/SPACE.md show: docs/space-desktop.jpg and docs/space-phone.jpg.

python scripts/screenshot_space.py            # starts `sketch-colorizer demo` itself; needs playwright and Chromium
python scripts/screenshot_space.py --url http://127.0.0.1:7860
"""

import argparse
import io
import shutil
import sys
from contextlib import nullcontext
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright
from space_process import running_space

ROOT = Path(__file__).parents[1]
MAX_BYTES = 150_000
SWITCHES = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage")


def main() -> None:
    """Both screens."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="of a server that runs already")
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="folder")
    arguments = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        sys.exit("there is no Chromium on this machine (apt-get install chromium)")
    space = nullcontext((arguments.url, 0)) if arguments.url else running_space()
    with space as (url, _), sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=list(SWITCHES))
        desk = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce").new_page()
        save(paint_and_compare(desk, url), arguments.output / "space-desktop.jpg")
        phone = browser.new_context(
            viewport={"width": 390, "height": 844}, device_scale_factor=2, is_mobile=True, reduced_motion="reduce"
        ).new_page()
        save(ask_on_a_phone(phone, url), arguments.output / "space-phone.jpg")
        browser.close()


def start(page: Page, url: str, example: str) -> None:
    """Open an example and wait for its colours."""
    page.set_default_timeout(300_000)
    page.goto(url)
    page.get_by_label(f"Example: {example}").click()
    finished(page, "Drag to paint")


def finished(page: Page, text: str) -> None:
    """Wait until nothing runs and the page says so."""
    idle = "document.getElementById('busy').hidden"
    page.wait_for_function(f"text => {idle} && document.getElementById('status').textContent.includes(text)", arg=text)


def paint_and_compare(page: Page, url: str) -> bytes:
    """A painted kite, the four ideas, and the divider between drawing and colours."""
    start(page, url, "kite")
    page.click("#propose")
    finished(page, "Pick the one")
    page.get_by_label("Compare the drawing with the colours").fill("62")
    return page.screenshot()


def ask_on_a_phone(page: Page, url: str) -> bytes:
    """The colours that suit a cat's chest."""
    start(page, url, "cat")
    box = page.locator("#overlay").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.62)
    page.wait_for_selector("#guesses .mine")
    return page.screenshot()


def save(screenshot: bytes, path: Path) -> None:
    """As JPEG, in the best quality that stays small."""
    picture = Image.open(io.BytesIO(screenshot)).convert("RGB")
    for quality in range(88, 40, -6):
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality, optimize=True, progressive=True)
        if file.tell() <= MAX_BYTES:
            break
    path.write_bytes(file.getvalue())
    print(f"{path}: {picture.width}x{picture.height}, {file.tell()} bytes")


if __name__ == "__main__":
    main()
