"""Laws of palettes: how they are read, what a reference picture gives, and that regions use all of their colours."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from sketch_colorizer.color import rgb_to_lab
from sketch_colorizer.color_notation import format_color
from sketch_colorizer.palette import balance, color_scores, palette_scores, read_palette

COLORS = ["#3b1f5b", "#8d5fd3", "#ffb3c6", "#ffe066", "#2ec4b6"]


def reference() -> Image.Image:
    image = Image.new("RGB", (400, 300), "white")
    pen = ImageDraw.Draw(image)
    for number, color in enumerate(COLORS):
        pen.ellipse((10 + 78 * number, 60, 80 + 78 * number, 180 + 20 * number), fill=color, outline="black", width=3)
    return image


def hexes(palette) -> list[str]:
    return [format_color(rgb) for rgb in palette.rgb]


def test_a_list_text_and_triples_are_the_same():
    for form in ("#abc, teal;#112233", ["#aabbcc", "teal", "#112233"], [(170, 187, 204), (0, 128, 128), (17, 34, 51)]):
        assert hexes(read_palette(form)) == ["#aabbcc", "#008080", "#112233"]
    assert hexes(read_palette(["red", "#ff0000"])) == ["#ff0000"]
    palette = read_palette("red")
    assert read_palette(palette) is palette


def test_a_reference_picture_gives_the_colours_it_is_painted_in(tmp_path):
    reference().save(tmp_path / "character.png")
    for form in (reference(), np.asarray(reference()), tmp_path / "character.png", str(tmp_path / "character.png")):
        palette = read_palette(form)
        assert set(hexes(palette)) == set(COLORS), "white paper and black lines are no colours of it"
        assert palette.shares.sum() == pytest.approx(1)
        assert palette.shares.argmax() == hexes(palette).index("#2ec4b6")


@pytest.mark.parametrize(
    ("palette", "reason"),
    [
        ("", r"must have 1\.\.256 colours, got 0"),
        ([], r"must have 1\.\.256 colours, got 0"),
        ("#12,red", "'#12' is not a colour; write #rgb"),
        ([float("nan")], "nan is not a colour"),
        (3, "a palette must be .*; got int"),
        ("missing.png", "missing.png does not exist"),
        (Image.new("RGB", (9, 9), "white"), "shows no colours"),
        (np.zeros((4, 2)), "is not a colour"),
    ],
)
def test_what_is_no_palette_is_refused_in_one_line(palette, reason):
    with pytest.raises((ValueError, OSError), match=reason) as caught:
        read_palette(palette)
    assert "\n" not in str(caught.value)


def lab(*colors: str) -> torch.Tensor:
    return read_palette(list(colors)).lab


def test_the_nearest_colour_fits_best():
    palette = read_palette(COLORS)
    bins = rgb_to_lab(torch.rand(40, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    sure = (torch.eye(40) * 50).log_softmax(-1)
    nearest = torch.cdist(bins, palette.lab).argmin(-1)
    near = torch.cdist(bins, palette.lab).amin(-1) < 40
    assert (palette_scores(sure, bins, palette).argmax(-1) == nearest)[near].all()
    assert (color_scores(bins, palette).argmax(-1) == nearest).all()


def test_paper_speaks_for_no_colour():
    bins = torch.cat([lab("#ffffff", "#2ec4b6", "#3b1f5b")])
    palette = read_palette("#fffff0,#2ec4b6,#3b1f5b")
    probabilities = torch.tensor([[0.9, 0.08, 0.02]])
    assert palette_scores(probabilities.log(), bins, palette).argmax() == 1


@pytest.mark.parametrize("contrast", [0.01, 1.0, 5.0])
def test_undecided_regions_use_the_whole_palette(contrast):
    """However little the regions differ, and however likely one colour is everywhere."""
    scores = torch.randn(60, 5, generator=torch.Generator().manual_seed(1)) * contrast + torch.tensor(
        [3.0, 0, 0, 0, -3]
    )
    chosen = (scores + balance(scores, torch.ones(60), read_palette(COLORS))).argmax(-1)
    counts = torch.bincount(chosen, minlength=5)
    assert counts.min() >= 4
    assert counts.argmax() == 0


def test_no_region_no_bonus():
    assert balance(torch.zeros(0, 5), torch.zeros(0), read_palette(COLORS)).tolist() == [0.0] * 5
