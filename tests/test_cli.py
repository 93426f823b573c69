"""Laws of the command line: what is written where, what is said when it cannot be, and with which exit code."""

import zipfile

import numpy as np
import pytest
from conftest import draw
from PIL import Image
from typer.testing import CliRunner

from sketch_colorizer import cli
from sketch_colorizer.picture_files import open_picture, save_picture


@pytest.fixture
def drawings(tmp_path):
    for name, size in (("a.png", (64, 48)), ("b.webp", (31, 57)), ("c.jpg", (40, 40))):
        save_picture(draw(*size), tmp_path / name)
    return tmp_path


@pytest.fixture
def colorize(model_folder):
    """Run `sketch-colorizer colorize` with an untrained model; gives exit code, output, errors."""

    def run(*arguments):
        result = CliRunner().invoke(cli.app, ["colorize", "--model", str(model_folder), *map(str, arguments)])
        assert "Traceback" not in result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.stdout, result.stderr

    return run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_drawing_is_coloured_beside_itself(colorize, drawings, pipeline):
    code, output, errors = colorize(drawings / "a.png")
    target = drawings / "a_colorized.png"
    assert (code, errors) == (0, "")
    assert f"{target} (64x48, " in output
    assert (np.asarray(open_picture(target)) == np.asarray(pipeline(drawings / "a.png").image)).all()


def test_a_folder_is_coloured_and_its_results_are_not(colorize, drawings):
    assert colorize(drawings)[0] == 0
    results = {"a_colorized.png", "b_colorized.png", "c_colorized.png"}
    assert set(names(drawings)) == {"a.png", "b.webp", "c.jpg"} | results
    assert colorize(drawings, "--overwrite")[0] == 0
    assert len(names(drawings)) == 6


def test_results_go_where_they_are_sent(colorize, drawings):
    assert colorize(drawings / "*.png", drawings / "c.jpg", "-o", drawings / "out")[0] == 0
    assert names(drawings / "out") == ["a_colorized.png", "c_colorized.png"]
    assert colorize(drawings / "a.png", "-o", drawings / "mine.webp")[0] == 0
    assert open_picture(drawings / "mine.webp").size == (64, 48)


def test_the_folder_of_a_result_is_made(colorize, drawings):
    assert colorize(drawings / "a.png", "-o", drawings / "deep" / "er" / "mine.png")[0] == 0
    assert names(drawings / "deep" / "er") == ["mine.png"]


def test_every_help_says_what_holds_by_default():
    for command, default in (
        ("colorize", "[default: the embedded one]"),
        ("evaluate", "[default: the model's]"),
        ("demo", "[default: a free one from 7860]"),
        ("corpus build", "[default: one a core]"),
    ):
        result = CliRunner().invoke(cli.app, [*command.split(), "-h"], env={"COLUMNS": "200"})
        assert result.exit_code == 0, command
        assert default in result.stdout, command


def test_results_may_have_layers(colorize, drawings):
    code, output, _ = colorize(drawings, "--format", "psd")
    assert code == 0
    assert "a_colorized.psd (64x48, " in output
    assert {"a_colorized.psd", "b_colorized.psd", "c_colorized.psd"} < set(names(drawings))
    assert colorize(drawings / "a.png", "-o", drawings / "mine.ORA")[0] == 0
    assert zipfile.is_zipfile(drawings / "mine.ORA")
    assert colorize(drawings / "a.png", "--format", ".ora", "--proposals", 2)[0] == 0
    assert {"a_colorized_1.ora", "a_colorized_2.ora"} < set(names(drawings))
    code, _, errors = colorize(drawings / "a.png", "--format", "psd")
    assert (code, "a_colorized.psd exists already" in errors) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--format", "gif"], "must end with one of .png, .jpg, .jpeg, .webp, .bmp, .tif, .tiff, .ora, .psd"),
        (["--format", "psd", "-o", "x.png"], "x.png is no .psd file; name a folder, or leave the format to the name"),
    ],
)
def test_a_format_that_cannot_be_is_said_before_any_work(colorize, drawings, arguments, reason, monkeypatch):
    monkeypatch.chdir(drawings)
    code, _, errors = colorize("a.png", *arguments)
    assert code == 1
    assert errors.count("\n") == 1
    assert reason in errors
    assert len(names(drawings)) == 3


def test_nothing_is_overwritten_unasked(colorize, drawings):
    target = drawings / "a_colorized.png"
    target.write_text("precious")
    code, _, errors = colorize(drawings / "a.png")
    assert code == 1
    assert "exists already; --overwrite replaces it" in errors
    assert target.read_text() == "precious"
    assert colorize(drawings / "a.png", "--overwrite")[0] == 0
    assert open_picture(target).size == (64, 48)


def test_pictures_of_one_name_get_results_of_their_own(colorize, drawings):
    save_picture(draw(20, 20), drawings / "a.jpg")
    assert colorize(drawings / "a.jpg", drawings / "a.png")[0] == 0
    sizes = {open_picture(drawings / name).size for name in ("a_colorized.png", "a-2_colorized.png")}
    assert sizes == {(20, 20), (64, 48)}


def test_what_fails_is_told_at_the_end_and_the_rest_is_done(colorize, drawings):
    (drawings / "aa.png").write_text("no picture")
    Image.new("RGBA", (9, 9), (0, 0, 0, 0)).save(drawings / "nothing.png")
    code, output, errors = colorize(drawings, drawings / "missing.png")
    assert code == 1
    assert output.count(" -> ") == 3
    assert len([line for line in errors.splitlines() if line.startswith("error: ")]) == 3
    assert "aa.png is not a picture that can be read" in errors
    assert "missing.png does not exist" in errors
    assert "nothing.png: " in errors
    assert errors.splitlines()[-1] == "3 done, 3 not done"
    assert not [name for name in names(drawings) if name.endswith(".part")]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["missing.png"], "error: missing.png does not exist"),
        (["."], "error: .: no pictures in this folder"),
        (["*.png"], "error: *.png: no picture matches"),
    ],
)
def test_nothing_to_do_is_an_error_in_one_line(colorize, tmp_path, monkeypatch, arguments, reason):
    monkeypatch.chdir(tmp_path)
    code, output, errors = colorize(*arguments)
    assert (code, output, len(errors.splitlines())) == (1, "", 1)
    assert errors.startswith(reason)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--model", "{folder}/nowhere"], "no such folder"),
        (["--model", "{folder}"], r"no config.json"),
        (["--device", "abacus"], "the device 'abacus' is not available here"),
        (["-o", "{folder}/out.xcf"], "the name must end with one of"),
        (["-o", "{folder}/a.png/out.png"], "cannot make the folder"),
        (["-o", "/proc/nowhere/out"], "cannot make the folder"),
    ],
)
def test_what_a_user_can_mend_is_said_in_one_line(colorize, drawings, arguments, reason):
    code, _, errors = colorize(drawings / "a.png", *(argument.format(folder=drawings) for argument in arguments))
    assert (code, len(errors.splitlines())) == (1, 1)
    assert reason in errors
    assert names(drawings) == ["a.png", "b.webp", "c.jpg"]


@pytest.mark.parametrize(
    "option", [("--style", "oil"), ("--temperature", "-1"), ("--working-size", "5"), ("--seed", "x")]
)
def test_options_are_checked(colorize, drawings, option):
    code, _, errors = colorize(drawings / "a.png", *option)
    assert code == 2
    assert option[0] in errors


def test_notes_tell_of_frames_and_of_colour(colorize, tmp_path):
    frames = [draw(30, 30), Image.new("L", (30, 30), 255)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    stripes = np.full((30, 30, 3), 255, np.uint8)
    stripes[:, 10:20] = (250, 10, 10)
    save_picture(stripes, tmp_path / "red.png")
    code, output, _ = colorize(tmp_path)
    assert code == 0
    assert "only the first one is used" in output
    assert "it is coloured already" in output


def test_ctrl_c_ends_with_130_and_whole_pictures(colorize, drawings, monkeypatch):
    from sketch_colorizer import ColorizationPipeline

    paint, painted = ColorizationPipeline.__call__, []

    def interrupted(self, *arguments, **settings):
        if painted:
            raise KeyboardInterrupt
        painted.append(True)
        return paint(self, *arguments, **settings)

    monkeypatch.setattr(ColorizationPipeline, "__call__", interrupted)
    code, _, errors = colorize(drawings)
    assert code == 130
    assert "stopped: 1 of 3 pictures are done" in errors
    assert names(drawings) == ["a.png", "a_colorized.png", "b.webp", "c.jpg"]


@pytest.mark.parametrize("extractor", ["dilation", "xdog", "highpass", "threshold"])
def test_a_picture_becomes_a_line_drawing(tmp_path, extractor):
    picture = np.full((40, 50, 3), 255, np.uint8)
    picture[10:30, 10:40] = (200, 40, 30)
    save_picture(picture, tmp_path / "a.png")
    result = CliRunner().invoke(cli.app, ["sketch", str(tmp_path / "a.png"), "--extractor", extractor])
    assert result.exit_code == 0, result.output
    lines = open_picture(tmp_path / "a_sketch.png")
    assert (lines.mode, lines.size) == ("L", (50, 40))
    values = np.asarray(lines).astype(int)
    assert values[8:32, 8:42].min() < 128
    assert values[20, 25] > 220
    assert values[2, 2] > 220


def test_an_unknown_extractor_is_said(tmp_path):
    save_picture(draw(), tmp_path / "a.png")
    result = CliRunner().invoke(cli.app, ["sketch", str(tmp_path / "a.png"), "--extractor", "magic"])
    assert result.exit_code == 1
    assert "--extractor must be one of dilation, xdog, highpass, threshold, got 'magic'" in result.stderr


def test_help_and_version():
    runner = CliRunner()
    result = runner.invoke(cli.app, ["--help"])
    assert result.exit_code == 0
    for command in ("colorize", "sketch", "corpus", "train", "evaluate", "publish"):
        assert command in result.output
    assert runner.invoke(cli.app, ["--version"]).output.startswith("sketch-colorizer ")


def test_hints_palette_and_proposals(colorize, drawings, pipeline):
    strokes = Image.new("RGBA", (64, 48))
    strokes.putpixel((12, 20), (192, 57, 43, 255))
    strokes.save(drawings / "strokes.png")
    assert colorize(drawings / "a.png", "--hint", "12,20,#c0392b,0", "-o", drawings / "dot.png")[0] == 0
    assert colorize(drawings / "a.png", "--hints", drawings / "strokes.png", "-o", drawings / "layer.png")[0] == 0
    assert open_picture(drawings / "dot.png").getpixel((12, 20)) == (192, 57, 43)
    assert (drawings / "dot.png").read_bytes() == (drawings / "layer.png").read_bytes()
    (drawings / "strokes.png").unlink()
    (drawings / "dot.png").unlink()
    (drawings / "layer.png").unlink()
    assert colorize(drawings, "--palette", "#aabbcc,teal", "--proposals", 2, "--seed", 3)[0] == 0
    assert {f"{name}_colorized_{number}.png" for name in "abc" for number in (1, 2)} < set(names(drawings))
    code, _, errors = colorize(drawings / "a.png", "--proposals", 2)
    assert code == 1
    assert "a_colorized_1.png exists already; --overwrite replaces it" in errors
    assert colorize(drawings)[0] == 0
    assert "a_colorized_1_colorized.png" not in names(drawings), "earlier proposals are no drawings"


def test_fewer_colours_can_be_asked_for(colorize, drawings, pipeline):
    for sharing in (0, 1):
        target = drawings / f"{sharing}.png"
        assert colorize(drawings / "a.png", "-o", target, "--sharing", sharing)[0] == 0
        assert (
            np.asarray(open_picture(target)) == np.asarray(pipeline(drawings / "a.png", sharing=sharing).image)
        ).all()
    assert colorize(drawings / "a.png", "--sharing", 1.5)[0] == 2


def test_places_for_hints_are_told(colorize, drawings):
    code, output, _ = colorize(drawings / "a.png", "--suggest", 2)
    assert code == 0
    assert output.count("would settle most: #") == 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["b.webp", "--hint", "1,1,red"], "--hints and --hint are for one picture, got 2"),
        (["--hint", "1,1"], "--hint must be X,Y,COLOUR or X,Y,COLOUR,RADIUS"),
        (["--hint", "1,1,red", "--hints", "b.webp"], "not both"),
        (["--hint", "64,1,red"], "hint 1 at (64, 1) is outside the picture of 64x48 pixels"),
        (["--hint", "1,1,reddish"], "'reddish' is not a colour; write #rgb, #rrggbb"),
        (["--hints", "b.webp"], "hints need transparency"),
        (["--palette", ","], "a palette must have 1..256 colours, got 0"),
        (["--palette", "#12"], "'#12' is not a colour"),
        (["--engine", "flow"], "use the engine 'classes'"),
    ],
)
def test_wrong_control_is_said_in_one_line(colorize, drawings, monkeypatch, arguments, reason):
    monkeypatch.chdir(drawings)
    code, _, errors = colorize("a.png", *arguments)
    assert (code, len(errors.splitlines())) == (1, 1)
    assert reason in errors


@pytest.mark.parametrize("count", ["0", "1000"])
def test_numbers_of_proposals_are_checked(colorize, drawings, count):
    code, _, errors = colorize(drawings / "a.png", "--proposals", count)
    assert code == 2
    assert "--proposals" in errors
