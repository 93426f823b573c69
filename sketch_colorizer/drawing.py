"""A user's drawing, in whatever form it comes, as clean grey line art: dark lines on white paper."""

import cv2
import numpy as np
from PIL import Image, ImageOps

__all__ = ["clean_drawing", "is_blank", "is_colored"]

SAMPLE_SIDE = 512  # longest side of the reduced copies on which everything is judged
ORIENTATION = 0x0112  # the EXIF tag
WHITE = 255
FAINTEST = 250  # what is lighter is no line
SMALLEST_SCAN = 64  # shorter side; what is smaller and has white in it is no scan, and crossing lines may cover it


def clean_drawing(image: Image.Image) -> Image.Image:
    """Grey line art of the same size, mode "L", 255 = paper: upright, opaque, dark on white, evenly lit.

    Takes every mode of PIL. Transparent pixels become paper, white lines on black or on nothing become dark lines,
    and uneven paper (a photograph, a scan) is lifted to 255. The pixels of a drawing that is clean already are
    returned as they are. Raises ValueError for what shows nothing: no pixels, or all of them transparent.
    """
    if min(image.size) < 1:
        raise ValueError(f"the image has no pixels: its size is {image.width}x{image.height}")
    grey = _grey_on_white(_upright(image))
    if _is_inverted(grey):
        grey = cv2.bitwise_not(grey)
    if not _has_white_paper(grey):
        grey = _lift_paper(grey)
    return Image.fromarray(grey)


def is_blank(line_art: np.ndarray) -> bool:
    """Whether cleaned line art, uint8 (H, W), shows nothing: an empty page, which is white and has no colours."""
    return bool(line_art.min() >= FAINTEST)


def is_colored(image: Image.Image, *, share: float = 0.05, distance: int = 24) -> bool:
    """Whether the picture has been coloured already, so that a caller can warn before colouring it again.

    True where more than `share` of the pixels differ by more than `distance` (of 255) from every mixture of the
    commonest colour with ink: tinted paper, warm light, a blue pencil or a blueprint do not make a coloured picture.
    """
    if image.mode in ("1", "L", "LA", "La", "F") or image.mode.startswith("I"):
        return False
    reduced = image.resize(tuple(min(side, 256) for side in image.size), Image.Resampling.NEAREST)
    rgba = reduced.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (WHITE, WHITE, WHITE, WHITE))
    rgb = np.asarray(Image.alpha_composite(white, rgba).convert("RGB"), np.float32)
    luma = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    tint = rgb - luma[..., None]
    light, hue = np.median(luma), np.median(tint, (0, 1))
    amount = luma / light if light > WHITE / 2 else (WHITE - luma) / (WHITE - light)  # 1 = bare paper
    return bool((np.abs(tint - hue * amount[..., None]).max(-1) > distance).mean() > share)


# --------------------------------------------------------------------------------------------------------------------
# Any mode to grey, uint8


def _upright(image: Image.Image) -> Image.Image:
    return ImageOps.exif_transpose(image) if image.getexif().get(ORIENTATION, 1) != 1 else image


def _grey_on_white(image: Image.Image) -> np.ndarray:
    """Grey values over white paper, (H, W) uint8; lines that are white on nothing come out dark."""
    if image.mode == "F" or image.mode.startswith("I"):
        return _deep_to_grey(np.asarray(image))
    if image.mode == "LAB":
        return np.array(image.getchannel("L"))
    if image.mode == "La":
        image = image.convert("LA")
    elif "transparency" in image.info or image.mode in ("PA", "RGBa"):
        image = image.convert("RGBA")
    grey = np.array(image.convert("L"))
    if "A" not in image.getbands():
        return grey
    return _over_white(grey, np.asarray(image.getchannel("A")))


def _deep_to_grey(values: np.ndarray) -> np.ndarray:
    """16 and 32 bits or floats to uint8, by the range that the values reach: 0..1 (float), 0..255 or 0..65535."""
    if values.dtype.kind == "f":
        brightest = np.max(values, initial=0, where=np.isfinite(values))
        values = np.nan_to_num(values, nan=brightest, posinf=brightest)
    peak = values.max()
    if values.dtype.kind == "f" and peak <= 1:
        scale = 255.0
    else:
        scale = 1.0 if peak <= 255 and values.dtype.itemsize != 2 else 1 / 257
    grey = np.empty(values.shape, np.uint8)
    for row, out in zip(values, grey, strict=True):  # row by row: no copy of the whole picture in float
        out[:] = np.clip(np.rint(row * scale), 0, WHITE)
    return grey


def _over_white(grey: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Pixels over white paper, by their alpha; over black and inverted where only light lines are there to be seen."""
    if not alpha.any():
        raise ValueError("the image is wholly transparent, so there is no drawing in it; export it with its lines")
    visible, seen = _sample(alpha) > WHITE // 2, _sample(grey)
    mostly_clear = visible.mean() < 0.5
    light_lines = mostly_clear and visible.any() and (seen[visible] < WHITE // 2).mean() < 0.002
    ink = grey if light_lines else cv2.bitwise_not(grey)
    return cv2.bitwise_not(cv2.multiply(ink, alpha, scale=1 / WHITE))


# --------------------------------------------------------------------------------------------------------------------
# Judging a drawing on a reduced copy


def _sample(values: np.ndarray) -> np.ndarray:
    """Every n-th pixel, unaltered, so that the longest side is at most SAMPLE_SIDE."""
    step = -(-max(values.shape) // SAMPLE_SIDE)
    return np.ascontiguousarray(values[::step, ::step])


def _window(grey: np.ndarray) -> np.ndarray:
    """Square that is wider than any line and narrower than most shapes."""
    side = max(9, max(grey.shape) // 24) | 1
    return np.ones((side, side), np.uint8)


def _close(grey: np.ndarray) -> np.ndarray:
    """The paper as if no line were on it: dark things narrower than a window are filled from their surroundings."""
    return cv2.morphologyEx(grey, cv2.MORPH_CLOSE, _window(grey))


def _even_areas(paper: np.ndarray, step: int) -> tuple[int, np.ndarray]:
    """Numbered areas without a jump: soft shadows stay in one area, filled shapes are areas of their own.

    0 marks the jumps, pixels whose neighbours differ by more than `step`.
    """
    smooth = cv2.morphologyEx(paper, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) <= step
    return cv2.connectedComponents(smooth.astype(np.uint8), connectivity=4)


def _is_inverted(grey: np.ndarray) -> bool:
    """Light lines on dark ground: most of it and of its border is dark, and that is no table with a sheet on it."""
    sample = _sample(grey)
    dark = sample < min(110, np.percentile(sample, [0.1, 99.9]).mean())
    rim = max(1, max(sample.shape) // 50)
    border = np.concatenate([part.ravel() for part in (dark[:rim], dark[-rim:], dark[:, :rim], dark[:, -rim:])])
    if dark.mean() < 0.5 or border.mean() < 0.7 or _shows_a_sheet(sample, ~dark):
        return False
    light_lines = cv2.morphologyEx(sample, cv2.MORPH_TOPHAT, _window(sample)).mean()
    dark_lines = cv2.morphologyEx(sample, cv2.MORPH_BLACKHAT, _window(sample)).mean()
    return bool(light_lines > 0.25 * dark_lines)


def _shows_a_sheet(sample: np.ndarray, light: np.ndarray) -> bool:
    """Whether what is light is mostly one uneven rectangle, at any angle: paper photographed on something dark."""
    solid = cv2.morphologyEx(light.astype(np.uint8), cv2.MORPH_OPEN, np.ones((9, 9), np.uint8))
    if solid.sum() < max(0.05 * light.size, 0.6 * light.sum()):
        return False
    if np.ptp(np.percentile(sample[solid > 0], [25, 75])) <= 2:
        return False
    sheet = max(cv2.findContours(_close(solid), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0], key=cv2.contourArea)
    _, (width, height), _ = cv2.minAreaRect(sheet)
    return cv2.contourArea(sheet) > max(0.85 * width * height, 0.8 * solid.sum())


def _has_white_paper(grey: np.ndarray) -> bool:
    """Whether the areas that reach white are white nearly all over; grey fills with hard edges do not count."""
    paper = _close(_sample(grey))
    count, areas = _even_areas(paper, step=12)
    size = np.bincount(areas.ravel(), minlength=count)[1:]
    white = np.bincount(areas[paper == WHITE], minlength=count)[1:]
    almost = np.bincount(areas[paper >= WHITE - 3], minlength=count)[1:]
    if not white.any():
        return bool(paper.max() < 32)  # nothing but black: there is no paper to lift
    if min(grey.shape) < SMALLEST_SCAN:
        return True
    return bool(almost[white > 0].sum() >= 0.9 * size[white > 0].sum())


# --------------------------------------------------------------------------------------------------------------------
# Uneven paper


def _lift_paper(grey: np.ndarray) -> np.ndarray:
    """The drawing divided by its paper; what is paper in a smoothed copy too becomes 255, the ink keeps its grain."""
    paper, bare = _estimate_paper(grey)
    flat = cv2.divide(grey, cv2.resize(paper, grey.shape[::-1], interpolation=cv2.INTER_LINEAR), scale=WHITE)
    smooth = cv2.GaussianBlur(flat, (5, 5), 0)
    seen, seen_smooth = _sample(flat), _sample(smooth)
    bare = cv2.resize(bare.astype(np.uint8), seen.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
    cut = WHITE - min(max(5 * _noise(seen_smooth[bare]), 0.02 * WHITE), 0.15 * WHITE)
    lines = cv2.LUT(flat, _levels(seen[seen_smooth < cut], white=WHITE - 2 * _noise(seen[bare])))
    lines[smooth >= cut] = WHITE
    return lines


def _noise(paper: np.ndarray) -> float:
    """Standard deviation of the paper below its brightness, 0..40."""
    return min(WHITE - float(np.percentile(paper, 16)), 40.0) if paper.size else 0.0


def _levels(ink: np.ndarray, *, white: float) -> np.ndarray:
    """Table of 256 grey values that stretches from the darker part of the ink to the paper's white."""
    black = min(0.85 * float(np.percentile(ink, 10)), 0.6 * white) if ink.size else 0.0
    table = (np.arange(256) - black) / (white - black) * WHITE
    return np.clip(np.rint(table), 0, WHITE).astype(np.uint8)


def _estimate_paper(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Brightness of the paper, smooth and filled in under the ink, and where it is bare: (h, w) on a reduced copy."""
    scale = min(1.0, SAMPLE_SIDE / max(grey.shape))
    size = tuple(max(1, round(side * scale)) for side in grey.shape[::-1])
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    reduced = cv2.medianBlur(small, 5)
    closed = _close(reduced)
    _, areas = _even_areas(closed, step=12)
    peaks = np.zeros(areas.max() + 1, np.uint8)
    np.maximum.at(peaks, areas.ravel(), closed.ravel())
    bare = (peaks >= 0.8 * np.percentile(closed, 98))[areas] & (areas > 0)
    bare &= (reduced >= 0.96 * closed) & (cv2.blur(small, (3, 3)) >= 0.94 * closed)
    return _fill_in(reduced, bare, fallback=float(np.percentile(closed, 98))), bare


def _fill_in(values: np.ndarray, known: np.ndarray, *, fallback: float) -> np.ndarray:
    """Smooth surface through the known values, from ever wider surroundings where there are none near."""
    weights = known.astype(np.float32)
    weighted = values * weights
    surface = np.full(values.shape, fallback, np.float32)
    for divisor in (4, 12, 48, 128):
        sigma = max(1.0, max(values.shape) / divisor)
        shrink = max(1, int(sigma / 4))  # a wide Gaussian is as good, and far cheaper, on a smaller copy
        small = tuple(-(-side // shrink) for side in values.shape[::-1])
        mass, total = (
            cv2.resize(
                cv2.GaussianBlur(cv2.resize(part, small, interpolation=cv2.INTER_AREA), (0, 0), sigma / shrink),
                values.shape[::-1],
                interpolation=cv2.INTER_LINEAR,
            )
            for part in (weights, weighted)
        )
        trust = np.clip(mass / 0.1, 0, 1)
        surface += trust * (total / np.maximum(mass, 1e-4) - surface)
    return np.clip(np.rint(surface), 1, WHITE).astype(np.uint8)
