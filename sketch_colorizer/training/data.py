"""A corpus of coloured pictures as training samples: decoded, cropped, turned into line art and hinted on the fly."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset as Table
from datasets import Image as ImageFeature
from datasets import load_dataset
from PIL import Image, ImageOps
from pyarrow.parquet import ParquetFile
from torch import Generator, Tensor
from torch.utils.data import Dataset, Sampler

from ..color import rgb_to_lab
from ..hints import simulate_hints
from ..line_art import random_line_art, roughen
from ..quantizer import color_histogram
from ..regions import segment_regions
from .collage import MOST_PARTS, lay_over

COLUMNS = ("image", "line_art", "path")
HOLDOUT = 50  # one in this many training pictures is never trained on; it serves for choosing between models


def load_corpus(path: str, split: str) -> Table:
    """A split of a corpus (a folder of Parquet shards or a Hub data set) with its pictures still encoded.

    Raises ValueError when the split is missing or empty, or a column that training needs is not there.
    """
    if Path(path).is_dir():
        files = sorted(str(file) for file in Path(path).rglob(f"{split}-*.parquet"))
        if not files:
            raise ValueError(f"no {split}-*.parquet under {path}: is it a corpus folder, and has it a split {split!r}?")
        if sum(ParquetFile(file).metadata.num_rows for file in files) == 0:
            raise ValueError(f"the split {split!r} of {path} is empty")
        table = load_dataset("parquet", data_files=files, split="train")
    else:
        table = load_dataset(path, split=split)
    missing = [column for column in COLUMNS if column not in table.column_names]
    if missing:
        raise ValueError(f"the corpus {path} lacks the columns {missing}; it has {table.column_names}")
    if len(table) == 0:
        raise ValueError(f"the split {split!r} of {path} is empty")
    return table.cast_column("image", ImageFeature(decode=False)).cast_column("line_art", ImageFeature(decode=False))


def is_held_out(path: str) -> bool:
    """Whether a training picture belongs to the part that no model is trained on (stable: a hash of its path)."""
    return int(hashlib.sha256(path.encode()).hexdigest(), 16) % HOLDOUT == 0


def divide(table: Table) -> tuple[Table, Table]:
    """The pictures to train on, and the held-out ones."""
    held_out = [is_held_out(path) for path in table["path"]]
    rows = np.arange(len(table))
    return table.select(rows[~np.array(held_out)]), table.select(rows[held_out])


def decode(record: dict[str, Any], mode: str) -> Image.Image:
    """The picture of an undecoded image column, on white where it is transparent."""
    picture = Image.open(io.BytesIO(record["bytes"]) if record.get("bytes") else record["path"])
    if mode == "RGB" and picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert(mode)


def measure_colors(table: Table, limit: int = 2000) -> tuple[Tensor, Tensor]:
    """The colour histogram of (at most `limit` evenly chosen pictures of) a corpus, see `color_histogram`."""
    rows = np.linspace(0, len(table) - 1, min(limit, len(table))).astype(int)
    parts = []
    for row in rows:
        picture = decode(table[int(row)]["image"], "RGB").reduce(2)
        parts.append(color_histogram(torch.from_numpy(np.asarray(picture).reshape(-1, 3).copy())))
    counts, sums = zip(*parts, strict=True)
    return torch.stack(counts).sum(0), torch.stack(sums).sum(0)


class RunSampler(Sampler):
    """(epoch, index) for every sample of a whole run, shuffled in each epoch, beginning after `start` samples.

    The order depends on the seed alone, so a resumed run goes on exactly where it stopped.
    """

    def __init__(self, size: int, *, seed: int, start: int = 0) -> None:
        self.size, self.seed, self.start = size, seed, start

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch, offset = divmod(self.start, self.size)
        while True:
            order = torch.randperm(self.size, generator=_generator(self.seed, epoch))
            yield from ((epoch, int(index)) for index in order[offset:])
            epoch, offset = epoch + 1, 0

    def __len__(self) -> int:
        return 2**40  # the run ends by its number of steps


class ColorizationDataset(Dataset):
    """Samples `pixel_values`, `hint_values`, `labels` as the model takes them, each a function of (seed, epoch, index).

    Args:
        table: rows with `image` and `line_art` (encoded, the latter may be null).
        image_size: side of the square samples.
        seed: of the run.
        real_share: how often a picture's real line art is used where it has one.
        share_without_hints: share of samples without any hint.
        collage_share: share of samples over which other pictures of the corpus are laid, small.
        scale: range of the picture's longest side, in image sizes.
        draws_lines: False leaves the drawing of the lines to `with_line_art`, which does it for a batch on any device.
        finds_regions: whether the samples also have the `regions` (H, W) of what is drawn; it must be drawn here, then.
    """

    def __init__(
        self,
        table: Table,
        *,
        image_size: int,
        seed: int,
        real_share: float = 0.7,
        share_without_hints: float = 0.5,
        collage_share: float = 0.0,
        scale: tuple[float, float] = (0.8, 1.4),
        draws_lines: bool = True,
        finds_regions: bool = False,
    ) -> None:
        if finds_regions and not draws_lines:
            raise ValueError(
                "a loss over regions needs its lines drawn in the loader, where regions are found: "
                "leave draws_lines (in a recipe, line_art_on_device) at its default"
            )
        self.finds_regions = finds_regions
        self.table, self.image_size, self.seed, self.draws_lines = table, image_size, seed, draws_lines
        self.real_share, self.share_without_hints, self.scale = real_share, share_without_hints, scale
        self.collage_share = collage_share

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, key: tuple[int, int] | int) -> dict[str, Tensor]:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        generator = _generator(self.seed, epoch, index)
        row = self.table[index]
        picture, line_art = decode(row["image"], "RGB"), None
        if row["line_art"] is not None and torch.rand((), generator=generator) < self.real_share:
            line_art = decode(row["line_art"], "L")
        rgb, line_art, (rows, columns) = self._place(picture, line_art, generator)
        if self.collage_share and torch.rand((), generator=generator) < self.collage_share:
            self._lay_parts_over(rgb, line_art, (rows, columns), generator)
        labels = torch.full_like(rgb, torch.nan)
        labels[:, rows, columns] = rgb_to_lab(rgb[:, rows, columns])
        if line_art is not None:
            labels[:, line_art[0] < 0.5] = torch.nan  # where the artist has ink, the picture's colour is the line's
        hints = simulate_hints(labels, generator, share_without=self.share_without_hints)
        source, seed = rgb if line_art is None else line_art, _seed(self.seed, epoch, index, "lines")
        if self.draws_lines:
            ink = draw_ink(source, (rows, columns), seed)
            sample = {"pixel_values": ink, "hint_values": hints, "labels": labels}
            return sample | {"regions": find_regions(ink)} if self.finds_regions else sample
        window = torch.tensor((rows.start, rows.stop, columns.start, columns.stop, line_art is not None, seed))
        return {"source": source.expand(3, -1, -1), "window": window, "hint_values": hints, "labels": labels}

    def _lay_parts_over(
        self, rgb: Tensor, line_art: Tensor | None, window: tuple[slice, slice], generator: Generator
    ) -> None:
        """Make a collage of a sample; over real line art come pictures with real line art alone."""
        count = int(torch.randint(1, MOST_PARTS + 1, (), generator=generator))
        for index in torch.randint(len(self.table), (count,), generator=generator).tolist():
            row = self.table[index]
            if line_art is None:
                lay_over(rgb, None, decode(row["image"], "RGB"), None, window, generator)
            elif row["line_art"] is not None:
                part, lines = decode(row["image"], "RGB"), decode(row["line_art"], "L")
                lay_over(rgb, line_art, part, lines, window, generator)

    def _place(
        self, picture: Image.Image, line_art: Image.Image | None, generator: Generator
    ) -> tuple[Tensor, Tensor | None, tuple[slice, slice]]:
        """Scale, mirror and crop both pictures alike onto a white square; the slices say where the picture lies."""
        low, high = self.scale
        side = self.image_size * (low + (high - low) * float(torch.rand((), generator=generator)))
        factor = side / max(picture.size)
        size = tuple(max(1, round(length * factor)) for length in picture.size)
        mirror = bool(torch.rand((), generator=generator) < 0.5)
        offset = [_offset(length, self.image_size, generator) for length in size]

        def place(source: Image.Image) -> Tensor:
            source = source.resize(size, Image.Resampling.LANCZOS)
            source = ImageOps.mirror(source) if mirror else source
            canvas = Image.new(source.mode, (self.image_size,) * 2, "white")
            canvas.paste(source, (-offset[0], -offset[1]))
            pixels = torch.from_numpy(np.array(canvas, np.float32) / 255)
            return pixels[None] if pixels.ndim == 2 else pixels.movedim(-1, 0).contiguous()

        columns, rows = (
            slice(max(0, -start), min(length - start, self.image_size))
            for start, length in zip(offset, size, strict=True)
        )
        return place(picture), None if line_art is None else place(line_art), (rows, columns)


def draw_ink(source: Tensor, window: tuple[slice, slice], seed: int) -> Tensor:
    """Ink (1, H, W) in 0..1 as the network sees it, drawn at random inside the window and zero, paper, outside.

    A picture (3, H, W) gets extracted lines; real line art (1, H, W) is roughened. Alike on every device.
    """
    part, generator = source[None, :, *window], Generator().manual_seed(seed)
    line_art = roughen(part, generator) if len(source) == 1 else random_line_art(part, generator)
    ink = torch.zeros_like(source[:1])
    ink[:, *window] = 1 - line_art[0]
    return ink


def find_regions(ink: Tensor) -> Tensor:
    """The closed regions of a sample's drawing: ink (1, H, W) in 0..1 -> int64 (H, W)."""
    line_art = ((1 - ink[0]) * 255).round().to(torch.uint8).numpy()
    return torch.from_numpy(segment_regions(line_art)).long()


def with_line_art(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """A batch as the model takes it: lines that the loader has not drawn are drawn where the batch lies."""
    if "source" not in batch:
        return batch
    inks = []
    for source, window in zip(batch["source"], batch["window"].tolist(), strict=True):
        top, bottom, left, right, is_drawn, seed = window
        inks.append(draw_ink(source[:1] if is_drawn else source, (slice(top, bottom), slice(left, right)), seed))
    return {"pixel_values": torch.stack(inks), **{key: batch[key] for key in ("hint_values", "labels")}}


def mirrored(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mirror image of a batch with its lines drawn."""
    return {key: values.flip(-1) for key, values in batch.items()}


def _offset(length: int, window: int, generator: Generator) -> int:
    """Where the window begins in a picture of this length; negative when the picture is smaller than the window."""
    slack = length - window
    position = int(torch.randint(abs(slack) + 1, (), generator=generator))
    return position if slack >= 0 else -position


def _generator(*key: int) -> Generator:
    """A generator that depends on all parts of the key."""
    return Generator().manual_seed(_seed(*key))


def _seed(*key: int | str) -> int:
    """63 bits that depend on all parts of the key."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8], "little") >> 1
