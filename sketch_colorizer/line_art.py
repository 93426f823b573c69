"""Line drawings from finished pictures: four extractors, and a roughening that makes their lines look drawn by hand."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

__all__ = ["EXTRACTORS", "dilation", "highpass", "random_line_art", "roughen", "threshold", "xdog"]

LUMA = (0.299, 0.587, 0.114)


# --------------------------------------------------------------------------------------------------------------------
# Extractors: (B, C, H, W) in 0..1 -> (B, 1, H, W), 1 = paper. Each channel is looked at on its own and the strongest
# line wins, so that two colours of equal lightness are still parted; pass a grey picture to look at lightness alone.


def dilation(image: Tensor, *, size: int = 5, floor: float = 0.12, normalize: bool = True) -> Tensor:
    """255 - |g - dilate(g)|, the pipeline of the poster; `normalize` lifts a soft picture's lines to full ink.

    `size` is the side of the dilation's square; `floor` is the share of the full ink that counts as noise.
    """
    edges = (_dilate(image, size // 2) - image).amax(1, keepdim=True)
    return 1 - (_normalize(edges, floor=floor) if normalize else edges)


def xdog(
    image: Tensor, *, sigma: float = 0.5, k: float = 4.5, gamma: float = 0.99, eps: float = -0.012, phi: float = 80.0
) -> Tensor:
    """Extended difference of Gaussians (Winnemoeller 2012): 1 where D >= eps, else 1 + tanh(phi (D - eps)).

    D = G_sigma - gamma G_{k sigma}. A large `phi` gives ink, a small one (5..20) gives pencil.
    """
    difference = (_blur(image, sigma) - gamma * _blur(image, k * sigma)).amin(1, keepdim=True)
    return 1 + torch.tanh(phi * (difference - eps).clamp(max=0))


def highpass(image: Tensor, *, sigma: float = 3.0, floor: float = 0.15) -> Tensor:
    """What is darker than its surroundings, G_sigma(g) - g, normalised (the input of sketchKeras)."""
    edges = (_blur(image, sigma) - image).amax(1, keepdim=True).clamp(min=0)
    return 1 - _normalize(edges, floor=floor)


def threshold(image: Tensor, *, block: int = 9, offset: float = 0.025, softness: float = 0.02) -> Tensor:
    """Adaptive mean threshold: ink where a pixel is darker than the mean of its block by more than `offset`."""
    darker = (_box(image, block // 2) - image).amax(1, keepdim=True)
    return 1 - ((darker - offset) / softness).clamp(0, 1)


EXTRACTORS: dict[str, Callable[..., Tensor]] = {
    "dilation": dilation,
    "xdog": xdog,
    "highpass": highpass,
    "threshold": threshold,
}


# --------------------------------------------------------------------------------------------------------------------
# Random line art


def random_line_art(image: Tensor, generator: Generator) -> Tensor:
    """Rough line art of each picture, drawn from all extractors and their parameters: (B, 3, H, W) -> (B, 1, H, W).

    The samples of a batch are drawn one after the other, so a batch equals its samples drawn singly.
    """
    return torch.cat([_roughen_one(_extract_randomly(sample[None], generator), generator) for sample in image])


def roughen(line_art: Tensor, generator: Generator) -> Tensor:
    """Line art as a hand, a pencil, paper and a scanner would have made it; now and then it is left as it is.

    Each sample of (B, 1, H, W) gets its own treatment: wobble, resolution, thickness, gaps, pressure, ink or pencil,
    blur and paper. The drawing stays readable whatever is drawn.
    """
    return torch.cat([_roughen_one(sample[None], generator) for sample in line_art])


def _extract_randomly(image: Tensor, generator: Generator) -> Tensor:
    """One extractor, or the union or the mean of two, with random parameters, on colour or on lightness alone."""
    source = image if _chance(generator, 0.6) else _grey(image)
    line_art = _draw_extractor(source, generator)
    if _chance(generator, 0.3):
        second = _draw_extractor(source, generator)
        union = _chance(generator, 0.5)
        line_art = torch.minimum(line_art, second) if union else torch.lerp(line_art, second, 0.5)
    if _chance(generator, 0.3):  # black hair and pupils, filled as inkers fill them
        black = _uniform(generator, 0.08, 0.2)
        line_art = torch.minimum(line_art, ((_grey(image) - black) / 0.08).clamp(0, 1))
    return line_art


def _draw_extractor(image: Tensor, generator: Generator) -> Tensor:
    kind, u, v = _integer(generator, 10), _uniform(generator), _uniform(generator)
    if kind < 3:
        return dilation(image, size=3 if u < 0.5 else 5, floor=0.06 + 0.14 * v)
    if kind < 5:
        return xdog(image, sigma=0.3 + 0.4 * u, k=3 + 1.5 * v, eps=-0.03 - 0.03 * u, phi=200.0)
    if kind < 7:  # soft phi: pencil
        return xdog(image, sigma=0.4 + 0.5 * u, k=3 + 1.5 * v, eps=-0.015, phi=8 + 12 * u)
    if kind < 9:
        return highpass(image, sigma=1.5 + 2.5 * u, floor=0.1 + 0.15 * v)
    return threshold(_blur(image, 0.3 + 0.6 * u), block=7 + 2 * int(3 * v), offset=0.03 + 0.03 * u)


# --------------------------------------------------------------------------------------------------------------------
# Roughening: ink = 1 - line art, so that zero is untouched paper


def _roughen_one(line_art: Tensor, generator: Generator) -> Tensor:
    if _chance(generator, 0.12):
        return line_art
    ink = 1 - line_art
    for chance, step in ROUGHENING:
        if _chance(generator, chance):
            ink = step(ink, generator)
    paper = _paper(ink, generator) if _chance(generator, 0.12) else 1.0
    return ((1 - ink) * paper).clamp(0, 1)


def _wobble(ink: Tensor, generator: Generator) -> Tensor:
    """Lines moved by about a pixel by a slow random field; in half of the cases drawn twice, as sketches are."""
    moved = _displace(ink, _uniform(generator, 0.3, 1.3), generator)
    if _chance(generator, 0.5):
        return moved
    return torch.maximum(ink, moved * _uniform(generator, 0.4, 1.0))


def _displace(ink: Tensor, pixels: float, generator: Generator) -> Tensor:
    height, width = ink.shape[-2:]
    cells = _uniform(generator, 10, 40)
    field = [_clouds(ink, cells, generator) * (2 * pixels / side) for side in (width, height)]
    identity = F.affine_grid(torch.eye(2, 3).to(ink)[None], list(ink.shape), align_corners=False)
    grid = identity + torch.cat(field, 1).movedim(1, -1)
    return F.grid_sample(ink, grid, padding_mode="border", align_corners=False)


def _lose_resolution(ink: Tensor, generator: Generator) -> Tensor:
    """Reduced and enlarged again, as a small scan or a thumbnail was; in half of the cases the lines stay pale."""
    height, width = ink.shape[-2:]
    scale = _uniform(generator, 0.5, 0.9)
    small = (max(1, round(height * scale)), max(1, round(width * scale)))
    reduced = F.interpolate(ink, size=small, mode="area")
    enlarged = F.interpolate(reduced, size=(height, width), mode="bilinear", align_corners=False)
    return enlarged if _chance(generator, 0.5) else _stretch(enlarged, ink)


def _thicken(ink: Tensor, generator: Generator) -> Tensor:
    """Broader pen; the fuller the drawing, the less, since a dense hatching would run into one black."""
    broad = _dilate(ink, 1 if _chance(generator, 0.8) else 2)
    return ink + (broad - ink) * (_uniform(generator, 0.3, 1.0) * (1.3 - 3 * ink.mean()).clamp(0, 1))


def _thin(ink: Tensor, generator: Generator) -> Tensor:
    """The rim of thick lines taken away; a line of one pixel has nothing but rim, so it is only weakened."""
    core = 1 - _dilate(1 - ink, 1)
    return torch.lerp(ink, torch.maximum(core, ink - 0.45), _uniform(generator, 0.3, 1.0))


def _gaps(ink: Tensor, generator: Generator) -> Tensor:
    """Blobs in which the pen left the paper; fewer than a tenth of the drawing."""
    clouds = _clouds(ink, _uniform(generator, 4, 16), generator)
    return ink * ((_uniform(generator, 1.4, 2.0) - clouds) / 0.15).clamp(0, 1)


def _pressure(ink: Tensor, generator: Generator) -> Tensor:
    """Ink that comes and goes along the lines."""
    depth = _uniform(generator, 0.1, 0.45)
    clouds = _clouds(ink, _uniform(generator, 12, 48), generator)
    return ink * (1 - depth * (0.5 + 0.5 * clouds).clamp(0, 1))


def _binarize(ink: Tensor, generator: Generator) -> Tensor:
    """Black or white, cut at a share of the strongest ink; a steep ramp instead of a step keeps some smooth rims."""
    cut = _uniform(generator, 0.2, 0.45)
    ramp = 0.01 if _chance(generator, 0.5) else _uniform(generator, 0.1, 0.4)
    return ((ink / ink.amax().clamp(min=0.2) - cut) / ramp).clamp(0, 1)


def _tone(ink: Tensor, generator: Generator) -> Tensor:
    """Bold or thin tone curve and, more often than not, fainter ink."""
    curve = ink.clamp(min=1e-4) ** math.exp(_uniform(generator, -0.6, 0.4))
    return (curve - 1e-2).clamp(min=0) * _uniform(generator, 0.45, 1.0)


def _pencil(ink: Tensor, generator: Generator) -> Tensor:
    """Graphite that only takes on the paper's grain."""
    return ink * (1 - _uniform(generator, 0.2, 0.7) * _noise(ink, generator))


def _smooth(ink: Tensor, generator: Generator) -> Tensor:
    return _stretch(_blur(ink, _uniform(generator, 0.3, 0.8)), ink)


ROUGHENING: tuple[tuple[float, Callable[[Tensor, Generator], Tensor]], ...] = (
    (0.25, _wobble),
    (0.15, _lose_resolution),
    (0.2, _thicken),
    (0.15, _thin),
    (0.3, _binarize),
    (0.25, _gaps),
    (0.25, _pressure),
    (0.35, _tone),
    (0.2, _pencil),
    (0.2, _smooth),
)


def _paper(ink: Tensor, generator: Generator) -> Tensor:
    """Brightness of uneven, slightly grainy paper, (1, 1, H, W), rarely darker than 0.75."""
    shade = _uniform(generator, 0.0, 0.1) * _clouds(ink, max(ink.shape[-2:]) / 2, generator).clamp(-1, 1).abs()
    grain = _uniform(generator, 0.0, 0.08) * _noise(ink, generator)
    return _uniform(generator, 0.93, 1.0) - shade - grain


# --------------------------------------------------------------------------------------------------------------------
# Pixels


def _grey(image: Tensor) -> Tensor:
    return sum(weight * image[:, i : i + 1] for i, weight in enumerate(LUMA))


def _normalize(edges: Tensor, *, floor: float, least: float = 0.06) -> Tensor:
    """Each picture's strong edges to full ink and its noise to none; nothing weaker than `least` counts as strong."""
    std, mean = torch.std_mean(edges, dim=(1, 2, 3), keepdim=True, correction=0)
    full = (mean + 2 * std).clamp(min=least, max=0.6)
    return ((edges / full - floor) / (1 - floor)).clamp(0, 1)


def _stretch(ink: Tensor, reference: Tensor) -> Tensor:
    """Gives thin lines the strength back that averaging took from them, up to twice."""
    return (ink * (reference.amax() / ink.amax().clamp(min=1e-3)).clamp(1, 2)).clamp(0, 1)


# Sums of shifted views: on one channel several times faster than conv2d and max_pool2d on a CPU.


def _padded(image: Tensor, dim: int, radius: int) -> Tensor:
    pad = (radius, radius, 0, 0) if dim == -1 else (0, 0, radius, radius)
    return F.pad(image, pad, mode="replicate")


def _dilate(image: Tensor, radius: int) -> Tensor:
    """Greatest value in the square of side 2 radius + 1."""
    for dim in (-1, -2):
        padded, length = _padded(image, dim, radius), image.shape[dim]
        for shift in range(2 * radius + 1):
            view = padded.narrow(dim, shift, length)
            image = view if shift == 0 else torch.maximum(image, view)
    return image


def _filter(image: Tensor, weights: list[float]) -> Tensor:
    """Symmetric separable filter; `weights` run from the centre outwards."""
    radius = len(weights) - 1
    for dim in (-1, -2):
        padded, length = _padded(image, dim, radius), image.shape[dim]
        image = padded.narrow(dim, radius, length) * weights[0]
        for i in range(1, radius + 1):
            pair = padded.narrow(dim, radius - i, length) + padded.narrow(dim, radius + i, length)
            image.add_(pair, alpha=weights[i])
    return image


def _blur(image: Tensor, sigma: float) -> Tensor:
    weights = [math.exp(-0.5 * (i / sigma) ** 2) for i in range(math.ceil(3 * sigma) + 1)]
    total = 2 * sum(weights) - weights[0]
    return _filter(image, [weight / total for weight in weights])


def _box(image: Tensor, radius: int) -> Tensor:
    return _filter(image, [1 / (2 * radius + 1)] * (radius + 1))


# --------------------------------------------------------------------------------------------------------------------
# Chance: drawn on the generator's device, so that a CPU generator gives the same drawing on every device


def _uniform(generator: Generator, low: float = 0.0, high: float = 1.0) -> float:
    return low + (high - low) * torch.rand((), generator=generator, device=generator.device).item()


def _chance(generator: Generator, probability: float) -> bool:
    return _uniform(generator) < probability


def _integer(generator: Generator, number: int) -> int:
    return int(torch.randint(number, (), generator=generator, device=generator.device).item())


def _noise(like: Tensor, generator: Generator) -> Tensor:
    """Independent uniform noise per pixel, (1, 1, H, W)."""
    return torch.rand((1, 1, *like.shape[-2:]), generator=generator, device=generator.device).to(like)


def _clouds(like: Tensor, cell: float, generator: Generator) -> Tensor:
    """Smooth noise of mean 0 and a spread near 1 whose blobs measure about `cell` pixels, (1, 1, H, W)."""
    height, width = like.shape[-2:]
    size = (1, 1, max(2, math.ceil(height / cell)), max(2, math.ceil(width / cell)))
    coarse = torch.randn(size, generator=generator, device=generator.device).to(like)
    return 1.4 * F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
