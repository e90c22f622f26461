"""Pure functions on tensors: resampling, warping, boundaries, image gradients and windows.

Each is imported from its own file, for instance ``from crispseg.ops.boundaries import boundary_targets``.
"""
