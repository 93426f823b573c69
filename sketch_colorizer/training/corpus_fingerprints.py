"""How alike two pictures look: a perceptual hash to publish, and a fingerprint in colour that decides who is a twin.

A 64-bit hash of grey values cannot tell emoji apart that differ in a mouth or in colour, and loses flat pictures that
were only recompressed. The fingerprint is the picture at 16 x 16 (lightness) and 8 x 8 (a and b) in Lab, 384 bytes.
Two pictures are twins where, brightness and tint aside, all cells differ by no more than `RADIUS` on average (root of
the mean square, in Lab units) and none by more than `MAX_DIFFERENCE`; a single cell may differ by more, up to
`MAX_OUTLIER`, where the average is below `CLOSE_RADIUS`: reducing a picture to 256 colours can take one from a patch.
"""

from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image
from scipy.fft import dctn

FINGERPRINT_BYTES = 16 * 16 + 2 * 8 * 8
RADIUS, MAX_DIFFERENCE = 2.5, 8.0
CLOSE_RADIUS, MAX_OUTLIER = 2.0, 13.0
_MEAN_WEIGHT = 0.5  # half of the difference in mean colour counts: scans and exports shift it
_LEAF = 1000  # a group of so many is compared all with all
_SAMPLE = 2000  # rows that decide where a group is parted
_BATCH = 100_000  # pictures or pairs computed at once
_LOWEST = sorted(((i, j) for i in range(4) for j in range(4)), key=lambda at: (sum(at), at))[:12]


def perceptual_hash(picture: Image.Image) -> str:
    """The usual 64-bit hash of the lowest frequencies, 16 hexadecimal digits, equal to `imagehash.phash`."""
    grey = np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.LANCZOS))
    low = dctn(grey.astype(np.float64), type=2)[:8, :8]
    return np.packbits(low > np.median(low)).tobytes().hex()


def fingerprint(picture: Image.Image) -> bytes:
    """An RGB picture as 384 bytes: L at 16 x 16, then a and b at 8 x 8."""
    small = np.asarray(picture.resize((16, 16), Image.Resampling.BILINEAR), np.float32) / 255
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)
    ab = lab[..., 1:].reshape(8, 2, 8, 2, 2).mean((1, 3))
    parts = (lab[..., 0] * 2.55, ab[..., 0] + 128, ab[..., 1] + 128)
    return b"".join(np.clip(part.round(), 0, 255).astype(np.uint8).tobytes() for part in parts)


def find_twins(fingerprints: np.ndarray, *, leaf: int = _LEAF) -> Iterator[np.ndarray]:
    """All pairs of twins among fingerprints (N, 384) uint8, as arrays (P, 2) of rows, each pair once.

    Exact: pictures are parted along their lowest frequencies into groups that cannot hold twins of each other, which
    no pair escapes, because dropping frequencies only shortens distances; each pair that is left is compared in full.
    """
    coordinates = _coordinates(fingerprints)
    for pairs in _near_pairs(coordinates, np.arange(len(coordinates)), None, RADIUS, leaf):
        for start in range(0, len(pairs), _BATCH):
            batch = pairs[start : start + _BATCH]
            yield batch[are_twins(*compare(fingerprints[batch[:, 0]], fingerprints[batch[:, 1]]))]


def are_twins(distance: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """Which pairs are twins, (P,) bool, by what `compare` says of them."""
    alike = (distance <= RADIUS) & (difference <= MAX_DIFFERENCE)
    return alike | (distance <= CLOSE_RADIUS) & (difference <= MAX_OUTLIER)


def _near_pairs(
    coordinates: np.ndarray, left: np.ndarray, right: np.ndarray | None, radius: float, leaf: int
) -> Iterator[np.ndarray]:
    """Pairs of rows at most `radius` apart, within `left` where `right` is None, else between the two; (P, 2) each."""
    if not len(left) or (right is not None and not len(right)):
        return
    axis, middle, width = _widest(coordinates, left, right)
    if max(len(left), 0 if right is None else len(right)) <= leaf or width <= 2 * radius:
        yield from _compare_all(coordinates, left, right, radius, leaf)
        return
    at = coordinates[left, axis]
    low, high = left[at <= middle], left[at > middle]
    low_edge, high_edge = left[(at <= middle) & (at >= middle - radius)], left[(at > middle) & (at <= middle + radius)]
    if right is None:
        yield from _near_pairs(coordinates, low, None, radius, leaf)
        yield from _near_pairs(coordinates, high, None, radius, leaf)
        yield from _near_pairs(coordinates, low_edge, high_edge, radius, leaf)
        return
    at = coordinates[right, axis]
    yield from _near_pairs(coordinates, low, right[at <= middle], radius, leaf)
    yield from _near_pairs(coordinates, high, right[at > middle], radius, leaf)
    yield from _near_pairs(coordinates, low_edge, right[(at > middle) & (at <= middle + radius)], radius, leaf)
    yield from _near_pairs(coordinates, high_edge, right[(at <= middle) & (at >= middle - radius)], radius, leaf)


def _widest(coordinates: np.ndarray, left: np.ndarray, right: np.ndarray | None) -> tuple[int, float, float]:
    """The axis along which a sample spreads most, its middle there, and how far all rows reach along it."""
    parts = [left] if right is None else [left, right]
    sample = np.concatenate([coordinates[part[:: len(part) // _SAMPLE + 1]] for part in parts])
    axis = int(sample.std(axis=0).argmax())
    reach = [(coordinates[part, axis].min(), coordinates[part, axis].max()) for part in parts]
    low, high = min(one for one, _ in reach), max(one for _, one in reach)
    middle = float(np.median(sample[:, axis]))
    return axis, middle if low <= middle < high else float(low + high) / 2, float(high - low)


def _compare_all(
    coordinates: np.ndarray, left: np.ndarray, right: np.ndarray | None, radius: float, leaf: int
) -> Iterator[np.ndarray]:
    """Every row with every other, block by block, as one matrix product each."""
    limit = radius**2 + 0.05  # what single precision may lose
    for start in range(0, len(left), leaf):
        block = left[start : start + leaf]
        others = left if right is None else right
        for first in range(start if right is None else 0, len(others), leaf):
            other = others[first : first + leaf]
            a, b = coordinates[block], coordinates[other]
            square = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
            near = np.argwhere(np.triu(square <= limit, 1) if right is None and first == start else square <= limit)
            if len(near):
                yield np.stack((block[near[:, 0]], other[near[:, 1]]), axis=1)


def compare(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fingerprints (P, 384) side by side: root mean square and largest difference over the cells, (P,) each."""
    light, tint = (a - b for a, b in zip(_planes(first), _planes(second), strict=True))
    mean_light, mean_tint = light.mean((1, 2), keepdims=True), tint.mean((2, 3), keepdims=True)
    light, tint = light - mean_light, tint - mean_tint
    square = np.square(light).mean((1, 2)) + np.square(tint).mean((2, 3)).sum(1)
    mean_square = np.square(mean_light[:, 0, 0]) + np.square(mean_tint[:, :, 0, 0]).sum(1)
    peak = np.square(light).max((1, 2)) + np.square(tint).sum(1).max((1, 2))
    return np.sqrt(square + _MEAN_WEIGHT**2 * mean_square), np.sqrt(peak)


def _planes(fingerprints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lightness (P, 16, 16) in 0..100 and a, b (P, 2, 8, 8)."""
    values = fingerprints.astype(np.float32)
    return values[:, :256].reshape(-1, 16, 16) / 2.55, values[:, 256:].reshape(-1, 2, 8, 8) - 128


def _coordinates(fingerprints: np.ndarray) -> np.ndarray:
    """The 24 lowest frequencies (P, 24): distances in them never exceed the distance of `compare`."""
    parts = [np.empty((0, 24), np.float32)]
    for start in range(0, len(fingerprints), _BATCH):
        light, tint = _planes(fingerprints[start : start + _BATCH])
        light, tint = dctn(light, axes=(1, 2), norm="ortho") / 16, dctn(tint, axes=(2, 3), norm="ortho") / 8
        light[:, 0, 0] *= _MEAN_WEIGHT
        tint[:, :, 0, 0] *= _MEAN_WEIGHT
        columns = [light[:, i, j] for i, j in _LOWEST] + [tint[:, c, i, j] for i, j in _LOWEST[:6] for c in (0, 1)]
        parts.append(np.stack(columns, axis=1))
    return np.concatenate(parts)
