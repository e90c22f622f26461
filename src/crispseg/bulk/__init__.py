"""Many images: found, segmented and written, one after another, whatever single ones are like."""

from typing import TYPE_CHECKING

from crispseg.lazy import lazily

if TYPE_CHECKING:
    from crispseg.bulk.collect import are_videos, collect_images
    from crispseg.bulk.on_ray import OnRay
    from crispseg.bulk.outputs import OUTPUTS, Output, choose_outputs, overlay_output, polygon_output
    from crispseg.bulk.run import Failure, Segmented, segment_images
    from crispseg.bulk.scenes import SCENE_MAPS, SceneMap, choose_scene_maps, segment_scenes
    from crispseg.bulk.video import VIDEO_OUTPUTS, VideoOutput, choose_video_outputs, segment_videos
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "crispseg.bulk.collect": ("are_videos", "collect_images"),
            "crispseg.bulk.on_ray": ("OnRay",),
            "crispseg.bulk.outputs": ("OUTPUTS", "Output", "choose_outputs", "overlay_output", "polygon_output"),
            "crispseg.bulk.run": ("Failure", "Segmented", "segment_images"),
            "crispseg.bulk.scenes": ("SCENE_MAPS", "SceneMap", "choose_scene_maps", "segment_scenes"),
            "crispseg.bulk.video": ("VIDEO_OUTPUTS", "VideoOutput", "choose_video_outputs", "segment_videos"),
        },
    )

__all__ = [
    "OUTPUTS",
    "SCENE_MAPS",
    "VIDEO_OUTPUTS",
    "Failure",
    "OnRay",
    "Output",
    "SceneMap",
    "Segmented",
    "VideoOutput",
    "are_videos",
    "choose_outputs",
    "choose_scene_maps",
    "choose_video_outputs",
    "collect_images",
    "overlay_output",
    "polygon_output",
    "segment_images",
    "segment_scenes",
    "segment_videos",
]
