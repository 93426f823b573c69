"""Colours the example drawings with the embedded weights and puts them side by side: README's picture.

python scripts/make_gallery.py [--model FOLDER] [--output docs/gallery.webp] [NAME ...]
"""

import argparse
from pathlib import Path

from PIL import Image

from sketch_colorizer import ColorizationPipeline

ROOT = Path(__file__).parents[1]
NAMES = ["cat", "portrait", "landscape", "reef", "stilllife", "kite", "room", "dragon"]
HEIGHT, GAP, COLUMNS = 300, 8, 4


def main() -> None:
    """Two rows for each four drawings: the drawings, and the results below them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--model", help="model folder [the embedded one]")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "gallery.webp")
    arguments = parser.parse_args()
    colorize = ColorizationPipeline.from_pretrained(arguments.model)
    results = [colorize(ROOT / "examples" / f"{name}.png") for name in arguments.names]
    strips = []
    for start in range(0, len(results), COLUMNS):
        part = results[start : start + COLUMNS]
        strips += [strip([result.line_art for result in part]), strip([result.image for result in part])]
    width = max(picture.width for picture in strips)
    sheet = Image.new("RGB", (width, sum(picture.height + GAP for picture in strips) - GAP), "white")
    top = 0
    for picture in strips:
        sheet.paste(picture, ((width - picture.width) // 2, top))
        top += picture.height + GAP
    sheet.save(arguments.output, quality=78, method=6)
    print(f"wrote {arguments.output}")


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
