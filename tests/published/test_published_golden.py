"""The converted networks against the released networks' outputs, and against a second implementation."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import reference_networks
import torch
from released_files import PUBLISHED, formula_state, images_of, needs_published, random_state, shapes_of

from crispseg.published import NETWORKS, convert

pytestmark = pytest.mark.slow  # networks of full size: seconds each

WITH_OUTPUTS = ["deeplabv3plus_r50", "decoupled_deeplabv3plus_r50", "gscnn_wrn38", "gff_deeplabv3plus_wrn38"]


def output_of(state, path, image):
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, path)
    model = convert(path)
    path.unlink()
    with torch.inference_mode():
        output = model(images_of(image))
    edges = output.boundary_logits
    return output.logits[0].numpy(), None if edges is None else edges.sigmoid()[0, 0].numpy()


@needs_published
@pytest.mark.parametrize("name", WITH_OUTPUTS)
def test_outputs_are_the_released_networks(name, tmp_path):
    released = np.load(PUBLISHED / "golden" / f"{name}.npz")
    logits, edges = output_of(formula_state(shapes_of(name)), tmp_path / "file.pth", released["image"])
    np.testing.assert_allclose(logits[:, ::4, ::4], released["logits_every_4th_pixel"], rtol=0, atol=1e-4)
    assert (logits.argmax(0) == released["argmax"]).mean() >= 0.999
    assert (edges is None) == ("edge_probability" not in released)
    if edges is not None:
        np.testing.assert_allclose(edges, released["edge_probability"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_those_of_a_second_implementation(name, tmp_path):
    """Other sizes than the files', odd ones, and no need of the files."""
    image = np.random.default_rng(1).integers(0, 256, (97, 131, 3), dtype=np.uint8)
    image[20:60, 30:90] //= 4
    state = random_state(name)
    expected_logits, expected_edges = reference_networks.run(name, state, image)
    logits, edges = output_of(state, tmp_path / "file.pth", image)
    scale = expected_logits.std()
    np.testing.assert_allclose(logits / scale, expected_logits / scale, rtol=0, atol=1e-4)
    assert (logits.argmax(0) == expected_logits.argmax(0)).mean() >= 0.999
    assert (edges is None) == (expected_edges is None)
    if edges is not None:
        np.testing.assert_allclose(edges, expected_edges, rtol=0, atol=1e-4)


MEASURED = """
import sys
from pathlib import Path
import crispseg.published
import torchvision, timm, crispseg.models, crispseg.published.heads  # what a conversion imports is not what it takes

def kilobytes(entry):
    return int(Path("/proc/self/status").read_text().partition(entry)[2].split()[1])

before = kilobytes("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
crispseg.published.convert(sys.argv[1], out=sys.argv[2])
print(kilobytes("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux' /proc")
@pytest.mark.parametrize("bits", [16, 32])
def test_a_conversion_takes_less_than_three_times_the_files_size(bits, tmp_path):
    state = random_state("gscnn_wrn38")
    if bits == 16:
        state = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    path = tmp_path / "file.pth"
    torch.save(state, path)
    command = [sys.executable, "-c", MEASURED, str(path), str(tmp_path / "model")]
    added = 1024 * int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert 0.5 * path.stat().st_size < added < 3 * path.stat().st_size
