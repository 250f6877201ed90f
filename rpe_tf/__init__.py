"""Recurrent Pixel Embedding for Instance Grouping (Kong & Fowlkes, CVPR 2018) in TensorFlow."""

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Returns `load`, imported at first use so that `import rpe_tf` needs no TensorFlow."""
    if name == "load":
        from rpe_tf.saved_model import load

        return load
    raise AttributeError(f"module 'rpe_tf' has no attribute {name!r}")
