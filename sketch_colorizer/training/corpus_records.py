"""The pure function at the heart of a corpus: the bytes of a picture become a record, or a reason for rejection."""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..picture_files import MAX_PIXELS
from .corpus_fingerprints import fingerprint, perceptual_hash
from .corpus_pairs import register
from .corpus_pictures import (
    CODECS,
    MAX_STORED_SIDE,
    UnusablePictureError,
    decode,
    encode,
    encode_line_art,
    has_camera_data,
    open_header,
    psnr,
)
from .corpus_screening import photograph_score, screen

REASONS = {
    "empty": "no bytes",
    "unreadable": "no picture in a format that is read",
    "damaged": "cut off or corrupt",
    "too_many_pixels": "more pixels than are decoded (a decompression bomb, perhaps)",
    "too_many_bytes": "larger than a picture is allowed to be",
    "unsafe_name": "a name that leads out of its archive",
    "link": "a link that leads out of the source, or into nothing",
    "not_a_file": "a device, a pipe or a socket",
    "not_allowed": "no permission to read it",
    "changed": "changed or gone while the source was read",
    "bad_archive": "an archive or Parquet file that cannot be read",
    "too_small": "fewer pixels than are of use",
    "blank": "one colour",
    "line_art_only": "lines on paper, no colours",
    "greyscale": "no colours",
    "photograph": "a photograph, or much like one",
    "duplicate": "the same bytes as another picture",
    "near_duplicate": "looks the same as another picture",
}
_STRIP = 32  # shortest side of a stored picture
_LOSS_SAMPLE = 16  # one picture in so many is decoded again, to know what encoding costs


@dataclass(frozen=True)
class RecordSettings:
    """What decides a record. Raises ValueError for what cannot be."""

    size: int = 512  # longest side of a stored picture
    codec: str = "avif"
    quality: int | None = None  # the codec's own default
    min_size: int = 192  # longest side of an input
    max_pixels: int = MAX_PIXELS
    max_photograph_score: float = 0.997

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise ValueError(f"the codec must be one of {', '.join(CODECS)}, got {self.codec!r}")
        if not _STRIP <= self.size <= MAX_STORED_SIDE:
            raise ValueError(f"the size must be {_STRIP} to {MAX_STORED_SIDE} pixels, got {self.size}")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise ValueError(f"the quality must be 1 to 100, got {self.quality}")
        if not 0 <= self.max_photograph_score <= 1:
            raise ValueError(f"the photograph score must be 0 to 1, got {self.max_photograph_score}")


class Rejection(NamedTuple):
    """A key of REASONS and what was found; the hash is there where there were bytes."""

    reason: str
    detail: str = ""
    sha256: str | None = None


class Record(NamedTuple):
    """A picture as it is stored, and what the global pass over the corpus needs to know of it."""

    image: bytes
    line_art: bytes | None
    pair: str | None  # what became of the line drawing; None where none was offered
    width: int
    height: int
    sha256: str  # of the bytes that came in
    phash: str
    fingerprint: bytes
    pixels: int  # of the picture that came in
    photograph_score: float
    psnr: float | None  # what encoding cost, where it was measured


def make_record(data: bytes, settings: RecordSettings, *, line_art: bytes | None = None) -> Record | Rejection:
    """Turn a picture's bytes into a record or a rejection; the same bytes and settings always give the same result.

    Args:
        line_art: the bytes of the artist's own drawing of the picture. It is kept where it lies on the colours to the
            pixel; otherwise the picture is kept without it, and `pair` says why.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        header = open_header(data, max_pixels=settings.max_pixels)
        pixels = header.width * header.height
        if max(header.size) < settings.min_size:
            return Rejection("too_small", f"{header.width}x{header.height}", sha256)
        from_camera = has_camera_data(header)
        picture = decode(header, side=settings.size)
    except UnusablePictureError as problem:
        return Rejection(problem.reason, problem.detail, sha256)
    if min(picture.size) < _STRIP:
        return Rejection("too_small", f"a strip of {picture.width}x{picture.height}", sha256)
    rgb = np.asarray(picture)
    if finding := screen(rgb):
        return Rejection(*finding, sha256)
    score = 1.0 if from_camera else photograph_score(rgb)
    if score > settings.max_photograph_score:
        return Rejection("photograph", "camera data" if from_camera else f"score {score:.4f}", sha256)
    drawing, pair = _fit_line_art(line_art, picture, settings)
    stored = encode(picture, codec=settings.codec, quality=settings.quality or CODECS[settings.codec])
    return Record(
        image=stored,
        line_art=drawing,
        pair=pair,
        width=picture.width,
        height=picture.height,
        sha256=sha256,
        phash=perceptual_hash(picture),
        fingerprint=fingerprint(picture),
        pixels=pixels,
        photograph_score=score,
        psnr=_loss(stored, rgb) if int(sha256[:8], 16) % _LOSS_SAMPLE == 0 else None,
    )


def _fit_line_art(
    data: bytes | None, picture: Image.Image, settings: RecordSettings
) -> tuple[bytes | None, str | None]:
    """The artist's drawing at the picture's size, and "kept", or None and why not."""
    if data is None:
        return None, None
    try:
        drawing = decode(open_header(data, max_pixels=settings.max_pixels), side=settings.size).convert("L")
    except UnusablePictureError as problem:
        return None, f"{problem.reason}: {problem.detail}"
    registration = register(np.asarray(picture), np.asarray(drawing))
    if not registration.fits:
        return None, f"misregistered: correlation {registration.correlation:.2f}, offset {registration.offset:.1f}"
    if drawing.size != picture.size:
        drawing = drawing.resize(picture.size, Image.Resampling.LANCZOS)
    return encode_line_art(drawing), "kept"


def _loss(stored: bytes, rgb: np.ndarray) -> float:
    return psnr(np.asarray(decode(open_header(stored, max_pixels=rgb.size), side=max(rgb.shape))), rgb)
