"""Laws of the house: imports run down the floors and never in a circle, optional packages stay in their rooms."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[1] / "sketch_colorizer"
FLOORS = {
    "__init__": 3,
    "__main__": 5,
    "auto_classes": 2,
    "cli": 5,
    "coarse_grid": 0,
    "color": 0,
    "color_notation": 0,
    "colorization_result": 1,
    "compositing": 1,
    "configuration_sketch_colorizer": 1,
    "drawing": 1,
    "drawing_processor": 2,
    "hint_evidence": 1,
    "hint_spreading": 1,
    "hints": 1,
    "image_processing_sketch_colorizer": 2,
    "layers": 2,
    "line_art": 1,
    "losses": 1,
    "model_card": 4,
    "model_files": 3,
    "modeling_flow_colorizer": 2,
    "modeling_sketch_colorizer": 2,
    "network_config": 0,
    "network_passes": 3,
    "networks": 2,
    "painting": 2,
    "palette": 1,
    "picture_files": 1,
    "picture_paths": 1,
    "pipeline_flow_colorizer": 3,
    "pipeline_sketch_colorizer": 3,
    "proposals": 3,
    "publish_cli": 5,
    "publishing": 4,
    "quantizer": 1,
    "regions": 1,
    "shared_colors": 1,
    "uncertainty": 1,
    "unet": 0,
    "user_hints": 1,
}
WORKSHOP_FLOORS = {
    "training.collage": 3,
    "training.data": 3,
    "training.folder_lock": 3,
    "training.__init__": 3,
}  # training/corpus*.py too; the rest of the workshop is on F4
ROOMS = {  # optional package -> where it may be imported
    "accelerate": ("training.",),
    "datasets": ("training.",),
    "ray": ("training.",),
    "matplotlib": ("training.",),
    "pyarrow": ("training.",),
    "skimage": ("training.",),
    "tensorboard": ("training.",),
    "torchmetrics": ("training.",),
    "onnx": ("export",),
    "onnxruntime": ("export",),
    "onnxscript": ("export",),
    "diffusers": ("modeling_flow_colorizer", "pipeline_flow_colorizer"),
}
FORBIDDEN = {"torchvision", "torchaudio", "gradio", "pandas"}
MODULES = {".".join(file.relative_to(PACKAGE).with_suffix("").parts): file for file in sorted(PACKAGE.rglob("*.py"))}
SHIPPED_WITH_A_MODEL = (
    "configuration_sketch_colorizer",
    "modeling_sketch_colorizer",
    "image_processing_sketch_colorizer",
)


class Imports(NamedTuple):
    ours: set[str]  # dotted names below the package
    others: set[str]  # top-level packages
    bare: list[str]  # `from . import x`, which a model's own code cannot carry


def read_imports(module: str) -> Imports:
    found = Imports(set(), set(), [])
    room = module.split(".")[:-1]
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found.others.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.others.add(node.module.split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            base = room[: len(room) - node.level + 1]
            if node.module is None:
                found.bare.append(ast.unparse(node))
            else:
                found.ours.add(".".join([*base, node.module]))
    return found


IMPORTS = {module: read_imports(module) for module in MODULES}


def floor(module: str) -> int:
    if module.startswith("training."):
        return 3 if module.startswith("training.corpus") else WORKSHOP_FLOORS.get(module, 4)
    assert module in FLOORS, f"{module} stands on no floor: add it to FLOORS here and to docs/ARCHITECTURE.md"
    return FLOORS[module]


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_down_the_floors(module):
    missing = [other for other in IMPORTS[module].ours if other not in MODULES and f"{other}.__init__" not in MODULES]
    assert not missing
    for other in IMPORTS[module].ours:
        assert floor(other) <= floor(module), f"{module} (F{floor(module)}) imports {other} (F{floor(other)})"


def test_the_ground_floor_imports_third_parties_only():
    assert {module: IMPORTS[module].ours for module in FLOORS if FLOORS[module] == 0 and IMPORTS[module].ours} == {}


def test_no_import_goes_in_a_circle():
    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in finished:
            for other in IMPORTS[module].ours:
                visit(other, (*path, module))
            finished.add(module)

    finished: set[str] = set()
    for module in MODULES:
        visit(module, ())


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith("training.")])
def test_the_shop_never_imports_the_workshop(module):
    # cli.py asks for its commands by name, when they run.
    assert not [other for other in IMPORTS[module].ours if other.startswith("training")]


@pytest.mark.parametrize("module", MODULES)
def test_optional_packages_stay_in_their_rooms(module):
    for package in IMPORTS[module].others:
        assert package not in FORBIDDEN, f"{module} imports {package}"
        assert module.startswith(ROOMS.get(package, ("",))), f"{module} imports {package}"


@pytest.mark.parametrize("module", MODULES)
def test_siblings_are_imported_by_their_names(module):
    assert not IMPORTS[module].bare
    assert "sketch_colorizer" not in IMPORTS[module].others, "write `from .sibling import name`"


def test_gradio_is_imported_only_by_the_space_which_uses_public_names_only():
    root = PACKAGE.parent
    for file in [*sorted((root / "space").glob("*.py")), *sorted((root / "scripts").glob("*.py"))]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                module = getattr(node, "module", None) or ""
                names = [*module.split("."), *(part for alias in node.names for part in alias.name.split("."))]
                if file.parent.name == "space":
                    assert not [name for name in names if name.startswith("_")], f"{file.name}: {ast.unparse(node)}"
                else:
                    assert "gradio" not in names, f"{file.name}: {ast.unparse(node)}"


def test_code_that_ships_with_a_model_needs_siblings_and_required_packages_only():
    required = {"torch", "transformers", "huggingface_hub", "numpy", "PIL", "cv2", "scipy", "safetensors"}
    todo, seen = list(SHIPPED_WITH_A_MODEL), set()
    while todo:
        module = todo.pop()
        seen.add(module)
        todo += IMPORTS[module].ours - seen
        assert IMPORTS[module].others - set(sys.stdlib_module_names) <= required, module
        for other in IMPORTS[module].ours:
            assert "." not in other, f"{module}: a model's code can carry siblings only, not {other}"


def test_the_page_and_this_test_agree():
    page = (PACKAGE.parent / "docs" / "ARCHITECTURE.md").read_text()
    rows = re.findall(r"^\| F(\d) \| (.*?) \|", page, flags=re.MULTILINE)
    on_page = {name: int(number) for number, names in rows for name in re.findall(r"`(\w+)\.py`", names)}
    shop = {module: FLOORS[module] for module in MODULES if module in FLOORS and not module.startswith("_")}
    assert {module: on_page.get(module) for module in shop} == shop


@pytest.mark.parametrize(
    "program",
    [
        "import sketch_colorizer",
        "import sketch_colorizer.cli",
        "from sketch_colorizer import cli; cli.app(['--help'], standalone_mode=False)",
        "from sketch_colorizer import cli; cli.app(['colorize', '--help'], standalone_mode=False)",
        "from sketch_colorizer import cli; cli.app(['--version'], standalone_mode=False)",
        "from sketch_colorizer import cli; cli.app(['colorize', 'no-such-file.png'], standalone_mode=False)",
    ],
)
def test_what_computes_nothing_imports_no_torch(program):
    check = "; import sys; assert not {'torch', 'transformers', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program + check], check=True, capture_output=True, timeout=60)
