"""The flow-matching model as the trainer knows models: `model(**batch).loss`, `.colors` to look at, a folder."""

import hashlib
from dataclasses import dataclass
from os import PathLike
from typing import Any, Self

import torch
from torch import Generator, Tensor, nn

from ..modeling_flow_colorizer import FlowColorizerModel, flow_matching_loss
from ..pipeline_flow_colorizer import FlowColorizerPipeline


@dataclass
class FlowTrainingOutput:
    """The loss, and one proposal for each drawing as `colors`, drawn only when somebody looks."""

    loss: Tensor
    _model: FlowColorizerModel
    _batch: dict[str, Tensor]

    @property
    def colors(self) -> Tensor:
        """(B, 3, H/4, W/4) Lab."""
        flow = FlowColorizerPipeline.around(self._model)
        pairs = zip(self._batch["pixel_values"].split(1), self._batch["hint_values"].split(1), strict=True)
        return torch.cat([flow(*pair, generator=Generator().manual_seed(0)).colors for pair in pairs])


class FlowTraining(nn.Module):
    """A FlowColorizerModel whose time, noise and dropout follow from each sample's own content.

    A sample is a function of (run seed, epoch, index), so its noise is too: a resumed run is bit-identical, neither
    the batch nor the number of processes matters, and held-out losses of different steps can be compared.
    """

    def __init__(self, model: FlowColorizerModel) -> None:
        super().__init__()
        self.unet = model

    @classmethod
    def from_preset(cls, preset: str, **config: Any) -> Self:
        return cls(FlowColorizerModel.from_preset(preset, **config))

    @classmethod
    def from_pretrained(cls, folder: str | PathLike, *, dtype: torch.dtype) -> Self:
        """The network of a pipeline folder, as `save_pretrained` writes it."""
        return cls(FlowColorizerModel.from_pretrained(folder, subfolder="unet", dtype=dtype))

    def save_pretrained(self, folder: str | PathLike) -> None:
        """A folder that FlowColorizerPipeline loads."""
        FlowColorizerPipeline.around(self.unet).save_pretrained(folder)

    def gradient_checkpointing_enable(self) -> None:
        self.unet.enable_gradient_checkpointing()

    def forward(self, pixel_values: Tensor, hint_values: Tensor, labels: Tensor) -> FlowTrainingOutput:
        generators = [seeded_by(*sample) for sample in zip(pixel_values, hint_values, labels, strict=True)]
        loss = flow_matching_loss(self.unet, pixel_values, hint_values, labels, generators=generators)
        return FlowTrainingOutput(loss, self.unet, {"pixel_values": pixel_values, "hint_values": hint_values})


def seeded_by(*tensors: Tensor) -> Generator:
    """A generator that depends on every bit of the tensors."""
    digest = hashlib.blake2b(digest_size=8)
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return Generator().manual_seed(int.from_bytes(digest.digest(), "little") >> 1)
