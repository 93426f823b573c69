"""LPIPS and FID, for those who have the weights: TorchScript files, as NVIDIA publishes them with StyleGAN2-ADA.

    https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/vgg16.pt                    LPIPS
    https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt     FID

Nothing is downloaded here, and torchvision is not needed.
"""

from pathlib import Path

import numpy as np
import scipy.linalg
import torch


class PerceptualNetworks:
    """The two pretrained networks, each None unless a file was given; `skipped` says which figures are missing."""

    def __init__(
        self, *, lpips: str | Path | None = None, inception: str | Path | None = None, device: str | None = None
    ) -> None:
        self.device = torch.device("cpu" if device in (None, "auto") else device)
        self.lpips = _load(lpips, self.device)
        self.inception = _load(inception, self.device)

    @property
    def skipped(self) -> dict[str, str]:
        missing = {}
        if self.lpips is None:
            missing["lpips"] = "needs pretrained weights: give lpips_weights=vgg16.pt"
        if self.inception is None:
            missing["fid"] = "needs pretrained weights: give fid_weights=inception-2015-12-05.pt"
        return missing

    @torch.inference_mode()
    def scores(self, image: np.ndarray, true_picture: np.ndarray) -> dict[str, float | np.ndarray]:
        """LPIPS of (H, W, 3) uint8 against the truth, and both pictures' features for FID, with what is loaded."""
        pair = torch.tensor(np.stack([image, true_picture])).movedim(-1, 1).to(self.device)
        row = {}
        if self.lpips is not None:
            first, second = self.lpips(pair.float(), resize_images=False, return_lpips=True)
            row["picture_whole.lpips"] = float((first - second).square().sum())
        if self.inception is not None:
            features = self.inception(pair, return_features=True).float().cpu().numpy()
            row["picture_whole.features"], row["picture_whole.features_true"] = features
        return row


def _load(path: str | Path | None, device: torch.device) -> torch.jit.ScriptModule | None:
    if path is None:
        return None
    if not Path(path).is_file():
        raise ValueError(f"{path} does not exist; it should be a TorchScript file (see the docstring of this module)")
    try:
        return torch.jit.load(str(path), map_location=device).eval()
    except RuntimeError as error:
        raise ValueError(f"{path} is not a TorchScript file: {str(error).splitlines()[0]}") from None


def frechet_distance(features: np.ndarray, true_features: np.ndarray) -> float:
    """Frechet distance of two sets of features (N, D) taken as Gaussians (Heusel et al. 2017, eq. 6)."""
    means, covariances = zip(*((f.mean(0), np.cov(f, rowvar=False)) for f in (features, true_features)), strict=True)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    trace = np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * np.trace(np.real(root))
    return float(((means[0] - means[1]) ** 2).sum() + trace)
