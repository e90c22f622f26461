"""The door opens at once: what must not be imported, and that lazy packages say the same twice."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import crispseg
from crispseg.evaluation import evaluate_folders
from crispseg.io import write_png

_HEAVY = (
    "torch",
    "timm",
    "lightning",
    "torchmetrics",
    "torchvision",
    "matplotlib",
    "huggingface_hub",
    "fastapi",
    "rasterio",
    "shapely",
)


def _loaded_by(code: str) -> list[str]:
    """The heavy packages that a fresh process holds after some code."""
    script = f"import sys\n{code}\nprint(*[name for name in {_HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()


@pytest.mark.parametrize(
    "code",
    [
        "import crispseg; crispseg.LabelSpace, crispseg.load_recipe, crispseg.ConfigError",
        "import crispseg.labels",
        "import crispseg.recipes; crispseg.recipes.load_recipe('camvid/gff')",
        "import crispseg.metrics.functional; from crispseg.metrics import boundary_f_score",
        "import crispseg.cli",
    ],
)
def test_light_imports(code: str) -> None:
    assert _loaded_by(code) == []


_LOADED = "-- loaded:"


def _command(tmp_path: Path, *arguments: str) -> tuple[int, list[str], str]:
    """Run the command line in a process of its own: its exit status, the heavy packages it loaded, and its output."""
    script = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('{_LOADED}', *[name for name in {_HEAVY!r} if name in sys.modules]))\n"
        "from crispseg.__main__ import main\nmain()"
    )
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    output, _, loaded = done.stdout.rpartition(_LOADED)
    return done.returncode, loaded.split(), output + done.stderr


def _write_masks(folder: Path) -> None:
    for index in range(2):
        for name in ("labels", "ours", "theirs"):
            ids = np.zeros((8, 8), np.uint8)
            ids[:, : 3 + index + (name == "ours")] = 3
            write_png(folder / name / f"{index}.png", ids)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ("--help", 0, "score"),
        ("score --help", 0, "MASKS"),
        ("--version", 0, "crispseg"),
        ("recipes", 0, "camvid/gff"),
        ("recipes camvid/gff", 0, "backbone"),
        ("fit camvid/gff --nothing", 2, "--nothing"),
        ("fit camvid/gff --set model.hed=gff", 2, "model.hed"),
        ("fit camvid/gfff", 2, "camvid/gff"),
        ("score ours labels --label-space camvid --out out", 0, "report.html"),
        ("score ours labels --label-space camvid --out out --browse", 0, "browse.html"),
        ("evaluate --predictions theirs --labels labels --label-space camvid", 0, "mean"),
    ],
)
def test_commands_that_run_no_network_load_none(tmp_path: Path, arguments: str, status: int, said: str) -> None:
    _write_masks(tmp_path)
    found, loaded, output = _command(tmp_path, *arguments.split())
    assert found == status, output
    assert said in output
    assert loaded == []


@pytest.mark.parametrize("arguments", ["--help", "--version", "fit --nothing"])
def test_what_reads_no_recipe_loads_nothing_to_read_it(arguments: str) -> None:
    script = f"import atexit, sys; atexit.register(lambda: print(*sys.modules)); sys.argv[1:] = {arguments.split()!r}"
    command = [sys.executable, "-c", f"{script}\nfrom crispseg.__main__ import main\nmain()"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "crispseg.cli.app" in loaded
    assert not loaded & {*_HEAVY, "numpy", "PIL", "cv2", "yaml", "crispseg.config"}


def test_compare_loads_no_network(tmp_path: Path) -> None:
    _write_masks(tmp_path)
    for name in ("ours", "theirs"):
        evaluate_folders(tmp_path / name, tmp_path / "labels", "camvid", out=tmp_path / f"{name}_scores")
    found, loaded, output = _command(tmp_path, "compare", "ours_scores", "theirs_scores", "--resamples", "20")
    assert (found, loaded) == (0, []), output


_LAZY = sorted(
    ".".join(("crispseg", *path.parent.relative_to(Path(crispseg.__file__).parent).parts))
    for path in Path(crispseg.__file__).parent.rglob("__init__.py")
    if "lazily(" in path.read_text(encoding="utf-8")
)


def test_some_packages_are_lazy() -> None:
    assert "crispseg" in _LAZY


@pytest.mark.parametrize("name", _LAZY)
def test_lazy_packages_list_the_same_for_type_checkers(name: str) -> None:
    package = importlib.import_module(name)
    assert package.__file__ is not None
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    checked = {(node.module, alias.name) for node in block.body for alias in getattr(node, "names", [])}
    (table,) = [node for node in ast.walk(ast.Module(block.orelse, [])) if isinstance(node, ast.Dict)]
    homes = ast.literal_eval(table)
    run = {(home, name) for home, names in homes.items() for name in names}
    run |= {home.rpartition(".")[::2] for home, names in homes.items() if not names}
    assert run == checked
    assert sorted(package.__all__) == sorted(name for _, name in checked) == dir(package)
    for exported in package.__all__:
        assert getattr(package, exported) is not None


@pytest.mark.parametrize("change", ["model.haed=gff", "loss.egde_weight=3", "loss.edge_weights=3", "data.flods=3"])
def test_a_mistyped_key_is_named_without_pytorch(change: str) -> None:
    code = (
        f"import crispseg\ntry:\n    crispseg.load_recipe('camvid/gscnn', [{change!r}])\n    print('taken')\n"
        "except crispseg.ConfigError as error:\n    assert 'did you mean' in str(error), error"
    )
    assert _loaded_by(code) == []


@pytest.mark.slow
def test_released_parts_are_known_in_a_fresh_process(tmp_path: Path) -> None:
    options = {"backbone": "test_resnet", "num_classes": 3, "channels": 8, "output_stride": 32}
    model = crispseg.create_model("released_deeplabv3plus", context="released_aspp", **options)
    crispseg.save_model(model, tmp_path / "model", half=True)
    code = f"import crispseg; print(type(crispseg.load_model({str(tmp_path / 'model')!r}).head).__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["ReleasedDeepLabV3Plus"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = crispseg.nothing
