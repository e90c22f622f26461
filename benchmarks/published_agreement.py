"""Convert each released network with rebuilt weights and compare its outputs. Prints a Markdown table.

    python benchmarks/published_agreement.py PUBLISHED [NAME …]

PUBLISHED is the folder with ``NAME.keys.json`` and ``golden/NAME.npz``. Networks without a golden file are compared
with the second implementation of ``tests/published/reference_networks.py``, at 97×131 pixels.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "published"))


def main():
    if len(sys.argv) > 2 and sys.argv[2] == "--one":
        print(one(Path(sys.argv[1]), sys.argv[3]))
        return
    from crispseg.published import NETWORKS

    print("| network | compared with | logits: largest difference | equal arg max | edge probability | seconds |")
    print("|---|---|---:|---:|---:|---:|")
    for name in sys.argv[2:] or NETWORKS:
        # A process each, so that each has its own peak.
        print(
            subprocess.run(
                [sys.executable, __file__, sys.argv[1], "--one", name], check=True, capture_output=True, text=True
            ).stdout,
            end="",
            flush=True,
        )


def one(published, name):
    import reference_networks
    from released_files import formula_state, images_of, shapes_of

    from crispseg.published import convert

    golden = published / "golden" / f"{name}.npz"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.pth"
        torch.save(formula_state(shapes_of(name)), path)
        started = time.perf_counter()
        model = convert(path, out=Path(folder) / "model")
        seconds = time.perf_counter() - started
    if golden.is_file():
        released = np.load(golden)
        image, against, step = released["image"], "released output", 4
        expected, argmax = released["logits_every_4th_pixel"], released["argmax"]
        expected_edges = released.get("edge_probability")
    else:
        image = np.random.default_rng(1).integers(0, 256, (97, 131, 3), dtype=np.uint8)
        against, step = "second implementation", 1
        expected, expected_edges = reference_networks.run(name, formula_state(shapes_of(name)), image)
        argmax = expected.argmax(0)
    with torch.inference_mode():
        output = model(images_of(image))
    logits = output.logits[0].numpy()
    difference = np.abs(logits[:, ::step, ::step] - expected).max()
    equal = (logits.argmax(0) == argmax).mean()
    edge = "–"
    if expected_edges is not None:
        found = output.boundary_logits.sigmoid()[0, 0].numpy()
        edge = f"{np.abs(found - expected_edges).max():.1e}"
    return f"| `{name}` | {against} | {difference:.1e} | {100 * equal:.3f} % | {edge} | {seconds:.1f} |"


if __name__ == "__main__":
    main()
