"""A search for the smallest file that still ranks well: pruning, quantization scheme, transitions, distillation."""
