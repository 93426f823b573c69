"""Laws of a single picture on its way into a corpus: decoded safely, screened, stored small, hashed."""

import io

import numpy as np
import pytest
from corpus_heap import SMALL, bomb, encoded, paint, paint_pair
from PIL import Image, ImageCms, ImageOps

from sketch_colorizer.training.corpus_pairs import NamePattern, register
from sketch_colorizer.training.corpus_pictures import decode, encode, open_header, psnr
from sketch_colorizer.training.corpus_records import REASONS, Record, RecordSettings, Rejection, make_record
from sketch_colorizer.training.corpus_screening import photograph_score


def stored(data: bytes, settings: RecordSettings = SMALL, **options) -> Image.Image:
    record = make_record(data, settings, **options)
    assert isinstance(record, Record), record
    return Image.open(io.BytesIO(record.image))


def close(first: Image.Image, second: Image.Image) -> bool:
    return first.size == second.size and psnr(np.asarray(first.convert("RGB")), np.asarray(second.convert("RGB"))) > 30


def smooth(width: int = 80, height: int = 60) -> Image.Image:
    """A picture of slopes, which every codec keeps."""
    x, y = np.meshgrid(np.linspace(40, 220, width), np.linspace(30, 200, height))
    return Image.fromarray(np.stack([x, y, 250 - x], -1).astype(np.uint8))


def test_a_record_follows_from_the_bytes_alone():
    data = encoded(paint(1))
    assert make_record(data, SMALL) == make_record(data, SMALL)
    assert make_record(data, SMALL) != make_record(encoded(paint(2)), SMALL)


@pytest.mark.parametrize(("width", "height"), [(200, 100), (100, 200), (64, 64), (50, 40), (131, 67)])
def test_the_longest_side_shrinks_to_the_size_and_nothing_is_enlarged(width, height):
    picture = stored(encoded(paint(1, width, height)))
    scale = min(1, 64 / max(width, height))
    assert picture.size == (round(width * scale), round(height * scale))
    assert picture.mode == "RGB"


def test_the_picture_is_stored_upright_without_metadata():
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "secret place"
    data = encoded(smooth(), "JPEG", exif=exif, quality=95)
    picture = stored(data)
    assert close(picture, ImageOps.fit(smooth().transpose(Image.Transpose.ROTATE_270), picture.size))
    assert not picture.getexif()
    assert b"secret" not in make_record(data, SMALL).image


def test_what_is_transparent_becomes_white():
    picture = smooth().convert("RGBA")
    alpha = np.full((60, 80), 255, np.uint8)
    alpha[:, :40] = 0
    picture.putalpha(Image.fromarray(alpha))
    left, right = np.hsplit(np.asarray(stored(encoded(picture), RecordSettings(size=80, min_size=48))), 2)
    assert left[:, :36].min() > 245
    assert right[:, 4:].mean() < 200


@pytest.mark.parametrize("mode", ["CMYK", "P", "RGBA", "LAB"])
def test_every_mode_is_read(mode):
    picture = smooth().quantize(200) if mode == "P" else smooth()
    if mode == "LAB":
        srgb = ImageCms.createProfile("sRGB")
        picture = ImageCms.profileToProfile(picture, srgb, ImageCms.createProfile("LAB"), outputMode="LAB")
    data = encoded(
        picture if mode in ("P", "LAB") else smooth().convert(mode), "PNG" if mode in ("P", "RGBA") else "TIFF"
    )
    opened = decode(open_header(data, max_pixels=10**6), side=80)
    assert opened.mode == "RGB"
    assert psnr(np.asarray(opened), np.asarray(smooth())) > 24


def test_deep_grey_is_read_at_its_range():
    values = np.linspace(0, 65535, 80 * 60).reshape(60, 80).astype(np.uint16)
    opened = decode(open_header(encoded(Image.fromarray(values)), max_pixels=10**6), side=80)
    assert np.abs(np.asarray(opened)[..., 0] - values / 257.0).max() < 1


def test_a_colour_profile_is_applied():
    muted = smooth().point(lambda value: 100 + value // 4)
    elsewhere = ImageCms.profileToProfile(muted, ImageCms.createProfile("sRGB"), _other_profile())
    assert psnr(np.asarray(elsewhere), np.asarray(muted)) < 30
    data = encoded(elsewhere, icc_profile=_other_profile().tobytes())
    assert psnr(np.asarray(decode(open_header(data, max_pixels=10**6), side=80)), np.asarray(muted)) > 40
    broken = encoded(muted, icc_profile=b"no profile")
    assert psnr(np.asarray(decode(open_header(broken, max_pixels=10**6), side=80)), np.asarray(muted)) == 99


def _other_profile() -> ImageCms.ImageCmsProfile:
    """sRGB with weaker red and green primaries, made by editing the profile."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for name in (b"rXYZ", b"gXYZ"):
        entry = profile.index(name)
        offset = int.from_bytes(profile[entry + 4 : entry + 8], "big")
        middle = int.from_bytes(profile[offset + 12 : offset + 16], "big") * 3 // 4
        profile[offset + 12 : offset + 16] = middle.to_bytes(4, "big")
    return ImageCms.ImageCmsProfile(io.BytesIO(bytes(profile).replace(b"sRGB", b"xRGB")))


def test_the_first_frame_of_an_animation_is_taken():
    data = encoded(smooth(), "GIF", save_all=True, append_images=[paint(1, 80, 60)])
    assert (
        psnr(np.asarray(stored(data, RecordSettings(size=80, min_size=48)).convert("RGB")), np.asarray(smooth())) > 24
    )


def test_avif_keeps_colours_that_end_at_a_line():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2], stripes[:, 1::2] = (255, 0, 0), (0, 0, 255)
    picture = Image.fromarray(stripes)
    loss = {
        codec: psnr(
            np.asarray(Image.open(io.BytesIO(encode(picture, codec=codec, quality=65))).convert("RGB")), stripes
        )
        for codec in ("avif", "webp")
    }
    assert loss["avif"] > loss["webp"] + 10


@pytest.mark.parametrize(
    ("reason", "data"),
    [
        ("empty", b""),
        ("unreadable", b"no picture at all"),
        ("unreadable", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n"),
        ("damaged", encoded(paint(1))[:400]),
        ("damaged", encoded(paint(1), "JPEG")[:700]),
        ("unreadable", encoded(paint(1), "WEBP")[:200]),
        ("too_many_pixels", bomb()),
        ("too_many_pixels", bomb(12_000)),
        ("too_small", encoded(paint(1, 40, 40))),
        ("too_small", encoded(paint(1, 1000, 40))),
        ("blank", encoded(Image.new("RGB", (64, 64), (200, 30, 30)))),
        ("greyscale", encoded(paint(1).convert("L"))),
        ("greyscale", encoded(ImageOps.colorize(paint(1, 200, 160).convert("L"), "black", (235, 215, 180)))),
        ("line_art_only", encoded(paint_pair(1, 640, 512)[1])),
        ("line_art_only", encoded(ImageOps.colorize(paint_pair(1, 640, 512)[1], (40, 30, 120), (240, 225, 200)))),
    ],
)
def test_what_is_of_no_use_is_rejected_with_its_reason(reason, data):
    result = make_record(data, SMALL if len(data) < 9000 else RecordSettings(size=256))
    assert isinstance(result, Rejection)
    assert (result.reason, result.reason in REASONS) == (reason, True)


@pytest.mark.parametrize("seed", range(12))
def test_coloured_pictures_are_kept(seed):
    assert isinstance(make_record(encoded(paint(seed)), SMALL), Record)
    thin = ImageOps.colorize(paint(seed, 640, 512).convert("L"), (0, 0, 60), (255, 240, 120))
    assert isinstance(make_record(encoded(thin), RecordSettings(size=256, codec="webp")), Record)


def test_a_camera_gives_itself_away():
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x829A] = 0.01
    data = encoded(paint(1), "JPEG", exif=exif)
    assert make_record(data, SMALL) == Rejection("photograph", "camera data", make_record(data, SMALL).sha256)
    assert isinstance(make_record(data, RecordSettings(64, "webp", min_size=48, max_photograph_score=1)), Record)


def test_noise_in_the_dark_looks_more_like_a_photograph_than_flats_on_paper():
    noise = np.random.default_rng(0).normal(70, 25, (200, 200, 3)).clip(0, 255).astype(np.uint8)
    assert photograph_score(noise) > 0.9
    assert photograph_score(np.asarray(paint(1, 200, 200))) < 0.1


def test_the_perceptual_hash_is_the_usual_one():
    picture = paint(5)
    grey = np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.LANCZOS), float)
    n = np.arange(32)
    basis = np.cos(np.pi * np.outer(n, 2 * n + 1) / 64)
    low = (2 * basis @ grey @ (2 * basis).T)[:8, :8]
    bits = "".join("1" if value > np.median(low) else "0" for value in low.ravel())
    small = make_record(encoded(picture), RecordSettings(size=512, codec="webp", min_size=48))
    assert small.phash == f"{int(bits, 2):016x}"


@pytest.mark.parametrize("seed", range(4))
def test_the_artists_lines_are_kept_at_the_size_of_the_picture_and_exactly(seed):
    color, lines = paint_pair(seed, 160, 128)
    record = make_record(encoded(color), RecordSettings(size=160, codec="webp", min_size=48), line_art=encoded(lines))
    assert record.pair == "kept"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(record.line_art)).convert("L")), np.asarray(lines))
    small = make_record(encoded(color), SMALL, line_art=encoded(lines.resize((320, 256))))
    assert Image.open(io.BytesIO(small.line_art)).size == (small.width, small.height) == (64, 51)


@pytest.mark.parametrize("seed", range(4))
def test_lines_that_lie_elsewhere_are_left_out_and_the_picture_is_kept(seed):
    color, lines = paint_pair(seed, 256, 204)
    settings = RecordSettings(size=256, codec="webp")
    shifted = Image.new("L", lines.size, 255)
    shifted.paste(lines, (5, 0))
    for drawing in (shifted, paint_pair(seed + 50, 256, 204)[1], lines.resize((256, 256))):
        record = make_record(encoded(color), settings, line_art=encoded(drawing))
        assert record.line_art is None
        assert record.pair.startswith("misregistered")
    assert make_record(encoded(color), settings, line_art=b"broken").pair.startswith("unreadable")


def test_registration_finds_the_offset():
    color, lines = paint_pair(3, 256, 204)
    for offset in (0, 3, 8):
        moved = np.roll(np.asarray(lines), offset, axis=1)
        assert abs(register(np.asarray(color), moved).offset - offset) <= 1


@pytest.mark.parametrize(
    ("pattern", "names", "pairs"),
    [
        ("color/*.png=lines/*.png", ["color/a.png", "lines/a.png", "color/b.png"], {"color/a.png": "lines/a.png"}),
        ("*.png=*_lines.png", ["a.png", "a_lines.png", "b.png"], {"a.png": "a_lines.png"}),
        ("*.png=*_l.png", ["a.png", "a_l.png", "a_l_l.png"], {"a.png": "a_l.png"}),
        ("*.color.jpg=*.line.png", ["0.color.jpg", "0.line.png", "x/1.color.jpg"], {"0.color.jpg": "0.line.png"}),
        ("*.png=*_lines.png", ["_lines.png", ".png"], {}),
    ],
)
def test_name_patterns_find_pairs(pattern, names, pairs):
    assert NamePattern(pattern).match(names) == pairs


@pytest.mark.parametrize("pattern", ["", "a=b", "*.png", "*=*", "*/*.png=*.png", "*.png=x.png"])
def test_patterns_that_mean_nothing_are_refused(pattern):
    with pytest.raises(ValueError, match="--pairs takes"):
        NamePattern(pattern)


@pytest.mark.parametrize(
    "changes", [{"codec": "jpeg"}, {"size": 4}, {"quality": 0}, {"quality": 101}, {"max_photograph_score": 2}]
)
def test_impossible_settings_are_refused(changes):
    with pytest.raises(ValueError, match="must be"):
        RecordSettings(**changes)
