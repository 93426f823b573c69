"""A model as files, in a folder or on the Hub: read into a network and its processor, or refused in one line.

The files are those of transformers' `save_pretrained`, but transformers is not needed, and not loaded: importing it
takes longer than all the rest of a first colouring.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import (
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    StrictDataclassError,
)
from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars, logging
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from .drawing_processor import DrawingProcessor
from .network_config import MODEL_TYPE, NetworkConfig
from .networks import ClassificationNetwork, ColorNetwork, RegressionNetwork
from .picture_files import one_line, write_whole

EMBEDDED_WEIGHTS = Path(__file__).parent / "weights"
CONFIG, WEIGHTS, PROCESSOR = "config.json", "model.safetensors", "preprocessor_config.json"
_LOG_IN = "log in with `hf auth login` or set HF_TOKEN"
_NETWORKS = {network.architecture: network for network in (ClassificationNetwork, RegressionNetwork)}


def load_model(
    name: str, *, revision: str | None = None, token: str | bool | None = None, local_files_only: bool = False
) -> tuple[ColorNetwork, DrawingProcessor]:
    """The network, in single precision and for use, and the processor of a model folder or of "user/name" on the Hub.

    Raises ValueError or OSError, in one line, where there is no such model, where it is of another kind, incomplete or
    damaged, and where its weights are a pickle.
    """
    hub = {"revision": revision, "token": token, "local_files_only": local_files_only}
    with _errors_in_one_line(name, revision), quiet_hub():
        _check_place(name, hub)
        settings = _read_json(name, CONFIG, hub)
        network_class = _network_class(settings)
        config = NetworkConfig.from_saved(settings)
        with torch.device("meta"):  # no numbers are drawn for what is read from a file next
            network = network_class(config)
        _fill(network, _read_tensors(name, hub))
        return network.eval(), DrawingProcessor.from_saved(_read_json(name, PROCESSOR, hub))


def save_network(network: ColorNetwork, directory: str | os.PathLike) -> None:
    """Write config.json and model.safetensors, each of them whole or not at all.

    A network of transformers has its own way, which may write more: its code, for instance.
    """
    if hasattr(network, "save_pretrained"):
        with _quiet_transformers():
            return network.save_pretrained(directory)
    folder = _make_folder(directory)
    dtype = str(next(network.parameters()).dtype).removeprefix("torch.")
    written_by = {"architectures": [network.architecture], "model_type": MODEL_TYPE, "dtype": dtype}
    config = {field.name: getattr(network.config, field.name) for field in fields(NetworkConfig)}
    tensors = {  # without the prefix that torch.compile puts before the names
        key.removeprefix("_orig_mod."): tensor.contiguous() for key, tensor in network.state_dict().items()
    }
    write_whole(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))
    _write_json(folder / CONFIG, config | written_by)


def save_processor(processor: DrawingProcessor, directory: str | os.PathLike) -> None:
    """Write preprocessor_config.json, whole or not at all; a processor of transformers has its own way."""
    if hasattr(processor, "save_pretrained"):
        with _quiet_transformers():
            return processor.save_pretrained(directory)
    written_by = {"image_processor_type": "SketchColorizerImageProcessor"}
    _write_json(_make_folder(directory) / PROCESSOR, processor.settings() | written_by)


def _make_folder(directory: str | os.PathLike) -> Path:
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write_json(path: Path, settings: dict[str, Any]) -> None:
    write_whole(path, (json.dumps(settings, indent=2, sort_keys=True) + "\n").encode())


def _check_place(name: str, hub: dict[str, Any]) -> None:
    """Whether there can be a model of ours by that name, as far as can be said before anything is loaded.

    The Hub is asked once about a model that is not here yet: `hf_hub_download` would try for half a minute.
    """
    folder = Path(name)
    if folder == EMBEDDED_WEIGHTS and not (folder / CONFIG).is_file():
        raise FileNotFoundError("this installation has no embedded weights; name a model folder, or a model on the Hub")
    if folder.is_file():
        raise ValueError("this is a file; name the folder that holds config.json and model.safetensors")
    if folder.is_dir():
        return
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise FileNotFoundError("there is no such folder, and a model on the Hub is named user/name")
    if not hub["local_files_only"] and try_to_load_from_cache(name, CONFIG, revision=hub["revision"]) is None:
        with suppress(RemoteEntryNotFoundError):  # said better later
            get_hf_file_metadata(hf_hub_url(name, CONFIG, revision=hub["revision"]), token=hub["token"])


def _find(name: str, file: str, hub: dict[str, Any]) -> Path | None:
    """A file of the model, here or fetched from the Hub; None where the model has no such file."""
    if Path(name).is_dir():
        path = Path(name, file)
        return path if path.is_file() else None
    try:
        return Path(hf_hub_download(name, file, **hub))
    except RemoteEntryNotFoundError:
        return None


def _read_json(name: str, file: str, hub: dict[str, Any]) -> dict[str, Any]:
    path = _find(name, file, hub)
    if path is None:
        raise FileNotFoundError(f"there is no {file}, so it is no complete model")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no JSON, or no text
        raise ValueError(f"{file} is damaged or no JSON: {error}") from None
    if not isinstance(settings, dict):
        raise ValueError(f"{file} must hold a JSON object, got {type(settings).__name__}")
    return settings


def _read_tensors(name: str, hub: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of the safetensors; pickles are not looked for."""
    path = _find(name, WEIGHTS, hub)
    if path is None:
        raise FileNotFoundError(f"there is no {WEIGHTS}; a pickle (pytorch_model.bin and the like) is not loaded")
    return load_file(path)


def _network_class(settings: dict[str, Any]) -> type[ColorNetwork]:
    model_type = settings.get("model_type")
    if model_type != MODEL_TYPE:
        raise ValueError(f"its model_type is {model_type!r}, not {MODEL_TYPE!r}: a model of another kind")
    architectures = settings.get("architectures") or [None]
    if architectures[0] not in _NETWORKS:
        raise ValueError(f"its architecture must be one of {', '.join(_NETWORKS)}, got {architectures[0]!r}")
    return _NETWORKS[architectures[0]]


def _fill(network: ColorNetwork, tensors: dict[str, Tensor]) -> None:
    """Put the tensors of a file into a network that has none yet, in single precision."""
    own = network.state_dict()
    for problem, names in (("lacks", own.keys() - tensors.keys()), ("has unknown", tensors.keys() - own.keys())):
        if names:
            raise ValueError(
                f"{WEIGHTS} {problem} {len(names)} tensors (such as {min(names)}): it does not fit {CONFIG}"
            )
    if any(own[key].shape != tensor.shape for key, tensor in tensors.items()):
        raise ValueError(f"{WEIGHTS} has tensors of other sizes than {CONFIG} says")
    dtypes = {key: torch.float32 if tensor.is_floating_point() else tensor.dtype for key, tensor in own.items()}
    copies = {key: tensor.to(dtypes[key], copy=True) for key, tensor in tensors.items()}  # the file may change later
    for key, tensor in copies.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{WEIGHTS} holds NaN or infinity ({key}): the training that made it went wrong")
    network.load_state_dict(copies, assign=True)


@contextmanager
def _errors_in_one_line(name: str, revision: str | None) -> Iterator[None]:
    """What the libraries below say in many ways, said in one: the model's name, what is wrong, in one line."""
    where = "the embedded weights" if Path(name) == EMBEDDED_WEIGHTS else f"model {name!r}"
    try:
        yield
    except SafetensorError as error:
        raise ValueError(f"{where}: {WEIGHTS} is damaged or no safetensors file ({error}); get it again") from None
    except StrictDataclassError as error:
        raise ValueError(f"{where}: {CONFIG}: {one_line(error.__cause__ or error)}") from None
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{where}: {CONFIG} or {PROCESSOR} is not as it should be: {one_line(error)}") from None
    except RevisionNotFoundError:
        raise OSError(f"{where} has no revision {revision!r} on the Hub") from None
    except RepositoryNotFoundError:
        raise OSError(
            f"{where}: no folder here, and the Hub has no model {name} that you may see; if it is private or gated, "
            f"{_LOG_IN}"
        ) from None
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HTTPError) as error:
        reason = re.split("[.] | If ", one_line(error))[0]
        mend = f"; if it is private, {_LOG_IN}" if isinstance(error, HfHubHTTPError) else ""
        raise OSError(f"{where}: no folder here, and not to be had from the Hub: {reason}{mend}") from None
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{where}: {one_line(error)}") from None
    except OSError as error:
        raise OSError(f"{where}: {one_line(error)}") from None
    except (RuntimeError, OverflowError) as error:  # of torch, or nested too deep
        raise ValueError(f"{where}: {CONFIG} and {WEIGHTS} make no network: {one_line(error)}") from None
    except ValueError as error:
        raise ValueError(f"{where}: {one_line(error)}") from None


@contextmanager
def quiet_hub() -> Iterator[None]:
    """Neither bars nor warnings of the Hub's client: a small model is there soon, and what fails becomes an error."""
    verbosity, disabled = logging.get_verbosity(), are_progress_bars_disabled()
    logging.set_verbosity_error()
    disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if not disabled:
            enable_progress_bars()


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Neither bars nor reports of transformers, which is there where one of its models is."""
    from transformers.utils import logging

    verbosity, shows_progress = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shows_progress:
            logging.enable_progress_bar()
