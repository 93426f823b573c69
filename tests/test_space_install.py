"""`sketch-colorizer demo`: what it lacks is told in one line, and an installed package holds page and examples."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest
import yaml
from space_server import ROOT, SPACE
from typer.testing import CliRunner

from sketch_colorizer import cli


@pytest.mark.parametrize("missing", ["gradio", "mcp"])
def test_a_missing_package_is_one_line_with_the_command(monkeypatch, missing):
    monkeypatch.setattr(cli, "find_spec", lambda name: None if name == missing else object())
    result = CliRunner().invoke(cli.app, ["demo"])
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "pip install 'sketch-colorizer[demo]'" in result.stderr


def test_the_command_serves_the_space_there_and_only_there(monkeypatch):
    asked = {}
    fake = type(sys)("app")
    fake.launch = lambda **settings: asked.update(settings)
    monkeypatch.setitem(sys.modules, "app", fake)
    monkeypatch.setattr(sys, "path", list(sys.path))
    result = CliRunner().invoke(cli.app, ["demo", "--port", "7999", "--no-browser"])
    assert result.exit_code == 0, result.output
    assert asked == {"server_name": "127.0.0.1", "server_port": 7999, "inbrowser": False}
    assert sys.path[0] == str(SPACE)


def test_front_matter_and_requirements_fit_the_package():
    front_matter = yaml.safe_load((SPACE / "README.md").read_text().split("---")[1])
    assert (front_matter["sdk"], front_matter["app_file"]) == ("gradio", "app.py")
    assert len(front_matter["short_description"]) <= 60
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [floor] = re.findall(r"gradio\[mcp\]>=([\d.]+)", " ".join(project["optional-dependencies"]["demo"]))
    assert [*map(int, front_matter["sdk_version"].split("."))] >= [*map(int, floor.split("."))]
    [requirement] = (SPACE / "requirements.txt").read_text().split()
    assert requirement.startswith(f"{project['name']}[demo]")


def test_the_wheel_holds_all_of_it(tmp_path):
    setuptools = pytest.importorskip("setuptools")
    if int(setuptools.__version__.split(".")[0]) < 77:
        pytest.skip("building needs setuptools 77 or newer")
    source = tmp_path / "source"
    junk = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.safetensors")
    for folder in ("sketch_colorizer", "space", "examples"):
        shutil.copytree(ROOT / folder, source / folder, ignore=junk)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", str(source), *options], check=True, timeout=300)
    [wheel] = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    for folder, place in (("sketch_colorizer", ""), ("space", "sketch_colorizer/"), ("examples", "sketch_colorizer/")):
        for file in (source / folder).rglob("*"):
            if file.is_file() and file.suffix not in (".svg",) and "build" not in file.parts:
                assert place + file.relative_to(source).as_posix() in held
    assert "sketch_colorizer/space/page/icon.svg" in held
