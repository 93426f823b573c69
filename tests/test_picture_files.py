"""Laws of files: limits before decoding, one line for what is wrong, results whole or absent, no name used twice."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from sketch_colorizer.picture_files import WRITABLE, open_picture, save_picture
from sketch_colorizer.picture_paths import plan_jobs


def png_header(width: int, height: int) -> bytes:
    """A PNG that announces a size and holds almost nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def encoded(kind: str, *, size: tuple[int, int] = (64, 48), cut: int | None = None, **options) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()[:cut]


BROKEN = {
    "empty.png": (b"", "is empty"),
    "text.png": (b"this is no picture\n" * 20, "not a picture"),
    "cut.png": (encoded("PNG", cut=4000), "damaged or incomplete PNG"),
    "cut.jpg": (encoded("JPEG", cut=900), "damaged or incomplete JPEG"),
    "cut.webp": (encoded("WEBP", cut=900), "cannot be read|damaged|not a picture"),
    "short.png": (encoded("PNG", cut=20), "cannot be read|not a picture"),
    "bomb.png": (png_header(60000, 60000), r"too large.*100 megapixels"),
    "large.png": (png_header(12000, 10000), r"too large.*12000x10000.*100 megapixels"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_read_is_said_in_one_line(tmp_path, name):
    data, reason = BROKEN[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=reason) as caught:
        open_picture(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_what_is_no_file_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.png does not exist"):
        open_picture(tmp_path / "missing.png")
    with pytest.raises(IsADirectoryError, match="folder"):
        open_picture(tmp_path)


def test_the_limit_is_a_parameter(tmp_path):
    save_picture(np.zeros((20, 30), np.uint8), tmp_path / "a.png")
    assert open_picture(tmp_path / "a.png", max_pixels=600).size == (30, 20)
    with pytest.raises(ValueError, match=r"too large: it has 30x20 pixels, the limit is 0\.000599 megapixels"):
        open_picture(tmp_path / "a.png", max_pixels=599)


@pytest.mark.parametrize("kind", ["gif", "png", "webp"])
def test_an_animation_gives_its_first_frame_and_says_so(tmp_path, kind):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "lime", "blue")]
    frames[0].save(tmp_path / f"a.{kind}", save_all=True, append_images=frames[1:], duration=50)
    with pytest.warns(UserWarning, match="3 frames; only the first"):
        picture = open_picture(tmp_path / f"a.{kind}")
    red, green, blue = picture.convert("RGB").getpixel((4, 4))
    assert red > 200
    assert max(green, blue) < 60


@pytest.mark.parametrize("suffix", WRITABLE)
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_what_is_saved_is_read_back(tmp_path, suffix, shape):
    pixels = np.full(shape, 200, np.uint8)
    if len(shape) == 3:
        pixels[...] = (250, 120, 10)
    save_picture(Image.fromarray(pixels), tmp_path / f"a{suffix.upper()}")
    read = np.asarray(open_picture(tmp_path / f"a{suffix.upper()}").convert("RGB" if len(shape) == 3 else "L"))
    assert read.shape == shape
    assert np.abs(read.astype(int) - pixels).max() <= (0 if "j" not in suffix else 3)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError])
def test_an_interruption_leaves_the_old_file_and_no_trace(tmp_path, monkeypatch, error):
    target = tmp_path / "a.png"
    save_picture(np.zeros((4, 4), np.uint8), target)
    before = target.read_bytes()

    def fail(self, other):
        assert self.stat().st_size > 0, "interrupted after the bytes were written"
        raise error

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(error):
        save_picture(np.full((4, 4), 255, np.uint8), target)
    assert target.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_what_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    picture = np.zeros((4, 4), np.uint8)
    with pytest.raises(OSError, match=r"cannot write .*b\.png"):
        save_picture(picture, tmp_path / "file" / "b.png")
    with pytest.raises(OSError, match=r"cannot write .*b\.png"):
        save_picture(picture, tmp_path / "missing" / "b.png")
    with pytest.raises(ValueError, match=r"'b\.psd': the name must end with one of \.png"):
        save_picture(picture, tmp_path / "b.psd")
    with pytest.raises(ValueError, match=r"the \.webp format cannot hold 20000x2"):
        save_picture(np.zeros((2, 20000), np.uint8), tmp_path / "b.webp")


def test_png_files_are_not_larger_than_pillow_makes_them(tmp_path):
    flats = np.repeat(np.repeat(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8), 32, 0), 32, 1)
    cv2.ellipse(flats, (128, 128), (90, 60), 0, 0, 360, (0, 0, 0), 2, cv2.LINE_AA)
    save_picture(flats, tmp_path / "ours.png")
    Image.fromarray(flats).save(tmp_path / "theirs.png", compress_level=1)
    assert (tmp_path / "ours.png").stat().st_size <= 1.5 * (tmp_path / "theirs.png").stat().st_size


def touch(folder: Path, *names: str) -> list[str]:
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(b"x")
    return [str(folder / name) for name in names]


def targets(plan, folder: Path) -> dict[str, str]:
    return {str(job.source.relative_to(folder)): str(job.target.relative_to(folder)) for job in plan.jobs}


def test_a_folder_means_its_pictures_without_our_results(tmp_path):
    touch(
        tmp_path, "b.png", "a.JPG", "a_colorized.png", "lonely_colorized.png", "notes.txt", ".hidden.png", "deep/c.png"
    )
    plan = plan_jobs([str(tmp_path)], marker="colorized", overwrite=True)
    assert targets(plan, tmp_path) == {"a.JPG": "a_colorized.png", "b.png": "b_colorized.png"}


@pytest.mark.parametrize("expanded", [True, False])
def test_a_pattern_means_the_same_whoever_expands_it(tmp_path, expanded):
    names = touch(tmp_path, "a.png", "a_colorized.png", "b[1].png")
    plan = plan_jobs(names if expanded else [str(tmp_path / "*.png")], marker="colorized", overwrite=True)
    assert targets(plan, tmp_path) == {"a.png": "a_colorized.png", "b[1].png": "b[1]_colorized.png"}


def test_a_result_is_coloured_only_when_it_is_named_alone(tmp_path):
    [name] = touch(tmp_path, "a_colorized.png")
    assert targets(plan_jobs([name], marker="colorized"), tmp_path) == {"a_colorized.png": "a_colorized_colorized.png"}


def test_two_pictures_never_share_a_result(tmp_path):
    names = touch(tmp_path, "a.png", "a.jpg", "a-2.png", "x/a.png", "y/a.png")
    for output in (None, str(tmp_path / "out")):
        plan = plan_jobs([*names, names[0]], marker="colorized", output=output)
        assert len(plan.jobs) == 5
        assert len({job.target for job in plan.jobs}) == 5
    assert (tmp_path / "out").is_dir()


def test_nothing_is_overwritten_unasked(tmp_path):
    names = touch(tmp_path, "a.png", "a_colorized.png", "b.png")
    plan = plan_jobs([names[0], names[2]], marker="colorized")
    assert list(targets(plan, tmp_path)) == ["b.png"]
    assert len(plan.problems) == 1
    assert "a_colorized.png exists already; --overwrite" in plan.problems[0]
    assert len(plan_jobs([names[0]], marker="colorized", overwrite=True).jobs) == 1
    plan = plan_jobs([names[0]], marker="colorized", output=names[0], overwrite=True)
    assert "replace the drawing itself" in plan.problems[0]


def test_what_cannot_be_planned_is_said(tmp_path):
    names = touch(tmp_path, "a.png", "b.png", "file")
    (tmp_path / "empty").mkdir()
    missing = [str(tmp_path / "empty"), str(tmp_path / "*.webp"), str(tmp_path / "no.png")]
    plan = plan_jobs(missing, marker="colorized")
    assert not plan.jobs
    for problem, reason in zip(
        plan.problems, ("no pictures in this folder", "no picture matches", "exist"), strict=True
    ):
        assert reason in problem
    with pytest.raises(ValueError, match="is one file, but there are 2 pictures"):
        plan_jobs(names[:2], marker="colorized", output=str(tmp_path / "out.png"))
    with pytest.raises(ValueError, match="the name must end with one of"):
        plan_jobs(names[:1], marker="colorized", output=str(tmp_path / "out.psd"))
    with pytest.raises(ValueError, match="cannot make the folder"):
        plan_jobs(names[:1], marker="colorized", output=str(tmp_path / "file" / "out"))
