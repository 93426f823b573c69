"""How alike two pictures look: a perceptual hash to publish, and a fingerprint in colour that decides who is a twin.

A 64-bit hash of grey values cannot tell emoji apart that differ in a mouth or in colour, and loses flat pictures that
were only recompressed. The fingerprint is the picture at 16 x 16 (lightness) and 8 x 8 (a and b) in Lab, 384 bytes.
Two pictures are twins where, brightness and tint aside, no cell differs by more than `MAX_DIFFERENCE` and all of them
by no more than `RADIUS` on average (root of the mean square, in Lab units).
"""

from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image
from scipy.fft import dctn
from scipy.spatial import cKDTree

FINGERPRINT_BYTES = 16 * 16 + 2 * 8 * 8
RADIUS, MAX_DIFFERENCE = 2.5, 8.0
_MEAN_WEIGHT = 0.5  # half of the difference in mean colour counts: scans and exports shift it
_SLAB = 2_000_000  # pictures searched at once, which bounds memory
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


def find_twins(
    fingerprints: np.ndarray, *, radius: float = RADIUS, max_difference: float = MAX_DIFFERENCE, slab: int = _SLAB
) -> Iterator[np.ndarray]:
    """All pairs of twins among fingerprints (N, 384) uint8, as arrays (P, 2) of rows, each pair once.

    Exact: a search tree over the lowest frequencies cannot miss a pair, because dropping frequencies only shortens
    distances; every pair that it gives is then compared in full. One slab of the lightness axis at a time.
    """
    lightness = _coordinates(fingerprints, limit=1)[:, 0]
    order = np.argsort(lightness, kind="stable")
    ordered = lightness[order]
    for start in range(0, len(order), slab):
        stop = min(start + slab, len(order))
        reach = np.searchsorted(ordered, ordered[stop - 1] + radius, side="right")
        rows = order[start:reach]
        pairs = cKDTree(_coordinates(fingerprints[rows])).query_pairs(radius, output_type="ndarray")
        pairs = pairs[pairs.min(axis=1) < stop - start] if len(pairs) else pairs
        for first in range(0, len(pairs), _BATCH):
            batch = rows[pairs[first : first + _BATCH]]
            distance, difference = compare(fingerprints[batch[:, 0]], fingerprints[batch[:, 1]])
            yield batch[(distance <= radius) & (difference <= max_difference)]


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


def _coordinates(fingerprints: np.ndarray, *, limit: int = 24) -> np.ndarray:
    """The (at most 24) lowest frequencies (P, limit): distances in them never exceed the distance of `compare`."""
    parts = [np.empty((0, limit), np.float32)]
    for start in range(0, len(fingerprints), _BATCH):
        light, tint = _planes(fingerprints[start : start + _BATCH])
        light, tint = dctn(light, axes=(1, 2), norm="ortho") / 16, dctn(tint, axes=(2, 3), norm="ortho") / 8
        light[:, 0, 0] *= _MEAN_WEIGHT
        tint[:, :, 0, 0] *= _MEAN_WEIGHT
        columns = [light[:, i, j] for i, j in _LOWEST] + [tint[:, c, i, j] for i, j in _LOWEST[:6] for c in (0, 1)]
        parts.append(np.stack(columns[:limit], axis=1))
    return np.concatenate(parts)
