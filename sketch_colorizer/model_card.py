"""The model card: a template filled with the figures of an evaluation and of the training, and with nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from jinja2 import Environment, StrictUndefined

LICENSE = "cc-by-sa-4.0"
TAGS = ["colorization", "line-art", "sketch", "illustration", "comics", "image-colorization"]
_GROUPS = {"real": "the artists' own line art", "extracted": "extracted lines"}
_METRICS = {  # metric in the evaluation -> its name, for the model index
    "auc_balanced": "class-balanced AuC, painted area",
    "ciede2000": "CIEDE2000, painted area",
    "chroma_ratio": "chroma ratio, painted area",
    "colorfulness_ratio": "colourfulness ratio, painted area",
}


class Figures:
    """Entries of a JSON file for a template; one that is missing or null is an error that names its place."""

    def __init__(self, entries: Mapping[str, Any], source: str, path: str = "") -> None:
        self._entries, self._source, self._path = entries, source, path

    def __getitem__(self, key: str) -> Any:
        value = self._entries.get(key)
        if value is None:
            raise ValueError(
                f"the model card needs {self._path}{key}, which {self._source} does not have; measure it first"
            )
        return _wrap(value, self._source, f"{self._path}{key}.")

    def __getattr__(self, key: str) -> Any:
        if key.startswith("__"):
            raise AttributeError(key)
        return self[key]

    def names(self) -> list[str]:
        return list(self._entries)


def _wrap(value: Any, source: str, path: str) -> Any:
    if isinstance(value, Mapping):
        return Figures(value, source, path)
    if isinstance(value, list):
        return [_wrap(entry, source, f"{path}{index}.") for index, entry in enumerate(value)]
    return value


def render_model_card(
    template: str,
    evaluation: Mapping[str, Any],
    training: Mapping[str, Any],
    *,
    datasets: Sequence[str] = (),
    plot: str | None = None,
) -> ModelCard:
    """Fill a template (hub_cards/model_card.md) with what was measured.

    Args:
        evaluation: results.json of `sketch-colorizer evaluate`.
        training: the summary of the runs that scripts/summarize_training.py writes.
        datasets: ids of the data sets on the Hub that the model was trained on.
        plot: file name of a picture beside the card that shows the results.

    Raises ValueError that names the figure where the template asks for one that was not measured.
    """
    figures = {
        "evaluation": Figures(evaluation, "the evaluation"),
        "training": Figures(training, "the training summary"),
    }
    card_data = ModelCardData(
        license=LICENSE,
        library_name="transformers",
        pipeline_tag="image-to-image",
        tags=TAGS,
        datasets=list(datasets) or None,
        model_name="sketch-colorizer",
        eval_results=list(_eval_results(figures["evaluation"])),
    )
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    environment.filters |= _FILTERS
    return ModelCard(environment.from_string(template).render(card_data=card_data.to_yaml(), plot=plot, **figures))


def _eval_results(evaluation: Figures) -> Iterator[EvalResult]:
    """The headline figures of both kinds of line art, for the front matter."""
    data = evaluation.data
    for group, description in _GROUPS.items():
        figures = evaluation.systems[evaluation.model].groups[group][evaluation.headline]
        for metric, name in _METRICS.items():
            yield EvalResult(
                task_type="image-to-image",
                task_name="Colorization of line drawings",
                dataset_type=data.name,
                dataset_name=f"{data.name}, {description}",
                dataset_config=group,
                dataset_split=data.split,
                metric_type=metric,
                metric_name=name,
                metric_value=round(figures[metric].value, 4),
            )


# --------------------------------------------------------------------------------------------------------------------
# How figures are written


def _number(value: float, digits: int, *, sign: bool = False) -> str:
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def _interval(figure: Figures, digits: int, *, sign: bool = False) -> str:
    low, high = (_number(figure[end], digits, sign=sign) for end in ("low", "high"))
    return f"{_number(figure['value'], digits, sign=sign)} ({low} to {high})"


_FILTERS = {
    "number": _number,
    "interval": _interval,
    "integer": lambda value: f"{value:,.0f}",
    "millions": lambda value: f"{value / 1e6:.2f}",
    "percent": lambda value: f"{100 * value:.2g} %",
    "minutes": lambda seconds: f"{seconds / 60:,.0f}",
}
