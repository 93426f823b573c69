"""The Space: a page on which drawings are coloured, and the same as an API. The work is `ColorizationPipeline`'s."""

from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from doorkeeper import endpoint, open_upload, save_answer  # first: it sets what gradio reads when it is imported
from gradio import Blocks, FileData, api
from limits import RequestLimits, forbid_downloads
from starlette.middleware import Middleware
from starlette.responses import FileResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import sketch_colorizer
from sketch_colorizer.palette import dominant_colors

MAX_FILE_SIZE = "20mb"
MAX_HINTS = 20_000
MAX_QUEUE = 40
CLEANING = (300, 3600)  # how often, and what is older, in seconds
PAGE = Path(__file__).parent / "page"
ROOTS = (Path(__file__).parents[1], Path(sketch_colorizer.__file__).parent)  # of a checkout, and installed
EXAMPLES = next((root / "examples" for root in ROOTS if (root / "examples").is_dir()), PAGE)
HEADERS = {"Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; object-src 'none'"}

Hints = list[tuple[float, float, str, float]]
pipeline = sketch_colorizer.ColorizationPipeline.from_pretrained()


@lru_cache(maxsize=4)  # people look at one picture in several ways
def _color(drawing: str, hints: tuple, palette: tuple = (), reference: str = "", ideas: int = 1, seed: int = 0) -> list:
    """Results for uploaded files; a palette comes as colours or as a picture, never as text, which may name a file."""
    if len(hints) > MAX_HINTS or abs(seed) >= 2**63:
        raise ValueError(f"there may be {MAX_HINTS} hints, and a seed of 63 bits; got {len(hints)} and {seed}")
    colors = open_upload(reference) if reference else list(palette)
    settings = {"hints": list(hints) or None, "palette": colors or None, "seed": seed}
    return pipeline(open_upload(drawing), num_proposals=ideas, **settings)


@endpoint
def colorize(
    drawing: FileData,
    hints: Hints = (),
    palette: list[str] = (),
    reference: FileData | None = None,
    idea: Literal[0, 1, 2, 3] = 0,
    seed: int = 0,
    part: Literal["picture", "colors", "lines", "psd", "ora"] = "picture",
) -> FileData:
    """Colour a line drawing. The picture keeps the drawing's size and its lines.

    Args:
        drawing: The line drawing, a picture file.
        hints: Dabs of colour, each [x, y, "#rrggbb", radius] in the drawing's pixels.
        palette: The only colours that may be used, as "#rrggbb"; none means any.
        reference: A picture whose colours are used.
        idea: 0 is the likeliest colouring; 1 to 3 are the others that `propose` shows for the same arguments.
        seed: Another seed gives other ideas.
        part: The finished picture, the layer of colours below the lines, or the lines alone; or all of it in layers,
            one for each colour, as a Photoshop or OpenRaster file.

    Returns:
        A PNG file, or a PSD or ORA file.
    """
    ideas = 4 if idea else 1
    result = _color(drawing.path, tuple(hints), tuple(palette), reference.path if reference else "", ideas, seed)[idea]
    if part in ("psd", "ora"):
        return save_answer(result, f"layers.{part}")
    pictures = {"picture": result.image, "colors": result.colors, "lines": result.line_art}
    return save_answer(pictures[part], f"{part}.png")


@endpoint
def propose(
    drawing: FileData, hints: Hints = (), palette: list[str] = (), reference: FileData | None = None, seed: int = 0
) -> list[FileData]:
    """Four ways to colour a line drawing, the likeliest first.

    Args:
        drawing: The line drawing, a picture file.
        hints: Dabs of colour, each [x, y, "#rrggbb", radius] in the drawing's pixels.
        palette: The only colours that may be used, as "#rrggbb"; none means any.
        reference: A picture whose colours are used.
        seed: Another seed gives other ideas.

    Returns:
        Four PNG files.
    """
    results = _color(drawing.path, tuple(hints), tuple(palette), reference.path if reference else "", 4, seed)
    return [save_answer(result.image, f"idea{number}.png") for number, result in enumerate(results)]


@endpoint
def suggest_colors(drawing: FileData, x: int, y: int, hints: Hints = ()) -> list[dict]:
    """The likeliest colours of a place in a line drawing.

    Args:
        drawing: The line drawing, a picture file.
        x: Pixels from the left.
        y: Pixels from the top.
        hints: Dabs of colour that are there already, each [x, y, "#rrggbb", radius].

    Returns:
        Up to five of {"color": "#rrggbb", "probability": 0..1}, the likeliest first.
    """
    [result] = _color(drawing.path, tuple(hints))
    return [guess._asdict() for guess in result.suggest_colors(x, y, n=5)]


@endpoint
def show_uncertainty(drawing: FileData, hints: Hints = ()) -> dict:
    """Where the model is unsure of a drawing's colours, and where a dab of colour would help most.

    Args:
        drawing: The line drawing, a picture file.
        hints: Dabs of colour that are there already, each [x, y, "#rrggbb", radius].

    Returns:
        "map", a grey PNG file in which white is unsure, and "places", up to three of {"x", "y", "colors"}.
    """
    [result] = _color(drawing.path, tuple(hints))
    places = [
        {"x": place.x, "y": place.y, "colors": [guess._asdict() for guess in place.colors]}
        for place in result.suggest_hints(3)
    ]
    unsure = (result.uncertainty * 255).astype("uint8")
    return {"map": save_answer(unsure, "uncertainty.png").model_dump(), "places": places}


@endpoint
def read_palette(picture: FileData) -> list[str]:
    """The colours that a picture is painted in, as "#rrggbb", the commonest first.

    Args:
        picture: A picture file.
    """
    return [f"#{bytes(color).hex()}" for color in dominant_colors(open_upload(picture.path)).rgb]


def launch(**settings: Any) -> Any:
    """Serve page and API; a slow call holds up only calls of its own kind. Returns what `Blocks.launch` returns."""
    page = Route("/", lambda request: FileResponse(PAGE / "index.html", headers=HEADERS))
    folders = [Mount(f"/{folder.name}", StaticFiles(directory=folder)) for folder in (PAGE, EXAMPLES)]
    with Blocks(title="Sketch Colorizer", analytics_enabled=False, delete_cache=CLEANING) as blocks:
        for function in (colorize, propose, suggest_colors, show_uncertainty, read_palette):
            api(function, concurrency_limit=1 if function is propose else 2)
    forbid_downloads()
    blocks.queue(max_size=MAX_QUEUE, api_open=False)
    safety = {"max_file_size": MAX_FILE_SIZE, "show_error": False, "run_history": False, "share": False}
    parts = {"routes": [page, *folders], "middleware": [Middleware(RequestLimits)]}
    return blocks.launch(app_kwargs=parts, mcp_server=True, ssr_mode=False, **safety, **settings)


if __name__ == "__main__":
    launch()
