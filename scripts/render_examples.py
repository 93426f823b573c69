"""Render every examples/*.svg to the PNG beside it (needs resvg-py, which the dev extra installs)."""

from io import BytesIO
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
GREY_STEP = 17  # 16 greys are as many as an anti-aliased line needs, and halve the file


def render(svg: Path) -> Image.Image:
    """The drawing at its own size: "L", or "RGBA" where the SVG leaves the ground transparent."""
    try:
        import resvg_py
    except ImportError as error:
        raise ImportError('rendering the examples needs resvg-py: pip install -e ".[dev]"') from error
    drawing = Image.open(BytesIO(bytes(resvg_py.svg_to_bytes(svg_path=str(svg), skip_system_fonts=True))))
    transparent = drawing.getchannel("A").getextrema()[0] < 255
    pixels = np.asarray(drawing if transparent else drawing.convert("L"), dtype=np.float32)
    return Image.fromarray((np.round(pixels / GREY_STEP) * GREY_STEP).astype(np.uint8))


def encode(drawing: Image.Image) -> bytes:
    """The PNG file; the same drawing always gives the same pixels."""
    buffer = BytesIO()
    drawing.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def main(
    folder: Annotated[Path, typer.Argument(help="Folder with the SVG sources.")] = EXAMPLES,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if a PNG differs from its SVG.")] = False,
) -> None:
    """Write (or check) one PNG for each SVG of a folder."""
    stale, total = [], 0
    for svg in sorted(folder.glob("*.svg")):
        png, drawing = svg.with_suffix(".png"), render(svg)
        if check:
            if not png.exists() or drawing.tobytes() != Image.open(png).tobytes():
                stale.append(png.name)
            continue
        png.write_bytes(encode(drawing))
        total += svg.stat().st_size + png.stat().st_size
        typer.echo(f"{png.name}: {drawing.width} x {drawing.height} {drawing.mode}, {png.stat().st_size / 1024:.0f} KB")
    if stale:
        raise typer.BadParameter(f"not what their SVG renders to: {', '.join(stale)}; run this script without --check")
    if not check:
        typer.echo(f"{total / 1e6:.2f} MB with the sources")


if __name__ == "__main__":
    typer.run(main)
