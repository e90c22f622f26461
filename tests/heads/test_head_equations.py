"""Heads against what their papers say of them."""

import pytest
import torch

from crispseg.errors import ConfigError
from crispseg.models import create_model

SMALL = {"backbone": "resnet10t", "channels": 8, "output_stride": 16, "num_classes": 3}
IMAGES = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def outputs_of(modules, call):
    """Run `call` and collect what the named modules returned."""
    seen = {}
    handles = [
        module.register_forward_hook(lambda _, args, result, name=name: seen.update({name: (args, result)}))
        for name, module in modules.items()
    ]
    call()
    for handle in handles:
        handle.remove()
    return seen


def test_decoupled_body_and_edge_add_up():
    """F = F_body + F_edge before γ (section 3.1): what γ reads is F − F_body beside the low-level detail (eq. 2)."""
    head = create_model("decoupled", **SMALL).eval()
    parts = {"context": head.head.context, "body": head.head.generate_body, "edge": head.head.merge_edge}
    seen = outputs_of(parts, lambda: head(IMAGES))
    feature, body = seen["context"][1], seen["body"][1][0]
    read = seen["edge"][0][0]
    expected = torch.nn.functional.interpolate(feature - body, size=read.shape[-2:], mode="bilinear")
    torch.testing.assert_close(read[:, : feature.shape[1]], expected)
    assert read.shape[1] == feature.shape[1] + 48


@pytest.mark.parametrize("body", ["flow", "dcn", "spn"])
@pytest.mark.parametrize("fine", [True, False])
def test_decoupled_options_build_and_run(body, fine):
    model = create_model("decoupled", **SMALL, head_options={"body": body, "fine": fine}).train()
    output = model(torch.rand(2, 3, 64, 64))
    assert output.body_logits.shape == output.logits.shape == (2, 3, 64, 64)
    assert output.boundary_logits.shape == (2, 1, 64, 64)


def test_gscnn_boundary_enters_the_context():
    model = create_model("gscnn", **SMALL, head_options={"gradient_in_fusion": False}).eval()
    outputs = []
    seen = outputs_of({"context": model.head.context}, lambda: outputs.append(model(IMAGES)))
    boundary = seen["context"][0][1]
    torch.testing.assert_close(boundary, torch.sigmoid(outputs[0].boundary_logits))


@pytest.mark.parametrize("gradient", ["canny", "sobel", "none"])
@pytest.mark.parametrize("in_stream", [True, False])
@pytest.mark.parametrize("in_fusion", [True, False])
def test_gscnn_gradients_go_where_they_are_asked_to(gradient, in_stream, in_fusion):
    options = {"gradient": gradient, "gradient_in_stream": in_stream, "gradient_in_fusion": in_fusion}
    model = create_model("gscnn", **SMALL, head_options=options).eval()
    head = model.head
    stem = head.info.stem.channels
    assert head.shape_stream.enter.in_channels == stem + int(in_stream and gradient != "none")
    assert (head.join_gradient is not None) == (in_fusion and gradient != "none")
    assert model(IMAGES).boundary_logits.shape == (1, 1, 64, 96)


def test_gscnn_runs_at_image_resolution_unless_told_otherwise():
    for stride, size in ((1, (64, 96)), (2, (32, 48))):
        model = create_model("gscnn", **SMALL, head_options={"stream_stride": stride}).eval()
        maps = model(IMAGES, with_maps=True).maps
        assert maps["attention_1"].shape[-2:] == size


def test_gscnn_takes_any_three_levels():
    model = create_model("gscnn", **SMALL, head_options={"gate_levels": [0, 0, -1]}).eval()
    assert model.head.gate_levels == (0, 0, 3)
    assert model(IMAGES).logits.shape == (1, 3, 64, 96)


@pytest.mark.parametrize(("head", "part"), [("deeplabv3plus", "decoder.detail"), ("decoupled", "detail")])
def test_the_level_of_the_detail_can_be_chosen(head, part):
    """Stride 4 of WideResNet-38, whose shallowest level has stride 2: the costs of Decoupled's table 2a ask for it."""
    model = create_model(head, backbone="resnet10t", channels=8, num_classes=3, head_options={"low_level": 1}).eval()
    detail = model.head.get_submodule(part)
    seen = outputs_of({"detail": detail}, lambda: model(IMAGES))
    assert detail[0].in_channels == model.backbone.info.levels[1].channels
    assert seen["detail"][1].shape == (1, 48, 8, 12)
    with pytest.raises(ConfigError, match="low_level: 4 found, an index into the backbone's 4 levels expected"):
        create_model(head, backbone="resnet10t", head_options={"low_level": 4})


def test_gff_refines_each_level_with_two_convolutions_and_reads_the_context():
    model = create_model("gff", **SMALL).eval()
    assert [len(one) for one in model.head.refine] == [2] * 4
    assert model.head.merge[0].in_channels == 5 * 8
    assert create_model("fpn", **SMALL).head.fuse.num_levels == 5


@pytest.mark.parametrize("name", ["concat", "addition"])
def test_concatenation_and_addition_refine_the_one_fused_map(name):
    """GFF, "Ablation Study on Feature Fusion Methods": two 3×3 layers to refine *the* fused feature map."""
    head = create_model(name, **SMALL).head
    assert [len(one) for one in head.refine] == [2]
    assert head.merge[0].in_channels == 2 * 8  # that map and the context


@pytest.mark.parametrize("name", ["fpn", "gated_fpn"])
def test_the_pyramids_end_in_kirillovs_sum(name):
    """Half as wide, at the finest level's size; the five maps of stride 4, 8, 16 and, dilated, 16 and the context's."""
    model = create_model(name, **{**SMALL, "output_stride": 16}).eval()
    head = model.head
    assert [len(way) for way in head.merge.ways] == [1, 1, 2, 2, 2]
    seen = outputs_of({"merge": head.merge}, lambda: model(IMAGES))
    assert seen["merge"][1].shape == (1, 4, 16, 24)


def test_endings_can_be_chosen_and_are_checked():
    for name in ("concat", "fpn", "gff"):
        for ending in ("levels", "finest", "sum"):
            model = create_model(name, **SMALL, head_options={"ending": ending}).train()
            model(torch.rand(2, 3, 64, 64)).logits.square().sum().backward()
            idle = [key for key, p in model.head.named_parameters() if p.grad is None and "auxiliary" not in key]
            assert idle == []
    with pytest.raises(ConfigError, match=r"head_options\.ending is 'top', 'levels', 'finest' or 'sum' expected"):
        create_model("gff", **SMALL, head_options={"ending": "top"})
    with pytest.raises(ConfigError, match="the dense feature pyramid reads every level"):
        create_model("gff_dfp", **SMALL, head_options={"ending": "sum"})


@pytest.mark.parametrize("name", ["gff", "fpn", "gff_dfp"])
def test_the_stem_joins_the_fused_map_at_its_own_stride(name):
    model = create_model(name, **SMALL, head_options={"stem_channels": 5}).eval()
    head = model.head
    seen = outputs_of({"merge": head.merge, "detail": head.detail, "sharpen": head.sharpen}, lambda: model(IMAGES))
    fused, detail, read = seen["merge"][1], seen["detail"][1], seen["sharpen"][0][0]
    assert fused.shape == (1, 4 if name == "fpn" else 8, 16, 24)
    assert detail.shape == (1, 5, 32, 48)
    raised = torch.nn.functional.interpolate(fused, size=(32, 48), mode="bilinear")
    torch.testing.assert_close(read, torch.cat([raised, detail], dim=1))
    assert seen["sharpen"][1].shape == (1, 4, 32, 48)
    trained = create_model(name, **SMALL, head_options={"stem_channels": 5}).train()
    trained(torch.rand(2, 3, 64, 64)).logits.sum().backward()
    assert trained.head.detail[0].weight.grad.abs().sum() > 0


def test_without_the_stem_there_is_nothing_of_it():
    names = [name for name, _ in create_model("gff", **SMALL).head.named_parameters()]
    assert not [name for name in names if "detail" in name or "sharpen" in name]


def test_auxiliary_classifier_reads_the_mid_level():
    model = create_model("pspnet", **SMALL).train()
    seen = outputs_of({"auxiliary": model.head.auxiliary}, lambda: model(torch.rand(2, 3, 64, 64)))
    assert seen["auxiliary"][0][0].shape[1] == model.backbone.info.levels[-2].channels
    assert create_model("deeplabv3plus", **SMALL).head.auxiliary is None


def test_the_decoder_may_be_separable():
    """DeepLabV3+ (2018), section 3.1: two 3×3 convolutions become a 3×3 of each channel and a 1×1."""
    dense, separable = (
        create_model("deeplabv3plus", head_options={"separable": flag}, **SMALL) for flag in (False, True)
    )
    counts = [sum(p.numel() for p in one.head.decoder.refine.parameters()) for one in (dense, separable)]
    widths = (8 + 48, 8)  # in: context and detail, then the first's result
    assert counts[0] - counts[1] == sum(9 * width * 8 - (9 * width + width * 8) for width in widths)
    assert separable.eval()(IMAGES).logits.shape == (1, 3, 64, 96)
