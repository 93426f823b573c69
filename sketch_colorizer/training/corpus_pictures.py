"""Pictures of a corpus: untrusted bytes to plain RGB or grey pixels, and pixels to the bytes that are stored."""

import io
import struct
import warnings

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from ..picture_files import READABLE_FORMATS

CODECS = {"avif": 65, "webp": 80}  # and their quality when none is asked for
MAX_STORED_SIDE = 8192
_CAMERA_TAGS = {0x829A, 0x829D, 0x8827}  # exposure time, f-number, sensitivity: scanners and editors write none of them
_EXIF_IFD = 0x8769
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, struct.error)


class UnusablePictureError(Exception):
    """Why bytes did not become a picture: a reason of corpus_records.REASONS, and what the decoder said."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def open_header(data: bytes, *, max_pixels: int) -> Image.Image:
    """A picture of which only the header was read. Raises UnusablePictureError, also for one with too many pixels."""
    if not data:
        raise UnusablePictureError("empty", "0 bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = Image.open(io.BytesIO(data), formats=READABLE_FORMATS)
    except Image.DecompressionBombError as error:
        raise UnusablePictureError("too_many_pixels", _one_line(error)) from None
    except UnidentifiedImageError:
        raise UnusablePictureError("unreadable", f"none of {', '.join(READABLE_FORMATS)}") from None
    except _DAMAGE as error:
        raise UnusablePictureError("unreadable", _one_line(error)) from None
    if picture.width * picture.height > max_pixels:
        raise UnusablePictureError("too_many_pixels", f"{picture.width}x{picture.height}, allowed are {max_pixels}")
    return picture


def has_camera_data(picture: Image.Image) -> bool:
    """Whether a camera wrote its exposure into the metadata."""
    try:
        return bool(_CAMERA_TAGS & set(picture.getexif().get_ifd(_EXIF_IFD)))
    except _DAMAGE:
        return False


def decode(picture: Image.Image, *, side: int) -> Image.Image:
    """RGB of at most `side` pixels a side: the first frame, upright, on white, in sRGB, 8 bits. Never enlarges."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shrink = min(1.0, side / max(picture.size))
            picture.draft(None, tuple(round(2 * length * shrink) for length in picture.size))
            picture.load()
            upright = ImageOps.exif_transpose(picture)
            return fit(_to_srgb(upright), side)
    except (*_DAMAGE, MemoryError) as error:
        raise UnusablePictureError("damaged", _one_line(error)) from None


def fit(picture: Image.Image, side: int) -> Image.Image:
    """The picture scaled down to at most `side` pixels a side, or as it is where it is small enough."""
    if max(picture.size) <= side:
        return picture
    scale = side / max(picture.size)
    size = tuple(max(1, round(length * scale)) for length in picture.size)
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def encode(picture: Image.Image, *, codec: str, quality: int) -> bytes:
    """RGB to bytes without metadata; the same pixels give the same bytes on any number of cores."""
    buffer = io.BytesIO()
    if codec == "avif":  # more threads mean other tiles, hence other bytes
        picture.save(buffer, "AVIF", quality=quality, subsampling="4:4:4", speed=6, max_threads=1)
    else:
        picture.save(buffer, "WEBP", quality=quality, method=4)
    return buffer.getvalue()


def encode_line_art(line_art: Image.Image) -> bytes:
    """Grey line art to lossless WebP: smaller than AVIF at the quality that the colours get, and exact."""
    buffer = io.BytesIO()
    line_art.convert("RGB").save(buffer, "WEBP", lossless=True, method=4)
    return buffer.getvalue()


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two uint8 pictures in dB, at most 99 (where they are equal)."""
    error = np.square(first.astype(np.float32) - second.astype(np.float32)).mean()
    return float(min(99.0, 10 * np.log10(255**2 / max(float(error), 1e-12))))


def _to_srgb(picture: Image.Image) -> Image.Image:
    profile = picture.info.get("icc_profile")
    if picture.mode.startswith(("I", "F")):
        picture = _to_eight_bits(picture)
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    elif picture.mode not in ("RGB", "CMYK", "L"):
        picture = picture.convert("RGB")
    if profile and b"sRGB" not in profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            return ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a broken profile, or one for another mode, is ignored, as browsers do
    return picture.convert("RGB")


def _to_eight_bits(picture: Image.Image) -> Image.Image:
    """16 bits and floats to 8, by the range that the values reach: 0..1 (floats), 0..255 or 0..65535."""
    values = np.nan_to_num(np.asarray(picture).astype(np.float32))
    peak = values.max(initial=0)
    if picture.mode == "F" and peak <= 1:
        values = values * 255
    elif peak > 255:
        values = values / 257
    return Image.fromarray(np.clip(values.round(), 0, 255).astype(np.uint8))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
