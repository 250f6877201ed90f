"""Pictures of a batch that are cut into tiles, as `predict_main` does, in a temporary folder."""

from __future__ import annotations

import os
import tempfile

import tensorflow as tf

from export.batch_pictures import Picture
from export.batch_results import Answer, Wanted, add_example
from export.large_pictures import predict_large
from rpe_tf.metrics.label_png import read_label_png

# Of the largest picture whose labels go into a record: they are held in memory whole.
RECORD_PIXELS = 1 << 24
_MAPS = ("_instances.png", "_instances.tif", "_semantic.png", ".png")


def answer_tiled(model: object, picture: Picture, wanted: Wanted, num_pixels: int) -> Answer:
    """Returns what a model finds in the tiles of a picture, having written its maps.

    The temporary folder, on this machine (TMPDIR), holds some 10 bytes a pixel.

    Args:
      model: of `batch_results.load_once`.
      picture: with its content.
      wanted: of it.
      num_pixels: that it has.

    Raises:
      ValueError: it is no picture, or a record is wanted of more than RECORD_PIXELS.
      OSError: the folder has no room.
    """
    if "shards" in wanted.kinds and num_pixels > RECORD_PIXELS:
        raise ValueError(
            f"{picture.name} has {num_pixels:,} pixels, more than the {RECORD_PIXELS:,} whose "
            "labels fit into a record; leave shards out of --write for it"
        )
    results: list[dict] = []
    with tempfile.TemporaryDirectory() as folder:
        path, output = os.path.join(folder, "picture"), os.path.join(folder, "found")
        with open(path, "wb") as file:
            file.write(picture.content)
        try:
            predict_large(
                *(model, wanted.model_dir, path, output),
                tiling=wanted.tiling,
                add_records=results.extend,
            )
        except ValueError as error:
            raise ValueError(str(error).replace(path, picture.name)) from error
        maps = [suffix for suffix in _MAPS if os.path.exists(output + suffix)]
        for result in results:
            result["file_name"] = picture.name
            result["label_file"] = result["label_file"].replace("found", picture.stem, 1)
        answer = Answer(len(results), results if "json" in wanted.kinds else [])
        if "shards" in wanted.kinds:
            instance, semantic = (
                read_label_png(output + suffix) if suffix in maps else None
                for suffix in ("_instances.png", "_semantic.png")
            )
            classes = [result["category_id"] for result in results]
            answer = add_example(answer, picture, instance, classes, semantic)
        # Last, so that a picture that fails leaves none.
        for suffix in maps if "png" in wanted.kinds else ():
            place = os.path.join(wanted.output_dir, picture.stem + suffix)
            tf.io.gfile.copy(output + suffix, f"{place}.tmp", overwrite=True)
            tf.io.gfile.rename(f"{place}.tmp", place, overwrite=True)
    return answer
