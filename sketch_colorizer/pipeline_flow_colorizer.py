"""Several different colourings of one drawing: a diffusers pipeline around the flow-matching model."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from huggingface_hub import snapshot_download
from torch import Generator, Tensor

from .modeling_flow_colorizer import NO_DRAWING, NUM_TIMESTEPS, FlowColorizerModel, pool_hints

try:
    from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler
    from diffusers.utils import BaseOutput, logging
except ImportError as error:
    raise ImportError(
        "the flow-matching model needs diffusers: pip install 'sketch-colorizer[flow]'", name=error.name
    ) from error

EMBEDDED_FLOW = Path(__file__).parent / "weights" / "flow"
MODEL_INDEX = "model_index.json"
_HUB_FILES = [MODEL_INDEX, "unet/*.json", "unet/*.safetensors", "scheduler/*.json"]
_OF_THE_CACHE = ("cache_dir", "force_download", "local_files_only", "revision", "token")
MAX_PROPOSALS = 100
_TOGETHER = 8  # proposals in one batch
_GUIDED_ABOVE = 0.4  # guidance decides colours, early on; later it would only push white paper beyond white


class FlowColorizerPipelineOutput(BaseOutput):
    """`colors` (N, 3, H/4, W/4): Lab, one colouring after the other."""

    colors: Tensor


class FlowColorizerPipeline(DiffusionPipeline):
    """Draws colourings of a drawing, each consistent in itself and different from the others.

    Saves and loads like any diffusers pipeline: `model_index.json`, `unet/`, `scheduler/`. On the Hub these lie at the
    top of the model's own repository, beside the classifier's `config.json` and `model.safetensors`, with which they
    share no name (diffusers loads no pipeline from a subfolder), so "user/name" serves ColorizationPipeline and this.

    >>> flow = FlowColorizerPipeline.from_pretrained("user/sketch-colorizer")
    >>> flow(pixel_values, num_proposals=4, generator=torch.Generator().manual_seed(0)).colors
    """

    model_cpu_offload_seq = "unet"

    def __init__(self, unet: FlowColorizerModel, scheduler: FlowMatchEulerDiscreteScheduler) -> None:
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)

    @classmethod
    def around(cls, unet: FlowColorizerModel) -> Self:
        """A pipeline of the model and the scheduler that it is made for."""
        return cls(unet, FlowMatchEulerDiscreteScheduler(num_train_timesteps=NUM_TIMESTEPS))

    @classmethod
    def beside(cls, model: str | os.PathLike | None = None, **hub: Any) -> Self:
        """The flow pipeline that belongs to a model: None is the embedded one, else a model folder or "user/name".

        In a local folder it may also lie in the subfolder `flow`. `hub` are `revision`, `token`, `local_files_only`.
        Raises ValueError or OSError where there is none.
        """
        place = EMBEDDED_FLOW if model is None else Path(model)
        if (place / "flow" / MODEL_INDEX).is_file():
            place = place / "flow"
        if model is None or place.is_dir():
            _check_index(place, str(place))
            model, hub = place, {}
        with _without_progress():
            return cls.from_pretrained(str(model), dtype=torch.float32, use_safetensors=True, **hub)

    @classmethod
    def download(cls, pretrained_model_name: str | os.PathLike, **settings: Any) -> str:
        """Get the pipeline's files from the Hub, for `from_pretrained`; the folder that holds them.

        diffusers' own way refuses a component whose class is in another installed package. Settings other than those
        of the Hub's cache are ignored. Raises OSError where the repository has no pipeline.
        """
        hub = {key: settings[key] for key in _OF_THE_CACHE if settings.get(key) is not None}
        folder = Path(snapshot_download(str(pretrained_model_name), allow_patterns=_HUB_FILES, **hub))
        _check_index(folder, str(pretrained_model_name))
        return str(folder)

    @torch.no_grad()
    def __call__(
        self,
        pixel_values: Tensor,
        hint_values: Tensor | None = None,
        *,
        num_proposals: int = 1,
        num_inference_steps: int = 8,
        guidance_scale: float = 1.0,
        generator: Generator | Sequence[Generator] | None = None,
        paper_tolerance: float = 4.0,
        return_dict: bool = True,
    ) -> FlowColorizerPipelineOutput | tuple[Tensor]:
        """Colour one drawing `num_proposals` times.

        Args:
            pixel_values: (1, 1, H, W) ink in 0..1; H and W are multiples of `unet.stride`.
            hint_values: (1, 4, H, W) as of `encode_hints`; the cells that hold a hint get its colour.
            num_proposals: 1..100. The first ones of many are those of few, given the same generator.
            num_inference_steps: of Euler's method; each is one pass of the network, or two with guidance.
            guidance_scale: 1 follows the drawing as learnt; more exaggerates what sets it apart from other drawings.
            generator: one for all proposals, or one for each. None draws from torch's global one.
            paper_tolerance: Lab distance up to which a colour is taken for white paper.
        """
        generators = _proposal_generators(generator, num_proposals)
        _check_call(pixel_values, hint_values, num_inference_steps, guidance_scale, paper_tolerance)
        ink = pixel_values.to(self.device, self.unet.dtype)
        hints = None if hint_values is None else hint_values.to(ink)
        noise = torch.cat([self.unet.draw_noise(ink, [one]) for one in generators])
        parts = [
            self._flow(part, ink, hints, num_inference_steps, guidance_scale) for part in noise.float().split(_TOGETHER)
        ]
        colors = _whiten(self.unet.decode(torch.cat(parts)), paper_tolerance)
        return FlowColorizerPipelineOutput(colors=colors) if return_dict else (colors,)

    def _flow(self, sample: Tensor, ink: Tensor, hints: Tensor | None, num_steps: int, guidance_scale: float) -> Tensor:
        """From noise to colours, (N, 3, H/4, W/4) both."""
        ink = ink.expand(len(sample), -1, -1, -1)
        hints = None if hints is None else hints.expand(len(sample), -1, -1, -1)
        self.scheduler.set_timesteps(sigmas=[1 - step / num_steps for step in range(num_steps)], device=sample.device)
        for timestep, sigma in zip(self.scheduler.timesteps, self.scheduler.sigmas, strict=False):
            velocity = self.unet(sample, timestep, ink, hints).sample
            if guidance_scale != 1 and sigma > _GUIDED_ABOVE:
                blind = self.unet(sample, timestep, torch.full_like(ink, NO_DRAWING)).sample
                velocity = blind + guidance_scale * (velocity - blind)
            if hints is not None:
                wanted, hinted = pool_hints(hints, self.unet.output_stride)
                velocity = torch.where(hinted, (sample - self.unet.encode(wanted)) / sigma, velocity)
            sample = self.scheduler.step(velocity, timestep, sample, return_dict=False)[0]
        return sample


@contextmanager
def _without_progress() -> Iterator[None]:
    """No bar over the loading of two small parts."""
    shows_progress = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shows_progress:
            logging.enable_progress_bar()


def _check_index(folder: Path, name: str) -> None:
    if not (folder / MODEL_INDEX).is_file():
        raise FileNotFoundError(f"{name} holds no {MODEL_INDEX}: this model comes without a flow pipeline")


def _proposal_generators(generator: Generator | Sequence[Generator] | None, num_proposals: int) -> list[Generator]:
    """One generator for each proposal, seeded one after the other from a common one."""
    if not 1 <= num_proposals <= MAX_PROPOSALS:
        raise ValueError(f"num_proposals must be 1..{MAX_PROPOSALS}, got {num_proposals}")
    sources = list(generator) if isinstance(generator, Sequence) else [generator] * num_proposals
    if len(sources) != num_proposals:
        raise ValueError(f"{num_proposals} proposals need as many generators or one, got {len(sources)}")
    return [Generator().manual_seed(_draw_seed(source)) for source in sources]


def _draw_seed(source: Generator | None) -> int:
    return int(torch.randint(2**62, (), generator=source, device=source.device if source else "cpu"))


def _check_call(
    pixel_values: Tensor, hint_values: Tensor | None, num_steps: int, guidance_scale: float, paper_tolerance: float
) -> None:
    if pixel_values.ndim != 4 or pixel_values.shape[:2] != (1, 1):
        raise ValueError(f"pixel_values must be the ink of one drawing, (1, 1, H, W), got {tuple(pixel_values.shape)}")
    for name, values in (("pixel_values", pixel_values), ("hint_values", hint_values)):
        if values is not None and not values.isfinite().all():
            raise ValueError(f"{name} must be finite numbers, got NaN or infinity")
    if num_steps < 1:
        raise ValueError(f"num_inference_steps must be at least 1, got {num_steps}")
    if not 0 <= guidance_scale <= 20:
        raise ValueError(f"guidance_scale must be 0..20, got {guidance_scale}")
    if not paper_tolerance >= 0:
        raise ValueError(f"paper_tolerance must be >= 0, got {paper_tolerance}")


def _whiten(lab: Tensor, tolerance: float) -> Tensor:
    """Within the range of Lab, and paper as exact white."""
    lab = torch.cat((lab[:, :1].clamp(0, 100), lab[:, 1:].clamp(-110, 110)), dim=1)
    white = lab.new_tensor([100.0, 0.0, 0.0]).view(3, 1, 1)
    return torch.where((lab - white).norm(dim=1, keepdim=True) < tolerance, white, lab)
