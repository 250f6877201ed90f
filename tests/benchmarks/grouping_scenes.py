"""Points for the benchmark: random ones, and embeddings of digit scenes from an exported model.

The scenes are embedded in a process of their own, so that the model is in no case's memory:
  python -m tests.benchmarks.grouping_scenes --model=EXPORT_DIR --output_dir=scenes
"""

import math
import os

import numpy as np
from absl import app, flags

from tests.benchmarks.grouping_plan import SCENE_SIDES

_SEED = 0


def load_points(name: str, points: int, dim: int, scene_dir: str | None) -> np.ndarray:
    """Returns unit vectors, [points, dim] float32.

    Args:
      name: "random", uniform on the sphere, or the name of a scene in scene_dir, of which a
        regular grid of pixels is taken.
      points: N; of a scene at most as many as it has pixels.
      dim: D; a scene's own.
      scene_dir: folder that `write_scenes` has filled; None if name is "random".

    Raises:
      ValueError: if the scene has fewer pixels or another D, or scene_dir is missing.
    """
    if name == "random":
        drawn = np.random.default_rng(_SEED).normal(size=[points, dim]).astype(np.float32)
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    if scene_dir is None:
        raise ValueError(f"input {name!r} needs scene_dir, the folder of the embedded scenes")
    scene = np.load(os.path.join(scene_dir, f"{name}.npy"), mmap_mode="r")
    if points > scene.shape[0] * scene.shape[1] or dim != scene.shape[2]:
        raise ValueError(f"{name} has shape {scene.shape}, got points {points} and dim {dim}")
    step = len(scene) // math.ceil(math.sqrt(points))
    return np.array(scene[::step, ::step]).reshape(-1, dim)[:points]


def scene_dim(scene_dir: str) -> int:
    """Returns D of the scenes in a folder."""
    return np.load(os.path.join(scene_dir, f"{min(SCENE_SIDES)}.npy"), mmap_mode="r").shape[-1]


def write_scenes(model: str, output_dir: str) -> None:
    """Embeds one scene of each size and writes it as <name>.npy, [S, S, D] float32.

    Args:
      model: folder of an export or of one version, with the signature `embedding`.
      output_dir: an existing folder.

    Raises:
      FileNotFoundError: if there is no model.
      ValueError: if it has no such signature.
    """
    # Cases import this file for `load_points` and are to stay small.
    import tensorflow as tf

    from data_pipeline.digits import compose_scene, load_scans
    from rpe_tf.saved_model import find_version

    loaded = tf.saved_model.load(find_version(model))
    if "embedding" not in loaded.signatures:
        raise ValueError(f"{model} has no signature embedding; write it with export.export_main")
    scans, digits, is_test = load_scans("sklearn")
    for name, side in SCENE_SIDES.items():
        rng = np.random.default_rng(_SEED)
        image, _, _ = compose_scene(rng, scans[is_test], digits[is_test], scene_size=side)
        embedded = loaded.signatures["embedding"](image=tf.constant(image[np.newaxis]))
        np.save(os.path.join(output_dir, f"{name}.npy"), embedded["embedding"][0].numpy())


if __name__ == "__main__":
    _MODEL = flags.DEFINE_string("model", None, "Folder of an exported model.", required=True)
    _OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "An existing folder.", required=True)
    app.run(lambda argv: write_scenes(_MODEL.value, _OUTPUT_DIR.value))
