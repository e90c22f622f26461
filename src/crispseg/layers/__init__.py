"""Building blocks that carry parameters: convolution blocks, gates, flow fields, fusions of levels."""
