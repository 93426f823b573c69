"""Statistics of a split and their bootstrap intervals over pictures, single and paired.

A statistic is a function of *sums over pictures*, so one matrix product resums all bootstrap samples of means, ratios
of means, histograms and calibration alike; two systems resampled with the same pictures give the paired difference.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % bootstrap interval; nan where no picture has the figure."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Statistic:
    """A figure of a split: `finish` turns the sums over pictures of the row entries `columns` into it.

    Each column is a number or an array of one shape per picture; `finish` receives the sums stacked along a first axis.
    A picture that lacks any of the columns (nan) stays out of the sums, and of `pictures`, their number.
    """

    columns: tuple[str, ...]
    finish: Callable[..., np.ndarray]
    better: str  # "higher", "lower" or "one": which way is good
    label: str


def mean_of(column: str, *, better: str, label: str) -> Statistic:
    """The mean over pictures of one column."""
    return Statistic((column,), lambda total, pictures: total / pictures, better, label)


def ratio_of(numerator: str, denominator: str, *, better: str, label: str) -> Statistic:
    """The sum over pictures of one column by the sum of another."""
    return Statistic((numerator, denominator), lambda over, under, pictures: over / under, better, label)


def resamples(num_pictures: int, *, samples: int = 2000, seed: int = 0) -> np.ndarray:
    """How often each picture is drawn: (1 + samples, pictures); the first row is the split itself, each once."""
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(num_pictures, np.full(num_pictures, 1 / num_pictures), size=samples)
    return np.concatenate([np.ones((1, num_pictures)), drawn]).astype(np.float32)


def resummed(statistic: Statistic, rows: Sequence[dict], draws: np.ndarray) -> np.ndarray:
    """The statistic of each row of `draws` (see `resamples`), (1 + samples,); nan where no picture has it."""
    columns = [np.array([row[name] for row in rows]) for name in statistic.columns]
    columns = [c.astype(np.float64 if c.ndim == 1 else np.float32) for c in columns]  # histograms: speed before digits
    complete = np.all([np.isfinite(column.reshape(len(rows), -1)).all(1) for column in columns], axis=0)
    if not complete.any():
        return np.full(len(draws), np.nan)
    draws = draws[:, complete]
    sums = [np.tensordot(draws, column[complete], axes=1) for column in columns]
    with np.errstate(divide="ignore", invalid="ignore"):
        return statistic.finish(*sums, draws.sum(1))


def interval(values: np.ndarray, *, level: float = 0.95) -> Interval:
    """Percentile interval of resummed values, whose first is the figure itself.

    For a paired difference (or ratio) of two systems give that of their values from the same draws.
    """
    usable = values[1:][np.isfinite(values[1:])]
    if not len(usable):
        return Interval(float(values[0]), float("nan"), float("nan"))
    low, high = np.quantile(usable, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values[0]), float(low), float(high))
