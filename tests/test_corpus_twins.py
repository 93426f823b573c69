"""Laws of the pass over the whole corpus: every pair of twins is found, one of them stays, and splits never move."""

import io

import numpy as np
import pytest
from corpus_heap import encoded, paint
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st
from PIL import Image

from sketch_colorizer.training.corpus_decisions import (
    DUPLICATE,
    NEAR_DUPLICATE,
    TRAIN,
    VALIDATION,
    Candidates,
    SplitSettings,
    decide,
)
from sketch_colorizer.training.corpus_fingerprints import (
    CLOSE_RADIUS,
    FINGERPRINT_BYTES,
    MAX_DIFFERENCE,
    MAX_OUTLIER,
    RADIUS,
    are_twins,
    compare,
    find_twins,
    fingerprint,
)


def twins(looks: np.ndarray, **options: int) -> list[tuple[int, ...]]:
    return [tuple(pair) for found in find_twins(looks, **options) for pair in found.tolist()]


def look(picture: Image.Image) -> np.ndarray:
    return np.frombuffer(fingerprint(picture.convert("RGB")), np.uint8)


def reworked(picture: Image.Image, way: str) -> Image.Image:
    """The same picture as it comes around: smaller, larger, recompressed, reduced in colours, a little brighter."""
    width, height = picture.size
    if way == "half":
        return picture.resize((width // 2, height // 2), Image.Resampling.LANCZOS)
    if way == "double":
        return picture.resize((width * 2, height * 2), Image.Resampling.BILINEAR)
    if way == "palette":
        return picture.quantize(128)
    if way == "brighter":
        return picture.point(lambda value: min(255, int(value * 0.98 + 5)))
    format_, quality = {"jpeg": ("JPEG", 60), "webp": ("WEBP", 50), "avif": ("AVIF", 50)}[way]
    return Image.open(io.BytesIO(encoded(picture, format_, quality=quality)))


@pytest.mark.parametrize("way", ["half", "double", "palette", "brighter", "jpeg", "webp", "avif"])
def test_a_reworked_picture_is_a_twin_of_the_original(way):
    originals = [paint(seed, 320, 240, supersample=1) for seed in range(6)]
    first = np.stack([look(picture) for picture in originals])
    second = np.stack([look(reworked(picture, way)) for picture in originals])
    distance, difference = compare(first, second)
    assert distance.max() <= RADIUS
    assert difference.max() <= MAX_DIFFERENCE


def test_different_pictures_are_no_twins():
    looks = np.stack([look(paint(seed)) for seed in range(60)])
    assert twins(looks) == []


def test_what_differs_in_a_detail_or_in_colour_alone_is_no_twin():
    face = paint(3, 160, 128)
    mouth = face.copy()
    mouth.paste((255, 255, 255), (64, 48, 88, 72))
    other = Image.fromarray(np.asarray(face)[..., [1, 2, 0]])
    looks = np.stack([look(picture) for picture in (face, mouth, other)])
    assert twins(looks) == []


@trials(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    number=st.integers(2, 60),
    noise=st.integers(0, 12),
    leaf=st.sampled_from([1, 3, 17, 999]),
)
def test_the_search_finds_exactly_what_comparing_all_with_all_finds(seed, number, noise, leaf):
    generator = np.random.default_rng(seed)
    centres = generator.integers(0, 256, (1 + number // 4, FINGERPRINT_BYTES))
    looks = centres[generator.integers(0, len(centres), number)] + generator.integers(-noise, noise + 1, (number, 1))
    looks = (looks + generator.integers(-noise // 2, noise // 2 + 1, looks.shape)).clip(0, 255).astype(np.uint8)
    first, second = np.triu_indices(number, 1)
    distance, difference = compare(looks[first], looks[second])
    near = are_twins(distance, difference)
    expected = {frozenset(pair) for pair in zip(first[near].tolist(), second[near].tolist(), strict=True)}
    pairs = twins(looks, leaf=leaf)
    assert {frozenset(pair) for pair in pairs} == expected
    assert len(pairs) == len(expected)


def candidates(looks: np.ndarray, **columns: object) -> Candidates:
    """Candidates with these fingerprints, which otherwise differ in nothing but their bytes."""
    number = len(looks)
    values = {
        "draft": np.zeros(number, np.int32),
        "row": np.arange(number, dtype=np.int32),
        "sha256": np.array([f"{index:032d}".encode() for index in range(number)], "S32"),
        "look": np.array([hash(bytes(one)) for one in looks], np.int64).astype(np.uint64),
        "has_lines": np.zeros(number, bool),
        "has_license": np.zeros(number, bool),
        "pixels": np.full(number, 100, np.int64),
        "stored_bytes": np.full(number, 100, np.int64),
        "held_out": np.zeros(number, bool),
    }
    return Candidates(**(values | columns), fingerprints=looks)


def chain(*steps: int) -> np.ndarray:
    """Fingerprints along a line in colour space: those that are up to 6 apart in their tint pattern are twins."""
    base = np.full(FINGERPRINT_BYTES, 128, np.int64)
    wave = np.where(np.arange(FINGERPRINT_BYTES) % 2, 1, -1) * (np.arange(FINGERPRINT_BYTES) < 256)
    return np.stack([base + step * wave for step in steps]).astype(np.uint8)


def test_nobody_who_stays_has_a_twin_that_stays_and_losers_name_one_who_does():
    looks = chain(0, 4, 8, 12, 16, 60, 64)
    decisions = decide(candidates(looks), SplitSettings())
    stays = np.flatnonzero(decisions.outcome <= VALIDATION)
    assert twins(looks[stays]) == []
    assert stays.tolist() == [0, 2, 4, 5]
    losers = decisions.outcome == NEAR_DUPLICATE
    assert np.isin(decisions.winner[losers], stays).all()
    assert (decisions.winner[~losers] == -1).all()


def test_who_stays_known_before_then_with_lines_then_licensed_then_larger_then_first():
    looks = chain(0, 1, 2)
    last = np.array([False, False, True])
    columns = {"pixels": np.array([1, 5, 3])}
    assert decide(candidates(looks), SplitSettings()).outcome.tolist() == [TRAIN, NEAR_DUPLICATE, NEAR_DUPLICATE]
    assert decide(candidates(looks, **columns), SplitSettings()).winner.tolist() == [1, -1, 1]
    columns["has_license"] = np.array([True, False, False])
    assert decide(candidates(looks, **columns), SplitSettings()).winner.tolist() == [-1, 0, 0]
    columns["has_lines"] = last
    assert decide(candidates(looks, **columns), SplitSettings()).winner.tolist() == [2, 2, -1]
    known = np.array([f"{1:032d}".encode()], "S32")
    assert decide(candidates(looks, **columns), SplitSettings(), kept_before=known).winner.tolist() == [1, -1, 1]


def test_equal_bytes_are_duplicates_and_point_at_the_one_that_stays_in_the_end():
    looks = chain(0, 0, 2)
    same = candidates(looks, sha256=np.array([b"a" * 32, b"a" * 32, b"b" * 32], "S32"), pixels=np.array([1, 1, 9]))
    decisions = decide(same, SplitSettings())
    assert decisions.outcome.tolist() == [NEAR_DUPLICATE, DUPLICATE, TRAIN]
    assert decisions.winner.tolist() == [2, 2, -1]
    assert (decide(same, SplitSettings(drop_twins=False)).outcome == TRAIN).all()


def test_a_split_depends_on_the_picture_alone_and_has_the_share_that_was_asked_for():
    hashes = [generator.bytes(32).hex() for generator in [np.random.default_rng(0)] for _ in range(4000)]
    by_hash = SplitSettings(validation_share=0.05)
    chosen = [by_hash.holds_out(digest, "any") for digest in hashes]
    assert 0.04 < np.mean(chosen) < 0.06
    more = [SplitSettings(validation_share=0.1).holds_out(digest, "other") for digest in hashes]
    assert all(later for first, later in zip(chosen, more, strict=True) if first)


def test_whole_sources_are_held_out():
    by_source = SplitSettings("source", 0.3, hold_out=("book",))
    assert all(by_source.holds_out(f"{n:064x}", "book") for n in range(5))
    for source in ("a", "b", "c", "d"):
        assert len({by_source.holds_out(f"{n:064x}", source) for n in (0, 10**70, 10**76)}) == 1


@pytest.mark.parametrize("wrong", [{"by": "date"}, {"validation_share": 1}, {"validation_share": -0.1}])
def test_impossible_splits_are_refused(wrong):
    with pytest.raises(ValueError, match="got"):
        SplitSettings(**wrong)


def test_one_cell_may_differ_more_only_where_the_rest_is_close():
    limits = [(CLOSE_RADIUS, MAX_OUTLIER), (RADIUS, MAX_DIFFERENCE), (RADIUS, MAX_OUTLIER), (CLOSE_RADIUS, 14.0)]
    distance, difference = np.array(limits, np.float32).T
    assert are_twins(distance, difference).tolist() == [True, True, False, False]
