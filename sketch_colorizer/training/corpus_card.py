"""The card of a corpus: a template filled with the figures of a build, and with nothing else."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData
from jinja2 import Environment, StrictUndefined, Undefined, UndefinedError

from .corpus_records import REASONS
from .corpus_release import COLUMNS
from .corpus_statistics import UNKNOWN

TEMPLATE = Path(__file__).with_name("dataset_card.md")
PLOT_FILE = "colors.png"
HUES = (
    *("pink", "red and orange", "orange and brown", "yellow", "yellow-green", "green"),
    *("green-blue", "cyan", "sky blue", "blue", "violet", "magenta"),
)
_HUB_LICENSES = {
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "gpl-2.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "mpl-2.0"),
    *("cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-3.0"),
    *("cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-4.0", "unlicense", "pddl", "odbl"),
}
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
_DTYPES = {"image": "image", "line_art": "image", "width": "int32", "height": "int32"}


def render_card(
    statistics: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    title: str,
    shard_bytes: int,
    template: str | None = None,
) -> DatasetCard:
    """Fill the template. Raises ValueError that names the figure where the template asks for one that is not there.

    Args:
        statistics: what `Census.summarize` gives.
        settings: size, codec, quality, split_by, hold_out and drop_twins of the build.
        shard_bytes: size of all Parquet shards.
    """
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    environment.filters |= {name: _strict(write) for name, write in _FILTERS.items()}
    try:
        hues = statistics["colors"]["hues"]
        ranked = sorted(range(len(hues)), key=lambda index: -hues[index])
        text = environment.from_string(template or TEMPLATE.read_text(encoding="utf-8")).render(
            **statistics,
            front_matter=_front_matter(statistics, title, shard_bytes).to_yaml(),
            title=title,
            settings=settings,
            reasons=REASONS,
            plot=PLOT_FILE,
            unknown_licenses=statistics["names"]["license"].get(UNKNOWN, 0),
            hue_shares=", ".join(f"{HUES[index]} {_percent(hues[index])}" for index in ranked),
            common_hues=" and ".join(HUES[index] for index in ranked[:2]),
            rare_hues=" and ".join(HUES[index] for index in ranked[-2:]),
        )
    except (UndefinedError, KeyError, TypeError) as error:
        raise ValueError(f"the data set card needs a figure that was not measured: {error}") from None
    return DatasetCard(text)


def _front_matter(statistics: Mapping[str, Any], title: str, shard_bytes: int) -> DatasetCardData:
    """The part of the card that machines read: where the splits are, what columns there are, under which licence."""
    splits = {split: number for split, number in statistics["pictures"].items() if number}
    files = [{"split": split, "path": f"data/{split}-*"} for split in splits]
    total = sum(splits.values())
    size = statistics["stored_bytes"]["mean"]
    described = [
        {"name": split, "num_bytes": round(number * size), "num_examples": number} for split, number in splits.items()
    ]
    return DatasetCardData(
        **_license(statistics["names"]["license"]),
        pretty_name=title,
        task_categories=["image-to-image"],
        size_categories=next((name for limit, name in _SIZES if total < limit), "n>10M"),
        tags=["colorization", "line-art", "illustration"],
        configs=[{"config_name": "default", "data_files": files}],
        dataset_info={
            "features": [{"name": name, "dtype": _DTYPES.get(name, "string")} for name in COLUMNS],
            "splits": described,
            "download_size": shard_bytes,
            "dataset_size": sum(split["num_bytes"] for split in described),
        },
    )


def _license(names: Mapping[str, int]) -> dict[str, str]:
    """The Hub's name of the one licence of all pictures, or that each has its own."""
    single = next(iter(names)).lower() if len(names) == 1 else None
    if single in _HUB_LICENSES:
        return {"license": single}
    return {"license": "unknown"} if single == UNKNOWN else {"license": "other", "license_name": "per-row"}


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _top(names: Mapping[str, int], number: int) -> dict[str, int]:
    """The first names of a table, and all others as one."""
    first = dict(list(names.items())[:number])
    rest = sum(names.values()) - sum(first.values())
    return first | ({"others": first.get("others", 0) + rest} if rest else {})


def _listing(names: Mapping[str, int]) -> str:
    return ", ".join(f"{_cell(name)} ({count:,})" for name, count in names.items())


def _cell(text: str) -> str:
    """A name from outside as Markdown text that stays in its table cell."""
    for mark in "\\`*_[]<>|":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())


def _strict(write: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that names what is not there, where Python would complain of its type."""

    def checked(value: Any, *arguments: Any) -> Any:
        if isinstance(value, Undefined):
            str(value)  # raises UndefinedError
        return write(value, *arguments)

    return checked


_FILTERS: dict[str, Callable[..., Any]] = {
    "integer": lambda value: f"{value:,.0f}",
    "number": _number,
    "percent": _percent,
    "top": _top,
    "listing": _listing,
    "cell": _cell,
}
