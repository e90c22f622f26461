"""docs/add-a-model.md from an empty folder to a trained model, as it stands."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import crispseg
from crispseg.errors import WeightsError

DOC = (Path(__file__).parents[2] / "docs" / "add-a-model.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?:`([\w.]+)`:\n\n)?^```(\w*)\n(.*?)^```$", DOC, re.MULTILINE | re.DOTALL)  # every fence
FILES = [(name, text) for name, _, text in BLOCKS if name]
(COMMANDS,) = [text for _, language, text in BLOCKS if not language]
(IN_PYTHON,) = [text for name, language, text in BLOCKS if language == "python" and not name]

# All commands in one process, which loads PyTorch once; each is parsed and run as from the shell.
SCRIPT = """
import sys
from crispseg.cli import app
for command in sys.argv[1].splitlines():
    print("$", command, flush=True)
    app(command.split()[1:], standalone_mode=False)
"""


@pytest.mark.slow
def test_from_an_empty_folder_to_a_trained_model(tmp_path, monkeypatch, own_parts):
    monkeypatch.chdir(tmp_path)
    assert [name for name, _ in FILES] == ["night.py", "night.yaml"]
    for name, text in FILES:
        Path(name).write_text(text, encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", SCRIPT, COMMANDS], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^\$ crispseg (\w+)", done.stdout, re.MULTILINE) == ["data", "fit", "evaluate", "describe"]

    card = json.loads(Path("runs/night/model/card.json").read_text())
    assert card["plugins"] == [{"part": "head", "name": "rim", "module": "night", "distribution": ""}]
    assert (card["recipe"]["loss"]["rim_weight"], card["recipe"]["loss"]["radius_px"]) == (8.0, 1)
    assert (card["recipe"]["data"]["streets"], card["recipe"]["data"]["brightness"]) == (4, 0.3)

    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(WeightsError, match=r"needs the head 'rim' of the plugin 'night', which is not loaded; give"):
        crispseg.load_model("runs/night")
    assert "night" not in sys.modules  # though it lies in the folder
    try:
        names: dict[str, object] = {}
        exec(compile(IN_PYTHON, "add-a-model.md", "exec"), names)  # our own file
        assert type(names["model"].head).__name__ == "RimHead"
    finally:
        sys.modules.pop("night", None)


@pytest.mark.parametrize(
    "path", re.findall(r"`(src/crispseg/[\w/]+\.py)`", DOC.replace("src/crispseg/heads/my_head.py", ""))
)
def test_files_that_the_document_names_exist(path):
    assert (Path(__file__).parents[2] / path).is_file()
