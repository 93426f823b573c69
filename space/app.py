"""The Space: a page on which drawings are coloured, and the same as an API. All the work is `ColorizationPipeline`'s."""
# ruff: noqa: E402 (gradio reads its settings when it is imported)

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, Literal, TypedDict

UPLOADS = Path(tempfile.mkdtemp(prefix="sketch-colorizer-")).resolve()  # all that is uploaded or made lies here
atexit.register(shutil.rmtree, UPLOADS, ignore_errors=True)
os.environ |= {"GRADIO_TEMP_DIR": str(UPLOADS), "GRADIO_ANALYTICS_ENABLED": "False"}

import gradio as gr
import numpy as np
from PIL import Image
from pydantic import ValidationError, validate_call
from starlette.responses import FileResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import sketch_colorizer
from sketch_colorizer.palette import dominant_colors
from sketch_colorizer.picture_files import open_picture, save_picture

try:
    from spaces import GPU  # ZeroGPU lends one for a call
except ImportError:

    def GPU(function: Callable) -> Callable:  # noqa: N802
        return function


MAX_FILE_SIZE, MAX_PIXELS, MAX_HINTS, MAX_QUEUE = "20mb", 24_000_000, 20_000, 40
KEPT_SECONDS = 3600
PAGE = Path(__file__).parent / "page"
ROOTS = (Path(__file__).parents[1], Path(sketch_colorizer.__file__).parent)  # of a checkout, and installed
EXAMPLES = next((root / "examples" for root in ROOTS if (root / "examples").is_dir()), PAGE)
HEADERS = {"Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; object-src 'none'"}

File = gr.FileData
Hints = list[tuple[float, float, str, float]]
Guess = TypedDict("Guess", {"color": str, "probability": float})
Place = TypedDict("Place", {"x": int, "y": int, "colors": list[Guess]})
Sight = TypedDict("Sight", {"map": File, "places": list[Place]})
pipeline = sketch_colorizer.ColorizationPipeline.from_pretrained()


def endpoint(function: Callable) -> Callable:
    """Arguments are checked; what a caller can mend comes back as one sentence that tells nothing of this machine."""
    checked = validate_call(function)

    @wraps(function)
    def guarded(*arguments: Any, **named: Any) -> Any:
        try:
            return checked(*arguments, **named)
        except ValidationError as error:
            first = error.errors()[0]
            message = f"{first['msg']} (at {'.'.join(map(str, first['loc']))}, got {str(first['input'])[:80]!r})"
        except (ValueError, OSError) as error:
            message = str(error)
        except MemoryError:
            message = "the picture is too large for this machine; make it smaller"
        words = (Path(word).name if str(UPLOADS) in word else word for word in message.split())
        raise gr.Error(" ".join(words), print_exception=False)

    return GPU(guarded)


def _open(path: str) -> Image.Image:
    """An uploaded picture, and no other file of this machine, whatever path a caller writes."""
    if not (file := Path(path).resolve()).is_relative_to(UPLOADS) or not file.is_file():
        raise ValueError("this file was not uploaded, or it was removed after an hour; upload it again")
    return open_picture(file, max_pixels=MAX_PIXELS)


def _save(picture: Any, name: str) -> File:
    path = Path(tempfile.mkdtemp(dir=UPLOADS)) / name
    save_picture(picture, path)
    return File(path=str(path), orig_name=name)


@lru_cache(maxsize=4)  # people look at one picture in several ways
def _color(drawing: str, hints: tuple = (), palette: tuple = (), reference: str = "", ideas: int = 1, seed: int = 0) -> list:
    if len(hints) > MAX_HINTS or abs(seed) >= 2**63:
        raise ValueError(f"there may be {MAX_HINTS} hints, and a seed of 63 bits; got {len(hints)} and {seed}")
    colors = _open(reference) if reference else list(palette)  # never text, which might name a file
    settings = {"hints": list(hints) or None, "palette": colors or None, "seed": seed}
    picture = _open(drawing)
    return pipeline(picture, num_proposals=ideas, **settings) if ideas > 1 else [pipeline(picture, **settings)]


@endpoint
def colorize(
    drawing: File,
    hints: Hints = (),
    palette: list[str] = (),
    reference: File = None,
    idea: Literal[0, 1, 2, 3] = 0,
    seed: int = 0,
    part: Literal["picture", "colors", "lines"] = "picture",
) -> File:
    """Colour a line drawing. The picture keeps the drawing's size and lines.

    Args:
        drawing: The line drawing, a picture file.
        hints: Dabs of colour, each [x, y, "#rrggbb", radius] in the drawing's pixels.
        palette: The only colours that may be used, as "#rrggbb"; none means any.
        reference: A picture whose colours are used.
        idea: 0 is the likeliest colouring, 1 to 3 are those of `propose` with the same arguments.
        seed: Another seed gives other ideas.
        part: The finished picture, the layer of colours below the lines, or the lines.

    Returns:
        A PNG file.
    """
    reference_path = reference.path if reference else ""
    results = _color(drawing.path, tuple(hints), tuple(palette), reference_path, 4 if idea else 1, seed)
    result = results[idea]
    pictures = {"picture": result.image, "colors": result.colors, "lines": result.line_art}
    return _save(pictures[part], f"{part}.png")


@endpoint
def propose(
    drawing: File, hints: Hints = (), palette: list[str] = (), reference: File = None, seed: int = 0
) -> list[File]:
    """Four ways to colour a line drawing, the likeliest first; the arguments are those of `colorize`."""
    reference_path = reference.path if reference else ""
    results = _color(drawing.path, tuple(hints), tuple(palette), reference_path, 4, seed)
    return [_save(result.image, f"idea{number}.png") for number, result in enumerate(results)]


@endpoint
def suggest_colors(drawing: File, x: int, y: int, hints: Hints = ()) -> list[Guess]:
    """The five likeliest colours of the place (x, y), in the drawing's pixels, likeliest first."""
    [result] = _color(drawing.path, tuple(hints))
    return [guess._asdict() for guess in result.suggest_colors(x, y, n=5)]


@endpoint
def show_uncertainty(drawing: File, hints: Hints = ()) -> Sight:
    """Where the model is unsure: a grey map (white is unsure), and the three places where a hint would help most."""
    [result] = _color(drawing.path, tuple(hints))
    places = [
        {"x": place.x, "y": place.y, "colors": [guess._asdict() for guess in place.colors]}
        for place in result.suggest_hints(3)
    ]
    return {"map": _save((result.uncertainty * 255).astype(np.uint8), "uncertainty.png"), "places": places}


@endpoint
def read_palette(picture: File) -> list[str]:
    """The colours that a picture is painted in, as "#rrggbb", the commonest first."""
    return [f"#{bytes(color).hex()}" for color in dominant_colors(_open(picture.path)).rgb]


def build() -> gr.Blocks:
    """The API with its queue; one slow call holds up only calls of its own kind."""
    with gr.Blocks(title="Sketch Colorizer", analytics_enabled=False, delete_cache=(300, KEPT_SECONDS)) as blocks:
        for function, limit in ((colorize, 2), (propose, 1), (suggest_colors, 2), (show_uncertainty, 1), (read_palette, 1)):
            gr.api(function, concurrency_limit=limit)
    return blocks.queue(max_size=MAX_QUEUE, api_open=False)


def launch(**settings: Any) -> Any:
    """Serve page and API; returns what `gr.Blocks.launch` returns."""
    page = Route("/", lambda request: FileResponse(PAGE / "index.html", headers=HEADERS))
    folders = [Mount(f"/{folder.name}", StaticFiles(directory=folder)) for folder in (PAGE, EXAMPLES)]
    return build().launch(
        app_kwargs={"routes": [page, *folders]},
        max_file_size=MAX_FILE_SIZE,
        mcp_server=True,
        run_history=False,
        ssr_mode=False,
        show_error=False,
        share=False,
        **settings,
    )


if __name__ == "__main__":
    launch()
