"""The catalogue tells the truth about the recipes, and the recipes about the papers."""

import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from crispseg.cli.recipes import recipes
from crispseg.config import PaperConfig
from crispseg.errors import ConfigError
from crispseg.recipes import list_recipes, load_recipe
from crispseg.recipes.catalogue import annotated_yaml, catalogue, markdown_catalogue
from crispseg.recipes.files import find_recipe_file, read_values

ENTRIES = {entry.name: entry for entry in catalogue()}
ROWS = {name: entry for name, entry in ENTRIES.items() if entry.paper.table}
DOC = Path(__file__).parents[2] / "docs" / "recipes.md"
PAPERS = Path(__file__).parents[3] / "shared" / "papers"
PAPER_TEXTS = {
    "GSCNN": "gscnn.txt",
    "Decoupled": "decoupled_body_edge.txt",
    "GFF": "gff.txt",
    "GFF (first version)": "gff_first_version.txt",
}


# ── the catalogue ──


def test_every_recipe_that_is_no_base_has_an_entry():
    assert set(ENTRIES) == {name for name in list_recipes() if not name.startswith("bases/")}


def test_numbers_in_names_are_sorted_as_numbers():
    names = list(ENTRIES)
    assert names.index("gff/table9_pascal_context_gff_dfp_resnet50") < names.index(
        "gff/table10_coco_stuff10k_gff_dfp_resnet101"
    )


def test_words_must_all_match_in_any_case():
    found = [entry.name for entry in catalogue(["ADE20K", "gff_dfp", "resnet50"])]
    assert found == ["gff/first_version_table5_ade20k_gff_dfp_resnet50"]


def test_a_word_that_ends_in_a_digit_ends_the_number():
    tenth, first = ENTRIES["gff/table10_coco_stuff10k_gff_dfp_resnet101"], ENTRIES["gff/table1_gff"]
    assert first.matches(["gff, table 1"])
    assert tenth.matches(["gff, table 10"])
    assert not tenth.matches(["gff, table 1"])
    assert ENTRIES["decoupled/table1b_no_fine"].matches(["decoupled, table 1"])


@pytest.mark.parametrize(
    ("table", "least"),
    [("GSCNN, table 1", 3), ("GSCNN, table 3", 9), ("GSCNN, table 6", 1)]
    + [(f"Decoupled, table {table}", least) for table, least in [("1a", 5), ("1b", 6), ("3b", 1), ("5c", 1)]]
    + [(f"GFF, table {table}", least) for table, least in [(1, 6), (4, 6), (5, 4), (6, 2), (8, 1), (9, 3), (10, 1)]],
)
def test_every_table_has_its_rows(table, least):
    assert sum(entry.matches([table]) for entry in ENTRIES.values()) >= least


def test_the_documents_table_is_this_one():
    found = re.search(r"<!-- catalogue -->\n(.*)\n<!-- /catalogue -->", DOC.read_text(encoding="utf-8"), re.DOTALL)
    assert found, "docs/recipes.md has lost the marks <!-- catalogue --> and <!-- /catalogue -->"
    assert found[1].strip() == markdown_catalogue(), "put the output of `crispseg recipes --markdown` between the marks"


# ── a recipe as YAML with sources ──


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("gff/table1_gff_stage2", []),
        ("gscnn/table3_resnet50_gcl", ["model.head_options.stream_stride=2", "name='a, b: # c'"]),
        ("decoupled/table5a_camvid_wide_resnet38_cityscapes", ["evaluate.scales=[0.5, 1]", "data.root='~/x y'"]),
        ("camvid/quick_cpu", ["train.clip_norm=null"]),
    ],
)
def test_the_yaml_is_a_recipe_of_the_same_values(name, overrides, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(annotated_yaml(name, overrides), encoding="utf-8")
    assert load_recipe(path) == load_recipe(name, overrides)


def test_the_yaml_says_where_values_come_from():
    lines = annotated_yaml("decoupled/table1b_no_fine", ["train.lr=0.1", "train.lr=0.2"]).splitlines()
    assert "  head_options: {fine: false} # decoupled/table1b_no_fine" in lines
    assert "  context: identity # decoupled/table1a_decoupled_fcn_resnet50" in lines
    assert "  batch_size: 8 # bases/decoupled" in lines
    assert "  lr: 0.2 # --set" in lines
    assert "  seed: 0" in lines  # a default
    assert "name: decoupled-table1b_no_fine" in lines


# ── the command ──


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(recipes)
    return lambda *arguments: CliRunner().invoke(app, arguments)


def test_the_command_lists(run):
    result = run("gff", "table 4", "resnet18")
    assert result.exit_code == 0
    assert "3 recipes" in result.stdout
    assert re.search(r"gff/table4_pspnet_resnet18_gff_dfp .* 78\.9 .* PSP \+ GFF\+DFP", result.stdout)
    assert "gff/table1_gff" not in result.stdout


def test_the_command_prints_one_recipe(run):
    assert run("gff/table1_gff").stdout == annotated_yaml("gff/table1_gff")
    changed = run("bases/gff", "--set", "train.epochs=3")
    assert "  epochs: 3 # --set" in changed.stdout


def test_the_command_prints_a_file(run, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("base: gff/table1_gff\ntrain: {epochs: 5}\n", encoding="utf-8")
    assert f"  epochs: 5 # {path}" in run(str(path)).stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["no-such-thing"], "no recipe has 'no-such-thing'; crispseg recipes lists all"),
        (["gff", "toy", "nowhere"], "no recipe has 'gff' and 'toy' and 'nowhere'"),
        (["--set", "train.lr=1"], "--set changes the values of one recipe, but 0 names were given"),
        (["toy/gff", "--set", "train.lrr=1"], "did you mean 'train.lr'?"),
    ],
)
def test_the_command_says_in_a_line_what_is_wrong(run, arguments, expected):
    error = run(*arguments).exception
    assert isinstance(error, ConfigError)
    assert expected in str(error)
    assert "\n" not in str(error)


# ── the papers ──


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_stated_by_the_recipe_itself_and_not_inherited(name):
    own = read_values(find_recipe_file(name))["paper"]
    assert ROWS[name].paper == PaperConfig(**own)


# What the papers print as the gain of one row over another.
GAINS = [
    ("gscnn/table3_resnet50_gradients", "gscnn/table3_resnet50_baseline", 1.7),  # table 5
    ("gscnn/table3_resnet101_gradients", "gscnn/table3_resnet101_baseline", 2.0),
    ("gscnn/table3_wide_resnet38_gradients", "gscnn/table3_wide_resnet38_baseline", 0.9),
    *(
        (f"decoupled/{name}", "decoupled/table1a_fcn_resnet50", gain)
        for name, gain in [
            ("table1a_decoupled_fcn_resnet50", 3.5),
            ("table1c_bilinear", 1.6),
            ("table1c_naive_conv", 3.1),
            ("table1d_deconv", 2.4),
            ("table1d_nearest", 2.9),
            ("table1e_1_conv", 2.6),
            ("table1e_3_convs", 2.2),
            ("table1e_4_convs", 1.9),
            ("table1f_spn", 1.3),
            ("table1f_dcn", 0.9),
            ("table1f_gscnn", 1.2),
        ]
    ),
    ("decoupled/table1a_decoupled_fcn_resnet101", "decoupled/table1a_fcn_resnet101", 3.0),
    *(
        (f"decoupled/{name}", "decoupled/table1b_no_supervision", gain)
        for name, gain in [
            ("table1b_body_only", 1.3),
            ("table1b_bce_only", 0.2),
            ("table1b_ohem_only", 1.4),
            ("table1b_no_fine", 2.2),
            ("table1b_no_ohem", 1.9),
            ("table1a_decoupled_fcn_resnet50", 3.0),
        ]
    ),
    *(
        (f"decoupled/{table}_decoupled_{network}", f"decoupled/{table}_{network}", gain)
        for table, network, gain in [
            ("table2a", "pspnet_resnet50", 1.4),
            ("table2a", "deeplabv3plus_resnet50", 1.8),
            ("table2a", "deeplabv3plus_wide_resnet38", 1.1),
            ("table2b", "deeplabv3plus_resnet101", 1.9),
        ]
    ),
    *(
        (f"gff/{name}", "gff/table1_pspnet", gain)
        for name, gain in [
            ("table1_concat", 0.2),
            ("table1_addition", 0.1),
            ("table1_fpn", 0.7),
            ("table1_gated_fpn", 0.8),
            ("table1_gff", 1.8),
            ("table2_gff_dfp", 2.6),
            ("table2_gff_dfp_ms", 3.2),
        ]
    ),
    ("gff/table4_denseaspp_densenet121_gff", "gff/table4_denseaspp_densenet121", 1.2),
    ("gff/table4_denseaspp_densenet121_gff_dfp", "gff/table4_denseaspp_densenet121", 2.0),
    ("gff/table4_pspnet_resnet18_gff", "gff/table4_pspnet_resnet18", 3.6),
    ("gff/table4_pspnet_resnet18_gff_dfp", "gff/table4_pspnet_resnet18", 5.9),
]


@pytest.mark.parametrize(("better", "worse", "gain"), GAINS)
def test_the_gains_are_those_that_the_papers_print(better, worse, gain):
    found = ROWS[better].paper.mean_iou - ROWS[worse].paper.mean_iou
    assert found == pytest.approx(gain, abs=1e-6)


# In each paper's text the rows that have no name of their own: marks, columns or headings tell them.
UNNAMED = {"L_body", "L_bce", "L_edge-ohem"}


@pytest.mark.parametrize("name", ROWS)
def test_the_numbers_stand_in_the_papers_row(name):
    paper = ROWS[name].paper
    source = PAPERS / PAPER_TEXTS[paper.table.partition(", ")[0]]
    if not source.is_file():
        pytest.skip(f"the papers' texts are not here ({source})")
    lines = [re.sub("<.*?>", "", line) for line in source.read_text(encoding="utf-8").splitlines()]
    words = re.findall(r"[A-Za-z+][\w+/-]+", paper.row)
    for number in (paper.mean_iou, *paper.boundary_f.values()):
        if number is None:
            continue
        with_number = [line for line in lines if re.search(rf"(?<![\d.]){number}(?![\d.])", line)]
        assert with_number, f"{number} is nowhere in the paper"
        if paper.row not in UNNAMED:
            named = [line for line in with_number if any(word.casefold() in line.casefold() for word in words)]
            assert named, f"{number} is in no line with one of {words}"


# FACTS of the papers' implementation details: side of the crop, batch, learning rate.
@pytest.mark.parametrize(("paper", "crop", "batch", "rate"), [("gscnn", 800, 16, 1e-2), ("gff", 864, 8, 1e-3)])
def test_rows_on_cityscapes_have_the_papers_settings(paper, crop, batch, rate):
    found = {
        (entry.recipe.data.crop_hw, entry.recipe.train.batch_size, entry.recipe.train.lr)
        for name, entry in ROWS.items()
        if name.startswith(f"{paper}/") and entry.recipe.data.layout == "cityscapes"
    }
    assert found == {((crop, crop), batch, rate)}


def test_decoupled_rows_on_cityscapes_have_the_papers_settings():
    for name, entry in ROWS.items():
        if name.startswith("decoupled/") and entry.recipe.data.layout == "cityscapes":
            assert entry.recipe.data.crop_hw == (832, 832)
            assert entry.recipe.train.batch_size == 8
            assert entry.recipe.train.lr == (0.005 if name.endswith("_stage2") else 0.01)
            assert entry.recipe.train.epochs == (300 if "table3" in name else 175)
