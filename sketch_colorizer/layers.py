"""A finished picture as layers for a painting program: OpenRaster (Krita, GIMP, MyPaint) and Photoshop's PSD."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
import torch
from PIL import Image

from .color import rgb_to_lab
from .color_notation import pack_colors, unpack_colors
from .colorization_result import ColorizationResult
from .picture_files import RESULT_SUFFIXES, check_writable_suffix, encode_picture, read_dpi, save_picture, write_whole

MAX_COLOR_LAYERS = 32
_SHADE_DISTANCE = 2.0  # Lab distance up to which many colours share a layer; more where it must be
_MAX_FLAT_COLORS = 4096  # a picture of more colours is no flat one, and its colours stay together,
_MIN_FLAT_AREA = 16  # as they do in one where a colour has fewer pixels than this on average
_WHITE = 0xFFFFFF
_STRIP = 256  # rows that are worked on at a time, so that temporary arrays stay small
_MAX_PSD_SIDE = 30_000
_THUMBNAIL = (256, 256)


class Layer(NamedTuple):
    """A part of the picture, as large as what it shows, and where its upper left corner lies."""

    name: str
    image: Image.Image  # RGBA
    left: int = 0
    top: int = 0


class Layers(NamedTuple):
    """From the lowest up: white paper, the colours, and the lines, black where the drawing is. Together the picture."""

    paper: Layer
    colors: list[Layer]
    lines: Layer


def make_layers(result: ColorizationResult) -> Layers:
    """One layer for each colour of a flat picture, the largest lowest, named like "#c08a5e"; else one for all colours.

    Where there are more than MAX_COLOR_LAYERS, shades of a colour share its layer. White is left out: paper shows.
    """
    keys = _color_keys(np.asarray(result.colors))
    ink = np.asarray(result.line_art)
    lines = np.zeros((*ink.shape, 4), np.uint8)
    np.subtract(255, ink, out=lines[..., 3])
    return Layers(
        Layer("paper", Image.new("RGBA", result.image.size, "white")),
        list(_color_layers(keys)),
        Layer("lines", Image.fromarray(lines)),
    )


def save_result(result: ColorizationResult, path: str | Path) -> None:
    """Write a result whole or not at all: its layers as .ora or .psd, the picture alone with any other suffix.

    Raises ValueError for a suffix that is none of these, and OSError where the file cannot be written.
    """
    if not isinstance(result, ColorizationResult):
        raise ValueError(f"a result of ColorizationPipeline is needed, one of a list, got {type(result).__name__}")
    path = Path(path)
    check_writable_suffix(path, RESULT_SUFFIXES)
    suffix = path.suffix.lower()
    if suffix == ".ora":
        write_whole(path, _open_raster(make_layers(result), result.image))
    elif suffix == ".psd":
        write_whole(path, _photoshop(make_layers(result), result.image))
    else:
        save_picture(result.image, path)


# --------------------------------------------------------------------------------------------------------------------
# Colours to layers


def _color_keys(colors: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) -> int32 (H, W), one number for each colour."""
    keys = np.empty(colors.shape[:2], np.int32)
    for top in range(0, len(colors), _STRIP):
        keys[top : top + _STRIP] = pack_colors(colors[top : top + _STRIP])
    return keys


def _color_layers(keys: np.ndarray) -> Iterator[Layer]:
    found = [np.unique(keys[top : top + _STRIP], return_counts=True) for top in range(0, len(keys), _STRIP)]
    colors, place = np.unique(np.concatenate([colors for colors, _ in found]), return_inverse=True)
    areas = np.bincount(place, np.concatenate([counts for _, counts in found]))
    painted = np.flatnonzero(colors != _WHITE)
    order = painted[np.argsort(-areas[painted], kind="stable")]
    colors, areas = colors[order], areas[order]
    if len(colors) == 0:
        return
    if len(colors) > min(_MAX_FLAT_COLORS, areas.sum() / _MIN_FLAT_AREA):
        yield _cut_out("colours", keys, keys != _WHITE)
        return
    leaders = _group_shades(colors)
    leader_of = np.full(_WHITE + 1, -1, np.int16)
    leader_of[colors] = leaders
    groups = leader_of[keys]
    together = np.bincount(leaders, areas)
    for leader in sorted(set(leaders), key=lambda leader: -together[leader]):
        yield _cut_out(f"#{colors[leader]:06x}", keys, groups == leader)


def _group_shades(colors: np.ndarray) -> np.ndarray:
    """For each colour (N,), the largest first, the place of the one whose layer it shares: (N,)."""
    lab = rgb_to_lab(torch.from_numpy(unpack_colors(colors)).float() / 255, dim=-1)
    distance = 0.0 if len(colors) <= MAX_COLOR_LAYERS else _SHADE_DISTANCE
    while True:
        leaders: list[int] = []
        for number in range(len(colors)):
            if not leaders or (lab[leaders] - lab[number]).norm(dim=-1).min() > distance:
                leaders.append(number)
        if len(leaders) <= MAX_COLOR_LAYERS:
            break
        distance *= 1.2
    return np.array(leaders, np.int16)[torch.cdist(lab, lab[leaders]).argmin(1).numpy()]


def _cut_out(name: str, keys: np.ndarray, mask: np.ndarray) -> Layer:
    """The pixels under the mask, in their colours, on transparency, cropped."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    keys, mask = keys[box], mask[box]
    pixels = np.zeros((*keys.shape, 4), np.uint8)
    pixels[mask, :3] = unpack_colors(keys[mask])
    pixels[mask, 3] = 255
    return Layer(name, Image.fromarray(pixels), int(columns[0]), int(rows[0]))


# --------------------------------------------------------------------------------------------------------------------
# Layers to files


def _open_raster(layers: Layers, image: Image.Image) -> bytes:
    """OpenRaster 0.0.5: a zip of PNGs, and an XML file that stacks them, the topmost first."""
    buffer = io.BytesIO()
    root = ElementTree.Element("image", version="0.0.5", w=str(image.width), h=str(image.height))
    if dpi := read_dpi(image):
        root.attrib |= {"xres": str(dpi[0]), "yres": str(dpi[1])}
    stack = ElementTree.SubElement(root, "stack")
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("mimetype", "image/openraster")

        def add(parent: ElementTree.Element, layer: Layer) -> None:
            source = f"data/layer{len(archive.namelist()) - 1:03}.png"
            archive.writestr(source, encode_picture(layer.image, ".png"))
            shown = {"opacity": "1.0", "visibility": "visible", "composite-op": "svg:src-over"}
            place = {"x": str(layer.left), "y": str(layer.top)}
            ElementTree.SubElement(parent, "layer", name=layer.name, src=source, **place, **shown)

        add(stack, layers.lines)
        group = ElementTree.SubElement(stack, "stack", name="colours")
        for layer in reversed(layers.colors):
            add(group, layer)
        add(stack, layers.paper)
        thumbnail = image.copy()
        thumbnail.thumbnail(_THUMBNAIL)
        archive.writestr("stack.xml", ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True))
        archive.writestr("mergedimage.png", encode_picture(image, ".png"))
        archive.writestr("Thumbnails/thumbnail.png", encode_picture(thumbnail, ".png"))
    return buffer.getvalue()


def _photoshop(layers: Layers, image: Image.Image) -> bytes:
    from psd_tools import PSDImage

    class Document(PSDImage):
        """One whose preview is the finished picture, and need not be put together anew from the layers."""

        def is_updated(self) -> bool:
            return False

    if max(image.size) > _MAX_PSD_SIDE:
        raise ValueError(
            f"the .psd format cannot hold {image.width}x{image.height} pixels, {_MAX_PSD_SIDE} a side at most; "
            "write an .ora instead"
        )
    document = Document.frompil(image)
    if dpi := read_dpi(image):
        _set_dpi(document, dpi)
    _append(layers.paper, document)
    group = document.create_group(name="colours")
    for layer in layers.colors:
        _append(layer, group)
    _append(layers.lines, document)
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def _set_dpi(document: Any, dpi: tuple[int, int]) -> None:
    from psd_tools.constants import Resource
    from psd_tools.psd.image_resources import ImageResource, ResoulutionInfo

    per_inch, inches = 1, 1
    across, down = (value << 16 for value in dpi)  # 16.16 fixed point
    info = ResoulutionInfo(across, per_inch, inches, down, per_inch, inches)
    document.image_resources[Resource.RESOLUTION_INFO] = ImageResource(key=Resource.RESOLUTION_INFO, data=info)


def _append(layer: Layer, group: Any) -> None:
    """Put a layer on top of a document or group, channel by channel: psd-tools' own way takes twice the memory."""
    from psd_tools.api.layers import PixelLayer
    from psd_tools.constants import ChannelID, Compression
    from psd_tools.psd.layer_and_mask import ChannelData, ChannelDataList, ChannelInfo, LayerRecord

    width, height = layer.image.size
    record = LayerRecord(top=layer.top, left=layer.left, bottom=layer.top + height, right=layer.left + width)
    record.name = layer.name
    record.channel_info, channels = [], ChannelDataList()
    ids = (ChannelID.TRANSPARENCY_MASK, ChannelID.CHANNEL_0, ChannelID.CHANNEL_1, ChannelID.CHANNEL_2)
    for channel_id, band in zip(ids, "ARGB", strict=True):
        data = ChannelData(Compression.RLE)
        data.set_data(layer.image.getchannel(band).tobytes(), width, height, 8, version=1)
        record.channel_info.append(ChannelInfo(channel_id, len(data.data) + 2))
        channels.append(data)
    group.append(PixelLayer(group, record, channels))
