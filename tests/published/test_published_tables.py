"""The key tables against the released networks' lists of keys, and against our models."""

import pytest
import torch
from released_files import needs_published, shapes_of

from crispseg.errors import WeightsError
from crispseg.models import build_model, describe, numbered_labels
from crispseg.published import NETWORKS, network_of, recognise

# Parameters in millions and GMACs at 512×512 of the released networks. Theirs compute Decoupled's body classifier in
# evaluation, too: 256 × 256 × 9 + 19 × 256 multiplications at each cell of stride 8.
SIZES = {
    "deeplabv3plus_r50": (40.47, 189.6),
    "decoupled_deeplabv3plus_r50": (41.75, 203.1),
    "decoupled_deeplabv3plus_r101": (60.75, 280.6),
    "decoupled_deeplabv3plus_wrn38": (138.38, 774.3),
    "decoupled_fcn_r50": (30.94, 160.9),
    "decoupled_pspnet_r50": (29.10, 144.8),
    "gscnn_wrn38": (137.28, 755.2),
    "gff_deeplabv3plus_wrn38": (141.10, 808.8),
    "deeplabv3plus_wrn38": (137.10, 728.1),
}
BODY_CLASSIFIER_GMACS = 64 * 64 * 256 * (256 * 9 + 19) / 1e9


def hollow(network, num_classes=19):
    with torch.device("meta"):
        return build_model(network.config, numbered_labels(num_classes))


@needs_published
@pytest.mark.parametrize("name", NETWORKS)
def test_every_released_key_is_mapped_or_known_to_be_unused(name):
    network = NETWORKS[name]
    assert {*network.table, *network.unused} == set(shapes_of(name))
    assert not set(network.table) & set(network.unused)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_tensor_of_the_model_is_filled_by_one_key(name):
    ours = list(NETWORKS[name].table.values())
    assert len(ours) == len(set(ours))
    assert set(ours) == set(hollow(NETWORKS[name]).state_dict()) - {"mean", "std"}


@needs_published
@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_agree(name):
    network, shapes = NETWORKS[name], shapes_of(name)
    ours = {key: tuple(value.shape) for key, value in hollow(network).state_dict().items()}
    assert {key: ours[mapped] for key, mapped in network.table.items()} == {
        key: tuple(shapes[key]) for key in network.table
    }
    assert dict(network.unused) == {key: tuple(shapes[key]) for key in network.unused}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_those_of_the_released_networks(name):
    network = NETWORKS[name]
    found = describe(hollow(network))
    unused = sum(torch.Size(shape).numel() for key, shape in network.unused.items() if not _is_buffer(key))
    parameters, gmacs = SIZES[name]
    assert (found.parameters + unused) / 1e6 == pytest.approx(parameters, abs=0.006)
    computed = found.gmacs + (BODY_CLASSIFIER_GMACS if "decoupled" in name else 0)
    assert computed == pytest.approx(gmacs, abs=0.06)


def _is_buffer(key):
    return key.endswith(("running_mean", "running_var", "num_batches_tracked"))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_recognised_by_its_keys(name):
    network = NETWORKS[name]
    keys = {*network.table, *network.unused}
    assert recognise(keys, "file") is network
    without_counters = {key for key in keys if not key.endswith("num_batches_tracked")}
    assert recognise(without_counters, "file") is network
    assert network_of(hollow(network, num_classes=4)) is network


def test_what_is_none_is_told_apart():
    keys = {*NETWORKS["fcn_r50"].table}
    with pytest.raises(WeightsError, match=r"x: is nearest to fcn_r50, but 1 keys are missing: final\.6\.weight; "):
        recognise(keys - {"final.6.weight"}, "x")
    with pytest.raises(WeightsError, match=r"nearest to fcn_r50, but 2 are unknown: one, two; fetch"):
        recognise(keys | {"one", "two"}, "x")
    with pytest.raises(WeightsError, match=r"holds an image classifier.*pass it as model\.backbone_weights"):
        recognise({"layer1.0.conv1.weight", "fc.weight", "fc.bias"}, "x")
    with pytest.raises(WeightsError, match=r"holds none of the released networks \(2 keys, for instance 'a'\)"):
        recognise({"a", "b"}, "x")


def test_a_model_of_the_papers_is_no_released_network():
    from crispseg.models import create_model

    with torch.device("meta"):
        model = create_model("gscnn", backbone="wide_resnet38")
    with pytest.raises(WeightsError, match="only a converted model can be written"):
        network_of(model)
