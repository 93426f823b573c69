"""Laws of cleaning what users bring: every mode, every polarity, every light."""

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from sketch_colorizer.drawing import clean_drawing, is_colored


def drawing(height: int = 180, width: int = 240, *, fill: bool = True) -> np.ndarray:
    """A face with antialiased outlines and, with `fill`, black hair: (H, W) uint8, 255 = paper."""
    canvas = np.full((height, width), 255, np.uint8)
    middle, radius = (width // 2, height // 2), min(height, width) // 3
    cv2.circle(canvas, middle, radius, 0, 2, cv2.LINE_AA)
    cv2.ellipse(canvas, middle, (radius // 2, radius // 3), 0, 20, 160, 0, 2, cv2.LINE_AA)
    cv2.line(canvas, (5, height - 20), (width - 9, height - 12), 60, 1, cv2.LINE_AA)
    for side in (-1, 1):
        cv2.circle(canvas, (middle[0] + side * radius // 3, middle[1] - radius // 4), 3, 0, -1, cv2.LINE_AA)
    if fill:
        cv2.ellipse(canvas, (middle[0], middle[1] - radius // 2), (radius, radius // 2), 0, 180, 360, 0, -1)
    return canvas


def cleaned(image: Image.Image) -> np.ndarray:
    result = clean_drawing(image)
    assert result.mode == "L"
    return np.asarray(result)


def with_alpha(ink: int, grey: np.ndarray) -> Image.Image:
    """Lines of one grey on nothing."""
    return Image.merge("LA", (Image.new("L", grey.shape[::-1], ink), Image.fromarray(255 - grey)))


def photograph(grey: np.ndarray, *, light: np.ndarray, noise: float = 2.5, ink: float = 0.8) -> Image.Image:
    """The drawing on paper in uneven light, with ink that is not black, a soft lens and sensor noise."""
    seen = cv2.GaussianBlur(light * (1 - ink * (255.0 - grey) / 255), (0, 0), 0.6)
    return Image.fromarray(
        np.clip(seen + np.random.default_rng(0).normal(0, noise, grey.shape), 0, 255).astype(np.uint8)
    )


def lamp(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return 110 + 125 * np.exp(-((x - 0.3) ** 2 + (y - 0.2) ** 2) / 0.6)


def soft_shadow(height: int, width: int) -> np.ndarray:
    x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j][1]
    return 225 - 110 / (1 + np.exp(-(x - 0.6) * 30))


GREY = drawing()
SAME_DRAWING = {
    "L": Image.fromarray(GREY),
    "RGB": Image.fromarray(GREY).convert("RGB"),
    "RGBA, opaque": Image.fromarray(GREY).convert("RGBA"),
    "LA, opaque": Image.fromarray(GREY).convert("LA"),
    "La": Image.fromarray(GREY).convert("LA").convert("La"),
    "black on nothing, LA": with_alpha(0, GREY),
    "black on nothing, RGBA": with_alpha(0, GREY).convert("RGBA"),
    "black on nothing, RGBa": with_alpha(0, GREY).convert("RGBA").convert("RGBa"),
    "white on nothing, LA": with_alpha(255, GREY),
    "white on nothing, RGBA": with_alpha(255, GREY).convert("RGBA"),
    "white on black": Image.fromarray(255 - GREY),
    "white on black, RGB": Image.fromarray(255 - GREY).convert("RGB"),
    "palette": Image.fromarray(GREY).convert("P"),
    "CMYK": Image.fromarray(GREY).convert("RGB").convert("CMYK"),
    "HSV": Image.fromarray(GREY).convert("RGB").convert("HSV"),
    "I;16": Image.fromarray(GREY.astype(np.uint16) * 257),
    "I, 16 bits": Image.fromarray(GREY.astype(np.int32) * 257),
    "I, 8 bits": Image.fromarray(GREY.astype(np.int32)),
    "F, 0..1": Image.fromarray(GREY.astype(np.float32) / 255),
    "F, 0..255": Image.fromarray(GREY.astype(np.float32)),
    "white on black, I;16": Image.fromarray((255 - GREY).astype(np.uint16) * 257),
}


@pytest.mark.parametrize("name", SAME_DRAWING)
def test_every_form_of_a_drawing_gives_its_own_pixels(name: str):
    image = SAME_DRAWING[name]
    before = image.tobytes()
    assert np.array_equal(cleaned(image), GREY)
    assert image.tobytes() == before


def test_ycbcr_to_the_rounding_of_its_own_conversion():
    result = cleaned(Image.fromarray(GREY).convert("RGB").convert("YCbCr")).astype(int)
    assert np.abs(result - GREY).max() <= 1


def test_lab_and_one_bit():
    lab = Image.merge("LAB", (Image.fromarray(GREY), Image.new("L", (240, 180), 128), Image.new("L", (240, 180), 128)))
    assert np.array_equal(cleaned(lab), GREY)
    ink = np.where(GREY > 127, 255, 0).astype(np.uint8)
    assert np.array_equal(cleaned(Image.fromarray(ink).convert("1")), ink)


@pytest.mark.parametrize("ink", [0, 255])
def test_palette_with_a_transparent_colour(ink: int):
    indices = (GREY < 128).astype(np.uint8)
    image = Image.fromarray(indices).convert("P")
    image.putpalette([17, 99, 3, ink, ink, ink])
    image.info["transparency"] = 0
    assert np.array_equal(cleaned(image), np.where(indices, 0, 255))


@pytest.mark.parametrize(("mode", "key"), [("L", 77), ("RGB", (77, 77, 77))])
def test_a_colour_declared_transparent_is_paper(mode: str, key):
    image = Image.fromarray(np.where(GREY < 128, 0, 77).astype(np.uint8)).convert(mode)
    image.info["transparency"] = key
    assert np.array_equal(cleaned(image), np.where(GREY < 128, 0, 255))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(orientation: int):
    upright = Image.fromarray(GREY)
    inverse = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(inverse[orientation]) if orientation > 1 else upright.copy()
    stored.getexif()[0x0112] = orientation
    assert np.array_equal(cleaned(stored), GREY)


def test_a_sticker_keeps_its_black_outline():
    """White inside, black outline, nothing outside: light pixels on nothing, yet no drawing in white."""
    alpha, grey = np.zeros((120, 120), np.uint8), np.full((120, 120), 255, np.uint8)
    cv2.circle(alpha, (60, 60), 40, 255, -1)
    cv2.circle(grey, (60, 60), 38, 0, 3)
    sticker = Image.merge("LA", (Image.fromarray(grey), Image.fromarray(alpha)))
    assert np.array_equal(cleaned(sticker), np.where(alpha > 0, grey, 255))


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), height=st.integers(32, 120), width=st.integers(32, 200), fills=st.integers(0, 3))
@example(seed=3, height=32, width=32, fills=3)  # lines cross so closely that little paper is left between them
def test_a_clean_drawing_keeps_every_pixel(seed: int, height: int, width: int, fills: int):
    rng = np.random.default_rng(seed)
    canvas = np.full((height, width), 255, np.uint8)
    for _ in range(fills):  # grey tones and black areas
        x, y = int(rng.integers(width)), int(rng.integers(height))
        tone = int(rng.choice([0, 90, 170, 215]))
        cv2.rectangle(canvas, (x, y), (x + width // 4, y + height // 4), tone, -1)
    for _ in range(5):
        ends = rng.integers(0, [width, height], (2, 2)).tolist()
        cv2.line(canvas, ends[0], ends[1], int(rng.integers(0, 120)), int(rng.integers(1, 3)), cv2.LINE_AA)
    assert np.array_equal(cleaned(Image.fromarray(canvas)), canvas)


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (1, 300), (2000, 100), (7, 5), (999, 13)])
@pytest.mark.parametrize("value", [255, 128])
def test_blank_paper_of_any_size_is_white(size: tuple[int, int], value: int):
    result = clean_drawing(Image.new("L", size, value))
    assert result.size == size
    assert np.asarray(result).min() == 255


def test_a_black_page_stays_black():
    assert cleaned(Image.new("L", (50, 40), 0)).max() == 0


def test_off_white_paper_becomes_white():
    cream = Image.merge("RGB", [Image.fromarray((GREY * tint).astype(np.uint8)) for tint in (0.97, 0.94, 0.84)])
    result = cleaned(cream)
    assert (result[GREY == 255] == 255).all()
    assert result[GREY == 0].max() < 20


@pytest.mark.parametrize("light", [lamp, soft_shadow])
def test_uneven_paper_is_lifted_and_lines_stay_dark(light):
    grey = drawing(540, 720)
    result = cleaned(photograph(grey, light=light(*grey.shape)))
    paper = cv2.erode(grey, np.ones((5, 5), np.uint8)) == 255
    assert (result[paper] >= 250).mean() > 0.995
    assert np.mean(result[paper] == 255) > 0.99
    assert result[grey < 30].mean() < 60
    assert (result[grey < 30] < 128).mean() > 0.97


def test_chalk_on_a_board():
    grey = drawing(540, 720)
    board = 50 + 0.6 * (255.0 - grey) + lamp(*grey.shape) / 8 + np.random.default_rng(2).normal(0, 2, grey.shape)
    result = cleaned(Image.fromarray(board.clip(0, 255).astype(np.uint8)))
    assert (result[cv2.erode(grey, np.ones((5, 5), np.uint8)) == 255] >= 250).mean() > 0.99
    assert (result[grey < 30] < 100).mean() > 0.97


def test_faint_pencil_gains_contrast():
    grey = drawing(540, 720, fill=False)
    result = cleaned(photograph(grey, light=lamp(*grey.shape), ink=0.3))
    assert result[grey < 30].mean() < 150
    assert (result[grey < 30] < 210).mean() > 0.95
    assert (result[cv2.erode(grey, np.ones((7, 7), np.uint8)) == 255] == 255).mean() > 0.99


def test_a_dark_photograph_is_not_taken_for_white_on_black():
    grey = drawing(540, 720)
    result = cleaned(photograph(grey, light=0.4 * lamp(*grey.shape)))
    assert result.mean() > 200
    assert np.median(result[grey < 30]) < 60


def test_a_sheet_on_a_dark_table_is_not_taken_for_white_on_black():
    table = np.random.default_rng(1).normal(50, 4, (400, 500)).clip(0, 255).astype(np.uint8)
    table[100:280, 120:360] = np.asarray(photograph(GREY, light=lamp(180, 240)))
    sheet = cleaned(Image.fromarray(table))[104:276, 124:356]
    assert (sheet == 255).mean() > 0.6
    assert np.median(sheet[GREY[4:-4, 4:-4] < 30]) < 80


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_a_wholly_transparent_image_is_refused(mode: str):
    image = Image.new("RGBA", (30, 20), (0, 0, 0, 0)).convert(mode)
    if mode == "P":
        image.info["transparency"] = bytes(256)
    with pytest.raises(ValueError, match="wholly transparent"):
        clean_drawing(image)


def test_an_image_without_pixels_is_refused():
    with pytest.raises(ValueError, match="no pixels"):
        clean_drawing(Image.new("L", (0, 10)))


def test_floats_that_are_no_numbers_are_paper():
    values = GREY.astype(np.float32) / 255
    values[GREY == 255] = np.nan
    values[0, 0] = 1
    assert np.array_equal(cleaned(Image.fromarray(values)), GREY)


def test_colored_pictures_are_told_from_drawings():
    rgb = np.stack([GREY] * 3, -1)
    red, blue_pencil = rgb.copy(), rgb.copy()
    red[60:120, 80:160] = (200, 30, 40)
    blue_pencil[GREY < 128] = (40, 60, 200)
    assert is_colored(Image.fromarray(red))
    assert is_colored(Image.fromarray(red).convert("P"))
    assert is_colored(Image.fromarray(red).convert("CMYK"))
    assert not is_colored(Image.fromarray(rgb))
    assert not is_colored(Image.fromarray(GREY))
    blue_lines = np.where(drawing(fill=False)[..., None] < 128, (40, 60, 200), 255).astype(np.uint8)
    assert not is_colored(Image.fromarray(blue_lines))
    sepia = (rgb * np.array([1.0, 0.9, 0.7])).astype(np.uint8)
    assert not is_colored(Image.fromarray(sepia))
    blueprint = (np.array([40, 80, 170]) + (255 - rgb) / 255 * np.array([215, 175, 85])).astype(np.uint8)
    assert not is_colored(Image.fromarray(blueprint))


def test_colour_under_full_transparency_does_not_count():
    rgba = np.zeros((60, 80, 4), np.uint8)
    rgba[..., 0] = np.arange(80) * 3
    rgba[20:40, 30:33, 3] = 255
    assert not is_colored(Image.fromarray(rgba))
