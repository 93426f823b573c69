"""Laws of layers: stacked they are the picture, each colour is in one of them, and other programs read the files."""

import io
import zipfile
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import draw
from PIL import Image
from psd_tools import PSDImage
from psd_tools.constants import Resource

from sketch_colorizer import ColorizationResult, save_result
from sketch_colorizer.compositing import composite
from sketch_colorizer.layers import MAX_COLOR_LAYERS, Layer, make_layers
from sketch_colorizer.picture_files import open_picture, read_dpi


def result_of(colors: np.ndarray, line_art: np.ndarray | None = None) -> ColorizationResult:
    line_art = np.full(colors.shape[:2], 255, np.uint8) if line_art is None else line_art
    return ColorizationResult(*map(Image.fromarray, (composite(colors, line_art), colors, line_art)))


def stacked(layers: list[Layer], size: tuple[int, int]) -> np.ndarray:
    picture = Image.new("RGBA", size)
    for layer in layers:
        picture.alpha_composite(layer.image, (layer.left, layer.top))
    return np.asarray(picture)


def in_order(result: ColorizationResult) -> list[Layer]:
    layers = make_layers(result)
    return [layers.paper, *layers.colors, layers.lines]


@pytest.fixture(params=["flat", "soft"])
def result(pipeline, request):
    """Of a drawing with grey lines too, in many colours."""
    grey = Image.blend(draw(90, 70), Image.new("L", (90, 70), 255), 0.3)
    return pipeline(grey, style=request.param)


def test_stacked_they_are_the_picture(result):
    picture = stacked(in_order(result), result.image.size)
    assert (picture[..., 3] == 255).all()
    assert np.abs(picture[..., :3].astype(int) - np.asarray(result.image)).max() <= 1


def test_every_painted_pixel_is_in_one_colour_layer_as_it_is_and_white_in_none(embedded_pipeline):
    result = embedded_pipeline(draw(300, 200))
    colors, seen = np.asarray(result.colors), np.zeros((200, 300), int)
    for layer in make_layers(result).colors:
        pixels = np.asarray(layer.image)
        shown = pixels[..., 3] == 255
        assert ((pixels[..., 3] == 0) | shown).all()  # flats have hard edges
        box = np.s_[layer.top : layer.top + layer.image.height, layer.left : layer.left + layer.image.width]
        assert (pixels[..., :3][shown] == colors[box][shown]).all()
        assert shown.any(0)[[0, -1]].all()
        assert shown.any(1)[[0, -1]].all(), "a layer is as large as what it shows"
        seen[box] += shown
    assert (seen == (colors < 255).any(-1)).all()


def test_each_colour_has_its_layer():
    colors = np.full((40, 60, 3), 255, np.uint8)
    colors[:, :20], colors[:, 20:30], colors[:5, 30:40] = (200, 30, 40), (204, 34, 38), (30, 60, 200)
    layers = make_layers(result_of(colors)).colors
    assert [layer.name for layer in layers] == ["#c81e28", "#cc2226", "#1e3cc8"]  # the largest lowest
    assert [layer.image.size for layer in layers] == [(20, 40), (10, 40), (10, 5)]
    assert [(layer.left, layer.top) for layer in layers] == [(0, 0), (20, 0), (30, 0)]


def test_of_very_many_colours_the_nearest_share_a_layer():
    colors = np.full((40, 60, 3), 255, np.uint8)
    for column in range(40):
        colors[:, column] = (200 + column % 2, 30 + column // 2 % 4, 40 + column // 8)
    colors[0, :40] = (30, 60, 200)
    layers = make_layers(result_of(colors)).colors
    assert 2 < len(layers) <= MAX_COLOR_LAYERS
    assert [layer.image.size for layer in layers if layer.name == "#1e3cc8"] == [(40, 1)]
    areas = [int((np.asarray(layer.image)[..., 3] > 0).sum()) for layer in layers]
    assert areas == sorted(areas, reverse=True)
    assert sum(areas) == 40 * 40


def test_there_are_never_too_many_layers():
    tiles = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    colors = tiles.repeat(5, 0).repeat(5, 1)
    assert 2 <= len(make_layers(result_of(colors)).colors) <= MAX_COLOR_LAYERS


@pytest.mark.parametrize("side", [30, 100])
def test_colours_that_are_not_flat_stay_together(side):
    gradient = np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8)
    assert [layer.name for layer in make_layers(result_of(gradient)).colors] == ["colours"]


def test_a_palette_makes_a_layer_of_each_of_its_colours(embedded_pipeline):
    palette = ["#123456", "#fedcba", "#00aa55"]
    result = embedded_pipeline(draw(300, 200), palette=palette)
    names = {layer.name for layer in make_layers(result).colors}
    assert names
    assert names <= set(palette)


def test_a_drawing_without_colours_has_paper_and_lines():
    blank = result_of(np.full((7, 5, 3), 255, np.uint8), np.full((7, 5), 128, np.uint8))
    assert make_layers(blank).colors == []
    assert np.abs(stacked(in_order(blank), (5, 7))[..., :3].astype(int) - 128).max() <= 1


def test_an_open_raster_file_is_as_its_specification_says(result, tmp_path):
    save_result(result, tmp_path / "a.ora")
    with zipfile.ZipFile(tmp_path / "a.ora") as archive:
        first = archive.infolist()[0]
        assert (first.filename, first.compress_type, first.extra) == ("mimetype", zipfile.ZIP_STORED, b"")
        assert archive.read("mimetype") == b"image/openraster"
        root = ElementTree.fromstring(archive.read("stack.xml"))
        images = {name: Image.open(io.BytesIO(archive.read(name))) for name in archive.namelist() if ".png" in name}
    assert (root.tag, root.get("version"), root.get("w"), root.get("h")) == ("image", "0.0.5", "90", "70")
    assert [child.get("name") for child in root.find("stack")] == ["lines", "colours", "paper"]  # the topmost first
    entries = list(root.iter("layer"))
    assert {entry.get("composite-op") for entry in entries} == {"svg:src-over"}
    assert {entry.get("src") for entry in entries} == {name for name in images if name.startswith("data/")}
    layers = [Layer("", images[entry.get("src")], int(entry.get("x")), int(entry.get("y"))) for entry in entries[::-1]]
    assert (stacked(layers, (90, 70)) == stacked(in_order(result), (90, 70))).all()
    assert images["mergedimage.png"].tobytes() == result.image.tobytes()
    assert max(images["Thumbnails/thumbnail.png"].size) <= 256


def test_a_psd_holds_the_same_layers_and_the_finished_picture(result, tmp_path):
    save_result(result, tmp_path / "a.psd")
    document = PSDImage.open(tmp_path / "a.psd")
    assert (document.size, document.channels) == ((90, 70), 3)
    paper, group, lines = document
    assert [(layer.name, layer.kind) for layer in document] == [
        ("paper", "pixel"),
        ("colours", "group"),
        ("lines", "pixel"),
    ]
    found = [Layer(one.name, one.topil(), one.left, one.top) for one in (paper, *group, lines)]
    assert [one.name for one in found] == [one.name for one in in_order(result)]
    assert not any(one.has_mask() for one in group)
    assert (stacked(found, (90, 70)) == stacked(in_order(result), (90, 70))).all()
    assert document.topil().tobytes() == result.image.tobytes()


def test_other_suffixes_get_the_picture_alone(result, tmp_path):
    save_result(result, tmp_path / "a.png")
    assert open_picture(tmp_path / "a.png").tobytes() == result.image.tobytes()
    for other in (result.image, [result]):
        with pytest.raises(ValueError, match="a result of ColorizationPipeline is needed, one of a list, got"):
            save_result(other, tmp_path / "a.ora")
    with pytest.raises(ValueError, match=r"must end with one of \.png, .*\.ora, \.psd"):
        save_result(result, tmp_path / "a.gif")


def test_what_is_made_for_print_keeps_its_resolution(pipeline, tmp_path):
    draw(60, 50).save(tmp_path / "page.png", dpi=(300, 600))
    result = pipeline(tmp_path / "page.png")
    for suffix in (".png", ".jpg", ".tif", ".ora", ".psd"):
        save_result(result, tmp_path / f"a{suffix}")
    for suffix in (".png", ".jpg", ".tif"):
        with Image.open(tmp_path / f"a{suffix}") as image:
            image.load()
            assert tuple(round(value) for value in image.info["dpi"]) == (300, 600), suffix
            assert image.size == (60, 50)
    with zipfile.ZipFile(tmp_path / "a.ora") as archive:
        root = ElementTree.fromstring(archive.read("stack.xml"))
    assert (root.get("xres"), root.get("yres")) == ("300", "600")
    found = PSDImage.open(tmp_path / "a.psd").image_resources.get_data(Resource.RESOLUTION_INFO)
    assert (found.horizontal >> 16, found.horizontal_unit, found.vertical >> 16) == (300, 1, 600)


@pytest.mark.parametrize("dpi", [None, (0, 0), (1, 1), (float("nan"), 72), ("a", "b"), (72,), 72, (1e9, 1e9)])
def test_a_resolution_that_makes_no_sense_is_none(drawing, dpi):
    drawing.info["dpi"] = dpi
    assert read_dpi(drawing) is None
    assert read_dpi(np.asarray(drawing)) is None


@pytest.mark.parametrize("suffix", [".ora", ".psd"])
def test_a_file_that_cannot_be_written_leaves_nothing_behind(result, tmp_path, suffix):
    with pytest.raises(OSError, match="cannot write"):
        save_result(result, tmp_path / "missing" / f"a{suffix}")
    (tmp_path / f"a{suffix}").mkdir()
    with pytest.raises(OSError, match="cannot write"):
        save_result(result, tmp_path / f"a{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


def test_what_a_psd_cannot_hold_is_said(tmp_path):
    strip = result_of(np.full((1, 30_001, 3), 255, np.uint8))
    with pytest.raises(ValueError, match=r"cannot hold 30001x1 pixels, 30000 a side at most; write an \.ora instead"):
        save_result(strip, tmp_path / "a.psd")
    assert list(tmp_path.iterdir()) == []
