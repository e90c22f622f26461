"""The CamVid comparison: rows that differ in nothing but what they compare, a lossless pack, honest tables."""

import argparse
import hashlib
import json
import shutil
import statistics
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from crispseg.errors import ConfigError, DataError
from crispseg.io import read_image, read_label_ids, write_png
from crispseg.labels import label_space
from crispseg.models import HEADS, build_model
from crispseg.recipes import differing_keys
from crispseg.train.complete import completed

FOLDER = Path(__file__).parents[2] / "benchmarks" / "camvid"
PAGE = FOLDER.parents[1] / "docs" / "results" / "camvid.md"
CLASSES = label_space("camvid").class_names


@pytest.fixture(autouse=True)
def camvid_scripts(monkeypatch):
    """The scripts as modules, which register heads: both are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(FOLDER))
    known = set(HEADS)
    yield
    for script in FOLDER.glob("*.py"):
        sys.modules.pop(script.stem, None)
    for name in set(HEADS) - known:
        for held in (HEADS._parts, HEADS._plugins, HEADS._options):
            held.pop(name, None)


@pytest.fixture(scope="module")
def small_camvid(tmp_path_factory):
    """Smooth pictures with labels in the tutorial's layout."""
    root = tmp_path_factory.mktemp("camvid")
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 200, 40 * 48).reshape(40, 48, 1)
    for split, count in (("train", 3), ("val", 2)):
        for index in range(count):
            image = (ramp + rng.integers(0, 50, 3) + rng.normal(0, 2, (40, 48, 3))).clip(0, 255).astype(np.uint8)
            write_png(root / split / f"{index}.png", image)
            ids = rng.integers(0, 12, (10, 12)).repeat(4, axis=0).repeat(4, axis=1).astype(np.uint8)
            write_png(root / f"{split}annot" / f"{index}.png", ids)
    return root


def test_curves_are_means_over_seeds_where_all_of_them_were_validated():
    from curves import mean_curve, plot_curves

    runs = [{4: 0.2, 8: 0.4, 12: 0.5}, {4: 0.3, 12: 0.6}]
    assert mean_curve(runs) == pytest.approx({4: 0.25, 12: 0.55})
    assert mean_curve(runs[:1]) == runs[0]
    assert (plot_curves({"PSPNet": runs}) != plot_curves({"PSPNet": runs[:1]})).any()


def test_all_rows_of_a_backbone_share_everything_but_network_and_loss_terms_of_their_own():
    from rows import PEERS, PROTOCOLS, jobs_of, recipe_of

    for protocol in PROTOCOLS:
        for backbone in PROTOCOLS[protocol].backbones:
            recipes = [recipe_of(job, "data") for job in jobs_of(protocol, [backbone], seeds=[0])]
            assert {recipe.model.pretrained for recipe in recipes} == {protocol.startswith("pretrained")}
            assert not any(recipe.model.weights for recipe in recipes)
            for recipe in recipes[1:]:
                keys = differing_keys(recipes[0], recipe)
                own = ("model.head", "model.context", "loss.", "name", "description")
                if recipe.model.head in PEERS:  # their makers' widths and strides
                    own += ("model.channels", "model.output_stride")
                assert [key for key in keys if not key.startswith(own)] == []


def test_three_seeds_for_claims_one_for_the_rest_and_all_rows_before_more_seeds():
    from rows import PEERS, ROWS, jobs_of

    jobs = jobs_of("full", ["resnet18"])
    own = [row for row in ROWS if row not in PEERS]
    seeds = {row: [job.seed for job in jobs if job.row == row] for row in own}
    assert all(found == ([0, 1, 2] if ROWS[row].claim else [0]) for row, found in seeds.items())
    assert [job.row for job in jobs[: len(own)]] == own
    assert len({job.path for job in jobs}) == len(jobs)
    assert all(ROWS[row].baseline is None or ROWS[row].baseline in ROWS for row in ROWS)


@pytest.mark.parametrize("system", ["", "decoupled", "gscnn"])
def test_every_row_is_another_network_or_another_loss_and_can_be_built(system):
    from rows import jobs_of, recipe_of

    recipes = [recipe_of(job, "data", ["model.channels=8"]) for job in jobs_of("full", ["resnet18"], seeds=[0])]
    described = {json.dumps([r.model.model_dump(), r.loss.model_dump()], sort_keys=True) for r in recipes}
    assert len(described) == len(recipes)
    networks = {r.model.model_dump_json(): r for r in recipes}.values()
    mine = [r for r in networks if (r.model.head if r.model.head in ("decoupled", "gscnn") else "") == system]
    assert mine
    for recipe in mine:
        assert build_model(recipe.model, label_space("camvid")).head.auxiliary is None


@pytest.mark.parametrize("row", ["smp_deeplabv3plus", "smp_fpn", "torchvision_lraspp"])
def test_peers_segment_images_of_any_size_and_train_every_parameter(row):
    pytest.importorskip("segmentation_models_pytorch" if row.startswith("smp") else "torchvision")
    from rows import jobs_of, recipe_of

    (job,) = jobs_of("pretrained", rows=[row], seeds=[0])
    recipe = recipe_of(job, "data", ["model.pretrained=false"])
    model = build_model(recipe.model, label_space("camvid"))
    logits = model(torch.rand(2, 3, 52, 70)).logits
    assert logits.shape == (2, 11, 52, 70)
    logits.square().sum().backward()
    assert [name for name, value in model.head.named_parameters() if value.grad is None] == []


def test_a_peer_on_levels_that_it_was_not_made_for_says_so():
    from rows import jobs_of, recipe_of

    (job,) = jobs_of("pretrained", rows=["torchvision_lraspp"], seeds=[0])
    recipe = recipe_of(job, "data", ["model.pretrained=false", "model.output_stride=32"])
    with pytest.raises(ConfigError, match=r"levels at strides \(4, 8, 16, 32\) found, \(4, 8, 16, 16\) expected"):
        build_model(recipe.model, label_space("camvid"))


def test_a_job_of_unknown_names_says_what_there_is():
    from rows import jobs_of

    with pytest.raises(ConfigError, match=r"row 'gfff'.*did you mean 'gff'"):
        jobs_of("full", rows=["gfff"])
    with pytest.raises(ConfigError, match="backbone 'resnet50s'"):
        jobs_of("reduced", ["resnet50s"])


def test_packing_keeps_labels_and_moves_images_by_what_it_says(small_camvid, tmp_path):
    from pack import pack, unpack

    note = pack(small_camvid, tmp_path / "camvid.zip")
    shutil.rmtree(tmp_path / "back", ignore_errors=True)
    assert unpack(tmp_path / "camvid.zip", tmp_path / "back")["images"] == 5
    ratios = []
    for path in sorted(small_camvid.glob("*/*.png")):
        other = tmp_path / "back" / path.relative_to(small_camvid)
        if path.parent.name.endswith("annot"):
            assert np.array_equal(read_label_ids(path), read_label_ids(other))
        else:
            error = np.mean((read_image(path).astype(float) - read_image(other)) ** 2)
            ratios.append(10 * np.log10(255**2 / error))
    assert note["psnr_db_mean"] == pytest.approx(statistics.mean(ratios), abs=0.01)
    assert note["psnr_db_least"] == pytest.approx(min(ratios), abs=0.01)
    assert min(ratios) > 30
    with pytest.raises(DataError, match="MB at quality 94"):
        pack(small_camvid, tmp_path / "large.zip", limit_mb=0.001)
    assert not (tmp_path / "large.zip").exists()


def test_half_size_halves_images_by_area_and_labels_without_new_ids(small_camvid, tmp_path):
    from pack import half_size

    half_size(small_camvid, tmp_path / "half")
    image, small = (read_image(root / "train" / "0.png").astype(float) for root in (small_camvid, tmp_path / "half"))
    assert np.abs(small - image.reshape(20, 2, 24, 2, 3).mean(axis=(1, 3))).max() <= 0.51
    ids, few = (read_label_ids(root / "valannot" / "1.png") for root in (small_camvid, tmp_path / "half"))
    assert np.array_equal(few, ids[::2, ::2])  # blocks of 4×4


@pytest.mark.slow
def test_a_row_is_trained_and_then_done_and_another_recipe_is_refused(small_camvid, tmp_path, monkeypatch):
    import run
    from measure import seconds_per_step
    from rows import jobs_of, recipe_of
    from run import is_done, run_job
    from tables import difference_table, load_results, score_table

    monkeypatch.setattr(run, "seconds_per_step", partial(seconds_per_step, repeats=2, warm_up=0))
    changes = [
        *("train.epochs=1", "train.batch_size=2", "train.warmup_steps=0", "train.validate_every=1"),
        *('train.precision="32"', "train.ema_decay=null", "train.accelerator=cpu", "data.crop_hw=[32,32]"),
        *("model.channels=8", "model.output_stride=32"),
    ]
    arguments = argparse.Namespace(
        protocol="full", root=small_camvid, set=changes, workers=0, commit="abc", backbone_weights=None
    )
    arguments.results, arguments.runs, arguments.keep_checkpoints = tmp_path / "results", tmp_path / "runs", False
    job, other = jobs_of("full", ["resnet18"], ["pspnet", "gff"], [1])
    assert not is_done(job, arguments)
    run_job(job, arguments)
    run_job(other, arguments)
    assert is_done(job, arguments)

    result = json.loads((tmp_path / "results" / job.path / "result.json").read_text())
    assert list(result["scores"]["iou"]) == list(CLASSES)
    assert result["scores"]["images"] == 2
    assert str(small_camvid) not in json.dumps(result)
    assert result["curve"][0]["mean_iou"] == pytest.approx(result["scores"]["mean_iou"], abs=1e-3)
    assert result["seconds_per_step"]["median"] > 0
    assert result["peak_memory"]["bytes"] > 1e7
    exact = json.loads(completed(recipe_of(job, small_camvid, [*changes, "data.workers=0"])).model_dump_json())
    assert result["recipe"] == {**exact, "data": {**exact["data"], "root": None}}  # so that it can be repeated anywhere
    assert not (tmp_path / "runs" / job.path / "checkpoints").exists()
    results = load_results(tmp_path / "results", "full", "resnet18", changes)
    assert f"| PSPNet | 1 | {100 * result['scores']['mean_iou']:.1f} |" in score_table(results, ["fcn", "pspnet"])
    gain = 100 * (results["gff"][1]["scores"]["mean_iou"] - result["scores"]["mean_iou"])
    differences = difference_table(results, ["pspnet", "gff", "gff_dfp"], resamples=20)
    assert f"| PSPNet + GFF | PSPNet | 1 | {gain:+.1f} (".replace("-", "−") in differences
    assert "| PSPNet + GFF + DFP | PSPNet | not run |" in differences

    arguments.set = [*changes, "train.lr=0.5"]
    with pytest.raises(ConfigError, match=r"of another recipe: train.lr was 0.001 and is now 0.5"):
        is_done(job, arguments)
    with pytest.raises(DataError, match="trained otherwise than its row says"):
        load_results(tmp_path / "results", "full", "resnet18")


def test_a_result_of_today_names_its_options_so_that_it_is_not_taken_for_an_old_one():
    from rows import jobs_of, other_values, recipe_of

    recipe = recipe_of(jobs_of("pretrained", rows=["deeplabv3plus_decoupled_letter"], seeds=[0])[0], "data")
    assert "edge_balance" not in recipe.loss.options
    assert list(other_values(recipe, recipe)) == ["loss.edge_balance"]  # as of a version before that option
    assert not other_values(completed(recipe), recipe)


def test_a_result_tells_backbone_weights_by_their_checksum_not_their_place(tmp_path):
    import run
    from rows import jobs_of, other_values, recipe_of

    job = jobs_of("pretrained", rows=["gff"], seeds=[0])[0]
    recipe = recipe_of(job, "data")
    assert run._start_of(recipe) == "tf_efficientnet_lite0"
    assert run._start_of(recipe_of(jobs_of("reduced")[0], "data")) is False
    (tmp_path / "weights.pth").write_bytes(b"abc")
    started = run._with(recipe, "model", backbone_weights=str(tmp_path / "weights.pth"))
    assert run._start_of(started) == {"file": "weights.pth", "sha256": hashlib.sha256(b"abc").hexdigest()}
    kept = run._without_places(started)
    assert str(tmp_path) not in kept.model_dump_json()
    assert not other_values(started, recipe)


def test_a_step_that_diverges_is_recorded_and_shown(tmp_path):
    from tables import score_table, thin_table

    failed = {"pspnet": {0: {"failed": "the loss is nan at step 3", "seed": 0}}}
    for table in (score_table(failed, ["pspnet", "gff"]), thin_table(failed, ["pspnet", "gff"])):
        assert "| PSPNet | failed: seed 0: the loss is nan at step 3 |" in table
        assert "| PSPNet + GFF | not run |" in table


def test_means_have_the_deviation_of_the_sample_over_seeds():
    from tables import spread

    shares = [0.61, 0.64, 0.66]
    assert spread(shares) == f"{100 * np.mean(shares):.1f} ± {100 * np.std(shares, ddof=1):.1f}"
    assert spread([0.5]) == "50.0"
    assert spread([0.5, None]) == "–"  # not the mean of those that have one


def test_the_page_names_every_row_and_says_which_were_not_run():
    from rows import PROTOCOLS, ROWS
    from tables import MARKS

    text = PAGE.read_text(encoding="utf-8")
    tables = text.partition(MARKS[0])[2].partition(MARKS[1])[0]
    for protocol in PROTOCOLS.values():
        for backbone in protocol.backbones:
            section = tables.partition(f"### {protocol.title}: {backbone}\n")[2].partition("\n### ")[0]
            assert f"In all rows {protocol.start}." in section
            assert [row for row in protocol.rows if f"\n| {ROWS[row].title} | " not in section] == []


def test_the_page_s_scores_are_those_of_the_results_beside_it():
    from rows import PROTOCOLS
    from tables import load_results, score_table, thin_table

    text = PAGE.read_text(encoding="utf-8")
    for name, protocol in PROTOCOLS.items():
        for backbone in protocol.backbones:
            results = load_results(PAGE.with_suffix("") / "results", name, backbone)
            assert score_table(results, protocol.rows) in text
            assert not results or thin_table(results, protocol.rows) in text


def test_only_what_is_between_the_marks_changes(tmp_path):
    from tables import MARKS, put_between_marks

    page = tmp_path / "page.md"
    page.write_text(f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n")
    put_between_marks(page, "new\n")
    put_between_marks(page, "new\n")
    assert page.read_text() == f"before\n{MARKS[0]}\nnew\n{MARKS[1]}\nafter\n"
    page.write_text("no marks")
    with pytest.raises(DataError, match="once each, expected"):
        put_between_marks(page, "new")
