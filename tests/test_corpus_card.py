"""Laws of the data set card: every figure is measured, none is left out, and the Hub can read it."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from corpus_heap import encoded, paint
from huggingface_hub import DatasetCard
from PIL import Image

from sketch_colorizer.training.corpus_card import TEMPLATE, render_card
from sketch_colorizer.training.corpus_plots import contact_sheet, plot_colors
from sketch_colorizer.training.corpus_release import LEVELS, ColorHistogram
from sketch_colorizer.training.corpus_statistics import describe_colors

SETTINGS = {
    "size": 512,
    "codec": "avif",
    "quality": 65,
    "split_by": "hash",
    "hold_out": ["a book"],
    "drop_twins": True,
}


@pytest.fixture
def statistics() -> dict:
    histogram = ColorHistogram()
    histogram.add(encoded(paint(1)))
    spread = {"mean": 20_000.0, "p5": 5_000.0, "median": 18_000.0, "p95": 45_000.0}
    return {
        "inputs": 1300,
        "input_bytes": 9 * 10**8,
        "pictures": {"train": 1150, "validation": 60},
        "with_line_art": {"train": 40, "validation": 2},
        "rejected": {"greyscale": 60, "near_duplicate": 30},
        "pairs": {"kept": 42, "misregistered": 3},
        "stored_bytes": {"total": 24 * 10**6, **spread},
        "longest_side": {"mean": 500.0, "p5": 300.0, "median": 512.0, "p95": 512.0},
        "psnr": {"pictures": 70, "mean": 40.0, "p5": 37.5, "median": 40.5, "p95": 45.0},
        "names": {
            "source": {"a|b [x](y)": 1000, "other": 210},
            "category": {"unknown": 1210},
            "license": {"CC-BY-4.0": 1210},
            "author": {"Ann": 700, "unknown": 510},
        },
        "largest": {
            "source": {"name": "a", "share": 0.83},
            "category": None,
            "license": {"name": "CC-BY-4.0", "share": 1.0},
            "author": {"name": "Ann", "share": 0.58},
        },
        "colors": describe_colors(histogram.counts, histogram.sums),
    }


def card(statistics: dict, **options) -> DatasetCard:
    return render_card(statistics, SETTINGS, title="Heap", shard_bytes=25 * 10**6, **options)


def test_the_card_tells_counts_licences_rejections_storage_and_bias(statistics):
    text = card(statistics).text
    for figure in ("1,150", "1,210", "`greyscale`) | 60", "20.0 KB", "40.5 dB", "83.0 %", "58.0 %", "a book", "42"):
        assert figure in text, figure
    assert "a\\|b \\[x\\](y)" in text
    assert "{{" not in text


def test_the_hub_reads_its_front_matter(statistics):
    data = DatasetCard(str(card(statistics))).data.to_dict()
    assert (data["license"], data["pretty_name"], data["size_categories"]) == ("cc-by-4.0", "Heap", "1K<n<10K")
    assert [file["split"] for file in data["configs"][0]["data_files"]] == ["train", "validation"]
    assert [split["num_examples"] for split in data["dataset_info"]["splits"]] == [1150, 60]


@pytest.mark.parametrize(
    ("licenses", "expected"),
    [
        ({"CC-BY-4.0": 9, "CC0-1.0": 1}, ("other", "per-row")),
        ({"unknown": 9}, ("unknown", None)),
        ({"LicenseRef-Own": 9}, ("other", "per-row")),
    ],
)
def test_the_licence_is_the_only_one_or_that_of_each_row(statistics, licenses, expected):
    statistics["names"]["license"] = licenses
    data = card(statistics).data.to_dict()
    assert (data["license"], data.get("license_name")) == expected
    assert ("Do not publish" in card(statistics).text) == ("unknown" in licenses)


def test_a_split_without_pictures_is_not_named(statistics):
    statistics["pictures"]["validation"] = 0
    assert [file["split"] for file in card(statistics).data.to_dict()["configs"][0]["data_files"]] == ["train"]


def paths(content: dict, *before: str) -> list[tuple[str, ...]]:
    found = []
    for key, value in content.items():
        found.append((*before, key))
        if isinstance(value, dict):
            found += paths(value, *before, key)
    return found


def test_a_figure_that_was_not_measured_fails_the_card(statistics):
    optional = {"longest_side", "mean", "p5", "p95", "share", "name"}  # not all of them are shown everywhere
    shown = [path for path in paths(statistics) if not optional & set(path) and path[0] != "names" and len(path) < 3]
    shown = [
        path for path in shown if path not in {("colors", "lightness"), ("colors", "pixels"), ("largest", "license")}
    ]
    shown = [path for path in shown if path[0] not in ("rejected", "pairs") or len(path) == 1]
    assert len(shown) > 15
    for path in shown:
        lacking = copy.deepcopy(statistics)
        place = lacking
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]
        with pytest.raises(ValueError, match="was not measured"):
            card(lacking)
    with pytest.raises(ValueError, match="was not measured: 'speed'"):
        card(statistics, template=TEMPLATE.read_text() + "{{ speed }}")


def test_histograms_add_up_and_describe_what_is_in_them():
    white, red = (np.full((10, 10, 3), color, np.uint8) for color in ((255, 255, 255), (255, 0, 0)))
    first, second, both = ColorHistogram(), ColorHistogram(), ColorHistogram()
    first.add(encoded(Image.fromarray(white)))
    second.add(encoded(Image.fromarray(red)))
    both.add(encoded(Image.fromarray(np.concatenate([white, red]))))
    first += second
    assert np.array_equal(first.counts, both.counts)
    assert np.array_equal(first.sums, both.sums)
    assert both.counts[-1] == both.counts[(LEVELS - 1) * LEVELS**2] == 100
    colors = describe_colors(both.counts, both.sums)
    assert (colors["painted"], colors["grey"], colors["pixels"]) == (0.5, 0.5, 200)
    assert colors["hues"][1] == 1  # red is at 40 degrees
    assert json.dumps(colors)


def test_plots_and_sheets_are_pictures_and_the_same_each_time():
    histogram = ColorHistogram()
    histogram.add(encoded(paint(2)))
    first, second = (plot_colors(histogram.counts, histogram.sums) for _ in range(2))
    assert first == second
    assert contact_sheet([(paint(seed), str(seed)) for seed in range(3)], columns=2, side=32).size == (88, 116)


def test_the_template_stands_beside_the_other_cards_and_travels_with_the_package():
    cards = Path(__file__).parents[1] / "hub_cards"
    assert (cards / "dataset_card.md").read_text() == TEMPLATE.read_text()
