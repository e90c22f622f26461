"""Backbones: an image goes in, feature maps with known roles, widths and strides come out.

Any timm model with ``features_only`` (`TimmBackbone`), and the dilated WideResNet-38 of GSCNN and its successors
(`WideResNet38`). `build_backbone` finds either by name.
"""

from crispseg.backbones.base import Backbone
from crispseg.backbones.build import build_backbone, list_backbones, register_backbone
from crispseg.backbones.state_files import check_state, load_state, read_state
from crispseg.backbones.timm_backbone import TimmBackbone
from crispseg.backbones.timm_norms import fused_batch_norm
from crispseg.backbones.wide_resnet38 import WideResNet38

__all__ = [
    "Backbone",
    "TimmBackbone",
    "WideResNet38",
    "build_backbone",
    "check_state",
    "fused_batch_norm",
    "list_backbones",
    "load_state",
    "read_state",
    "register_backbone",
]
