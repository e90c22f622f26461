# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Your first model, in Python
#
# The [tutorial](first-model.md) as a notebook: `jupytext --to ipynb first_model.py` makes one, and Jupyter with
# jupytext opens this file itself. It is small enough to run in a minute on a CPU, so the network learns little; the
# tutorial's learns more.

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

import crispseg
from crispseg.io import read_label_ids, write_png
from crispseg.labels import label_space
from crispseg.pictures import colourise, sheet
from crispseg.streets import make_street

workspace = TemporaryDirectory()  # a folder of your own serves as well
folder = Path(workspace.name, "my_streets")

# %% [markdown]
# ## Images and labels
#
# Here streets are drawn. Have you photographs and label files, put them into these folders.

# %%
for split, count in (("train", 16), ("val", 4)):
    (folder / "images" / split).mkdir(parents=True)
    (folder / "labels" / split).mkdir(parents=True)
    for number in range(count):
        image, labels = make_street((number, split == "val"), size_hw=(96, 128))
        write_png(folder / "images" / split / f"{number:02}.png", image)
        write_png(folder / "labels" / split / f"{number:02}.png", labels)

space = label_space("toy_streets")
space

# %%
from PIL import Image

Image.fromarray(sheet([[image, colourise(labels, space.palette)]]))

# %% [markdown]
# ## Train
#
# A recipe is a set of values. Here it starts from a packaged one and changes some.

# %%
recipe = crispseg.load_recipe(
    "toy/gff",
    [
        "data.layout=folder",
        f"data.root={folder}",
        "data.labels=toy_streets",
        "data.crop_hw=[96, 96]",
        "model.channels=32",
        "train.epochs=3",
        "train.warmup_steps=2",
        "train.picture_count=0",
    ],
)
result = crispseg.fit(recipe, Path(workspace.name, "run"), progress=False)
result.scores

# %% [markdown]
# ## Use it
#
# A model shows its parts, a prediction shows itself.

# %%
model = crispseg.load_model(result.model_folder)
model

# %%
predictor = crispseg.Predictor(model)
prediction = predictor(folder / "images/val/00.png")
prediction

# %% [markdown]
# ## See what it does
#
# Every picture is an array. Here: what each gate lets pass, and where the mask is wrong.

# %%
pictures = crispseg.explain(
    model,
    folder / "images/val/00.png",
    labels=read_label_ids(folder / "labels/val/00.png").astype("uint8"),
    only=["gates", "errors"],
)
Image.fromarray(pictures["gates"])

# %%
Image.fromarray(pictures["errors"])

# %% [markdown]
# ## Take it elsewhere
#
# One file for images of every size, which runs without PyTorch. It is compared with the network before it is put in
# place. It needs the extra `[onnx]`.

# %%
from crispseg.export import export_model

export_model(model, Path(workspace.name, "my_streets.onnx"))

# %%
workspace.cleanup()
