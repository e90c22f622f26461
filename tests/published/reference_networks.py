"""The released networks a second time: plain functions on a released state dict, from the published description.

Written apart from ``crispseg.published``, which it checks: no modules, no key tables, other building blocks.
"""

import cv2
import numpy as np
import torch
import torch.nn.functional as F

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Weights:
    """A state dict with a place in it: ``w.conv("aspp.features.0.0", x)``."""

    def __init__(self, state):
        self.state = state

    def conv(self, name, x, stride=1, dilation=1, padding=None, groups=1):
        weight = self.state[f"{name}.weight"]
        if padding is None:
            padding = dilation * (weight.shape[-1] // 2)
        return F.conv2d(x, weight, self.state.get(f"{name}.bias"), stride, padding, dilation, groups)

    def norm(self, name, x):
        mean, variance = self.state[f"{name}.running_mean"], self.state[f"{name}.running_var"]
        scale = self.state[f"{name}.weight"] / torch.sqrt(variance + 1e-5)
        shift = self.state[f"{name}.bias"] - mean * scale
        return x * scale[:, None, None] + shift[:, None, None]

    def has(self, name):
        return any(key.startswith(f"{name}.") for key in self.state)


def run(name, state, image):
    """(H, W, 3) uint8 → logits (K, H, W), and edge probability (H, W) or None."""
    w = Weights(state)
    normalised = (image.astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
    x = torch.from_numpy(normalised).permute(2, 0, 1)[None]
    levels = wide_resnet38(w, x) if name.endswith("wrn38") else deep_resnet(w, x)
    with torch.inference_mode():
        if name.startswith("gscnn"):
            return gscnn(w, levels, normalised)
        if name.startswith("gff"):
            return gff(w, levels, image.shape[:2])
        if name.startswith("decoupled"):
            return decoupled(w, levels, image.shape[:2])
        return baseline(w, levels, image.shape[:2])


def up(x, like):
    size = like if isinstance(like, tuple) else like.shape[-2:]
    return F.interpolate(x, size, mode="bilinear", align_corners=True)


# ── trunks ──


def deep_resnet(w, x):
    x = w.norm("layer0.0.1", w.conv("layer0.0.0", x, stride=2)).relu()
    x = w.norm("layer0.0.4", w.conv("layer0.0.3", x)).relu()
    x = w.norm("layer0.1", w.conv("layer0.0.6", x)).relu()
    x = F.max_pool2d(x, 3, 2, 1)
    levels = {}
    for stage, stride, dilation in ((1, 1, 1), (2, 2, 1), (3, 1, 2), (4, 1, 4)):
        block = 0
        while w.has(f"layer{stage}.{block}"):
            x = bottleneck(w, f"layer{stage}.{block}", x, stride if block == 0 else 1, dilation)
            block += 1
        levels[stage] = x
    return {"low": levels[1], "top": levels[4]}


def bottleneck(w, name, x, stride, dilation):
    y = w.norm(f"{name}.bn1", w.conv(f"{name}.conv1", x)).relu()
    y = w.norm(f"{name}.bn2", w.conv(f"{name}.conv2", y, stride=stride, dilation=dilation)).relu()
    y = w.norm(f"{name}.bn3", w.conv(f"{name}.conv3", y))
    if w.has(f"{name}.downsample"):
        x = w.norm(f"{name}.downsample.1", w.conv(f"{name}.downsample.0", x, stride=stride))
    return (x + y).relu()


def wide_resnet38(w, x):
    mods = {1: w.conv("mod1.conv1", x)}
    x = mods[1]
    for mod in range(2, 8):
        if mod in (2, 3):
            x = F.max_pool2d(x, 3, 2, 1)
        dilation = {5: 2, 6: 4, 7: 4}.get(mod, 1)
        block = 1
        while w.has(f"mod{mod}.block{block}"):
            name = f"mod{mod}.block{block}"
            stride = 2 if mod == 4 and block == 1 else 1
            activated = w.norm(f"{name}.bn1.0", x).relu()
            shortcut = w.conv(f"{name}.proj_conv", activated, stride=stride) if w.has(f"{name}.proj_conv") else x
            kernel = w.state[f"{name}.convs.conv1.weight"].shape[-1]
            y = w.conv(f"{name}.convs.conv1", activated, stride=stride, dilation=dilation if kernel == 3 else 1)
            y = w.norm(f"{name}.convs.bn2.0", y).relu()
            y = w.conv(f"{name}.convs.conv2", y, dilation=dilation)
            if w.has(f"{name}.convs.conv3"):
                y = w.conv(f"{name}.convs.conv3", w.norm(f"{name}.convs.bn3.0", y).relu())
            x = shortcut + y
            block += 1
        mods[mod] = x
    return {"low": mods[2], "top": mods[7], **mods}


# ── tops ──


def conv_norm_relu(w, name, x, first=0, **options):
    return w.norm(f"{name}.{first + 1}", w.conv(f"{name}.{first}", x, **options)).relu()


def top_of(w, levels, edge=None):
    x = levels["top"]
    if w.has("fcn_head"):
        return conv_norm_relu(w, "fcn_head", x)
    if w.has("ppm"):
        pooled = []
        for index, bins in enumerate((1, 2, 3, 6)):
            y = w.conv(f"ppm.stages.{index}.1", F.adaptive_avg_pool2d(x, bins))
            pooled.append(up(w.norm(f"ppm.stages.{index}.2", y), x))
        return conv_norm_relu(w, "ppm.bottleneck", torch.cat([*pooled, x], 1))
    image_pooling = conv_norm_relu(w, "aspp.img_conv", x.mean((2, 3), keepdim=True))
    parts = [up(image_pooling, x)]
    if edge is not None:
        parts.append(conv_norm_relu(w, "aspp.edge_conv", up(edge, x)))
    for index, dilation in enumerate((1, 12, 24, 36)):
        parts.append(conv_norm_relu(w, f"aspp.features.{index}", x, dilation=dilation))
    return w.conv("bot_aspp", torch.cat(parts, 1))


def classify(w, name, x):
    x = conv_norm_relu(w, name, x)
    x = conv_norm_relu(w, name, x, first=3)
    return w.conv(f"{name}.6", x)


# ── networks ──


def baseline(w, levels, size):
    low = w.conv("bot_fine", levels["low"])
    logits = classify(w, "final", torch.cat([low, up(top_of(w, levels), low)], 1))
    return up(logits, size)[0].numpy(), None


def decoupled(w, levels, size):
    x = top_of(w, levels)
    low = w.conv("bot_fine", levels["low"])
    coarse = x
    for index in (0, 3):
        coarse = w.conv(f"squeeze_body_edge.down.{index}", coarse, stride=2, padding=0, groups=coarse.shape[1])
        coarse = w.norm(f"squeeze_body_edge.down.{index + 1}", coarse).relu()
    flow = w.conv("squeeze_body_edge.flow_make", torch.cat([x, up(coarse, x)], 1))[0]
    height, width = x.shape[-2:]
    grid_x = torch.linspace(-1, 1, width)[None, :] + flow[0] / width
    grid_y = torch.linspace(-1, 1, height)[:, None] + flow[1] / height
    body = F.grid_sample(x, torch.stack([grid_x, grid_y], -1)[None], "bilinear", "zeros", align_corners=False)
    edge = w.conv("edge_fusion", torch.cat([up(x - body, low), low], 1))
    edge_logit = up(w.conv("edge_out.3", conv_norm_relu(w, "edge_out", edge)), size)
    logits = classify(w, "final_seg", torch.cat([up(x, low), edge + up(body, low)], 1))
    return up(logits, size)[0].numpy(), edge_logit.sigmoid()[0, 0].numpy()


def gscnn(w, levels, normalised):
    size = normalised.shape[:2]
    sides = {mod: up(w.conv(f"dsn{mod}", levels[mod]), size) for mod in (3, 4, 7)}
    s = levels[1]
    for step, mod in enumerate((3, 4, 7), start=1):
        y = w.norm(f"res{step}.bn1", w.conv(f"res{step}.conv1", s)).relu()
        y = w.norm(f"res{step}.bn2", w.conv(f"res{step}.conv2", y))
        s = w.conv(f"d{step}", (s + y).relu())
        gate = f"gate{step}._gate_conv"
        a = w.norm(f"{gate}.0", torch.cat([s, sides[mod]], 1))
        a = w.conv(f"{gate}.3", w.conv(f"{gate}.1", a).relu())
        s = w.conv(f"gate{step}", s * (w.norm(f"{gate}.4", a).sigmoid() + 1))
    edge = w.conv("fuse", s).sigmoid()
    canny = cv2.Canny(np.ascontiguousarray(normalised.astype(np.int32).astype(np.uint8)), 10, 100)
    joined = w.conv("cw", torch.cat([edge, torch.from_numpy(canny.astype(np.float32))[None, None]], 1)).sigmoid()
    low = w.conv("bot_fine", levels["low"])
    logits = classify(w, "final_seg", torch.cat([low, up(top_of(w, levels, joined), low)], 1))
    logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
    return logits[0].numpy(), edge[0, 0].numpy()


def gff(w, levels, size):
    raw = [levels[2], levels[5], top_of(w, levels)]
    x = [conv_norm_relu(w, f"gff_head.d_in{i}", level) for i, level in enumerate(raw, start=1)]
    g = [w.conv(f"gff_head.gate{i}.0", level).sigmoid() for i, level in enumerate(raw, start=1)]
    unfused = x[2]
    for i in range(3):
        others = [up(g[j] * x[j], x[i]) for j in range(3) if j != i]
        x[i] = x[i] + g[i] * x[i] + (1 - g[i]) * (others[0] + others[1])
    finest = x[0]

    def dense(rate, y):
        name = f"gff_head.dense_{rate}"
        y = w.conv(f"{name}.conv1", w.norm(f"{name}.norm1", y).relu())
        return w.conv(f"{name}.conv2", w.norm(f"{name}.norm2", y).relu(), dilation=rate)

    dense3 = dense(3, up(x[2], finest))
    dense6 = dense(6, torch.cat([dense3, up(x[1], finest)], 1))
    dense9 = dense(9, torch.cat([dense3, dense6, finest], 1))
    logits = classify(w, "gff_head.cls", torch.cat([dense3, up(unfused, finest), dense6, dense9], 1))
    return up(logits, size)[0].numpy(), None
