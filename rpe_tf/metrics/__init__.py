"""Figures of merit on arrays and files: NumPy and SciPy only, no TensorFlow."""
