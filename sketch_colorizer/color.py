"""Colour spaces as tensor functions: sRGB, linear RGB, CIE Lab and LCH (D65, 2 degree observer), and CIEDE2000.

Every function takes the colour axis as `dim` (default -3, for images shaped (..., 3, H, W)), works on any device and
float dtype, and has finite gradients everywhere, also at black and at grey. Units: RGB in 0..1, L in 0..100, hue in
radians.
"""

import math

import torch
from torch import Tensor

# IEC 61966-2-1, sRGB primaries under D65; the rows give X, Y, Z.
RGB_TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
WHITE_D65 = (0.95047, 1.0, 1.08883)
_DELTA = 6 / 29  # CIE 15: below DELTA^3 the cube root of Lab continues as a straight line
_TINY = 1e-12  # keeps the derivative of a square root finite at 0


def _mix(channels: Tensor, matrix: Tensor, dim: int) -> Tensor:
    """Apply a 3x3 matrix along the colour axis."""
    return torch.tensordot(channels.movedim(dim, -1), matrix.to(channels), dims=([-1], [1])).movedim(-1, dim)


def _along(values: tuple[float, float, float], like: Tensor, dim: int) -> Tensor:
    """Three constants shaped so that they broadcast along the colour axis of `like`."""
    shape = [1] * like.ndim
    shape[dim] = 3
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(shape)


def srgb_to_linear(rgb: Tensor) -> Tensor:
    """Undo the sRGB transfer curve (IEC 61966-2-1): 0..1 -> 0..1, any shape."""
    curve = ((rgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(rgb > 0.04045, curve, rgb / 12.92)


def linear_to_srgb(linear: Tensor) -> Tensor:
    """Apply the sRGB transfer curve (IEC 61966-2-1): 0..1 -> 0..1, any shape."""
    curve = 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear > 0.0031308, curve, linear * 12.92)


def rgb_to_lab(rgb: Tensor, dim: int = -3) -> Tensor:
    """sRGB 0..1 -> CIE Lab (CIE 15:2004), colour axis `dim`."""
    xyz = _mix(srgb_to_linear(rgb), torch.tensor(RGB_TO_XYZ, dtype=torch.float64), dim)
    ratio = xyz / _along(WHITE_D65, xyz, dim)
    root = torch.where(ratio > _DELTA**3, ratio.clamp(min=_DELTA**3) ** (1 / 3), ratio / (3 * _DELTA**2) + 4 / 29)
    fx, fy, fz = root.unbind(dim)
    return torch.stack((116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)), dim=dim)


def lab_to_rgb(lab: Tensor, dim: int = -3) -> Tensor:
    """CIE Lab -> sRGB, clipped to 0..1 (a colour outside the gamut loses what sRGB cannot show), colour axis `dim`."""
    lightness, a, b = lab.unbind(dim)
    fy = (lightness + 16) / 116
    root = torch.stack((fy + a / 500, fy, fy - b / 200), dim=dim)
    ratio = torch.where(root > _DELTA, root**3, 3 * _DELTA**2 * (root - 4 / 29))
    xyz = ratio * _along(WHITE_D65, lab, dim)
    linear = _mix(xyz, torch.linalg.inv(torch.tensor(RGB_TO_XYZ, dtype=torch.float64)), dim)
    return linear_to_srgb(linear.clamp(0, 1)).clamp(0, 1)


def lab_to_lch(lab: Tensor, dim: int = -3) -> Tensor:
    """Lab -> lightness, chroma, hue in radians 0..2*pi; the hue of a grey is 0, colour axis `dim`."""
    lightness, a, b = lab.unbind(dim)
    chroma = (a**2 + b**2 + _TINY).sqrt() - _TINY**0.5
    return torch.stack((lightness, chroma, _hue(a, b) % (2 * math.pi)), dim=dim)


def lch_to_lab(lch: Tensor, dim: int = -3) -> Tensor:
    """Lightness, chroma, hue in radians -> Lab, colour axis `dim`."""
    lightness, chroma, hue = lch.unbind(dim)
    return torch.stack((lightness, chroma * hue.cos(), chroma * hue.sin()), dim=dim)


def _hue(a: Tensor, b: Tensor) -> Tensor:
    """atan2(b, a) with hue 0, and gradient 0, for greys."""
    grey = (a.abs() < 1e-7) & (b.abs() < 1e-7)
    return torch.where(grey, torch.zeros_like(a), torch.atan2(b, torch.where(grey, torch.ones_like(a), a)))


def ciede2000(lab1: Tensor, lab2: Tensor, dim: int = -3) -> Tensor:
    """Colour difference CIEDE2000 (Sharma et al. 2005); the axis `dim` goes. Symmetric, 0 for equal colours."""
    l1, a1, b1 = lab1.unbind(dim)
    l2, a2, b2 = lab2.unbind(dim)
    c_mean = ((a1**2 + b1**2 + _TINY).sqrt() + (a2**2 + b2**2 + _TINY).sqrt()) / 2
    g = 0.5 * (1 - _ratio_to_25(c_mean))
    a1, a2 = a1 * (1 + g), a2 * (1 + g)
    c1, c2 = (a1**2 + b1**2 + _TINY).sqrt(), (a2**2 + b2**2 + _TINY).sqrt()
    h1, h2 = _hue(a1, b1) % (2 * math.pi), _hue(a2, b2) % (2 * math.pi)

    both_coloured = c1 * c2 > 1e-9
    dh = torch.where(both_coloured, (h2 - h1 + math.pi) % (2 * math.pi) - math.pi, torch.zeros_like(h1))
    delta_l, delta_c = l2 - l1, c2 - c1
    delta_h = 2 * (c1 * c2).sqrt() * torch.sin(dh / 2)

    l_mean, c_mean = (l1 + l2) / 2, (c1 + c2) / 2
    h_mean = torch.where(both_coloured, (h1 + h2) / 2, h1 + h2)
    h_mean = torch.where(both_coloured & ((h1 - h2).abs() > math.pi), h_mean + math.pi, h_mean)
    s_l, s_c, s_h, r_t = _weights(l_mean, c_mean, h_mean)
    x, y, z = delta_l / s_l, delta_c / s_c, delta_h / s_h
    square = x**2 + y**2 + z**2 + r_t * y * z
    return (square.clamp(min=0) + _TINY).sqrt() - _TINY**0.5


def _ratio_to_25(chroma: Tensor) -> Tensor:
    """sqrt(C^7 / (C^7 + 25^7)), written so that large chroma does not overflow."""
    seventh = (chroma / 25) ** 7
    return (seventh / (seventh + 1) + _TINY).sqrt()


def _weights(l_mean: Tensor, c_mean: Tensor, h_mean: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """S_L, S_C, S_H and R_T of CIEDE2000 (Sharma et al. 2005, eqs. 15 to 21)."""
    t = (
        1
        - 0.17 * torch.cos(h_mean - math.radians(30))
        + 0.24 * torch.cos(2 * h_mean)
        + 0.32 * torch.cos(3 * h_mean + math.radians(6))
        - 0.20 * torch.cos(4 * h_mean - math.radians(63))
    )
    degrees = torch.rad2deg(h_mean) % 360
    rotation = math.radians(60) * torch.exp(-(((degrees - 275) / 25) ** 2))
    r_t = -2 * _ratio_to_25(c_mean) * torch.sin(rotation)
    offset = (l_mean - 50) ** 2
    s_l = 1 + 0.015 * offset / (20 + offset).sqrt()
    return s_l, 1 + 0.045 * c_mean, 1 + 0.015 * c_mean * t, r_t
