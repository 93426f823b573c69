"""The card of a finished run, so that its folder can go to the Hub: what was trained, on how much, and how well."""

from typing import Any

from huggingface_hub import ModelCardData
from torch import nn

from ..model_card import TAGS
from ..publishing import CARD_REPO_ID
from .recipe import Recipe

_DOORS = {  # library -> the module and the class that load the folder
    "transformers": ("sketch_colorizer", "ColorizationPipeline"),
    "diffusers": ("sketch_colorizer.pipeline_flow_colorizer", "FlowColorizerPipeline"),
}
_TEXT = """\
---
{front_matter}
---

# {title}

A model that colours line drawings, trained with sketch-colorizer. All settings are in `recipe.yaml`.

```python
from {module} import {door}

colorize = {door}.from_pretrained("{repo}")
```

| training | |
|---|---|
{table}

![Loss over the steps](loss.png)

The held-out loss is that of pictures which the network was not trained on. For figures that say how good the colours
are, on whole pictures and beside the baselines, run `sketch-colorizer evaluate {repo} --data CORPUS` and add them
here. Name the licence above before you publish: it depends on the pictures that this was trained on.
"""


def run_card(recipe: Recipe, progress: Any, num_pictures: int, model: nn.Module) -> str:
    """README.md of the folder `final`; `progress` has the steps, seconds and best held-out loss of the run."""
    library = "diffusers" if recipe.model == "flow" else "transformers"
    card_data = ModelCardData(license="unknown", library_name=library, pipeline_tag="image-to-image", tags=TAGS)
    samples = progress.step * recipe.batch_size * recipe.gradient_accumulation_steps
    rows = {
        "model": f"{recipe.model}, preset {recipe.preset}",
        "parameters": f"{sum(parameter.numel() for parameter in model.parameters()) / 1e6:.2f} million",
        "starts from": "an earlier model" if recipe.init_from else "random weights",
        "pictures": f"{num_pictures:,}",
        "samples": f"{samples:,} of {recipe.image_size}x{recipe.image_size} ({progress.step:,} steps)",
        "precision": {"no": "fp32"}.get(recipe.mixed_precision, recipe.mixed_precision),
        "time": f"{progress.seconds / 60:,.0f} minutes",
        "held-out loss": f"{progress.best:.4f}" if progress.best < float("inf") else "no picture was held out",
    }
    module, door = _DOORS[library]
    return _TEXT.format(
        front_matter=card_data.to_yaml(),
        title=f"Line drawing colorization, {recipe.model}",
        table="\n".join(f"| {name} | {value} |" for name, value in rows.items()),
        module=module,
        door=door,
        repo=CARD_REPO_ID,
    )
