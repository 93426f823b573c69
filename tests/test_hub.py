"""The way over the Hub and back: the real clients, over HTTP, each in a process of its own, against a Hub of our own.

Nothing is mocked. What one process may do in one go is bundled, because importing torch takes seconds.
"""

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from card_figures import invented_evaluation, invented_training
from conftest import SMALL, draw
from local_hub import TOKEN, LocalHub
from PIL import Image

from sketch_colorizer import (
    ColorizationPipeline,
    SketchColorizerConfig,
    SketchColorizerForClassification,
    SketchColorizerForRegression,
    SketchColorizerImageProcessor,
)
from sketch_colorizer.model_card import render_model_card
from sketch_colorizer.publishing import code_files, dataset_publication, model_publication, space_publication

datasets = pytest.importorskip("datasets", reason="data sets come with the extra 'train'")
ROOT = Path(__file__).parents[1]
HF = [sys.executable, "-m", "huggingface_hub.cli.hf"]
CODE = {
    "coarse_grid.py",
    "color.py",
    "color_notation.py",
    "colorization_result.py",
    "compositing.py",
    "configuration_sketch_colorizer.py",
    "drawing.py",
    "drawing_processor.py",
    "hint_evidence.py",
    "hint_spreading.py",
    "hints.py",
    "image_processing_sketch_colorizer.py",
    "losses.py",
    "modeling_sketch_colorizer.py",
    "network_config.py",
    "networks.py",
    "painting.py",
    "palette.py",
    "picture_files.py",
    "quantizer.py",
    "regions.py",
    "shared_colors.py",
    "uncertainty.py",
    "unet.py",
    "user_hints.py",
}

# What a process is told first: to report errors as text, and numbers that two processes can compare.
PREAMBLE = """
import hashlib, importlib, json, re, sys
from pathlib import Path

def complaint(work, *arguments, **settings):
    try:
        work(*arguments, **settings)
    except (OSError, ValueError) as error:
        return str(error)
    return "no error"

def fingerprint(model):
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: hashlib.sha256(t.detach().contiguous().numpy().tobytes()).hexdigest() for name, t in tensors.items()}

def snippet(card, number):
    return re.findall("```python\\n(.*?)```", Path(card).read_text(), re.DOTALL)[number]
"""
# The package is there, but cannot be imported.
WITHOUT_PACKAGE = """
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "sketch_colorizer":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
try:
    import sketch_colorizer
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("the package could be imported")
"""


def run(program: str, *, environment: dict[str, str], folder: Path, before: str = "") -> dict[str, Any]:
    """Run a program in a process of its own; what it has put into `report`, and all that it printed as `printed`."""
    program = PREAMBLE + before + "report = {}\n" + textwrap.dedent(program) + "\nprint('REPORT' + json.dumps(report))"
    environment = environment | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr[-4000:]
    printed, _, report = done.stdout.rpartition("REPORT")
    return json.loads(report) | {"printed": printed + done.stderr}


@pytest.fixture(scope="module")
def hub():
    with LocalHub() as hub:
        yield hub


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    """A regression and a classification model in half precision with their cards, and a folder of another kind."""
    folder = tmp_path_factory.mktemp("models")
    classes = {"regression": SketchColorizerForRegression, "classification": SketchColorizerForClassification}
    template = (ROOT / "hub_cards" / "model_card.md").read_text()
    for seed, (kind, model_class) in enumerate(classes.items()):
        torch.manual_seed(seed)
        model = model_class(SketchColorizerConfig(**SMALL))
        model.head.weight.data.normal_()  # decided colours
        model.half().save_pretrained(folder / kind)
        SketchColorizerImageProcessor(working_size=48).save_pretrained(folder / kind)
        card = render_model_card(template, invented_evaluation(kind=kind), invented_training())
        card.save(folder / kind / "README.md")
    foreign = folder / "foreign"
    foreign.mkdir()
    (foreign / "config.json").write_text('{"model_type": "bert", "architectures": ["BertModel"]}')
    for name in ("model.safetensors", "preprocessor_config.json", "README.md"):
        (foreign / name).write_bytes((folder / "regression" / name).read_bytes())
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    """A small data set of five drawings, as Parquet shards with a card."""
    folder = tmp_path_factory.mktemp("pairs")
    pictures = [Image.new("RGB", (24, 16 + number), (40 * number, 90, 120)) for number in range(5)]
    features = datasets.Features({"image": datasets.Image(), "path": datasets.Value("string")})
    rows = {"image": pictures, "path": [f"{number}.png" for number in range(5)]}
    table = datasets.Dataset.from_dict(rows, features=features)
    for split, chosen in {"train": range(4), "validation": range(4, 5)}.items():
        table.select(chosen).to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    (folder / "README.md").write_text(
        "---\nlicense: cc-by-4.0\nconfigs:\n- config_name: default\n  data_files:\n"
        + "".join(f"  - split: {split}\n    path: data/{split}-*.parquet\n" for split in ("train", "validation"))
        + "---\n# Pairs\n"
    )
    return folder


@pytest.fixture(scope="module")
def space(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("space")
    (folder / "README.md").write_text("---\ntitle: Demo\nsdk: gradio\napp_file: app.py\n---\n")
    (folder / "app.py").write_text("print('hello')\n")
    (folder / "requirements.txt").write_text("gradio\n")
    (folder / ".env").write_text("SECRET=1\n")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "app.pyc").write_bytes(b"\0")
    return folder


# --------------------------------------------------------------------------------------------------------------------
# What goes where


def test_a_model_repository_holds_all_that_both_ways_of_loading_need(models):
    files = model_publication("user/colors", models["classification"]).files
    assert set(files) == {"README.md", "config.json", "preprocessor_config.json", "model.safetensors"} | CODE
    assert files["model.safetensors"] == models["classification"] / "model.safetensors"
    auto_map = json.loads(files["config.json"])["auto_map"]
    assert auto_map["AutoModelForImageToImage"] == "modeling_sketch_colorizer.SketchColorizerForClassification"
    assert b"user/sketch-colorizer" not in files["README.md"]
    assert b'"user/colors"' in files["README.md"]


def test_save_pretrained_copies_the_same_code(tmp_path):
    """transformers' own way to ship code, which follows `from .sibling import name`, finds the same modules."""
    classes = {
        SketchColorizerConfig: "AutoConfig",
        SketchColorizerForRegression: "AutoModelForImageToImage",
        SketchColorizerImageProcessor: "AutoImageProcessor",
    }
    try:
        for ours, auto in classes.items():
            ours.register_for_auto_class(auto)
        SketchColorizerForRegression(SketchColorizerConfig(**SMALL)).save_pretrained(tmp_path)
        SketchColorizerImageProcessor().save_pretrained(tmp_path)
    finally:
        for ours in classes:
            ours._auto_class = None
    assert {file.name for file in tmp_path.glob("*.py")} == {file.name for file in code_files()} == CODE


def test_a_space_leaves_hidden_files_and_caches_at_home(space):
    assert set(space_publication("user/demo", space).files) == {"README.md", "app.py", "requirements.txt"}


def _written(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("publication", "files", "message"),
    [
        (space_publication, {"app__py": ""}, "README.md"),
        (space_publication, {"README__md": "---\nsdk: gradio\n---\n"}, "names the program app.py"),
        (space_publication, {"README__md": "---\nsdk: flask\n---\n"}, "sdk must be one of"),
        (dataset_publication, {"README__md": "# no front matter\n"}, "lacks license and configs"),
        (dataset_publication, {"README__md": "---\nlicense: [\n---\n"}, "front matter is not as it should be"),
        (
            dataset_publication,
            {"README__md": "---\nlicense: mit\nconfigs:\n- data_files: data/*.parquet\n---\n"},
            r"names the data data/\*.parquet",
        ),
        (model_publication, {"model__safetensors": ""}, "config.json"),
    ],
)
def test_a_folder_that_cannot_be_published_says_why(tmp_path, publication, files, message):
    with pytest.raises((ValueError, OSError), match=message) as caught:
        publication("user/name", _written(tmp_path, **files))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("repo_id", ["no-owner", "a/b/c", "user/-x", "user/a b"])
def test_a_name_that_the_hub_does_not_take_is_refused(space, repo_id):
    with pytest.raises(ValueError, match=r"user/name|Repo id") as caught:
        space_publication(repo_id, space)
    assert "\n" not in str(caught.value)


def test_a_model_without_a_card_is_not_published(models, tmp_path):
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((models["regression"] / name).read_bytes())
    with pytest.raises(ValueError, match="no model card"):
        model_publication("user/name", tmp_path)
    assert model_publication("user/name", tmp_path, card=models["regression"] / "README.md").files["README.md"]


# --------------------------------------------------------------------------------------------------------------------
# Publishing

PUBLISHER = """
import os
from typer.testing import CliRunner
import sketch_colorizer.publishing  # the client's log goes where stderr is when it is imported
from sketch_colorizer.publish_cli import app

def publish(*arguments, token):
    os.environ.pop("HF_TOKEN", None)
    os.environ |= {"HF_TOKEN": token} if token else {}
    done = CliRunner().invoke(app, arguments)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output

folders, good = json.loads(os.environ["FOLDERS"]), os.environ["HF_TOKEN"]
model, first, pairs, space = (folders[name] for name in ("classification", "regression", "pairs", "space"))
report["dry run"] = publish("model", "user/never", model, "--dry-run", token=None)
report["no token"] = publish("model", "user/never", model, token=None)
report["wrong token"] = publish("model", "user/never", model, token="hf_wrong_token")
report["odd token"] = publish("model", "user/never", model, token="hf_odd\\x01token")
report["not allowed"] = publish("dataset", "somebody/pairs", pairs, token=good)
report["foreign"] = publish("model", "user/never", folders["foreign"], token=good)
report["first"] = publish("model", "user/colors", first, "--tag", "v1", token=good)
report["second"] = publish("model", "user/colors", model, "--tag", "v2", "-m", "Better colours", token=good)
report["tag twice"] = publish("model", "user/colors", model, "--tag", "v2", token=good)
report["not private"] = publish("model", "user/colors", model, "--no-tag", "--private", token=good)
report["private"] = publish("model", "user/secret", model, "--private", token=good)
report["dataset"] = publish("dataset", "user/pairs", pairs, token=good)
report["space"] = publish("space", "user/demo", space, "--no-tag", token=good)
report["space again"] = publish("space", "user/demo", folders["bare"], "--no-tag", token=good)
report["bad card"] = publish("space", "user/bad", folders["bad"], token=good)
from huggingface_hub import constants
constants.ENDPOINT = "http://127.0.0.1:9"
report["no connection"] = publish("space", "user/demo", space, token=good)
"""


@pytest.fixture(scope="module")
def published(hub, models, pairs, space, tmp_path_factory) -> dict[str, Any]:
    """The reports of one process that publishes everything, and tries what must fail."""
    folder = tmp_path_factory.mktemp("publisher")
    bad = tmp_path_factory.mktemp("bad")
    _written(bad, README__md="---\nsdk: gradio\nlicense: 3\n---\n", app__py="")
    bare = _written(
        tmp_path_factory.mktemp("bare"), README__md="---\nsdk: gradio\n---\n", app__py="print('hello again')\n"
    )
    folders = {**models, "pairs": pairs, "space": space, "bad": bad, "bare": bare}
    folders = {name: str(path) for name, path in folders.items()}
    hub.add("model", "user/foreign", {"config.json": (models["foreign"] / "config.json").read_bytes()})
    environment = hub.environment(folder / "home", FOLDERS=json.dumps(folders), HF_DEBUG="1")
    return run(PUBLISHER, environment=environment, folder=folder)


def test_a_dry_run_lists_everything_and_sends_nothing(published, hub):
    code, output = published["dry run"]
    assert code == 0
    assert {line.split()[1] for line in output.splitlines()[:-1]} == {"README.md", "config.json"} | {
        "preprocessor_config.json",
        "model.safetensors",
        *CODE,
    }
    assert re.search(rf"{len(CODE) + 4} files, [\d,]+ bytes, would go to http://127.0.0.1:\d+/user/never", output)
    assert ("model", "user/never") not in hub.repositories


def test_a_version_is_one_commit_and_its_tag_stays_with_it(published, hub):
    assert (published["first"][0], published["second"][0]) == (0, 0)
    colors = hub.repositories["model", "user/colors"]
    titles = [commit.title for commit in colors.commits.values()]
    assert titles == ["initial commit", "Publish v1", "Better colours"]
    assert list(colors.tags.values()) == list(colors.commits)[1:]
    assert colors.at("v1").files["model.safetensors"] != colors.at("v2").files["model.safetensors"]


def test_a_data_set_and_a_space_arrive(published, hub):
    assert (published["dataset"][0], published["space"][0]) == (0, 0)
    assert set(hub.repositories["dataset", "user/pairs"].files) >= {"README.md", "data/train-00000-of-00001.parquet"}
    assert list(hub.repositories["dataset", "user/pairs"].tags) == ["v0.1.0"]
    assert hub.repositories["space", "user/demo"].sdk == "gradio"
    assert not hub.repositories["space", "user/demo"].tags


def test_what_an_earlier_version_left_behind_goes_in_the_same_commit(published, hub):
    assert published["space again"][0] == 0
    first, second, third = hub.repositories["space", "user/demo"].commits.values()
    assert set(first.files) == {".gitattributes"}
    assert set(second.files) == {".gitattributes", "README.md", "app.py", "requirements.txt"}
    assert set(third.files) == {".gitattributes", "README.md", "app.py"}


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no token", "hf auth login"),
        ("wrong token", "does not accept your token"),
        ("odd token", "holds a character that no token has"),
        ("not allowed", "right to write to somebody"),
        ("foreign", "'bert'"),
        ("tag twice", "tag v2 exists already"),
        ("not private", "is public"),
        ("bad card", '"license" must be a string'),
        ("no connection", "no connection"),
    ],
)
def test_what_cannot_be_published_is_said_in_one_line(published, what, message):
    code, output = published[what]
    assert code == 1
    assert output.startswith("error: ")
    assert message in output
    assert output.count("\n") == 1


def test_nobody_hears_the_token(published, hub):
    """Neither what was printed nor the client's own debugging log nor the storage nor a published file knows it."""
    everything = json.dumps(published)
    assert "Send: curl" in everything
    assert TOKEN not in everything
    assert "hf_wrong_token" not in everything
    assert "hf_odd" not in everything
    assert all(request.token is None for request in hub.requests if request.path.startswith("/storage"))
    for repository in hub.repositories.values():
        assert not any(
            TOKEN.encode() in blob.data for commit in repository.commits.values() for blob in commit.files.values()
        )


# --------------------------------------------------------------------------------------------------------------------
# Loading


WITH_PACKAGE = """
from huggingface_hub import hf_hub_download
card = hf_hub_download("user/colors", "README.md")
exec(snippet(card, 0))
from sketch_colorizer import cli
command = re.search("```bash\\n(.*?)\\n```", Path(card).read_text())[1].split()
Path("drawing_colorized.png").rename("by_python.png")
cli.app(command[1:], standalone_mode=False)
report["parts"] = [result.image.size, result.colors.size, result.line_art.mode]
report["fingerprint"] = fingerprint(colorize.model)
report["v1"] = type(ColorizationPipeline.from_pretrained("user/colors", revision="v1").model).__name__
report["main"] = type(colorize.model).__name__
for name, revision in {"user/nowhere": None, "user/foreign": None, "user/secret": None, "user/colors": "v9"}.items():
    report[name] = complaint(ColorizationPipeline.from_pretrained, name, revision=revision)
secret = ColorizationPipeline.from_pretrained("user/secret", token=Path("token").read_text())
report["with token"] = fingerprint(secret.model) == report["fingerprint"]
"""

ALONE = """
from huggingface_hub import hf_hub_download
exec(snippet(hf_hub_download("user/colors", "README.md"), 1))
report["class"] = [type(model).__module__.partition(".")[0], type(model).__name__, type(processor).__name__]
report["fingerprint"] = fingerprint(model)
report["shape"] = list(outputs.logits.shape)
"""


@pytest.fixture(scope="module")
def desk(published, tmp_path_factory):
    """Makes folders that hold nothing but a drawing, for somebody who comes anew."""

    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        draw(90, 60).save(folder / "drawing.png")
        (folder / "token").write_text(TOKEN)
        return folder

    return make


@pytest.fixture(scope="module")
def with_package(hub, desk) -> dict[str, Any]:
    folder = desk("with_package")
    report = run(WITH_PACKAGE, environment=hub.environment(folder / "home", token=None), folder=folder)
    return report | {"folder": folder}


@pytest.fixture(scope="module")
def alone(hub, desk) -> dict[str, Any]:
    folder = desk("alone")
    environment = hub.environment(folder / "home", token=None)
    return run(ALONE, environment=environment, folder=folder, before=WITHOUT_PACKAGE) | {"folder": folder}


def _pixels(folder: Path, name: str = "drawing_colorized.png") -> np.ndarray:
    return np.asarray(Image.open(folder / name))


def test_the_card_s_snippets_work_with_the_package(with_package):
    assert with_package["parts"] == [[90, 60], [90, 60], "L"]
    pixels = _pixels(with_package["folder"])
    assert pixels.shape == (60, 90, 3)
    assert np.array_equal(pixels, _pixels(with_package["folder"], "by_python.png"))


def test_a_revision_is_what_was_tagged(with_package):
    assert with_package["v1"] == "RegressionNetwork"
    assert with_package["main"] == "ClassificationNetwork"


def test_transformers_alone_loads_the_same_model(alone, with_package):
    """Equal parameters and equal buffers, equal to what was saved, and the same picture to the pixel."""
    assert alone["class"] == [
        "transformers_modules",
        "SketchColorizerForClassification",
        "SketchColorizerImageProcessor",
    ]
    assert alone["fingerprint"] == with_package["fingerprint"]
    assert any(name.startswith("quantizer.") for name in alone["fingerprint"])
    assert alone["shape"][1] == 512
    assert np.array_equal(_pixels(alone["folder"]), _pixels(with_package["folder"]))


def test_what_is_loaded_is_what_was_saved(alone, models):
    namespace: dict[str, Any] = {}
    exec(PREAMBLE, namespace)
    local = ColorizationPipeline.from_pretrained(models["classification"], device="cpu")
    assert namespace["fingerprint"](local.model) == alone["fingerprint"]
    assert np.array_equal(np.asarray(local(draw(90, 60)).image), _pixels(alone["folder"]))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("user/nowhere", ": no folder here, and the Hub has no model user/nowhere that you may see"),
        ("user/foreign", ": its model_type is 'bert'"),
        ("user/secret", ": .*if it is private or gated, log in with `hf auth login` or set HF_TOKEN"),
        ("user/colors", " has no revision 'v9' on the Hub"),
    ],
)
def test_what_cannot_be_loaded_is_said_in_one_line(with_package, name, message):
    assert re.match(rf"model '{name}'{message}", with_package[name]), with_package[name]
    assert "\n" not in with_package[name]


def test_a_private_model_opens_with_a_token(with_package):
    assert with_package["with token"]
    assert TOKEN not in with_package["printed"]


OFFLINE = """
import socket
def refuse(*_, **__):
    raise AssertionError("somebody wanted to go online")
socket.socket.connect = refuse
"""


@pytest.mark.parametrize("way", ["with_package", "alone"])
def test_after_the_first_time_no_connection_is_needed(hub, request, way):
    first = request.getfixturevalue(way)
    folder, asked = first["folder"], len(hub.requests)
    before = _pixels(folder)
    (folder / "drawing_colorized.png").unlink()
    environment = hub.environment(folder / "home", token=None, HF_HUB_OFFLINE="1")
    programs = {
        "with_package": f"{OFFLINE}\n{WITH_PACKAGE.partition('from sketch_colorizer import cli')[0]}",
        "alone": ALONE,
    }
    run(programs[way], environment=environment, folder=folder, before=WITHOUT_PACKAGE if way == "alone" else "")
    assert np.array_equal(_pixels(folder), before)
    assert len(hub.requests) == asked


# --------------------------------------------------------------------------------------------------------------------
# Data sets and files


def test_a_data_set_streams_and_loads(hub, desk):
    folder = desk("dataset")
    program = """
    from datasets import load_dataset
    stream = load_dataset("user/pairs", streaming=True)
    rows = list(stream["train"])
    report["streamed"] = [[row["path"], row["image"].size, row["image"].getpixel((0, 0))] for row in rows]
    report["loaded"] = load_dataset("user/pairs", split="validation", revision="v0.1.0")["path"][:]
    """
    report = run(program, environment=hub.environment(folder / "home", token=None), folder=folder)
    assert report["streamed"] == [[f"{n}.png", [24, 16 + n], [40 * n, 90, 120]] for n in range(4)]
    assert report["loaded"] == ["4.png"]


def _download(hub: LocalHub, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = hub.environment(folder / "home", token=None)
    return subprocess.run(
        [*HF, "download", *arguments], env=environment, cwd=folder, capture_output=True, text=True, timeout=300
    )


def test_hf_download_gets_a_version(hub, desk, models):
    folder = desk("download")
    done = _download(hub, folder, "user/colors", "--revision", "v1", "--local-dir", "got")
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (folder / "got").iterdir() if path.is_file()}
    assert (
        names == {".gitattributes", "README.md", "config.json", "preprocessor_config.json", "model.safetensors"} | CODE
    )
    got = (folder / "got" / "model.safetensors").read_bytes()
    assert got == (models["regression"] / "model.safetensors").read_bytes()
    pipeline = ColorizationPipeline.from_pretrained(folder / "got", device="cpu")
    assert pipeline(draw(30, 20)).image.size == (30, 20)


def test_an_interrupted_download_resumes(hub, desk):
    """A dropped connection goes on where it stopped; a download that failed is taken up with what it had."""
    folder, large = desk("resume"), bytes(range(256)) * 46_875  # 12 MB: the client keeps what it has in steps of 10 MiB
    hub.add("model", "user/large", {"large.bin": large, "small.txt": b"small"})
    hub.refuse("large.bin")
    assert _download(hub, folder, "user/large").returncode != 0
    hub.break_off("large.bin", after=11_000_000)
    done = _download(hub, folder, "user/large", "--quiet")
    assert done.returncode == 0, done.stderr
    [path] = (folder / "home").rglob("large.bin")
    assert path.read_bytes() == large
    parts = [(request.status, request.range) for request in hub.asked("GET", r"filename=large\.bin")]
    assert parts == [(500, None), (200, None), (206, "bytes=10485760-")]
    assert len(hub.asked("GET", r"resolve/.*/small\.txt")) == 1
