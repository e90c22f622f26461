"""Toy streets: procedural pictures of streets with labels that are exact to the pixel.

A street is a small three-dimensional scene seen through a pinhole: ground, walls and sky are painted by casting every
pixel's ray, everything else from far to near. Image and labels are painted by the same call, so they cannot differ.
"""

from crispseg.streets.scene import make_street

__all__ = ["make_street"]
