"""Laws of hints, palettes and proposals through the pipeline, on drawings as users have them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL, draw
from PIL import Image

from sketch_colorizer import (
    ColorizationPipeline,
    SketchColorizerConfig,
    SketchColorizerForRegression,
    SketchColorizerImageProcessor,
)
from sketch_colorizer.color import ciede2000, rgb_to_lab
from sketch_colorizer.color_notation import format_color
from sketch_colorizer.regions import segment_regions

EXAMPLES = Path(__file__).parents[1] / "examples"
RED, TEAL = (192, 57, 43), (0, 128, 128)
PALETTE = ["#f4d35e", "#ee964b", "#0d3b66", "#7fb069"]


@pytest.fixture(scope="module")
def cat() -> Image.Image:
    return Image.open(EXAMPLES / "cat.png").convert("L").resize((320, 320))


def colors(result) -> np.ndarray:
    return np.asarray(result.colors)


def difference(first, second) -> float:
    """Mean CIEDE2000 of two results."""
    lab = (rgb_to_lab(torch.from_numpy(colors(one).copy()).float() / 255, dim=-1) for one in (first, second))
    return float(ciede2000(*lab, dim=-1).mean())


@pytest.mark.parametrize("style", ["flat", "soft"])
@pytest.mark.parametrize("name", ["cat", "landscape"])
def test_hints_are_obeyed_on_real_drawings(embedded_pipeline, name, style):
    drawing = Image.open(EXAMPLES / f"{name}.png").convert("L")
    drawing.thumbnail((320, 320))
    places = np.random.default_rng(0).integers(0, drawing.size, (12, 2))
    hints = [(int(x), int(y), tuple(np.random.default_rng(x).integers(0, 256, 3)), 1) for x, y in places]
    painted = colors(embedded_pipeline(drawing, hints=hints, style=style, working_size=96))
    last = {(x, y): color for x, y, color, _ in hints}
    assert all(tuple(painted[y, x]) == color for (x, y), color in last.items())


@pytest.mark.parametrize("color", ["#ffffff", "#000000", "#c0392b"])
def test_a_region_takes_its_hint_and_the_line_holds_it(pipeline, color):
    drawing = draw(160, 120)
    labels = segment_regions(np.asarray(drawing))
    painted = colors(pipeline(drawing, hints=[(30, 60, color)]))
    mine = labels == labels[60, 30]
    rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
    assert (painted[mine] == rgb).all()
    plain = colors(pipeline(drawing, hints=None))
    assert not (painted[~mine] == rgb).all(-1).any() or (plain[~mine] == rgb).all(-1).any()


def test_no_hints_change_nothing(pipeline, drawing):
    plain = colors(pipeline(drawing))
    for nothing in (None, [], Image.new("RGBA", (7, 7))):
        assert (colors(pipeline(drawing, hints=nothing)) == plain).all()


def test_layer_file_array_and_list_are_the_same(pipeline, drawing, tmp_path):
    layer = Image.new("RGBA", drawing.size)
    layer.putpixel((12, 20), (*RED, 255))
    layer.save(tmp_path / "strokes.png")
    expected = colors(pipeline(drawing, hints=[(12, 20, RED, 0)]))
    for hints in (layer, np.asarray(layer), tmp_path / "strokes.png", str(tmp_path / "strokes.png")):
        assert (colors(pipeline(drawing, hints=hints)) == expected).all()


def test_hints_reach_the_network(pipeline, drawing):
    """Regions without a hint may change with it, for the network has seen it."""
    processor = pipeline.processor
    values = processor(drawing, hints=[(12, 20, RED, 0)])["hint_values"]
    assert values[:, 3].sum() >= 1
    assert processor([drawing, drawing], hints=[None, [(12, 20, RED, 0)]])["hint_values"][0].sum() == 0
    assert torch.equal(processor([drawing, drawing], hints=[None, [(12, 20, RED, 0)]])["hint_values"][1], values[0])


def test_the_transformers_way_obeys_too(pipeline, drawing):
    hints = [(12, 20, RED)]
    with torch.inference_mode():
        outputs = pipeline.model(**pipeline.processor(drawing, hints=hints))
    [result] = pipeline.processor.post_process_colorization(outputs, drawing, hints=hints)
    assert (colors(result) == colors(pipeline(drawing, hints=hints))).all()


def test_several_pictures_have_hints_of_their_own(pipeline, drawing):
    hints = [(12, 20, RED)]
    first, second = pipeline([drawing, drawing], hints=[None, hints])
    assert (colors(first) == colors(pipeline(drawing))).all()
    assert (colors(second) == colors(pipeline(drawing, hints=hints))).all()
    with pytest.raises(ValueError, match=r"for several pictures must be a list .* of each: 2"):
        pipeline([drawing, drawing], hints=hints)


@pytest.mark.parametrize("name", ["cat", "portrait"])
def test_only_the_palette_is_painted_and_all_of_it(embedded_pipeline, name):
    drawing = Image.open(EXAMPLES / f"{name}.png").convert("L")
    drawing.thumbnail((400, 400))
    painted = colors(embedded_pipeline(drawing, palette=PALETTE, working_size=128))
    used = {format_color(rgb) for rgb in np.unique(painted.reshape(-1, 3), axis=0)}
    assert used - {"#ffffff"} == set(PALETTE)


def test_a_palette_leaves_the_paper_white(embedded_pipeline, cat):
    plain, limited = embedded_pipeline(cat), embedded_pipeline(cat, palette=["#123456"])
    assert ((colors(plain) == 255).all(-1) == (colors(limited) == 255).all(-1)).all()
    assert len(np.unique(colors(limited).reshape(-1, 3), axis=0)) <= 2


def test_hints_go_before_the_palette(pipeline, drawing):
    result = pipeline(drawing, palette=PALETTE, hints=[(12, 20, RED)])
    assert tuple(colors(result)[20, 12]) == RED
    assert [guess.color in PALETTE for guess in result.suggest_colors(1, 1)] == [True] * 4


def test_regression_obeys_and_takes_palettes_but_knows_no_doubt(drawing):
    model = SketchColorizerForRegression(SketchColorizerConfig(**SMALL))
    pipeline = ColorizationPipeline(model, SketchColorizerImageProcessor(working_size=48))
    for style in ("flat", "soft"):
        result = pipeline(drawing, hints=[(12, 20, RED)], palette=PALETTE, style=style)
        assert tuple(colors(result)[20, 12]) == RED
    with pytest.raises(ValueError, match="model without probabilities"):
        result.suggest_hints(2)
    with pytest.raises(ValueError, match="no distributions to draw proposals from"):
        pipeline(drawing, num_proposals=2)


def test_proposals_differ_repeat_and_start_with_the_plain_answer(embedded_pipeline, cat):
    settings = {"num_proposals": 4, "working_size": 128}
    results = embedded_pipeline(cat, seed=1, **settings)
    assert len(results) == 4
    assert (colors(results[0]) == colors(embedded_pipeline(cat, working_size=128))).all()
    differences = [difference(results[i], results[j]) for i in range(4) for j in range(i)]
    assert min(differences) > 1
    assert np.mean(differences) > 4
    again, other = embedded_pipeline(cat, seed=1, **settings), embedded_pipeline(cat, seed=2, **settings)
    assert all((colors(one) == colors(two)).all() for one, two in zip(results, again, strict=True))
    assert any((colors(one) != colors(two)).any() for one, two in zip(results, other, strict=True))


def test_hints_and_palette_hold_in_every_proposal(pipeline):
    drawing = draw(160, 120)
    for result in pipeline(drawing, num_proposals=3, hints=[(30, 60, RED)], palette=PALETTE):
        painted = colors(result)
        assert tuple(painted[60, 30]) == RED
        used = {format_color(rgb) for rgb in np.unique(painted.reshape(-1, 3), axis=0)}
        assert used <= {*PALETTE, "#ffffff", "#c0392b"}


def test_lists_come_as_asked(pipeline, drawing):
    assert len(pipeline(drawing, num_proposals=1)) == 1
    shapes = [len(one) for one in pipeline([drawing, drawing], num_proposals=2)]
    assert shapes == [2, 2]


def test_results_answer_questions(embedded_pipeline, cat):
    result = embedded_pipeline(cat, working_size=96)
    doubt = result.uncertainty
    assert (doubt.shape, doubt.dtype) == (cat.size[::-1], np.float32)
    assert 0 <= doubt.min() < doubt.max() <= 1
    places = result.suggest_hints(3)
    labels = segment_regions(np.asarray(result.line_art))
    assert len({labels[place.y, place.x] for place in places}) == 3
    hinted = embedded_pipeline(cat, working_size=96, hints=[(places[0].x, places[0].y, places[0].colors[1].color)])
    assert hinted.uncertainty[places[0].y, places[0].x] == 0
    assert len(result.suggest_colors(5, 5)) == 5


@pytest.mark.parametrize("number", [0, 1000, -1, 1.5, float("nan"), True])
def test_wrong_numbers_of_proposals_are_refused(pipeline, drawing, number):
    with pytest.raises(ValueError, match=r"num_proposals must be a whole number of 1\.\.100, got"):
        pipeline(drawing, num_proposals=number)


def test_engines_are_checked(pipeline, drawing, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="engine must be one of classes, flow, got 'magic'"):
        pipeline(drawing, engine="magic")
    pipeline.save_pretrained(tmp_path)
    alone = ColorizationPipeline.from_pretrained(tmp_path, device="cpu")
    with pytest.raises(ValueError, match=r"without a flow-matching model .*use the engine 'classes'"):
        alone(drawing, engine="flow")
