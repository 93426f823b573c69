"""What stands between strangers and the machine: one folder for files, checked arguments, errors as one sentence."""

import atexit
import ctypes
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Any

UPLOADS = Path(tempfile.mkdtemp(prefix="sketch-colorizer-")).resolve()  # all that is uploaded or made lies here
atexit.register(shutil.rmtree, UPLOADS, ignore_errors=True)
os.environ |= {"GRADIO_TEMP_DIR": str(UPLOADS), "GRADIO_ANALYTICS_ENABLED": "False"}  # read when gradio is imported

import gradio as gr  # noqa: E402
from PIL import Image  # noqa: E402
from pydantic import ValidationError, validate_call  # noqa: E402

from sketch_colorizer import ColorizationResult, save_result  # noqa: E402
from sketch_colorizer.picture_files import open_picture, save_picture  # noqa: E402

try:
    from spaces import GPU  # ZeroGPU lends one for a call
except ImportError:

    def GPU(function: Callable) -> Callable:  # noqa: N802
        return function


MAX_PIXELS = 24_000_000


def endpoint(function: Callable) -> Callable:
    """Arguments are checked; what a caller can mend comes back as one sentence that tells nothing of this machine."""
    checked, names = validate_call(function), list(signature(function).parameters)

    @wraps(function)
    def guarded(*arguments: Any, **named: Any) -> Any:
        try:
            return checked(*arguments, **named)
        except ValidationError as error:
            first = error.errors()[0]
            place = [names[part] if isinstance(part, int) and not i else part for i, part in enumerate(first["loc"])]
            message = f"{'.'.join(map(str, place))}: {first['msg']}, got {str(first['input'])[:80]!r}"
        except (ValueError, OSError) as error:
            message = str(error)
        except MemoryError:
            message = "the picture is too large for this machine; make it smaller"
        finally:
            give_memory_back()
        words = (Path(word).name if str(UPLOADS) in word else word for word in message.split())
        raise gr.Error(" ".join(words), print_exception=False)

    return GPU(guarded)


def give_memory_back() -> None:
    """What a call no longer needs, to the system: glibc would keep it in pieces, more of them with every call."""
    with suppress(AttributeError, OSError, TypeError):  # where the C library is another
        ctypes.CDLL(None).malloc_trim(0)


def open_upload(path: str, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """An uploaded picture, and no other file of this machine, whatever path a caller writes."""
    file = Path(path).resolve()
    if not file.is_relative_to(UPLOADS) or not file.is_file():
        raise ValueError("this file was not uploaded, or it was removed after an hour; upload it again")
    return open_picture(file, max_pixels=max_pixels)


def save_answer(answer: Any, name: str) -> gr.FileData:
    """A picture (PIL, or uint8 array), or a whole result, as a file that the caller can fetch."""
    path = Path(tempfile.mkdtemp(dir=UPLOADS)) / name
    save = save_result if isinstance(answer, ColorizationResult) else save_picture
    save(answer, path)
    return gr.FileData(path=str(path), orig_name=name)
