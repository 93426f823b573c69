"""Laws of the pipeline: any source, any size, equal results from equal inputs, saving and loading, refusals."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL, draw
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoImageProcessor, AutoModelForImageToImage

import sketch_colorizer
from sketch_colorizer import (
    ColorizationPipeline,
    ColorizationResult,
    SketchColorizerConfig,
    SketchColorizerForClassification,
    SketchColorizerForRegression,
    SketchColorizerImageProcessor,
    save_picture,
)


def pixels(result: ColorizationResult) -> np.ndarray:
    return np.asarray(result.image)


def test_public_names_exist():
    for name in sketch_colorizer.__all__:
        assert getattr(sketch_colorizer, name).__name__ == name
    assert set(sketch_colorizer.__all__) <= set(dir(sketch_colorizer))
    with pytest.raises(AttributeError, match="no attribute 'Colouriser'"):
        sketch_colorizer.Colouriser  # noqa: B018


@pytest.mark.parametrize("style", ["flat", "soft"])
@pytest.mark.parametrize("size", [(16, 16), (20, 400), (301, 15), (97, 61), (1, 1)])
def test_any_size_comes_out_as_it_went_in_with_its_black_pixels(pipeline, size, style):
    drawing = draw(*size)
    result = pipeline(drawing, style=style)
    assert result.image.size == result.colors.size == result.line_art.size == size
    assert (pixels(result)[np.asarray(drawing) == 0] == 0).all()


def test_paths_images_and_arrays_are_the_same_to_it(pipeline, drawing, tmp_path):
    save_picture(drawing, tmp_path / "a.png")
    expected = pixels(pipeline(drawing))
    for source in (tmp_path / "a.png", str(tmp_path / "a.png"), np.asarray(drawing), drawing.convert("RGBA")):
        assert (pixels(pipeline(source)) == expected).all()


def test_several_pictures_give_what_each_gives_alone(pipeline):
    drawings = [draw(64, 48), draw(33, 90)]
    alone = [pixels(pipeline(drawing)) for drawing in drawings]
    for together in (pipeline(drawings), pipeline(tuple(drawings)), pipeline(drawing for drawing in drawings)):
        assert isinstance(together, list)
        assert all((pixels(one) == other).all() for one, other in zip(together, alone, strict=True))
    assert pipeline([]) == []


def test_it_repeats_itself_and_leaves_its_input_alone(pipeline, drawing):
    before = drawing.copy()
    assert (pixels(pipeline(drawing, seed=1)) == pixels(pipeline(drawing, seed=2))).all()
    assert drawing == before


def test_settings_reach_the_processor(pipeline, drawing):
    plain = pixels(pipeline(drawing, style="soft"))
    assert (pixels(pipeline(drawing, style="soft", temperature=0)) != plain).any()
    assert (pixels(pipeline(drawing, style="soft", working_size=96)) != plain).any()
    assert (pixels(pipeline(drawing, style="flat")) != plain).any()
    with pytest.raises(ValueError, match="style must be"):
        pipeline(drawing, style="oil")


@pytest.mark.parametrize("kind", [SketchColorizerForClassification, SketchColorizerForRegression])
@pytest.mark.parametrize("output_stride", [1, 4])
def test_saved_and_loaded_it_paints_the_same(tmp_path, drawing, kind, output_stride):
    model = kind(SketchColorizerConfig(**SMALL, output_stride=output_stride))
    pipeline = ColorizationPipeline(model, SketchColorizerImageProcessor(working_size=48, temperature=0.9))
    pipeline.save_pretrained(tmp_path)
    loaded = ColorizationPipeline.from_pretrained(tmp_path, device="cpu")
    assert isinstance(model, type(loaded.model))
    assert loaded.processor.settings() == pipeline.processor.settings()
    for style in ("flat", "soft"):
        assert (pixels(loaded(drawing, style=style)) == pixels(pipeline(drawing, style=style))).all()


def test_half_precision_weights_compute_in_single(tmp_path, tiny_model):
    half = SketchColorizerForClassification(tiny_model.config)
    half.load_state_dict(tiny_model.state_dict())
    half.half().save_pretrained(tmp_path)
    SketchColorizerImageProcessor().save_pretrained(tmp_path)
    model = ColorizationPipeline.from_pretrained(tmp_path, device="cpu").model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not model.training
    assert model.unet.stem.weight.is_contiguous(memory_format=torch.channels_last)


def test_the_transformers_way_gives_the_same(model_folder, pipeline, drawing):
    processor = AutoImageProcessor.from_pretrained(model_folder)
    model = AutoModelForImageToImage.from_pretrained(model_folder, dtype=torch.float32)
    with torch.inference_mode():
        outputs = model(**processor(drawing))
    [result] = processor.post_process_colorization(outputs, drawing)
    assert (pixels(result) == pixels(pipeline(drawing))).all()


def test_a_colouring_does_not_load_transformers(model_folder, tmp_path):
    """Importing it takes longer than everything else of a first colouring."""
    save_picture(draw(), tmp_path / "a.png")
    run(
        "import sys\n"
        "from sketch_colorizer import ColorizationPipeline\n"
        f"colorize = ColorizationPipeline.from_pretrained({str(model_folder)!r})\n"
        f"results = colorize({str(tmp_path / 'a.png')!r}, hints=[(12, 20, 'red')], palette='red', num_proposals=2)\n"
        f"colorize.save_pretrained({str(tmp_path / 'copy')!r})\n"
        "assert not {'transformers', 'torch._dynamo', 'torch.distributed.tensor'} & set(sys.modules)"
    )


def test_what_is_saved_here_and_there_is_the_same(model_folder, tmp_path):
    """The pipeline's own files against those of transformers' `save_pretrained`."""
    ours, theirs = ColorizationPipeline.from_pretrained(model_folder, device="cpu"), tmp_path / "theirs"
    AutoModelForImageToImage.from_pretrained(model_folder).save_pretrained(theirs)
    AutoImageProcessor.from_pretrained(model_folder).save_pretrained(theirs)
    again = ColorizationPipeline.from_pretrained(theirs, device="cpu")
    assert again.model.config == ours.model.config
    assert again.processor.settings() == ours.processor.settings()
    assert type(again.model) is type(ours.model)
    assert again.model.state_dict().keys() == ours.model.state_dict().keys()
    assert all(torch.equal(again.model.state_dict()[key], each) for key, each in ours.model.state_dict().items())


def test_saving_may_replace_what_was_loaded_from_there(model_folder, tmp_path, drawing):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    loaded = ColorizationPipeline.from_pretrained(folder, device="cpu")
    before = pixels(loaded(drawing))
    for parameter in loaded.model.parameters():
        parameter.data += 0.1
    loaded.save_pretrained(folder)
    assert sorted(file.name for file in folder.iterdir()) == sorted(file.name for file in model_folder.iterdir())
    again = pixels(ColorizationPipeline.from_pretrained(folder, device="cpu")(drawing))
    assert (again == pixels(loaded(drawing))).all()
    assert (again != before).any()


def test_a_save_that_fails_midway_leaves_the_old_file(model_folder, tmp_path, monkeypatch):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    loaded = ColorizationPipeline.from_pretrained(folder, device="cpu")
    weights = (folder / "model.safetensors").read_bytes()
    for parameter in loaded.model.parameters():
        parameter.data += 0.1
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match=r"cannot write .*model\.safetensors: No space left on device"):
        loaded.save_pretrained(folder)
    assert (folder / "model.safetensors").read_bytes() == weights
    assert sorted(file.name for file in folder.iterdir()) == sorted(file.name for file in model_folder.iterdir())


def test_a_compiled_network_is_saved_as_the_network_that_it_is(model_folder, tmp_path):
    loaded = ColorizationPipeline.from_pretrained(model_folder, device="cpu")
    plain = loaded.model.state_dict()
    loaded.model = torch.compile(loaded.model, backend="eager")
    loaded.save_pretrained(tmp_path)
    again = ColorizationPipeline.from_pretrained(tmp_path, device="cpu").model.state_dict()
    assert again.keys() == plain.keys()
    assert all(torch.equal(again[key], plain[key]) for key in plain)


@pytest.mark.parametrize("dtype", [torch.float16, torch.int32, torch.float64])
def test_whatever_numbers_a_file_holds_the_network_has_its_own_kind(model_folder, tmp_path, dtype):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    expected = {key: tensor.dtype for key, tensor in tensors.items()}
    save_file({key: tensor.to(dtype) for key, tensor in tensors.items()}, folder / "model.safetensors")
    loaded = ColorizationPipeline.from_pretrained(folder, device="cpu").model.state_dict()
    assert {key: tensor.dtype for key, tensor in loaded.items()} == expected


LOAD = """
model = AutoModelForImageToImage.from_pretrained({folder!r}, {options})
processor = AutoImageProcessor.from_pretrained({folder!r}, {options})
print(type(model).__module__, type(processor).__module__)
"""


def run(program: str, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_importing_the_package_is_enough_for_the_auto_classes(model_folder):
    program = "import sketch_colorizer\nfrom transformers import AutoImageProcessor, AutoModelForImageToImage"
    output = run(program + LOAD.format(folder=str(model_folder), options=""))
    assert output.split() == [
        "sketch_colorizer.modeling_sketch_colorizer",
        "sketch_colorizer.image_processing_sketch_colorizer",
    ]


def test_a_model_with_its_code_runs_without_the_package(tmp_path, pipeline, drawing, monkeypatch):
    monkeypatch.setattr(SketchColorizerConfig, "_auto_class", "AutoConfig")
    monkeypatch.setattr(SketchColorizerForClassification, "_auto_class", "AutoModelForImageToImage")
    monkeypatch.setattr(SketchColorizerImageProcessor, "_auto_class", "AutoImageProcessor")
    folder = tmp_path / "model"
    copy = SketchColorizerForClassification(SketchColorizerConfig(**SMALL))
    copy.load_state_dict(pipeline.model.state_dict())
    ColorizationPipeline(copy, SketchColorizerImageProcessor(working_size=48)).save_pretrained(folder)
    save_picture(drawing, tmp_path / "drawing.png")
    program = (
        "import sys; sys.modules['sketch_colorizer'] = None\n"
        "from PIL import Image\n"
        "from transformers import AutoImageProcessor, AutoModelForImageToImage"
        + LOAD.format(folder=str(folder), options="trust_remote_code=True")
        + f"drawing = Image.open({str(tmp_path / 'drawing.png')!r})\n"
        "[result] = processor.post_process_colorization(model(**processor(drawing)), drawing)\n"
        f"result.image.save({str(tmp_path / 'out.png')!r})\n"
    )
    output = run(program, HF_HOME=str(tmp_path / "home"), HF_MODULES_CACHE=str(tmp_path / "home" / "modules"))
    assert all(module.startswith("transformers_modules.") for module in output.split())
    assert (np.asarray(Image.open(tmp_path / "out.png")) == pixels(pipeline(drawing))).all()


def edit_config(**changes):
    def edit(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))

    return edit


def edit_processor(**changes):
    def edit(folder):
        path = folder / "preprocessor_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


def spoil_weights(folder, name: str):
    tensors = load_file(folder / "model.safetensors")
    tensors[name][0] = torch.nan
    save_file(tensors, folder / "model.safetensors")


def replace_weights(folder, data: bytes | None, name: str = "model.safetensors"):
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(weights[: len(weights) // 2] if data is None else data)


def pickle_weights(folder, name: str):
    (folder / "model.safetensors").unlink()
    torch.save({"weight": torch.zeros(3)}, folder / name)


DAMAGE = {
    "half the weights": (lambda folder: replace_weights(folder, None), "model.safetensors is damaged"),
    "no bytes": (lambda folder: replace_weights(folder, b""), "model.safetensors is damaged"),
    "a web page": (lambda folder: replace_weights(folder, b"<html>" * 99), "model.safetensors is damaged"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), r"there is no model\.safetensors"),
    "a pickle": (
        lambda folder: pickle_weights(folder, "pytorch_model.bin"),
        r"no model\.safetensors; a pickle .* is not loaded",
    ),
    "a hidden pickle": (lambda folder: pickle_weights(folder, "model.safetensors"), "model.safetensors is damaged"),
    "no config": (lambda folder: (folder / "config.json").unlink(), r"no config\.json"),
    "a broken config": (lambda folder: (folder / "config.json").write_text("{"), r"config\.json"),
    "a list as config": (lambda folder: (folder / "config.json").write_text("[1]"), r"config\.json"),
    "a foreign type": (edit_config(model_type="bert"), "model_type is 'bert', not 'sketch_colorizer'"),
    "a foreign head": (edit_config(architectures=["BertModel"]), "architecture must be one of .*got 'BertModel'"),
    "an impossible size": (edit_config(widths=[8, 12, 2**40]), "config.json and model.safetensors make no network"),
    "fewer channels than none": (edit_config(hint_channels=-3), "hint_channels must be >= 0, got -3"),
    "an endless number": (edit_config(label_sigma=10**400), "config.json and model.safetensors make no network"),
    "a word for a number": (edit_processor(size_divisor="x"), r"size_divisor must be 1\.\.4096, got 'x'"),
    "nothing for a number": (edit_processor(white_chroma=None), r"white_chroma must be 0\.\.1000, got None"),
    "weights that are no numbers": (
        lambda folder: spoil_weights(folder, "head.bias"),
        r"model\.safetensors holds NaN or infinity \(head\.bias\)",
    ),
    "a deep config": (lambda folder: (folder / "config.json").write_text("[" * 100_000), "config.json"),
    "an unknown key": (edit_config(colour_space="lch"), "unknown configuration key colour_space"),
    "a wrong choice": (edit_config(block="round"), "block must be one of"),
    "a wrong type": (edit_config(stem_stride="four"), "stem_stride"),
    "other sizes": (edit_config(widths=[8, 12, 32]), "tensors of other sizes than config.json"),
    "missing tensors": (edit_config(encoder_depths=[2, 1, 1]), "lacks .* tensors .*does not fit config.json"),
    "foreign tensors": (edit_config(attention_head_channels=None), "has unknown .* tensors"),
    "no processor": (lambda folder: (folder / "preprocessor_config.json").unlink(), r"preprocessor_config\.json"),
    "a wrong processor": (
        lambda folder: (folder / "preprocessor_config.json").write_text('{"working_sise": 1}'),
        "unknown key working_sise",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_or_foreign_model_is_refused_in_one_line(model_folder, tmp_path, capfd, damage):
    harm, reason = DAMAGE[damage]
    folder = shutil.copytree(model_folder, tmp_path / "model")
    harm(folder)
    with pytest.raises((ValueError, OSError), match=reason) as caught:
        ColorizationPipeline.from_pretrained(folder, device="cpu")
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    assert capfd.readouterr() == ("", ""), "one line means no report beside it"


def test_what_is_no_model_is_said(tmp_path):
    with pytest.raises(OSError, match="no such folder, and a model on the Hub is named user/name"):
        ColorizationPipeline.from_pretrained(tmp_path / "missing")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="this is a file; name the folder"):
        ColorizationPipeline.from_pretrained(tmp_path / "file")
    with pytest.raises(OSError, match="model 'nobody/nothing': no folder here, and not to be had from") as caught:
        ColorizationPipeline.from_pretrained("nobody/nothing", local_files_only=True)
    assert "\n" not in str(caught.value)


def test_without_a_connection_a_mistyped_folder_is_said_at_once(tmp_path):
    """Once, without retries and their reports; the address is of this machine, where nobody answers."""
    save_picture(draw(), tmp_path / "a.png")
    done = subprocess.run(
        [sys.executable, "-m", "sketch_colorizer", "colorize", str(tmp_path / "a.png"), "--model", "runs/stage1"],
        env={**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,  # trying again and again takes longer
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: model 'runs/stage1': no folder here, and not to be had from the Hub: ")
    assert done.stderr.count("\n") == 1


def test_a_device_that_is_not_there_is_said(model_folder):
    for device in ("abacus", "cuda:99"):
        with pytest.raises(ValueError, match=f"the device '{device}' is not available here"):
            ColorizationPipeline.from_pretrained(model_folder, device=device)


def test_a_processor_that_does_not_fit_the_network_is_refused(tiny_model):
    with pytest.raises(ValueError, match="multiple of the network's stride 16, got 8"):
        ColorizationPipeline(tiny_model, SketchColorizerImageProcessor(size_divisor=8))


@pytest.mark.parametrize("style", ["flat", "soft"])
@pytest.mark.parametrize("paper", ["white", "tinted", "grainy"])
def test_an_empty_page_stays_white_and_this_is_said(embedded_pipeline, style, paper):
    grain = np.random.default_rng(0).normal(235, 4, (90, 120)).clip(0, 255).astype(np.uint8)
    page = {"white": Image.new("L", (120, 90), 255), "tinted": Image.new("RGB", (120, 90), "#f0e6d2"), "grainy": grain}
    with pytest.warns(UserWarning, match="there is no line on it"):
        assert (pixels(embedded_pipeline(page[paper], style=style)) == 255).all()
    with pytest.warns(UserWarning, match="there is no line on it"):
        hinted = pixels(embedded_pipeline(page[paper], style=style, hints=[(60, 45, "#c81e28")]))
    assert tuple(hinted[45, 60]) == (200, 30, 40)


def test_what_is_no_picture_or_no_seed_is_said(pipeline, drawing):
    for nonsense in (None, 5, b"drawing.png"):
        with pytest.raises(ValueError, match="a picture must be a path, a PIL image or a uint8 array, or several"):
            pipeline(nonsense)
    for seed in (None, 1.5, 2**63):
        with pytest.raises(ValueError, match="seed must be a whole number of 63 bits"):
            pipeline(drawing, seed=seed)
    with pytest.raises(ValueError, match=r"guidance must be 0\.\.20, got 'a'"):
        pipeline(drawing, guidance="a")


def test_the_embedded_model_leaves_the_paper_white(embedded_pipeline):
    result = embedded_pipeline(draw(400, 300))
    assert result.image.size == (400, 300)
    assert len(np.unique(np.asarray(result.colors).reshape(-1, 3), axis=0)) > 1


@pytest.mark.parametrize("engine", ["classes", "flow"])
def test_pipelines_can_be_loaded_in_several_threads_at_once(engine):
    if engine == "flow":
        pytest.importorskip("diffusers", reason="the flow-matching model comes with the extra 'flow'")
    drawing = draw(96, 64)
    expected = np.asarray(ColorizationPipeline.from_pretrained()(drawing, engine="classes").image)
    engines = ["classes", engine] * 4
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: ColorizationPipeline.from_pretrained()(drawing, engine=one).image, engines))
    assert all(
        np.array_equal(np.asarray(image), expected)
        for image, one in zip(found, engines, strict=True)
        if one == "classes"
    )


@pytest.mark.parametrize(
    "program",
    [
        "ColorizationPipeline.from_pretrained()(drawing, engine='flow')",
        "import importlib.util; assert importlib.util.find_spec('transformers')",
        "import sketch_colorizer.publishing",
        "import sketch_colorizer.training.systems",
        "ColorizationPipeline.from_pretrained()(drawing)",
    ],
)
def test_whatever_was_done_before_the_auto_classes_know_the_model(program):
    pytest.importorskip("diffusers", reason="the flow-matching model comes with the extra 'flow'")
    run(
        "import numpy as np\nfrom sketch_colorizer import ColorizationPipeline\n"
        "from sketch_colorizer.model_files import EMBEDDED_WEIGHTS\n"
        f"drawing = np.full((40, 40), 255, np.uint8)\n{program}\n"
        "from transformers import AutoModelForImageToImage\n"
        "AutoModelForImageToImage.from_pretrained(EMBEDDED_WEIGHTS)"
    )
