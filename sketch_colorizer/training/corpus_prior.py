"""The colours that a corpus brings along: a training run takes its class prior and its bin colours from them."""

from pathlib import Path

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from torch import Tensor

from .corpus_release import HISTOGRAM_FILE, read_color_histogram


def stored_colors(corpus: str) -> tuple[Tensor, Tensor] | None:
    """Counts (32768,) and sums (32768, 3) of all training pixels, as `ColorQuantizer.fit` takes them.

    Of a corpus folder or a data set on the Hub; None where it holds no color_histogram.safetensors.
    """
    folder = Path(corpus)
    if not folder.is_dir():
        try:
            folder = Path(hf_hub_download(corpus, HISTOGRAM_FILE, repo_type="dataset")).parent
        except EntryNotFoundError:
            return None
    if not (folder / HISTOGRAM_FILE).is_file():
        return None
    counts, sums = (torch.from_numpy(values) for values in read_color_histogram(folder))
    return counts, sums
