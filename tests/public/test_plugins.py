"""Parts from outside: how a plugin comes in, that nothing else imports one, and what is said where it is missing."""

import json
import multiprocessing
import os
import re
import subprocess
import sys

import pytest
from typer.main import get_command

import crispseg
from crispseg import plugins
from crispseg.cli import app
from crispseg.config import DataConfig
from crispseg.data import build_dataset
from crispseg.data.layouts import open_layout
from crispseg.errors import ConfigError, WeightsError
from crispseg.models import register_head
from crispseg.models.share import model_page
from crispseg.registry import CONTEXTS, HEADS, LAYOUTS, LOSSES

# Needs no PyTorch, so that fresh processes start at once.
GREY = """
import numpy as np
from crispseg.data import Sample, register_layout
from crispseg.labels import label_space


class Grey:
    def __init__(self, level):
        self.names, self.level = ["grey"], level

    def size_hw(self, index):
        return 8, 12

    def sample(self, index):
        return Sample(np.full((8, 12, 3), self.level, np.uint8), np.zeros((8, 12), np.uint8), "grey")


def grey(config, split, *, level: int = 100):
    return Grey(level), label_space("toy_streets")


register_layout("grey", grey)
"""


@pytest.fixture
def grey_file(tmp_path, monkeypatch, own_parts):
    monkeypatch.setattr(sys, "path", [*sys.path])
    path = tmp_path / "grey_streets.py"
    path.write_text(GREY)
    yield path
    sys.modules.pop("grey_streets", None)


def level_of(source):
    """For another process."""
    return int(source.sample(0).image[0, 0, 0])


def test_a_file_brings_its_parts_once_and_again(grey_file):
    for _ in range(2):
        crispseg.load_plugin(grey_file)
    data = build_dataset(DataConfig(layout="grey", level=7), "train", augment=False)
    assert level_of(data.source) == 7
    assert LAYOUTS.plugin("grey") == plugins.Plugin("grey_streets")
    assert LAYOUTS.plugin("camvid") is None
    with pytest.raises(ConfigError, match=r"data.levle: layout 'grey' takes no such option; did you mean 'level'"):
        build_dataset(DataConfig(layout="grey", levle=7), "train", augment=False)
    with pytest.raises(ConfigError, match=r"data.level is 'dark', an integer expected"):
        build_dataset(DataConfig(layout="grey", level="dark"), "train", augment=False)


def test_recipes_know_the_keys_of_a_plugin(grey_file):
    crispseg.load_plugin(grey_file)
    recipe = crispseg.load_recipe("camvid/gff", ["data.layout=grey", "data.level=3"])
    assert recipe.data.options == {"level": 3}
    with pytest.raises(ConfigError, match=r"unknown key 'data.levle'; did you mean 'data.level'"):
        crispseg.load_recipe("camvid/gff", ["data.layout=grey", "data.levle=3"])


def test_a_process_that_is_spawned_has_the_plugin(grey_file):
    """As a loader's workers are where processes are not forked."""
    crispseg.load_plugin(grey_file)
    source = open_layout(DataConfig(layout="grey", level=9), "train")[0]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(type(source).size_hw, (source, 0)) == (8, 12)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("missing.py", None, r"missing.py: no such file; name a Python file or a module"),
        ("two words.py", "", r"the name of a Python file expected, such as my_head.py; rename it"),
        ("json.py", "", r"'json' is another module's name already \(.*json.__init__.py\); rename the file"),
        ("wrong_syntax.py", "def", r"wrong_syntax.py: cannot be imported \(SyntaxError: .*\); mend it"),
        ("raises.py", "1 / 0", r"raises.py: cannot be imported \(ZeroDivisionError: division by zero\)"),
        ("lacks.py", "import no_such_thing", r"cannot be imported \(ModuleNotFoundError: No module named 'no_such"),
        (
            "takes.py",
            "from crispseg.data import register_layout\nregister_layout('camvid', print)",
            r"takes.py: layout 'camvid': the name is taken already; register print under another",
        ),
    ],
)
def test_what_is_no_plugin_is_said(name, text, message, tmp_path, monkeypatch, own_parts):
    monkeypatch.setattr(sys, "path", [*sys.path])
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        crispseg.load_plugin(tmp_path / name)


def test_a_module_that_is_not_there_is_said():
    with pytest.raises(ConfigError, match=r"plugin my_heads.gff: no module 'my_heads'; install it, or name a Python"):
        crispseg.load_plugin("my_heads.gff")


def test_every_command_takes_plugins():
    commands = get_command(app).commands
    leaves = [leaf for command in commands.values() for leaf in getattr(command, "commands", {"": command}).values()]
    assert len(leaves) > len(commands)
    for command in leaves:
        assert "--plugin" in [option for parameter in command.params for option in parameter.opts], command.name


def _run(code, folder):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=folder)


def _install(folder, module):
    """What pip leaves of a distribution with an entry point."""
    info = folder / f"{module.replace('_', '-')}-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text(f"[crispseg.plugins]\nx = {module}\n")


def test_an_installed_plugin_is_known_without_asking(tmp_path):
    (tmp_path / "grey_streets.py").write_text(GREY)
    (tmp_path / "broken_streets.py").write_text("1 / 0")
    for module in ("grey_streets", "broken_streets"):
        _install(tmp_path, module)
    done = _run(
        "import sys, crispseg, logging\n"
        "logging.basicConfig()\n"
        "crispseg.load_recipe('camvid/gff')\n"
        "assert 'grey_streets' not in sys.modules\n"  # nothing asked for a part that the library lacks
        "from crispseg.data.layouts import LAYOUTS\n"
        "print(crispseg.load_recipe('camvid/gff', ['data.layout=grey', 'data.level=3']).data.options)\n"
        "print(LAYOUTS.plugin('grey'))",
        tmp_path,
    )
    assert done.stdout.splitlines() == [
        "{'level': 3}",
        "Plugin(module='grey_streets', distribution='grey-streets 1.5')",
    ], done.stderr
    assert re.search(
        r"plugin broken_streets of broken-streets 1.5: cannot be imported .*parts are left out", done.stderr
    )


def test_a_saved_model_names_its_plugins_and_imports_none(tmp_path, own_parts):
    from crispseg.heads.plain import Plain

    class Mine(Plain):
        pass

    register_head("mine", Mine)
    model = crispseg.create_model("mine", backbone="test_resnet", num_classes=3, channels=8)
    crispseg.save_model(model, tmp_path / "model")
    card_path = tmp_path / "model/card.json"
    card = json.loads(card_path.read_text())
    assert card["plugins"] == [{"part": "head", "name": "mine", "module": Mine.__module__, "distribution": ""}]
    crispseg.load_model(tmp_path / "model")

    # As another machine sees it, where a file of that name lies beside.
    del HEADS._parts["mine"]
    card["plugins"][0] |= {"module": "trap", "distribution": "mine-heads 2.0"}
    card_path.write_text(json.dumps(card))
    assert "needs code from outside of crispseg: head `mine` of the plugin 'trap'" in model_page(card, "me/mine")
    (tmp_path / "model/trap.py").write_text("raise SystemExit('imported')")
    message = r"needs the head 'mine' of the plugin 'trap' \(of mine-heads 2.0\), which is not loaded; give its file"
    with pytest.raises(WeightsError, match=message):
        crispseg.load_model(tmp_path / "model")
    for nonsense in ("trap", [3], [{"part": []}], [{"part": "loss", "name": "mine"}], None):
        card_path.write_text(json.dumps({**card, "plugins": nonsense}))
        with pytest.raises(WeightsError, match=r"head: unknown 'mine'"):
            crispseg.load_model(tmp_path / "model")


@pytest.mark.parametrize("parts", [HEADS, CONTEXTS, LOSSES, LAYOUTS], ids=lambda parts: parts.kind)
def test_every_name_of_the_library_leads_to_a_part(parts):
    for name in parts:
        assert callable(parts[name])
        assert parts.plugin(name) is None
        assert parts.options(name) == tuple(parts._parameters(name))
