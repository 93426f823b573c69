"""Laws of a user's hints: what is marked by dots and by layers, what the network sees of it, and what is refused."""

import numpy as np
import pytest
import torch
from conftest import draw
from PIL import Image

from sketch_colorizer.color_notation import ACCEPTED, format_color, parse_color
from sketch_colorizer.hints import decode_hints
from sketch_colorizer.regions import segment_regions
from sketch_colorizer.user_hints import MarkedPixels, hint_tensor, read_hints, vote_by_region

PAPER = np.full((30, 40), 255, np.uint8)  # height, width
RED = (192, 57, 43)


def layer(size=(40, 30), spots=(((4, 5), RED),), alpha=255) -> Image.Image:
    image = Image.new("RGBA", size)
    for at, color in spots:
        image.putpixel(at, (*color, alpha))
    return image


def places(marks: MarkedPixels) -> set[tuple[int, int]]:
    return {(int(i % marks.shape[1]), int(i // marks.shape[1])) for i in marks.index}


@pytest.mark.parametrize(
    ("text", "rgb"),
    [("#c0392b", RED), ("#fff", (255, 255, 255)), (" Teal ", (0, 128, 128)), (RED, RED), (np.array(RED), RED)],
)
def test_colours_are_read_in_every_accepted_form(text, rgb):
    assert parse_color(text) == rgb
    assert parse_color(format_color(rgb)) == rgb


@pytest.mark.parametrize("color", ["#ggg", "reddish", "", (1, 2), (1, 2, 256), (0.5, 0, 0), None, 7, "#11223344"])
def test_what_is_no_colour_is_told_the_accepted_forms(color):
    with pytest.raises(ValueError, match="is not a colour; write") as caught:
        parse_color(color)
    assert ACCEPTED in str(caught.value)


def test_a_dot_is_a_disc_in_its_colour():
    marks = read_hints([(10, 12, "#c0392b", 2)], PAPER)
    assert places(marks) == {(x, y) for x in range(40) for y in range(30) if (x - 10) ** 2 + (y - 12) ** 2 <= 4}
    assert (marks.colors == RED).all()
    assert places(read_hints([(10.7, 12.2, "red", 0)], PAPER)) == {(10, 12)}
    assert len(read_hints([(10, 12, "red")], PAPER).index) >= 1


def test_layer_and_list_are_the_same():
    dots = read_hints([(4, 5, RED, 0), (20, 9, "blue", 0)], PAPER)
    strokes = read_hints(layer(spots=(((4, 5), RED), ((20, 9), (0, 0, 255)))), PAPER)
    assert (dots.index == strokes.index).all()
    assert (dots.colors == strokes.colors).all()


def test_the_last_dot_lies_on_top():
    marks = read_hints([(10, 10, "red", 3), (10, 10, "blue", 1)], PAPER)
    at = {place: tuple(color) for place, color in zip(marks.index, marks.colors, strict=True)}
    assert at[10 * 40 + 10] == (0, 0, 255)
    assert at[10 * 40 + 13] == (255, 0, 0)


def test_what_was_drawn_at_random_is_told_from_what_was_chosen():
    mine, theirs = read_hints([(5, 5, "red", 2)], PAPER), read_hints([(6, 5, "blue", 2), (30, 5, "teal", 2)], PAPER)
    theirs = theirs._replace(drawn=np.ones(len(theirs.index), bool))
    both = mine.joined(theirs)
    assert mine.chosen().index.tolist() == mine.index.tolist()
    assert both.chosen().index.tolist() == np.setdiff1d(mine.index, theirs.index).tolist()
    assert (both.chosen().colors == (255, 0, 0)).all()
    assert theirs.chosen() is None


def test_a_dot_stays_in_its_region():
    art = np.asarray(draw(200, 200))
    labels = segment_regions(art)
    marks = read_hints([(24, 100, "red", 60)], art, labels)
    assert set(labels.ravel()[marks.index]) == {labels[100, 24]}


@pytest.mark.parametrize("size", [(40, 30), (80, 60), (400, 300), (13, 7), (20, 90), (1, 1)])
def test_a_layer_of_any_size_is_stretched_and_loses_no_stroke(size):
    spot = (size[0] // 2, size[1] // 2)
    marks = read_hints(layer(size, ((spot, RED),), alpha=90 if size != (1, 1) else 254), PAPER)
    assert marks.shape == PAPER.shape
    assert len(marks.index) >= 1
    assert (marks.colors == RED).all()
    x, y = np.mean([*places(marks)], axis=0)
    assert abs(x - (spot[0] + 0.5) * 40 / size[0]) <= 1
    assert abs(y - (spot[1] + 0.5) * 30 / size[1]) <= 1


def test_faint_borders_of_a_stroke_do_not_count():
    image = layer(alpha=200)
    image.putpixel((5, 5), (0, 0, 0, 60))
    assert places(read_hints(image, PAPER)) == {(4, 5)}


def test_an_empty_layer_and_an_empty_list_mark_nothing():
    for nothing in (Image.new("RGBA", (9, 9)), []):
        assert len(read_hints(nothing, PAPER).index) == 0


@pytest.mark.parametrize("shape", [(8, 8), (12, 40), (60, 80)])
def test_the_network_sees_each_hint_in_its_colour(shape):
    marks = read_hints([(39, 29, "white", 0), (0, 0, "#c0392b", 0)], PAPER)
    values = hint_tensor(marks, shape)
    assert values.shape == (4, *shape)
    assert values[3, 0, 0] == values[3, -1, -1] == 1
    assert torch.allclose(decode_hints(values[:3])[:, -1, -1], torch.tensor([100.0, 0.0, 0.0]), atol=0.1)
    assert not values[:3, values[3] == 0].any()


def test_ink_under_a_stroke_does_not_speak_for_the_neighbour():
    art = np.full((40, 40), 255, np.uint8)
    art[:, 18:22] = 0
    labels = np.repeat((np.arange(40) >= 20).astype(np.int32)[None], 40, axis=0)
    stroke = read_hints(layer((40, 40), [((x, 9), RED) for x in range(10, 22)]), art)
    assert set(vote_by_region(stroke, labels, art)[1]) == {0}
    on_ink = read_hints([(20, 9, RED, 0)], art, labels)
    assert set(vote_by_region(on_ink, labels, art)[1]) == {1}


@pytest.mark.parametrize(
    ("hints", "reason"),
    [
        ([(40, 3, "red")], r"hint 1 at \(40, 3\) is outside the picture of 40x30 pixels; x goes from 0 to 39"),
        ([(3, 3, "red"), (3, -1, "red")], r"hint 2 at \(3, -1\) is outside"),
        ([(float("nan"), 3, "red")], "x must be a finite number, got nan"),
        ([(3, "middle", "red")], "y must be a finite number, got 'middle'"),
        ([(3, 3, "reddish")], "hint 1: 'reddish' is not a colour; write #rgb"),
        ([(3, 3, "red", -1)], r"radius must be 0\.\.40 pixels, got -1"),
        ([(3, 3, "red", float("inf"))], "radius must be a finite number"),
        ([(3, 3)], r"must be \(x, y, colour\)"),
        (["red"], r"must be \(x, y, colour\)"),
        ([(3, 3, "red")] * 1201, r"more hints \(1201\) than pixels \(1200\)"),
        (7, "hints must be a list of .*; got int"),
        (Image.new("RGB", (4, 4)), "hints need transparency .* mode RGB"),
        (Image.new("RGBA", (4, 4), "red"), "opaque everywhere"),
        (np.zeros((4, 4, 3), np.uint8), r"must be RGBA, uint8 \(H, W, 4\), got uint8 \(4, 4, 3\)"),
        ("nowhere.png", "does not exist"),
    ],
)
def test_wrong_hints_are_refused_in_one_line(hints, reason):
    with pytest.raises((ValueError, OSError), match=reason) as caught:
        read_hints(hints, PAPER)
    assert "\n" not in str(caught.value)
