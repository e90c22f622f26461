"""Recipes: YAML files of values, found by path or packaged name, and read strictly.

Example:
    >>> recipe = load_recipe("camvid/gff", ["train.epochs=3", "model.pretrained=false"])
    >>> recipe.train.epochs, recipe.model.head
    (3, 'gff_dfp')
"""

from crispseg.recipes.compare import differing_keys
from crispseg.recipes.files import list_recipes
from crispseg.recipes.load import as_recipe, load_recipe, override, read_saved_recipe, save_recipe

__all__ = ["as_recipe", "differing_keys", "list_recipes", "load_recipe", "override", "read_saved_recipe", "save_recipe"]
