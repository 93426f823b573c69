"""Colours the example drawings with the embedded weights and puts them side by side: README's two pictures.

python scripts/make_gallery.py [--model FOLDER] [--output docs] [NAME ...]
"""

import argparse
from pathlib import Path

from PIL import Image, ImageDraw

from sketch_colorizer import ColorizationPipeline

ROOT = Path(__file__).parents[1]
NAMES = ["cat", "portrait", "landscape", "reef", "stilllife", "kite", "room", "dragon"]
DABS = {  # of a user, at shares of width and height
    "portrait": [(0.5, 0.22, "#b5343c"), (0.31, 0.48, "#6b3f22"), (0.5, 0.5, "#f3cda6"), (0.2, 0.83, "#2a6f7f")],
    "kite": [(0.2, 0.83, "#7fb24a"), (0.77, 0.16, "#e4572e"), (0.42, 0.525, "#f0c8a0"), (0.45, 0.25, "#bfe3f2")],
    "landscape": [(0.625, 0.72, "#86b74b"), (0.87, 0.505, "#4f8f3a"), (0.27, 0.52, "#b5533c"), (0.51, 0.9, "#5aa7d6")],
    "cat": [(0.42, 0.27, "#e8913a"), (0.62, 0.72, "#e8913a"), (0.2, 0.88, "#86b74b"), (0.15, 0.2, "#bfe3f2")],
}
DAB_RADIUS = 1 / 60  # of the longest side, as it is drawn
HEIGHT, GAP, COLUMNS = 300, 8, 4


def main() -> None:
    """gallery.webp: drawings and automatic colours. hints.webp: drawings with a few dabs, and what becomes of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--model", help="model folder [the embedded one]")
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="folder")
    arguments = parser.parse_args()
    colorize = ColorizationPipeline.from_pretrained(arguments.model)
    plain = [colorize(ROOT / "examples" / f"{name}.png") for name in arguments.names]
    write([(result.line_art, result.image) for result in plain], arguments.output / "gallery.webp")
    write([hinted(colorize, name, dabs) for name, dabs in DABS.items()], arguments.output / "hints.webp")


def hinted(
    colorize: ColorizationPipeline, name: str, dabs: list[tuple[float, float, str]]
) -> tuple[Image.Image, Image.Image]:
    """A drawing with its dabs, as large as they can be seen, and the result."""
    drawing = Image.open(ROOT / "examples" / f"{name}.png").convert("RGB")
    hints = [(x * drawing.width, y * drawing.height, color) for x, y, color in dabs]
    result = colorize(drawing, hints=hints).image
    canvas, radius = ImageDraw.Draw(drawing), DAB_RADIUS * max(drawing.size)
    for x, y, color in hints:
        canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color, outline="black")
    return drawing, result


def write(pairs: list[tuple[Image.Image, Image.Image]], path: Path) -> None:
    """Two rows for each four pairs: the first of each, and the second below it."""
    strips = []
    for start in range(0, len(pairs), COLUMNS):
        strips += [strip(list(row)) for row in zip(*pairs[start : start + COLUMNS], strict=True)]
    width = max(picture.width for picture in strips)
    sheet = Image.new("RGB", (width, sum(picture.height + GAP for picture in strips) - GAP), "white")
    top = 0
    for picture in strips:
        sheet.paste(picture, ((width - picture.width) // 2, top))
        top += picture.height + GAP
    sheet.save(path, quality=78, method=6)
    print(f"wrote {path}")


def strip(pictures: list[Image.Image]) -> Image.Image:
    """Pictures in a row, all of one height."""
    scaled = [picture.resize((round(picture.width * HEIGHT / picture.height), HEIGHT)) for picture in pictures]
    row = Image.new("RGB", (sum(picture.width + GAP for picture in scaled) - GAP, HEIGHT), "white")
    left = 0
    for picture in scaled:
        row.paste(picture, (left, 0))
        left += picture.width + GAP
    return row


if __name__ == "__main__":
    main()
