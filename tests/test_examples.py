"""The example drawings: every source has its PNG, they are line art, and they stay small."""

import importlib.util
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "examples").glob("*.svg"))
PROMISED = {"portrait", "kite", "cat", "room", "landscape", "comic", "pencil", "dragon", "harbour", "stilllife", "reef"}
TRANSPARENT, LARGE, ROUGH = "dragon", "harbour", "pencil"
each_source = pytest.mark.parametrize("svg", SOURCES, ids=lambda svg: svg.stem)


def on_paper(png: Path) -> np.ndarray:
    """The drawing as uint8 grey, (H, W), over white."""
    drawing = Image.open(png).convert("RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", drawing.size, "white"), drawing).convert("L"))


def test_the_promised_drawings_are_there_and_nothing_else():
    assert {svg.stem for svg in SOURCES} >= PROMISED
    assert {png.stem for png in (ROOT / "examples").glob("*.png")} == {svg.stem for svg in SOURCES}


def test_sources_and_pngs_together_are_at_most_two_megabytes():
    assert sum(file.stat().st_size for file in (ROOT / "examples").iterdir()) <= 2_000_000


@each_source
def test_a_png_has_the_size_of_its_source_and_the_promised_mode(svg: Path):
    root = ElementTree.parse(svg).getroot()
    with Image.open(svg.with_suffix(".png")) as drawing:
        assert drawing.size == (int(root.get("width")), int(root.get("height")))
        assert drawing.mode == ("RGBA" if svg.stem == TRANSPARENT else "L")
        assert max(drawing.size) == 3000 if svg.stem == LARGE else 800 <= max(drawing.size) <= 1600


@each_source
def test_a_source_is_pure_vector_line_art_with_a_title(svg: Path):
    tags = {element.tag.rpartition("}")[2] for element in ElementTree.parse(svg).iter()}
    assert "title" in tags
    assert not tags & {"image", "text", "script", "foreignObject"}


@each_source
def test_a_drawing_is_mostly_paper_with_dark_ink(svg: Path):
    grey = on_paper(svg.with_suffix(".png"))
    assert np.median(grey) == 255
    assert (grey >= 250).mean() > 0.75
    assert 0.02 < (grey < 128).mean() < 0.2
    assert grey.min() < 64


def test_the_transparent_drawing_is_black_ink_on_nothing():
    pixels = np.asarray(Image.open(ROOT / "examples" / f"{TRANSPARENT}.png"))
    assert not pixels[..., :3].any()
    assert (pixels[..., 3] == 0).mean() > 0.8
    assert pixels[..., 3].max() == 255


def test_the_pencil_drawing_has_many_greys_where_ink_has_few():
    def middle(stem: str) -> float:
        ink = on_paper(ROOT / "examples" / f"{stem}.png")
        return ((ink > 60) & (ink < 220)).sum() / (ink < 220).sum()

    assert middle(ROUGH) > 2 * middle("cat")


@pytest.mark.parametrize("stem", ["portrait", TRANSPARENT])
def test_rendering_a_source_again_gives_its_png(stem: str):
    pytest.importorskip("resvg_py", reason="rendering the sources needs resvg-py (dev extra)")
    spec = importlib.util.spec_from_file_location("render_examples", ROOT / "scripts" / "render_examples.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    rendered, kept = script.render(ROOT / "examples" / f"{stem}.svg"), Image.open(ROOT / "examples" / f"{stem}.png")
    assert rendered.mode == kept.mode
    assert np.abs(np.asarray(rendered, int) - np.asarray(kept, int)).max() <= script.GREY_STEP
