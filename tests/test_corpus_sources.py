"""Laws of the sources: all is listed, nothing is followed outside, archives are read safely, units are stable."""

import gzip
import io
import json
import os
import tarfile
import zipfile
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_heap import encoded, paint

from sketch_colorizer.training.corpus_metadata import Pairing, read_table
from sketch_colorizer.training.corpus_sources import (
    Source,
    SourceChangedError,
    is_safe_name,
    list_source,
    parse_sources,
)
from sketch_colorizer.training.corpus_units import plan_units, read_unit

PICTURES = {f"{seed}.png": encoded(paint(seed, 24, 20)) for seed in range(6)}


def samples(place: Path | str, pairs: str | None = None, **options) -> dict:
    """All samples of a source by name."""
    units = plan_units(Source("s", str(place)), pairing=Pairing.parse(pairs), **({"unit_size": 3} | options))
    found = [sample for unit in units for sample in read_unit(unit)]
    assert len({sample.name for sample in found}) == len(found)
    return {sample.name: sample for sample in found}


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def write_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def write_parquet(path: Path, rows: list[dict], **options) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path, **options)
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    place = tmp_path / "folder"
    (place / "sub").mkdir(parents=True)
    for name, data in PICTURES.items():
        (place / ("sub" if name > "2" else ".") / name).write_bytes(data)
    return place


def test_a_folder_gives_the_bytes_of_its_pictures(folder):
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"x")
    found = samples(folder)
    assert {Path(name).name: sample.data for name, sample in found.items()} == PICTURES
    assert "sub/3.png" in found


def test_nothing_outside_a_folder_is_read(folder, tmp_path):
    (tmp_path / "secret.png").write_bytes(PICTURES["0.png"])
    (tmp_path / "elsewhere").mkdir()
    (folder / "out.png").symlink_to(tmp_path / "secret.png")
    (folder / "up.png").symlink_to("../secret.png")
    (folder / "outdir").symlink_to(tmp_path / "elsewhere")
    (folder / "broken.png").symlink_to("nowhere.png")
    (folder / "in.png").symlink_to("sub/3.png")
    found = samples(folder)
    assert [found[name].reason for name in ("out.png", "up.png", "outdir", "broken.png")] == ["link"] * 4
    assert found["in.png"].data == PICTURES["3.png"]
    assert all(sample.data is None for sample in found.values() if sample.reason)


def test_pipes_and_unreadable_files_do_not_stop_the_others(folder):
    os.mkfifo(folder / "pipe.png")
    found = samples(folder)
    assert found["pipe.png"].reason == "not_a_file"
    assert found["0.png"].data


def test_names_that_are_no_utf8_are_written_with_escapes(folder):
    (folder / os.fsdecode(b"caf\xe9.png")).write_bytes(PICTURES["0.png"])
    found = samples(folder)
    assert found["caf\\xe9.png"].data == PICTURES["0.png"]


def test_a_file_that_changes_or_goes_is_not_taken_for_what_was_listed(folder):
    units = plan_units(Source("s", str(folder)), pairing=Pairing(), unit_size=99)
    (folder / "0.png").write_bytes(PICTURES["5.png"] + b" ")
    (folder / "1.png").unlink()
    found = {sample.name: sample for unit in units for sample in read_unit(unit)}
    assert (found["0.png"].reason, found["1.png"].reason, found["sub/3.png"].reason) == ("changed", "changed", None)
    again = plan_units(Source("s", str(folder)), pairing=Pairing(), unit_size=99)
    assert {unit.identity for unit in again} != {unit.identity for unit in units}


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.xz"])
def test_archives_give_the_same_pictures_as_the_folder(tmp_path, name):
    path = tmp_path / name
    if name.endswith("zip"):
        write_zip(path, PICTURES)
    else:
        write_tar(path, PICTURES, "w:" + name.rsplit(".", 1)[1].replace("tgz", "gz").replace("tar", ""))
    assert {name: sample.data for name, sample in samples(path).items()} == PICTURES
    assert set(samples(tmp_path)) == {f"{name}/{member}" for member in PICTURES}


@pytest.mark.parametrize("name", ["../x.png", "/x.png", "a/../../x.png", "..\\x.png", "C:\\x.png", "a\0.png", ""])
def test_names_that_lead_out_of_an_archive_are_unsafe(name):
    assert not is_safe_name(name)


@pytest.mark.parametrize("name", ["x.png", "a/b/x.png", "a..b.png", "...png"])
def test_ordinary_names_are_safe(name):
    assert is_safe_name(name)


def test_zip_slip_and_links_in_archives_are_rejected(tmp_path):
    found = samples(write_zip(tmp_path / "a.zip", {"../evil.png": b"x", "good.png": PICTURES["0.png"]}))
    assert (found["../evil.png"].reason, found["good.png"].reason) == ("unsafe_name", None)
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        for kind, name in (
            (tarfile.SYMTYPE, "soft.png"),
            (tarfile.LNKTYPE, "hard.png"),
            (tarfile.FIFOTYPE, "pipe.png"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            file.addfile(info)
    found = samples(tmp_path / "a.tar")
    assert {name: sample.reason for name, sample in found.items()} == {"soft.png": "link", "hard.png": "link"}


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.parquet"])
@pytest.mark.parametrize("data", [b"", b"nonsense" * 99])
def test_a_broken_archive_is_rejected_whole_and_the_others_are_read(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    (tmp_path / "good.png").write_bytes(PICTURES["0.png"])
    found = samples(tmp_path)
    assert found["good.png"].data
    if not name.endswith("tar") or data:  # a tar without bytes is an empty tar
        assert found[name].reason == "bad_archive"


def test_a_compressed_tar_that_is_a_bomb_is_not_unpacked(tmp_path):
    with gzip.open(tmp_path / "a.tar.gz", "wb") as file:
        for _ in range(20):
            file.write(bytes(10**6))
    (sample,) = samples(tmp_path / "a.tar.gz").values()
    assert sample.reason == "bad_archive"
    assert "200 times" in sample.detail


def test_an_archive_that_changes_is_an_error(tmp_path):
    path = write_zip(tmp_path / "a.zip", PICTURES)
    (unit, *_) = plan_units(Source("s", str(path)), pairing=Pairing(), unit_size=99)
    reading = read_unit(unit)
    next(reading)
    with path.open("ab") as file:
        file.write(b"more")
    with pytest.raises(SourceChangedError, match="changed while it was read"):
        list(reading)
    path.unlink()
    with pytest.raises(SourceChangedError, match="gone"):
        list(read_unit(unit))


@pytest.mark.parametrize("as_struct", [True, False])
def test_parquet_gives_pictures_and_what_is_known_of_them(tmp_path, as_struct):
    rows = [
        {
            "image": {"bytes": data, "path": None} if as_struct else data,
            "path": f"in/{name}",
            "license": "CC0-1.0",
            "source": "x",
        }
        for name, data in PICTURES.items()
    ]
    path = write_parquet(tmp_path / "a.parquet", rows, row_group_size=2)
    found = samples(path, unit_size=4)
    assert {Path(name).name: sample.data for name, sample in found.items()} == PICTURES
    assert found["in/0.png"].metadata == {"license": "CC0-1.0", "source": "x"}
    assert len(plan_units(Source("s", str(path)), pairing=Pairing(), unit_size=4)) == 2


def test_parquet_without_pictures_says_which_columns_it_has(tmp_path):
    (sample,) = samples(write_parquet(tmp_path / "a.parquet", [{"text": "x", "number": 1}])).values()
    assert (sample.reason, "text, number" in sample.detail) == ("bad_archive", True)


@pytest.mark.parametrize("archived", [False, True])
def test_tables_sidecars_and_pairs_belong_to_their_pictures(tmp_path, archived):
    table = "file_name,license,line_art_file_name\n0.png,CC-BY-4.0,\n1.png,CC0-1.0,ink/1.png\n2.png,,ink/none.png\n"
    members = {
        "set/metadata.csv": table.encode(),
        **{f"set/{name}": data for name, data in PICTURES.items()},
        "set/ink/1.png": b"lines of 1",
        "set/3.json": json.dumps({"author": "Ann", "license": 7, "secret": "x"}).encode(),
        "set/4.json": b"broken",
        "set/5.cls": b"12",
    }
    if archived:
        place = write_tar(tmp_path / "a.tar", members)
    else:
        place = tmp_path / "place"
        for name, data in members.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(data)
    found = samples(place)
    assert set(found) == {f"set/{name}" for name in PICTURES}
    assert found["set/0.png"].metadata == {"license": "CC-BY-4.0"}
    assert (found["set/1.png"].line_art, found["set/1.png"].line_art_problem) == (b"lines of 1", None)
    assert found["set/2.png"].line_art_problem == "missing: set/ink/none.png"
    assert found["set/3.png"].metadata == {"author": "Ann"}
    assert found["set/4.png"].metadata == {}


def test_pairs_are_named_by_a_pattern_or_a_table(folder, tmp_path):
    (folder / "sub" / "3_ink.png").write_bytes(b"lines")
    assert samples(folder, "*.png=*_ink.png")["sub/3.png"].line_art == b"lines"
    table = tmp_path / "pairs.jsonl"
    table.write_text(json.dumps({"file_name": "0.png", "line_art_file_name": "sub/3_ink.png", "author": "Bo"}) + "\n")
    found = samples(folder, str(table))
    assert (found["0.png"].line_art, found["0.png"].metadata) == (b"lines", {"author": "Bo"})
    assert "sub/3_ink.png" not in found


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("metadata.csv", b"name,license\nx.png,CC0\n"),
        ("metadata.csv", b"\xff\xfe\x00"),
        ("metadata.jsonl", b'{"file_name": "x.png"}\n{broken\n'),
        ("metadata.jsonl", b"[1]\n"),
    ],
)
def test_a_table_that_cannot_be_understood_is_an_error(name, data):
    with pytest.raises(ValueError, match=r"metadata\..* (needs|cannot)"):
        read_table(data, name)


def test_sources_have_names_and_two_places_never_share_one(tmp_path):
    for place in ("one/art", "two/art"):
        (tmp_path / place).mkdir(parents=True)
    write_zip(tmp_path / "heap.zip", PICTURES)
    one, two = str(tmp_path / "one/art"), str(tmp_path / "two/art")
    assert [source.name for source in parse_sources([one, str(tmp_path / "heap.zip")])] == ["art", "heap"]
    assert [source.name for source in parse_sources([one, f"other={two}"])] == ["art", "other"]
    assert [source.name for source in parse_sources([f"art={one}", f"art={two}"])] == ["art", "art"]
    assert parse_sources(["hf://datasets/ann/drawings/data"])[0].name == "ann/drawings"
    with pytest.raises(ValueError, match="would both be called 'art'"):
        parse_sources([one, two])
    with pytest.raises(ValueError, match="there is no"):
        parse_sources([str(tmp_path / "missing")])
    with pytest.raises(ValueError, match="holds no pictures"):
        list_source(Source("art", one))


def test_a_picture_more_changes_one_unit(tmp_path):
    names = [f"{number:03d}.png" for number in range(80)]
    for name in names:
        (tmp_path / name).write_bytes(b"x")

    def identities() -> set[str]:
        return {unit.identity for unit in plan_units(Source("s", str(tmp_path)), pairing=Pairing(), unit_size=8)}

    before = identities()
    assert 6 < len(before) < 30
    (tmp_path / "0405.png").write_bytes(b"x")
    assert len(identities() - before) <= 2
    assert identities() == identities()


def test_remote_sources_are_read_like_local_ones(tmp_path):
    system = fsspec.filesystem("memory")
    system.pipe({f"/bucket/loose/{name}": data for name, data in PICTURES.items()})
    system.pipe("/bucket/a.tar", write_tar(tmp_path / "a.tar", PICTURES).read_bytes())
    rows = [{"image": data, "path": name} for name, data in PICTURES.items()]
    system.pipe("/bucket/b.parquet", write_parquet(tmp_path / "b.parquet", rows).read_bytes())
    found = samples("memory://bucket")
    assert len(found) == 3 * len(PICTURES)
    assert {sample.data for sample in found.values()} == set(PICTURES.values())
    with pytest.raises(ValueError, match="holds no pictures"):
        samples("memory://nowhere")
