"""Laws of the flow-matching model and its pipeline, and that it learns a distribution where others learn its mean."""

import subprocess
import sys

import pytest
import torch
from torch import Generator, Tensor

pytest.importorskip("diffusers", reason="the flow-matching model comes with the extra 'flow'")

from sketch_colorizer import modeling_flow_colorizer
from sketch_colorizer.hints import encode_hints
from sketch_colorizer.model_files import EMBEDDED_WEIGHTS
from sketch_colorizer.modeling_flow_colorizer import (
    FlowColorizerModel,
    carry_colors,
    flow_matching_loss,
    pool_hints,
)
from sketch_colorizer.pipeline_flow_colorizer import FlowColorizerPipeline
from sketch_colorizer.regions import segment_regions

NUM_STEPS = 260
WHITE = torch.tensor([100.0, 0.0, 0.0])
RED, BLUE = torch.tensor([50.0, 60.0, 40.0]), torch.tensor([40.0, 20.0, -60.0])
SMALL = {
    "widths": (16, 24),
    "encoder_depths": (1, 1),
    "decoder_depths": (1,),
    "time_channels": 16,
    "attention_head_channels": 8,
}


def seeded(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def square_ink(top: int, left: int, side: int) -> Tensor:
    """The outline of a square on 32 x 32 pixels, two pixels wide."""
    ink = torch.zeros(1, 1, 32, 32)
    ink[:, :, top : top + side, left : left + side] = 1
    ink[:, :, top + 2 : top + side - 2, left + 2 : left + side - 2] = 0
    return ink


def dot(color: Tensor, row: int, column: int) -> Tensor:
    """A hint of 3 x 3 pixels."""
    mask = torch.zeros(1, 1, 32, 32)
    mask[:, :, row - 1 : row + 2, column - 1 : column + 2] = 1
    return encode_hints(color.view(1, 3, 1, 1).expand(1, 3, 32, 32), mask)


def toy_sample(generator: Generator, color: Tensor = RED) -> tuple[Tensor, Tensor, Tensor]:
    """A square at one of four places, of a given colour, with a hint in every other picture."""
    top, left = (4 + 4 * torch.randint(2, (2,), generator=generator)).tolist()
    side = int(torch.randint(16, 21, (), generator=generator))
    labels = WHITE.view(1, 3, 1, 1).repeat(1, 1, 32, 32)
    labels[:, :, top : top + side, left : left + side] = color.view(3, 1, 1)
    hint = dot(color, top + side // 2, left + side // 2)
    hint = hint if int(torch.randint(2, (), generator=generator)) == 0 else torch.zeros_like(hint)
    return square_ink(top, left, side), hint, labels


@pytest.fixture(scope="module")
def painter() -> FlowColorizerPipeline:
    """A small model that has learnt the toy's distribution; treat it as read-only."""
    torch.manual_seed(0)
    model = FlowColorizerModel(**{**SMALL, "widths": (24, 32)})
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-3, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=NUM_STEPS, pct_start=0.15)
    generator = seeded(0)
    pairs = [(toy_sample(seeded(n), RED), toy_sample(seeded(n), BLUE)) for n in range(40)]  # each drawing in both
    samples, regions = [sample for pair in pairs for sample in pair], {}

    def remembered(line_art):  # the same few drawings again and again
        key = line_art.tobytes()
        regions[key] = regions[key] if key in regions else segment_regions(line_art)
        return regions[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modeling_flow_colorizer, "segment_regions", remembered)
        for _ in range(NUM_STEPS):
            chosen = [samples[row] for row in torch.randperm(len(samples), generator=generator)[:12]]
            ink, hints, labels = (torch.cat(part) for part in zip(*chosen, strict=True))
            loss = flow_matching_loss(model, ink, hints, labels, generators=[generator] * 12)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return FlowColorizerPipeline.around(model.eval())


@pytest.fixture(scope="module")
def pipeline() -> FlowColorizerPipeline:
    """An untrained pipeline that says something at every pixel; treat it as read-only."""
    torch.manual_seed(0)
    model = FlowColorizerModel(**SMALL)
    torch.nn.init.normal_(model.head.weight, std=0.3)
    return FlowColorizerPipeline.around(model.eval())


def test_it_learns_both_colours_and_not_their_mean(painter):
    colors = painter(square_ink(4, 4, 20), num_proposals=24, generator=seeded(1)).colors
    inside = colors[:, :, 2:5, 2:5].flatten(2)
    to_red, to_blue = ((inside.mean(2) - color).norm(dim=1) for color in (RED, BLUE))
    assert int((torch.minimum(to_red, to_blue) < 20).sum()) >= 20, "proposals are neither red nor blue"
    assert 6 <= int((to_red < 20).sum()) <= 18, "one of the two colours is hardly ever drawn"
    assert inside.std(2).median() < 5, "proposals are not of one colour"
    assert torch.equal(colors[:, :, 0], WHITE.view(1, 3, 1).expand(24, 3, 8)), "paper is not white"


def test_a_hint_decides_the_colour(painter):
    for color, hint in ((RED, dot(RED, 14, 14)), (BLUE, dot(BLUE, 14, 14))):
        colors = painter(square_ink(4, 4, 20), hint, num_proposals=8, generator=seeded(1)).colors
        assert int(((colors[:, :, 2:5, 2:5].mean((2, 3)) - color).norm(dim=1) < 20).sum()) >= 7


def test_seeds_reproduce_and_the_first_of_many_are_those_of_few(pipeline):
    drawing = square_ink(4, 4, 20)
    many = pipeline(drawing, num_proposals=9, generator=seeded(3)).colors
    assert torch.equal(many, pipeline(drawing, num_proposals=9, generator=seeded(3)).colors)
    few = pipeline(drawing, num_proposals=2, generator=seeded(3)).colors
    assert torch.allclose(few, many[:2], atol=1e-3)
    assert (many[0] - many[1]).abs().max() > 5
    assert not torch.equal(few, pipeline(drawing, num_proposals=2, generator=seeded(4)).colors)
    pair = pipeline(drawing, num_proposals=2, generator=[seeded(5), seeded(5)]).colors
    assert torch.equal(pair[0], pair[1])


def test_guidance_of_one_is_the_plain_way_of_the_scheduler(pipeline):
    drawing, model = square_ink(4, 4, 20), pipeline.unet
    seed = int(torch.randint(2**62, (), generator=seeded(0)))
    sample = model.draw_noise(drawing, [seeded(seed)])
    with torch.no_grad():
        for step in range(4):
            time = 1 - step / 4
            sample = sample - 0.25 * model(sample, 1000 * time, drawing).sample
    settings = {"num_inference_steps": 4, "paper_tolerance": 0.0}
    ours = pipeline(drawing, guidance_scale=1.0, generator=seeded(0), **settings).colors
    inside = (model.decode(sample)[:, 0] < 100) & (model.decode(sample)[:, 1:].abs().amax(1) < 110)
    assert torch.allclose(ours.movedim(1, -1)[inside], model.decode(sample).movedim(1, -1)[inside], atol=1e-2)
    assert (ours - pipeline(drawing, guidance_scale=3.0, generator=seeded(0), **settings).colors).abs().max() > 0.5


def test_one_step_gives_the_colours_that_the_model_names(pipeline):
    drawing, model = square_ink(4, 4, 20), pipeline.unet
    sample = model.draw_noise(drawing, [seeded(0)])
    with torch.no_grad():
        colors = model.predict_colors(sample, torch.ones(1), drawing, None)
        assert torch.allclose(sample - model(sample, 1000.0, drawing).sample, colors, atol=1e-5)


def test_hints_of_zero_are_no_hints(pipeline):
    drawing = square_ink(4, 4, 20)
    with_none, with_zero = (
        pipeline(drawing, hints, generator=seeded(0)).colors for hints in (None, torch.zeros(1, 4, 32, 32))
    )
    assert torch.equal(with_none, with_zero)


def test_a_hinted_cell_has_its_hint_s_colour_whatever_the_model_says(pipeline):
    colors = pipeline(square_ink(4, 4, 20), dot(BLUE, 14, 14), num_proposals=3, generator=seeded(0)).colors
    wanted, hinted = pool_hints(dot(BLUE, 14, 14), 4)
    assert int(hinted.sum()) == 1
    assert torch.allclose(wanted[0, :, 3, 3], BLUE, atol=1e-3)
    assert torch.allclose(colors[:, :, 3, 3], BLUE.expand(3, 3), atol=0.01)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 40), (72, 24)])
def test_any_multiple_of_the_stride_will_do(pipeline, height, width):
    colors = pipeline(torch.zeros(1, 1, height, width), num_proposals=2, num_inference_steps=1).colors
    assert colors.shape == (2, 3, height // 4, width // 4)
    assert colors[:, 0].min() >= 0
    assert colors[:, 0].max() <= 100


def test_it_saves_and_loads_like_any_diffusers_pipeline(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "flow")
    files = {path.relative_to(tmp_path / "flow").as_posix() for path in (tmp_path / "flow").rglob("*.*")}
    assert {"model_index.json", "unet/diffusion_pytorch_model.safetensors", "unet/config.json"} <= files
    drawing, wanted = square_ink(4, 4, 20), pipeline(square_ink(4, 4, 20), generator=seeded(0)).colors
    for load, place in (
        (FlowColorizerPipeline.from_pretrained, tmp_path / "flow"),
        (FlowColorizerPipeline.beside, tmp_path / "flow"),
        (FlowColorizerPipeline.beside, tmp_path),
    ):
        assert torch.allclose(load(place)(drawing, generator=seeded(0)).colors, wanted, atol=1e-3)
    pipeline.unet.save_pretrained(tmp_path / "alone")
    assert FlowColorizerModel.from_pretrained(tmp_path / "alone").config.widths == [16, 24]


def test_the_embedded_size_is_small():
    assert sum(parameter.numel() for parameter in FlowColorizerModel.from_preset("tiny").parameters()) <= 2_400_000


def test_noise_is_unit_normal_and_partly_common_to_a_region():
    drawing = square_ink(2, 2, 28).expand(100, -1, -1, -1)
    for share in (0.0, 0.7):
        noise = FlowColorizerModel(**SMALL, region_noise=share).draw_noise(drawing, [seeded(n) for n in range(100)])
        assert noise.shape == (100, 3, 8, 8)
        assert noise.std(0).mean() == pytest.approx(1, abs=0.08)
        inside = noise[:, :, 2:6, 2:6].flatten(2)
        assert inside.var(2).mean() == pytest.approx(1 - share, abs=0.08)
        apart = (inside.mean(2) * noise[:, :, 0, 0]).mean()
        assert abs(float(apart)) < 0.2, "inside and outside share their noise"


def test_the_loss_of_a_batch_is_the_mean_of_its_samples(pipeline):
    samples = [toy_sample(seeded(n)) for n in range(4)]
    ink, hints, labels = (torch.cat(part) for part in zip(*samples, strict=True))
    with torch.no_grad():
        whole = flow_matching_loss(pipeline.unet, ink, hints, labels, generators=[seeded(n) for n in range(4)])
        alone = [flow_matching_loss(pipeline.unet, *one, generators=[seeded(n)]) for n, one in enumerate(samples)]
    assert whole == pytest.approx(float(torch.stack(alone).mean()), rel=1e-4)


def test_unknown_colours_leave_a_finite_loss(pipeline):
    ink, hints, labels = toy_sample(seeded(0))
    for hidden in (labels.index_fill(3, torch.arange(16), torch.nan), torch.full_like(labels, torch.nan)):
        assert flow_matching_loss(pipeline.unet, ink, hints, hidden, generators=[seeded(0)]).isfinite()


def test_unknown_cells_take_the_colour_beside_them():
    colors = torch.zeros(1, 3, 1, 30)
    colors[:, :, 0, :2] = RED.view(3, 1)
    known = torch.zeros(1, 1, 30)
    known[..., :2] = 1
    filled = carry_colors(colors, known)
    assert torch.allclose(filled[0, :, 0, :10], RED[:, None].expand(3, 10), atol=1e-4)
    assert torch.equal(filled[0, :, 0, 10:], WHITE[:, None].expand(3, 20))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_proposals": 0}, r"num_proposals must be 1..100, got 0"),
        ({"num_proposals": 1000}, r"num_proposals must be 1..100, got 1000"),
        ({"num_inference_steps": 0}, "at least 1, got 0"),
        ({"guidance_scale": -1.0}, r"guidance_scale must be 0..20, got -1"),
        ({"guidance_scale": float("nan")}, "guidance_scale must be"),
        ({"generator": [seeded(0)] * 3}, "as many generators or one, got 3"),
        ({"pixel_values": torch.zeros(2, 1, 32, 32)}, r"one drawing, \(1, 1, H, W\), got \(2, 1, 32, 32\)"),
        ({"pixel_values": torch.zeros(1, 1, 30, 32)}, "multiples of 8, got 30x32"),
        ({"pixel_values": torch.full((1, 1, 32, 32), torch.nan)}, "must be finite"),
        ({"hint_values": torch.zeros(1, 4, 16, 16)}, r"hint_values must be shaped \(1, 4, 32, 32\)"),
    ],
)
def test_wrong_input_is_one_clear_error(pipeline, settings, message):
    with pytest.raises(ValueError, match=message):
        pipeline(**{"pixel_values": torch.zeros(1, 1, 32, 32), **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "huge"}, "preset must be one of tiny, base, got 'huge'"),
        ({"wdths": [8]}, "unknown configuration key wdths; known keys: attention"),
        ({"widths": [8, 8]}, "2 widths need 2 encoder_depths"),
        ({"region_noise": 2.0}, r"region_noise must be 0..1, got 2"),
    ],
)
def test_wrong_settings_are_one_clear_error(settings, message):
    with pytest.raises(ValueError, match=message):
        FlowColorizerModel.from_preset(**{"preset": "tiny", **settings})


def test_a_model_without_a_flow_pipeline_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="comes without a flow pipeline"):
        FlowColorizerPipeline.beside(tmp_path)


def test_diffusers_is_imported_by_those_who_want_it_only():
    program = (
        "import sys, sketch_colorizer; from sketch_colorizer import ColorizationPipeline\n"
        "assert 'diffusers' not in sys.modules\n"
        "sys.modules['diffusers'] = None\n"
        "try:\n    from sketch_colorizer import FlowColorizerPipeline\n"
        "except ImportError as error:\n    assert 'sketch-colorizer[flow]' in str(error), error\n"
        "else:\n    raise SystemExit('imported')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_the_embedded_pipeline_is_small_and_tells_no_path_of_a_machine():
    files = [file for file in (EMBEDDED_WEIGHTS / "flow").rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 5_000_000
    assert all("_name_or_path" not in file.read_text() for file in files if file.suffix == ".json")
