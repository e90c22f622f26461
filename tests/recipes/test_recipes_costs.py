"""What the networks of the recipes cost, beside the cost columns of the papers' tables."""

import pytest
import torch

from crispseg.models import build_model, describe, numbered_labels
from crispseg.recipes import load_recipe


def cost(name):
    """Parameters (M) and multiply-adds (G) of a recipe's network at 512×512 with 19 classes, in evaluation."""
    config = load_recipe(name).model.without_sources()
    with torch.device("meta"):
        model = build_model(config, numbered_labels(19))
    counted = describe(model, (512, 512))
    return counted.inference_parameters / 1e6, counted.gmacs


@pytest.mark.slow
# Decoupled, table 2a, "FLOPS" (multiply-adds): the baseline, and what the module adds to it.
@pytest.mark.parametrize(
    ("network", "baseline", "added"),
    # WideResNet-38 adds 7.5 there, 9.2 here (all else being as on ResNet-50, whose 9.0 is met): not explained.
    [
        ("pspnet_resnet50", 132.1, 9.2),
        ("deeplabv3plus_resnet50", 190.1, 9.0),
        ("deeplabv3plus_wide_resnet38", 664.5, 9.2),
    ],
)
def test_decoupleds_baselines_cost_what_its_table_says(network, baseline, added):
    _, ours = cost(f"decoupled/table2a_{network}")
    _, with_module = cost(f"decoupled/table2a_decoupled_{network}")
    assert ours == pytest.approx(baseline, rel=0.01)
    edge_classifier = 128 * 128 * 48 * (256 * 9 + 1) / 1e9  # the table fits a count without it: it decides no label
    assert with_module - ours - edge_classifier == pytest.approx(added, rel=0.025)


@pytest.mark.parametrize(
    "row",
    [
        *("table1a_fcn_resnet50", "table1a_fcn_resnet101", "table2a_pspnet_resnet50", "table2a_deeplabv3plus_resnet50"),
        "table2a_deeplabv3plus_wide_resnet38",
    ],
)
def test_the_baselines_of_decoupled_differ_from_it_by_the_module_alone(row):
    """The same context and the same decoder, so that a difference measures body and edge."""
    baseline = load_recipe(f"decoupled/{row}")
    table, _, network = row.partition("_")
    ours = load_recipe(f"decoupled/{table}_decoupled_{network}")
    assert baseline.model.head == "deeplabv3plus"
    assert ours.model.model_copy(update={"head": "deeplabv3plus"}) == baseline.model


@pytest.mark.slow
def test_gffs_networks_cost_what_its_table_says():
    """GFF, table 3: 65.6 M parameters for PSPNet; DFP adds 25.4 GFLOPs, two to a multiply-add, and 0.8 M."""
    (plain, _), (_, gff), (_, dense) = (cost(f"gff/{row}") for row in ("table1_pspnet", "table1_gff", "table2_gff_dfp"))
    assert plain == pytest.approx(65.6, abs=0.05)
    cells_of_stride_4 = 128 * 128
    # Five 1×1 convolutions of 256 to 1280 channels; the table's 0.8 M would be twelve times 256² where these are 15.
    assert dense - gff == pytest.approx(cells_of_stride_4 * 15 * 256**2 / 1e9, rel=1e-6)
    assert (dense - gff) / 15 == pytest.approx(25.4 / 2 / 12, rel=0.02)
