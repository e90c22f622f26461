"""Hostile and odd content, through the real command line: done, or one line and exit status 2; never a traceback.

``pytest -m attack`` draws other cases each time and prints their seed; to have them again, set
``CRISPSEG_ATTACK_SEED``.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import zlib

import hostile
import pytest

pytestmark = pytest.mark.attack

ROUNDS = range(4)  # of each kind, so that processes share the work


def files_of(folder, contents, suffix=".png"):
    folder.mkdir(parents=True)
    for number, content in enumerate(contents):
        (folder / f"{number}{suffix}").write_bytes(content)
    return sorted(folder.iterdir())


@pytest.mark.parametrize("_", ROUNDS)
def test_images_in_a_data_set(attack, world, tmp_path, _):
    for number, content in enumerate(hostile.images(attack.rng, 50)):
        data = tmp_path / str(number)
        shutil.copytree(world.data, data)
        which = attack.rng.choice(["images/train/0.png", "labels/train/1.png"])
        (data / which).write_bytes(content)
        attack.run(["data", "check", data, "--layout", "folder"], [f"{number}/{which}"])


@pytest.mark.parametrize("_", ROUNDS)
def test_images_to_segment_are_named_and_the_others_are_done(attack, world, tmp_path, _):
    contents = [*hostile.images(attack.rng, 60)]
    files = files_of(tmp_path / "images", contents)
    shutil.copy(world.data / "images/val/0.png", tmp_path / "images" / "sound.png")
    attack.run(["segment", world.model, tmp_path / "images", "--out", tmp_path / "out"], exits=(0, 1))
    assert (tmp_path / "out" / "sound_labels.png").is_file()
    attack.cases += len(files) - 1  # each of them is one


@pytest.mark.parametrize("_", ROUNDS)
def test_masks_to_score(attack, world, tmp_path, _):
    for number, content in enumerate(hostile.images(attack.rng, 40)):
        masks = tmp_path / str(number)
        shutil.copytree(world.root / "masks_one", masks)
        (masks / "1.png").write_bytes(content)
        encoding = attack.rng.choice(["raw-ids", "train-ids", "colours"])
        options = attack.rng.choice([[], ["--skip-bad"], ["--out", tmp_path / f"{number}out"]])
        table = world.data / "labels.yaml"
        arguments = [
            "score",
            masks,
            world.data / "labels/val",
            "--label-space",
            table,
            "--encoding",
            encoding,
            *options,
        ]
        attack.run(arguments, [f"{number}/1.png", "labels/val", "colour"])


@pytest.mark.parametrize("_", ROUNDS)
def test_label_tables(attack, world, tmp_path, _):
    text = (
        "name: three\nclasses:\n  - {name: sky, ids: [0], colour: [1, 2, 3], category: a}\n"
        "  - name: road\n    ids: [1]\n  - {name: car, ids: [2], has_instances: true}\n"
        "ignore_ids: [9, 255]\nignored_classes: [{name: v, ids: [9]}]\n"
    )
    path = tmp_path / "table.yaml"
    for content in hostile.yaml_texts(text, attack.rng, 60):
        path.write_bytes(content)
        attack.run(["data", "check", world.data, "--layout", "folder", "--labels", path], ["table.yaml", "label table"])


@pytest.mark.parametrize("_", ROUNDS)
def test_recipes(attack, world, tmp_path, _):
    text = (
        "name: x\nmodel: {head: fcn, backbone: test_resnet, channels: 8}\n"
        f"data:\n  layout: folder\n  root: {world.data}\n  crop_hw: [16, 16]\n  scale_range: [1, 2]\n"
        "  flip_probability: 0.5\nloss: {auxiliary_weight: 1}\ntrain:\n  epochs: 1\n  lr: 0.1\n  precision: 32\n"
        "evaluate:\n  radii_px: [1]\n  scales: [1]\n"
    )
    path = tmp_path / "recipe.yaml"
    for content in hostile.yaml_texts(text, attack.rng, 60):
        path.write_bytes(content)
        command = attack.rng.choice([["recipes", path], ["data", "check", "--recipe", path]])
        attack.run(command, ["recipe.yaml", "data.", "name too long", "expected below"])  # the folders of another root


def every_key():
    from crispseg.config import Recipe

    keys = []
    for section, entry in Recipe.model_fields.items():
        inner = getattr(entry.annotation, "model_fields", None)
        keys += [section] if inner is None else [f"{section}.{name}" for name in inner]
    return [*keys, "loss.edge_weight", "data.toy_seed", "zzz", "model.zzz", "model.head_options.x", "a.b.c", "", "."]


@pytest.mark.parametrize("_", ROUNDS)
def test_changes_of_recipes(attack, world, _):
    keys = every_key()
    for _ in range(120):
        change = f"{attack.rng.choice(keys)}={hostile.odd_value(attack.rng)}"
        attack.run(["recipes", world.recipe, "--set", change], ["override", "recipe.yaml"])


@pytest.mark.parametrize("_", ROUNDS)
def test_changes_of_a_training(attack, world, tmp_path, _):
    """What is sound is trained, for a step."""
    too_large = {"data.crop_hw", "data.toy_size_hw", "train.epochs", "train.max_steps"}
    # Lightning starts the other processes with this one's command line, which here is pytest's, and ends this one when
    # they end. What is refused of these keys is tested in tests/train, what is done in `test_several_processes` below.
    several = {"train.devices", "train.nodes"}
    keys = [
        key
        for key in every_key()
        if key.startswith(("train.", "evaluate.", "data.", "loss.")) and key not in too_large | several
    ]
    for number in range(12):
        value = attack.rng.choice([hostile.odd_value(attack.rng), "1", "2", "3", "0.5", "0.999", "1e-6"])
        change = f"{attack.rng.choice(keys)}={attack.rng.choice([value, f'[{value}]', f'[{value},{value}]'])}"
        arguments = [
            "fit",
            world.recipe,
            "--out",
            tmp_path / str(number),
            "--set",
            "train.max_steps=1",
            "--set",
            change,
        ]
        attack.run(arguments, exits=(0, 1, 2))


@pytest.mark.parametrize("key", ["train.devices", "train.nodes"])
def test_several_processes(attack, world, tmp_path, key):
    """As above, by a command of its own."""
    values = [hostile.odd_value(attack.rng), hostile.odd_value(attack.rng), "2", "9"]
    for number, value in enumerate(values):
        value = value.replace("\0", "")  # which no command line can hold
        out = tmp_path / str(number)
        command = ["fit", world.recipe, "--out", out, "--set", "train.max_steps=1", "--set", f"{key}={value}"]
        attack.run_apart(command)


OPTIONS = {
    "segment": [
        "--scales",
        "--class-bias",
        "--window",
        "--max-pixels",
        "--device",
        "--only",
        "--shard",
        "--polygons",
        "--simplify",
    ],
    "serve": ["--host", "--max-bytes", "--max-pixels", "--batch-size", "--window", "--device"],
    "explain": ["--only", "--width", "--edge-threshold", "--crop-factors", "--labels", "--encoding", "--beside"],
    "describe": ["--size", "--classes", "--output-stride", "--backbone", "--context"],
    "compare": ["--resamples", "--seed", "--group-by", "--plot", "--out"],
    "score": [
        "--radii",
        "--crop-factors",
        "--crop-margin",
        "--encoding",
        "--label-space",
        "--workers",
        "--max-pixels",
        "--scores",
    ],
    "evaluate": ["--scores", "--split", "--radii", "--device", "--crop-factors", "--data", "--layout", "--set"],
    "preview": ["--split", "--count", "--seed", "--layout", "--labels"],
    "check": ["--split", "--threads", "--layout", "--out"],
    "convert": ["--from", "--labels"],
    "export": ["--to", "--outputs", "--out"],
}


@pytest.fixture
def taken_port():
    """Where no service can listen, so that one that would begin ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("command", OPTIONS)
def test_options(attack, world, tmp_path, command, taken_port):
    sound = {
        "segment": ["segment", world.model, world.data / "images/val", "--out", "out"],
        "serve": ["serve", world.model, "--port", taken_port],
        "explain": ["explain", world.model, world.data / "images/val/0.png", "--out", "out"],
        "describe": ["describe", "fcn", "--backbone", "test_resnet", "--size", "64x64"],
        "compare": ["compare", *world.runs],
        "score": [
            "score",
            world.root / "masks_one",
            world.data / "labels/val",
            "--label-space",
            world.data / "labels.yaml",
        ],
        "evaluate": ["evaluate", world.model],
        "preview": ["data", "preview", world.data, "--layout", "folder", "--out", "x.png"],
        "check": ["data", "check", world.data, "--layout", "folder"],
        "convert": ["convert", world.model / "weights.safetensors", "--out", "converted"],
        "export": ["export", world.root / "no_model", "--out", "model.onnx"],
    }[command]
    for _ in range(35):
        option, value = attack.rng.choice(OPTIONS[command]), hostile.odd_value(attack.rng)
        if option == "--out" and value.startswith(("/", "~", "..")):
            continue
        values = [value, hostile.odd_value(attack.rng)] if option == "--window" else [value]
        attack.run([*sound, option, *values], exits=(0, 1, 2))


@pytest.mark.parametrize("kind", ["zip", "old", "safetensors"])
@pytest.mark.parametrize("_", range(2))
def test_checkpoints(attack, world, tmp_path, kind, _):
    import torch
    from safetensors.torch import save_file

    state = {"a.weight": torch.rand(3, 4), "a.num": torch.arange(3), "b": torch.rand(2).half()}
    whole = tmp_path / "whole"
    if kind == "safetensors":
        save_file(state, whole)
    else:
        torch.save({"state_dict": state, "epoch": 3}, whole, _use_new_zipfile_serialization=kind == "zip")
    path = tmp_path / f"mutated.{kind}"
    for _ in range(50):
        path.write_bytes(hostile.mutated(whole.read_bytes(), attack.rng))
        attack.run(["convert", path, "--out", tmp_path / "out"], ["mutated"])


def test_networks_of_a_loss(attack, world, tmp_path):
    """Mutated in their head, for most of the file is numbers; what is still sound is trained with, for a step."""
    from crispseg.losses import InverseTransformation, save_inverse_form

    path = tmp_path / "mutated.safetensors"
    save_inverse_form(InverseTransformation(), path)
    whole = path.read_bytes()
    head = 8 + int.from_bytes(whole[:8], "little") + 64
    for number in range(25):
        path.write_bytes(hostile.mutated(whole[:head], attack.rng) + whole[head:])
        changes = ["train.max_steps=1", "loss.inverse_form_weight=1", f"loss.inverse_form_network={path}"]
        command = ["fit", world.recipe, "--out", tmp_path / str(number)]
        for change in changes:
            command += ["--set", change]
        attack.run(command, ["mutated"])


@pytest.mark.parametrize("_", ROUNDS)
def test_cards(attack, world, tmp_path, _):
    card = json.loads((world.model / "card.json").read_text())
    folder = tmp_path / "model"
    shutil.copytree(world.model, folder)
    for content in hostile.json_texts(card, attack.rng, 25):
        (folder / "card.json").write_bytes(content)
        command = attack.rng.choice([["describe", folder, "--size", "32x32"], ["evaluate", folder]])
        attack.run(command, [str(folder), "recipe", "data", "layout"])


@pytest.mark.parametrize("_", ROUNDS)
def test_journals(attack, world, tmp_path, _):
    folder = tmp_path / "run"
    shutil.copytree(world.runs[1], folder)
    lines = (world.runs[1] / "images.jsonl").read_bytes().splitlines()
    for _ in range(50):
        place = attack.rng.randrange(len(lines))
        changed = next(hostile.json_texts(json.loads(lines[place]), attack.rng, 1))
        (folder / "images.jsonl").write_bytes(b"\n".join([*lines[:place], changed, *lines[place + 1 :]]) + b"\n")
        attack.run(["compare", world.runs[0], folder, "--resamples", "20"], ["run", "images"])


def test_folders(attack, world, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "[b]x[/b]").mkdir(parents=True)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "\x1b[31m").mkdir()
    os.mkdir(os.fsencode(tmp_path) + b"/\xff")
    odd = [
        *map(str, tmp_path.iterdir()),
        "",
        ".",
        "/",
        "/dev/null",
        "/dev/zero",
        "/proc/self/mem",
        "x" * 300,
        "a/" * 2000,
        "\0",
    ]
    for path in odd:
        for command in (
            ["segment", path, world.data / "images/val", "--out", "out"],
            ["segment", world.model, path, "--out", "out"],
            ["describe", f"{path}/"],
            ["compare", world.runs[0], path],
            ["score", path, world.data / "labels/val", "--label-space", "camvid"],
            ["score", world.root / "masks_one", world.data / "labels/val", "--label-space", f"./{path}"],
            ["data", "check", path, "--layout", "folder"],
            ["recipes", f"{path}.yaml"],
            ["convert", path, "--out", "converted"],
            ["evaluate", world.model, "--data", path],
        ):
            if path in ("/", ".") and command[:2] == ["score", path]:
                continue  # all the files of this machine
            if path == "/" and command[0] == "segment":
                continue
            attack.run(command, exits=(0, 1, 2))


def test_names_of_classes_and_files(attack, world, tmp_path):
    for number, text in enumerate(hostile.ODD_TEXTS):
        if "/" in text or "\0" in text or not 0 < len(text) < 200 or text in ("~", "."):
            continue
        data = tmp_path / str(number) / text
        shutil.copytree(world.data, data)
        (data / "images/val/0.png").rename(data / f"images/val/{text}0.png")
        (data / "labels/val/0.png").rename(data / f"labels/val/{text}0.png")
        (data / "labels.yaml").write_text(json.dumps({"classes": [text, "b", "c"], "ignore_ids": [9]}))
        attack.run(["data", "check", data, "--layout", "folder"])
        out = tmp_path / f"out{number}"
        labels = data / "labels/val"
        attack.run(["score", labels, labels, "--label-space", data / "labels.yaml", "--out", out])
        attack.run(["segment", world.model, data / "images/val", "--out", out / "pictures"])


LIMIT_MB, LIMIT_SECONDS = 1000, 120  # of a fresh process; half a gigabyte of it is PyTorch

IN_A_FRESH_PROCESS = """
from pathlib import Path
from typer.testing import CliRunner
from crispseg.cli import app
for arguments in {commands!r}:
    result = CliRunner().invoke(app, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), (arguments, repr(result.exception))
    # Not getrusage: its peak begins at what the process that started this one had.
    peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) // 1024
    print(result.exit_code, peak, " ".join(arguments)[:100], result.stderr[:100].replace("\\n", " "))
"""


def test_small_files_cost_little_memory(attack, world, tmp_path):
    """Files under two megabytes that stand for gigabytes."""

    def png(name, width, height, colour=0, depth=8):
        def chunk(kind, content):
            return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

        row = 1 + (width * depth * {0: 1, 2: 3, 6: 4}[colour] + 7) // 8
        packer = zlib.compressobj(9)
        data = b"".join([*(packer.compress(bytes(row * 64)) for _ in range(height // 64)), packer.flush()])
        head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((depth, colour, 0, 0, 0))
        path = tmp_path / name / "a.png"
        path.parent.mkdir()
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
        assert path.stat().st_size < 2_000_000
        return path

    import torch

    big, allowed, deep = png("big", 13_000, 12_992), png("allowed", 6_000, 5_952, 6), png("deep", 6_000, 5_952, 0, 16)
    bomb, table = tmp_path / "bomb.pth", tmp_path / "table.yaml"
    table.write_text("classes: [{name: a, ids: [1]}, {name: b, ids: [2]}]")  # not 0, so that reading is what costs

    class Bytes:
        def __reduce__(self):
            return bytearray, (30_000_000_000,)

    torch.save({"a": torch.zeros(1), "x": Bytes()}, bomb)
    aliases = tmp_path / "aliases.yaml"
    aliases.write_text("a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{f'*a{n - 1},' * 9}]\n" for n in range(1, 20)))
    giant = tmp_path / "giant"
    shutil.copytree(world.model, giant)
    card = json.loads((giant / "card.json").read_text())
    card["model"] |= {"channels": 8192, "backbone": "resnet152"}
    (giant / "card.json").write_text(json.dumps(card))
    commands = [
        ["score", str(image.parent), str(image.parent), "--label-space", str(table), "--encoding", encoding]
        for image in (big, allowed, deep)
        for encoding in ("raw-ids", "colours")
    ]
    commands += [["convert", str(bomb), "--out", str(tmp_path / "out")], ["recipes", str(aliases)]]
    commands += [["describe", str(giant)], ["segment", str(world.model), str(big), "--out", str(tmp_path / "out")]]
    script = IN_A_FRESH_PROCESS.format(commands=commands)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    attack.cases += len(commands)
    peaks = [int(line.split()[1]) for line in done.stdout.splitlines()]
    assert len(peaks) == len(commands)
    assert max(peaks) <= LIMIT_MB, done.stdout
