"""Publishing on the Hugging Face Hub: what a repository shall hold, and putting all of it there in one commit."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

import yaml
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, RepoCard, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError
from huggingface_hub.utils import validate_repo_id
from transformers.dynamic_module_utils import get_relative_import_files

from .auto_classes import AUTO_MODULES
from .model_files import CONFIG, EMBEDDED_WEIGHTS, PROCESSOR, load_model
from .picture_files import one_line
from .pipeline_sketch_colorizer import ColorizationPipeline

CARD = "README.md"
CARD_REPO_ID = "user/sketch-colorizer"  # stands in a model card for the repository that it will be published in
_MODEL_FILES = ("*.json", "*.safetensors", "*.yaml", "*.png")
_FLOW_INDEX = "model_index.json"


@dataclass(frozen=True)
class Publication:
    """What goes where: every file that the repository shall hold, by its path in it, as a local file or as bytes."""

    repo_id: str
    repo_type: Literal["model", "dataset", "space"]
    files: dict[str, Path | bytes]
    space_sdk: str | None = None

    def __post_init__(self) -> None:
        try:
            validate_repo_id(self.repo_id)
        except HFValidationError as error:
            raise ValueError(one_line(error)) from None
        if "/" not in self.repo_id:
            raise ValueError(f"a repository is named user/name, got {self.repo_id!r}")

    @property
    def url(self) -> str:
        prefix = "" if self.repo_type == "model" else f"{self.repo_type}s/"
        return f"{constants.ENDPOINT}/{prefix}{self.repo_id}"

    def sizes(self) -> dict[str, int]:
        """Bytes of each file."""
        return {
            path: len(source) if isinstance(source, bytes) else source.stat().st_size
            for path, source in sorted(self.files.items())
        }


def model_publication(repo_id: str, folder: str | Path | None = None, *, card: str | Path | None = None) -> Publication:
    """A model repository from a model folder (None is the embedded one) and its card (None is the folder's README.md).

    It holds the folder's weights byte for byte, and besides config and processor the code with which transformers loads
    them where this package is not installed (`trust_remote_code=True`). A flow pipeline that lies in the folder, at its
    top or as `flow`, goes to the top of the repository, where diffusers looks for it: its `model_index.json`, `unet/`
    and `scheduler/` have no name in common with the other files. In the card, CARD_REPO_ID becomes `repo_id`.
    """
    folder = _existing(folder or EMBEDDED_WEIGHTS)
    ColorizationPipeline(*load_model(str(folder)))  # says what is wrong with it, if anything is
    card = Path(card or folder / CARD)
    if not card.is_file():
        raise ValueError(f"there is no model card {card}; write one with scripts/render_model_card.py, or pass another")
    files: dict[str, Path | bytes] = {
        file.name: file for file in sorted(folder.iterdir()) if any(fnmatch(file.name, kind) for kind in _MODEL_FILES)
    }
    architecture = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["architectures"][0]
    classes = {"AutoConfig": "SketchColorizerConfig", "AutoModelForImageToImage": architecture}
    files[CONFIG] = _with_auto_map(folder / CONFIG, classes)
    files[PROCESSOR] = _with_auto_map(folder / PROCESSOR, {"AutoImageProcessor": "SketchColorizerImageProcessor"})
    files |= {file.name: file for file in code_files()}
    files |= flow_files(folder)
    files[CARD] = card.read_text(encoding="utf-8").replace(CARD_REPO_ID, repo_id).encode()
    _front_matter(card, required=("license", "library_name", "pipeline_tag"))
    return Publication(repo_id, "model", files)


def dataset_publication(repo_id: str, folder: str | Path) -> Publication:
    """A data set repository from a folder of Parquet shards and a card whose `configs` name them."""
    folder = _existing(folder)
    files = _all_files(folder)
    front_matter = _front_matter(folder / CARD, required=("license", "configs"))
    for pattern in _data_patterns(front_matter["configs"]):
        if not any(fnmatch(path, pattern) for path in files):
            raise ValueError(f"{folder / CARD} names the data {pattern}, but {folder} holds no such file")
    return Publication(repo_id, "dataset", files)


def space_publication(repo_id: str, folder: str | Path) -> Publication:
    """A Space from a folder that holds its README.md and the program that this names."""
    folder = _existing(folder)
    files = _all_files(folder)
    front_matter = _front_matter(folder / CARD, required=("sdk",))
    program = front_matter.get("app_file", "app.py" if front_matter["sdk"] == "gradio" else "index.html")
    if front_matter["sdk"] not in constants.SPACES_SDK_TYPES:
        allowed = ", ".join(constants.SPACES_SDK_TYPES)
        raise ValueError(f"{folder / CARD}: sdk must be one of {allowed}, got {front_matter['sdk']!r}")
    if front_matter["sdk"] != "docker" and program not in files:
        raise ValueError(f"{folder / CARD} names the program {program}, but {folder} holds no such file")
    return Publication(repo_id, "space", files, space_sdk=front_matter["sdk"])


def publish(
    publication: Publication, *, tag: str | None = None, private: bool = False, message: str | None = None
) -> str:
    """Create the repository where there is none, upload everything in one commit, tag it; returns the commit's URL.

    The same commit removes what an earlier version left behind. The token is that of `hf auth login` or HF_TOKEN.
    Raises ValueError or OSError in one line where something stands against it, before anything is changed if it can.
    """
    _check_token()
    place = {"repo_id": publication.repo_id, "repo_type": publication.repo_type}
    additions = [CommitOperationAdd(path, source) for path, source in sorted(publication.files.items())]
    with _errors_in_one_line(publication):
        api = HfApi()
        api.create_repo(**place, private=private, space_sdk=publication.space_sdk, exist_ok=True)
        found = api.repo_info(**place)
        if private and not found.private:
            raise ValueError("it exists and is public; make it private in its settings, or choose another name")
        if tag in {reference.name for reference in api.list_repo_refs(**place).tags}:
            raise ValueError(f"the tag {tag} exists already; choose another one")
        left_behind = {file.rfilename for file in found.siblings} - set(publication.files) - {".gitattributes"}
        commit = api.create_commit(
            **place,
            operations=[*additions, *(CommitOperationDelete(path) for path in sorted(left_behind))],
            commit_message=message or f"Publish {tag or 'files'}",
            parent_commit=found.sha,
        )
        if tag:
            api.create_tag(**place, tag=tag, revision=commit.oid)
    return commit.commit_url


def code_files() -> list[Path]:
    """The modules with which transformers loads our models without this package, each once."""
    modules = [Path(__file__).parent / f"{module}.py" for module in AUTO_MODULES.values()]
    needed = {Path(file) for module in modules for file in get_relative_import_files(module)}
    return sorted({*modules, *needed})


def flow_files(folder: Path) -> dict[str, Path | bytes]:
    """The flow pipeline of a model folder, by its paths in the repository; none where it has none.

    Raises ValueError or OSError where there is one that does not load.
    """
    place = folder / "flow" if (folder / "flow" / _FLOW_INDEX).is_file() else folder
    if not (place / _FLOW_INDEX).is_file():
        return {}
    from .pipeline_flow_colorizer import FlowColorizerPipeline

    components = FlowColorizerPipeline.beside(place).components
    found = [file for name in components for kind in _MODEL_FILES for file in sorted((place / name).glob(kind))]
    return {file.relative_to(place).as_posix(): file for file in [place / _FLOW_INDEX, *found]}


# --------------------------------------------------------------------------------------------------------------------
# Reading folders


def _existing(folder: str | Path) -> Path:
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; name the one that holds what is to be published")
    return folder


def _all_files(folder: Path) -> dict[str, Path | bytes]:
    """Every file below the folder but hidden ones and Python's caches."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    relative = {path.relative_to(folder): path for path in paths}
    return {
        name.as_posix(): path
        for name, path in relative.items()
        if not any(part.startswith(".") or part == "__pycache__" for part in name.parts)
    }


def _with_auto_map(file: Path, classes: dict[str, str]) -> bytes:
    """A JSON file with the entry by which transformers finds the code of each class in the repository."""
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings["auto_map"] = {auto: f"{AUTO_MODULES[auto]}.{name}" for auto, name in classes.items()}
    return (json.dumps(settings, indent=2) + "\n").encode()


def _front_matter(card: Path, *, required: tuple[str, ...]) -> dict[str, Any]:
    if not card.is_file():
        raise ValueError(f"there is no {card}; a repository is published with a README.md that has front matter")
    try:
        front_matter = RepoCard(card.read_text(encoding="utf-8")).data.to_dict()
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{card}: the front matter is not as it should be: {one_line(error)}") from None
    missing = [key for key in required if not front_matter.get(key)]
    if missing:
        raise ValueError(f"{card}: the front matter lacks {' and '.join(missing)}")
    return front_matter


def _data_patterns(configs: list[dict[str, Any]]) -> Iterator[str]:
    """The paths that the `configs` of a data set card name, in each of the forms that they may have."""
    for config in configs:
        data_files = config.get("data_files", [])
        for entry in data_files if isinstance(data_files, list) else [data_files]:
            paths = entry["path"] if isinstance(entry, dict) else entry
            yield from [paths] if isinstance(paths, str) else paths


# --------------------------------------------------------------------------------------------------------------------
# Errors


def _check_token() -> None:
    token = get_token()
    if token is None:
        raise ValueError("no Hugging Face token was found; log in with `hf auth login`, or set HF_TOKEN")
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise ValueError("the Hugging Face token holds a character that no token has; set HF_TOKEN anew")


@contextmanager
def _errors_in_one_line(publication: Publication) -> Iterator[None]:
    """What the Hub and its client say, in one line that names the repository and never the token."""
    what = f"cannot publish {publication.url}"
    try:
        yield
    except HfHubHTTPError as error:
        raise OSError(f"{what}: {_refusal(error, publication)}") from None
    except HTTPError as error:
        raise OSError(f"{what}: no connection ({type(error).__name__}: {one_line(error)})") from None
    except RuntimeError as error:  # one of several large files
        reason = error.__cause__ if isinstance(error.__cause__, (HTTPError, OSError)) else error
        raise OSError(f"{what}: {one_line(error)} {one_line(reason)}") from None
    except OSError as error:
        raise OSError(f"{what}: {one_line(error)}") from None
    except ValueError as error:
        raise ValueError(f"{what}: {one_line(error)}") from None


def _refusal(error: HfHubHTTPError, publication: Publication) -> str:
    owner = publication.repo_id.partition("/")[0]
    if error.response.status_code == 401:
        return "the Hub does not accept your token; log in again with `hf auth login`, or set HF_TOKEN anew"
    if error.response.status_code == 403:
        return f"your token may not write there; use one that has the right to write to {owner}"
    if error.response.status_code == 412:
        return "somebody else changed it meanwhile; publish again"
    return one_line(error.server_message or error)
