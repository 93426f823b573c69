"""Laws of the way in and the way out: shape and ink of the working copy, sizes, lines, white, styles, refusals."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import draw
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sketch_colorizer.color import rgb_to_lab
from sketch_colorizer.drawing_processor import shrink_to_ink
from sketch_colorizer.image_processing_sketch_colorizer import SketchColorizerImageProcessor

SIZES = [(16, 16), (20, 400), (333, 17), (61, 47), (640, 480), (1, 1)]  # width, height
WHITE, RED, BLUE = (255, 255, 255), (200, 30, 40), (20, 60, 200)
PALETTE = rgb_to_lab(torch.tensor([WHITE, RED, BLUE], dtype=torch.float32) / 255, dim=-1)


@pytest.fixture
def processor() -> SketchColorizerImageProcessor:
    return SketchColorizerImageProcessor(working_size=48)


def classes(inputs: dict, wanted: int | torch.Tensor, *, sure: float = 9.0, stride: int = 4) -> SimpleNamespace:
    """What a classifier would give that is sure of one colour, or of one colour in each cell (h, w)."""
    batch, _, height, width = inputs["pixel_values"].shape
    logits = torch.zeros(batch, len(PALETTE), height // stride, width // stride)
    index = torch.as_tensor(wanted).expand(batch, 1, *logits.shape[2:])
    logits.scatter_(1, index, sure)
    colors = PALETTE[index[:, 0]].movedim(-1, 1)
    return SimpleNamespace(logits=logits, bin_colors=PALETTE, bin_weights=torch.ones(len(PALETTE)), colors=colors)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image)


@given(width=st.integers(1, 9000), height=st.integers(1, 9000), working_size=st.integers(32, 1024))
@settings(max_examples=200, deadline=None)
def test_the_working_copy_keeps_shape_and_amount(width, height, working_size):
    line_art = np.broadcast_to(np.uint8(255), (height, width))
    shape = SketchColorizerImageProcessor(working_size=working_size).working_shape(line_art)
    assert all(side % 4 == 0 and side >= 4 for side in shape)
    area, slack = shape[0] * shape[1], 4 * sum(shape)
    assert working_size**2 - slack <= area <= 16 * working_size**2 + slack
    if 9 / 16 < width / height < 16 / 9:
        assert area <= working_size**2 + slack
    if 1 / 28 < width / height < 28:  # of longer strips the whole is bounded instead
        assert min(shape) >= 0.75 * working_size - 4
        scale = np.sqrt(area / (width * height))
        off = max(abs(shape[0] - height * scale), abs(shape[1] - width * scale))
        is_strip = not 1 / 3 < width / height < 3  # of which the short side's rounding counts along the long one
        assert off <= 5 + 0.06 * max(shape) * is_strip


def test_a_panel_of_a_long_strip_is_seen_as_large_as_one_of_a_page():
    strip = np.broadcast_to(np.uint8(255), (16000, 800))
    height, width = SketchColorizerImageProcessor(working_size=192).working_shape(strip)
    assert (height, width) == (2880, 144)


@pytest.mark.parametrize("size", SIZES)
def test_inputs_are_ink_padded_with_paper(processor, size):
    inputs = processor(draw(*size))
    assert set(inputs) == {"pixel_values", "hint_values"}
    batch, channels, height, width = inputs["pixel_values"].shape
    assert (batch, channels, height % 16, width % 16) == (1, 1, 0, 0)
    assert inputs["hint_values"].shape == (1, 4, height, width)
    assert not inputs["hint_values"].any()
    assert inputs["pixel_values"].dtype == torch.float32
    assert 0 <= inputs["pixel_values"].min() <= inputs["pixel_values"].max() <= 1
    inside = processor.working_shape(pixels(draw(*size)))
    assert not inputs["pixel_values"][..., inside[0] :, :].any()
    assert not inputs["pixel_values"][..., inside[1] :].any()


def test_a_batch_holds_what_its_drawings_hold_alone(processor):
    drawings = [draw(*size) for size in SIZES]
    together = processor(drawings)["pixel_values"]
    for row, drawing in zip(together, drawings, strict=True):
        alone = processor(drawing)["pixel_values"][0]
        height, width = alone.shape[1:]
        assert torch.equal(row[:, :height, :width], alone)
        assert row.count_nonzero() == alone.count_nonzero()


@pytest.mark.parametrize("kind", ["np", "pt", None])
def test_tensors_come_as_asked(processor, drawing, kind):
    values = processor(drawing, return_tensors=kind)["pixel_values"]
    assert isinstance(values, torch.Tensor if kind == "pt" else np.ndarray)


def test_a_drawing_may_come_as_an_array(processor, drawing):
    expected = processor(drawing)["pixel_values"]
    assert torch.equal(processor(pixels(drawing))["pixel_values"], expected)
    assert torch.equal(processor(pixels(drawing.convert("RGB")))["pixel_values"], expected)
    assert torch.equal(processor([pixels(drawing.convert("RGBA"))])["pixel_values"], expected)


def test_thin_lines_survive_a_strong_reduction():
    line_art = np.full((2400, 2400), 255, np.uint8)
    line_art[:, 1000:1003] = 0
    faint = shrink_to_ink(line_art, (160, 160), max_gain=1.0)
    strong = shrink_to_ink(line_art, (160, 160), max_gain=4.0)
    assert 0.15 < faint.max() < 0.25
    assert 0.6 < strong.max() <= 4 * faint.max() + 1e-6
    assert (strong[:, :60] == 0).all()


@pytest.mark.parametrize("max_gain", [1.0, 4.0])
def test_no_pixel_gets_more_ink_than_the_drawing_has(max_gain):
    grey = np.full((900, 900), 255, np.uint8)
    grey[300:304] = 155
    assert shrink_to_ink(grey, (90, 90), max_gain=max_gain).max() <= 100 / 255 + 1e-6
    grey[600:800, 600:800] = 0
    assert shrink_to_ink(grey, (90, 90), max_gain=max_gain)[65:75, 65:75].min() == 1


@pytest.mark.parametrize("style", ["flat", "soft"])
@pytest.mark.parametrize("size", SIZES)
def test_results_have_the_drawings_size_and_its_black_pixels(processor, size, style):
    drawing = draw(*size)
    [result] = processor.post_process_colorization(classes(processor(drawing), 1), drawing, style=style)
    assert result.image.size == result.colors.size == result.line_art.size == size
    assert (result.image.mode, result.colors.mode, result.line_art.mode) == ("RGB", "RGB", "L")
    assert (pixels(result.image)[pixels(drawing) == 0] == 0).all()
    paper = pixels(drawing) == 255
    assert (pixels(result.image)[paper] == pixels(result.colors)[paper]).all()


@pytest.mark.parametrize("style", ["flat", "soft"])
@pytest.mark.parametrize("has_logits", [True, False])
def test_white_is_exactly_white(processor, drawing, style, has_logits):
    outputs = classes(processor(drawing), 0, sure=9.0)
    outputs.colors += torch.tensor([-1.5, 0.8, -0.8]).view(3, 1, 1)  # as good as white
    if not has_logits:
        outputs.logits = None
    [result] = processor.post_process_colorization(outputs, drawing, style=style, temperature=1.0)
    assert (pixels(result.colors) == 255).all()
    assert (pixels(result.image)[pixels(drawing) == 255] == 255).all()


def test_white_ends_where_the_processor_says(drawing):
    outputs = classes(SketchColorizerImageProcessor(working_size=48)(drawing), 0)
    outputs.logits, outputs.colors = None, outputs.colors + torch.tensor([-4.0, 0.0, 0.0]).view(3, 1, 1)
    for lightness, is_white in ((95.0, True), (97.0, False)):
        processor = SketchColorizerImageProcessor(working_size=48, white_lightness=lightness)
        [result] = processor.post_process_colorization(outputs, drawing)
        assert bool((pixels(result.colors) == 255).all()) == is_white


@pytest.mark.parametrize(("threshold", "is_white"), [(0.5, True), (0.7, False)])
def test_paper_is_white_where_it_is_likelier_than_the_threshold(drawing, threshold, is_white):
    processor = SketchColorizerImageProcessor(working_size=48, paper_threshold=threshold, temperature=1.0)
    outputs = classes(processor(drawing), 0, sure=1.1)  # e^1.1 : 1 : 1 is 0.6 of the mass
    [result] = processor.post_process_colorization(outputs, drawing)
    assert bool((pixels(result.colors) == 255).all()) == is_white


@pytest.mark.parametrize("style", ["flat", "soft"])
@pytest.mark.parametrize("has_logits", [True, False])
def test_one_sure_colour_comes_out_as_itself(processor, drawing, style, has_logits):
    outputs = classes(processor(drawing), 2, sure=30.0)
    if not has_logits:
        outputs.logits = None
    [result] = processor.post_process_colorization(outputs, drawing, style=style)
    assert np.abs(pixels(result.colors).astype(int) - BLUE).max() <= 2


def test_flat_regions_have_one_colour_each_and_soft_ones_follow_the_cells(processor):
    drawing = draw(96, 96)
    inputs = processor(drawing)
    right = (torch.arange(12) >= 6).long().expand(1, 1, 12, 12)
    outputs = classes(inputs, 1 + right, sure=8.0)
    flat, soft = (
        processor.post_process_colorization(outputs, drawing, style=style)[0].colors for style in ("flat", "soft")
    )
    assert len(np.unique(pixels(flat).reshape(-1, 3), axis=0)) <= 4
    left, right = pixels(soft)[48, 2].astype(int), pixels(soft)[48, 93].astype(int)
    assert np.abs(left - RED).max() < 40
    assert np.abs(right - BLUE).max() < 40


def test_a_batch_is_finished_as_its_drawings_alone(processor):
    drawings = [draw(64, 48), draw(30, 90), draw(111, 50)]
    generator = torch.Generator().manual_seed(0)
    together = processor(drawings)
    outputs = classes(together, 0)
    outputs.logits = torch.randn(outputs.logits.shape, generator=generator) * 3
    results = processor.post_process_colorization(outputs, drawings, style="soft")
    for row, drawing, result in zip(outputs.logits, drawings, results, strict=True):
        height, width = (side // 4 for side in processor(drawing)["pixel_values"].shape[2:])
        alone = classes(processor(drawing), 0)
        alone.logits = row[None, :, :height, :width]
        [single] = processor.post_process_colorization(alone, drawing, style="soft")
        assert (pixels(single.colors) == pixels(result.colors)).all()


def test_full_size_outputs_serve_as_well(processor, drawing):
    outputs = classes(processor(drawing), 1, sure=30.0, stride=1)
    [result] = processor.post_process_colorization(outputs, drawing)
    assert np.abs(pixels(result.colors).astype(int) - RED).max() <= 2


def test_temperature_decides(processor, drawing):
    outputs = classes(processor(drawing), 1, sure=1.0)
    cold, warm = (
        pixels(processor.post_process_colorization(outputs, drawing, temperature=t)[0].colors)[0, 0].astype(int)
        for t in (0, 1)
    )
    assert np.abs(cold - RED).max() <= 1
    assert np.abs(warm - RED).max() > 20


def test_saved_and_loaded_it_is_the_same(tmp_path):
    processor = SketchColorizerImageProcessor(
        working_size=64, style="soft", temperature=0.5, size_divisor=32, paper_threshold=None, max_ink_gain=2.0
    )
    processor.save_pretrained(tmp_path)
    loaded = SketchColorizerImageProcessor.from_pretrained(tmp_path)
    assert loaded.to_dict() == processor.to_dict()
    assert SketchColorizerImageProcessor.from_pretrained(tmp_path, working_size=96).working_size == 96


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"style": "oil"}, "style must be one of flat, soft, got 'oil'"),
        ({"temperature": -1}, r"temperature must be 0\.\.100, got -1"),
        ({"temperature": float("nan")}, "temperature must be"),
        ({"paper_threshold": 1.5}, r"paper_threshold must be 0\.\.1, or None, got 1.5"),
        ({"working_size": 8}, r"working_size must be 32\.\.1024, got 8"),
        ({"working_sise": 256}, "unknown key working_sise"),
    ],
)
def test_wrong_settings_are_refused(settings, reason):
    with pytest.raises(ValueError, match=reason):
        SketchColorizerImageProcessor(**settings)


def test_wrong_calls_are_refused(processor, drawing):
    with pytest.raises(ValueError, match="no drawing"):
        processor([])
    with pytest.raises(ValueError, match="PIL image or a uint8 array, got str"):
        processor(["drawing.png"])
    with pytest.raises(ValueError, match=r"uint8 \(H, W\).*got float64 \(4, 4\)"):
        processor(np.zeros((4, 4)))
    with pytest.raises(ValueError, match="style must be"):
        processor.post_process_colorization(classes(processor(drawing), 1), drawing, style="oil")
    with pytest.raises(ValueError, match="do not fit these 2 drawings"):
        processor.post_process_colorization(classes(processor(drawing), 1), [drawing, drawing])
    with pytest.raises(ValueError, match="working_size that went in"):
        processor.post_process_colorization(classes(processor(drawing), 1), drawing, working_size=200)


def test_with_hints_rare_colours_are_the_users_to_choose(processor):
    """The weights that lift rare classes count for a plain colouring, and no longer once there are hints."""
    drawing = Image.new("L", (96, 96), 255)
    drawing.paste(0, (46, 0, 50, 96))  # two regions
    inputs = processor(drawing)
    outputs = classes(inputs, 1, sure=2.0)
    outputs.logits[:, 0] = -9.0  # no paper
    outputs.logits[:, 2] = 1.5  # blue is nearly as likely as red

    def right_half(weights, hints):
        outputs.bin_weights = torch.tensor(weights)
        settings = {"temperature": 0.0, "guidance": 1.0, "hints": hints}
        return tuple(pixels(processor.post_process_colorization(outputs, drawing, **settings)[0].colors)[48, 80])

    green = [(10, 10, "#1e8c3c")]  # in the left half; neither red nor blue
    assert right_half([1.0, 1.0, 3.0], None) == BLUE
    assert right_half([1.0, 1.0, 3.0], green) == RED
    assert right_half([1.0, 0.0, 1.0], None) == right_half([1.0, 0.0, 1.0], green) == BLUE  # 0: a class that is none


def test_a_hinted_drawing_is_decoded_by_its_own_settings_unless_told_otherwise(processor, tmp_path):
    drawing = Image.new("L", (96, 96), 255)
    drawing.paste(0, (46, 0, 50, 96))  # two regions
    outputs = classes(processor(drawing), 1, sure=2.0)
    outputs.logits[:, 0] = -9.0  # no paper
    outputs.bin_weights = torch.ones(3)
    processor.temperature, processor.hinted_temperature = 1.0, 0.0  # the mean, and the mode
    processor.save_pretrained(tmp_path)
    loaded = type(processor).from_pretrained(tmp_path)
    assert loaded.hinted_temperature == 0.0

    def right_half(**settings):
        return tuple(pixels(loaded.post_process_colorization(outputs, drawing, **settings)[0].colors)[48, 80])

    green = [(10, 10, "#1e8c3c")]  # in the left half, and far from both classes
    assert right_half(hints=green) == right_half(temperature=0.0) == RED
    assert right_half() == right_half(temperature=1.0) != RED
    assert right_half(hints=green, temperature=1.0) != RED
    with pytest.raises(ValueError, match="temperature"):
        type(processor)(hinted_temperature=-1.0)
