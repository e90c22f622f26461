"""Does this look right? Values beside structure: what is possible and yet probably not meant, each with its cure.

Pure functions on counts and small arrays, which check, preview, training, evaluation, scoring and segmenting share.
Each gives `Oddity` values: a sentence on one line, and whether anything sensible can follow.
"""

from crispseg.plausibility.oddity import Oddity

__all__ = ["Oddity"]
