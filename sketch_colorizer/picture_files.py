"""Picture files, opened within limits and written whole or not at all."""

import os
import secrets
import struct
import warnings
import zlib
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

MAX_PIXELS = 100_000_000
_MAX_DPI = 30_000
READABLE_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "AVIF")  # none of them runs another program
READABLE_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".ppm", ".pgm")
)
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]
if hasattr(cv2, "IMWRITE_PNG_FILTER"):  # OpenCV 4.12; one fixed filter takes half the time, and files stay as small
    _PNG += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
_WEBP = [cv2.IMWRITE_WEBP_QUALITY, 101]  # above 100 is lossless
WRITABLE: dict[str, list[int]] = {
    ".png": _PNG,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": _WEBP,
    ".bmp": [],
    ".tif": [],
    ".tiff": [],
}
RESULT_SUFFIXES = (*WRITABLE, ".ora", ".psd")  # what `save_result` writes


def open_picture(path: str | os.PathLike, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode a picture file, its first frame where it has several (a UserWarning says so).

    Raises FileNotFoundError or IsADirectoryError for a path that is no file, and ValueError in one line for a file
    that is empty, no picture, cut off, or larger than `max_pixels`, which is checked before anything is decoded.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a picture")
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty (0 bytes)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is stricter
            image = Image.open(path, formats=READABLE_FORMATS)
    except Image.DecompressionBombError:
        raise ValueError(_too_large(path, "its header announces a decompression bomb", max_pixels)) from None
    except (UnidentifiedImageError, KeyError):  # Pillow raises KeyError where it was built without one of the formats
        raise ValueError(f"{path} is not a picture that can be read ({', '.join(READABLE_FORMATS)})") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ValueError(f"{path} cannot be read: {one_line(error)}") from None
    with image:
        return _decode(image, path, max_pixels)


def _decode(image: Image.Image, path: Path, max_pixels: int) -> Image.Image:
    if image.width * image.height > max_pixels:
        raise ValueError(_too_large(path, f"it has {image.width}x{image.height} pixels", max_pixels))
    try:
        num_frames = getattr(image, "n_frames", 1)
        image.seek(0)
        image.load()
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
        reason = one_line(error)
        raise ValueError(f"{path} is a damaged or incomplete {image.format} file: {reason}") from None
    if num_frames > 1 and image.format != "MPO":
        warnings.warn(f"{path} has {num_frames} frames; only the first one is used", stacklevel=3)
    return image.copy() if num_frames > 1 else image


def _too_large(path: Path, what: str, max_pixels: int) -> str:
    return f"{path} is too large: {what}, the limit is {max_pixels / 1e6:g} megapixels; make it smaller"


def one_line(error: BaseException | str) -> str:
    """What an error says, in one line; its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def check_writable_suffix(path: str | os.PathLike, allowed: Iterable[str] = WRITABLE) -> None:
    """Raise ValueError where nobody knows a format for the name, before any work is done for it."""
    if Path(path).suffix.lower() not in allowed:
        raise ValueError(f"cannot write {Path(path).name!r}: the name must end with one of {', '.join(allowed)}")


def save_picture(image: Image.Image | np.ndarray, path: str | os.PathLike) -> None:
    """Write a grey or RGB picture (PIL, or uint8 (H, W) or (H, W, 3)) in the format of its suffix, as `write_whole`.

    Raises ValueError for an unknown suffix and OSError where it cannot write.
    """
    path = Path(path)
    check_writable_suffix(path)
    write_whole(path, encode_picture(image, path.suffix.lower()))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    The bytes go to a temporary neighbour that then takes the name, so that nobody ever sees half a picture; it is
    removed when anything, Ctrl-C too, comes between. Raises OSError where it cannot write.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as file:
            file.write(content)
        temporary.replace(path)
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        _remove(temporary)


def read_dpi(image: Image.Image | np.ndarray) -> tuple[int, int] | None:
    """The pixels per inch at which a picture is printed, across and down; None where it tells nothing sensible."""
    try:
        across, down = (round(float(value)) for value in image.info["dpi"])
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return (across, down) if 1 < min(across, down) <= max(across, down) <= _MAX_DPI else None


def encode_picture(image: Image.Image | np.ndarray, suffix: str) -> bytes:
    """A grey, RGB or RGBA picture as the bytes of a file in the format of one of the suffixes WRITABLE.

    PNG, JPEG and TIFF keep the pixels per inch of a PIL image (`read_dpi`).
    """
    pixels, dpi = np.asarray(image), read_dpi(image)
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what it would print becomes an error
    try:
        done, encoded = cv2.imencode(suffix, pixels, [*WRITABLE[suffix], *_tiff_options(suffix, dpi)])
    except cv2.error:
        done = False
    finally:
        cv2.utils.logging.setLogLevel(level)
    if not done:
        size = f"{pixels.shape[1]}x{pixels.shape[0]}"
        raise ValueError(f"the {suffix} format cannot hold {size} pixels; write a .png instead")
    return _with_dpi(encoded.tobytes(), suffix, dpi)


def _tiff_options(suffix: str, dpi: tuple[int, int] | None) -> list[int]:
    if dpi is None or suffix not in (".tif", ".tiff"):
        return []
    per_inch = 2
    return [
        cv2.IMWRITE_TIFF_RESUNIT, per_inch, cv2.IMWRITE_TIFF_XDPI, dpi[0], cv2.IMWRITE_TIFF_YDPI, dpi[1]
    ]  # fmt: skip


def _with_dpi(encoded: bytes, suffix: str, dpi: tuple[int, int] | None) -> bytes:
    """What OpenCV does not write: the chunk pHYs of a PNG, after its header, and the density in the JFIF header."""
    if dpi is None:
        return encoded
    if suffix == ".png":
        per_meter = (round(value / 0.0254) for value in dpi)
        chunk = b"pHYs" + struct.pack(">IIB", *per_meter, 1)
        return encoded[:33] + struct.pack(">I", 9) + chunk + struct.pack(">I", zlib.crc32(chunk)) + encoded[33:]
    if suffix in (".jpg", ".jpeg") and encoded[6:11] == b"JFIF\0":
        return encoded[:13] + struct.pack(">BHH", 1, *dpi) + encoded[18:]
    return encoded


def _remove(temporary: Path) -> None:
    try:
        temporary.unlink()
    except OSError:  # it took its name, or never came to be
        return
