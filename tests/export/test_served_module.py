"""The served functions against the checkpoint, singles and hand-made encodings."""

import inspect
import io
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from export.expected_answers import expected_instances, parameter_cases
from export.instance_answers import MAX_INSTANCES, POOLED_MEANINGS
from export.parity import LIMITS, measure
from rpe_tf.inference.grouping import group
from rpe_tf.inference.label_map import read_out
from rpe_tf.saved_model import decode_rgb


def _serve(exported, name, **inputs):
    outputs = exported.loaded.signatures[name](**{k: tf.constant(x) for k, x in inputs.items()})
    return {key: x.numpy() for key, x in outputs.items()}


def _png(picture):
    return tf.io.encode_png(picture).numpy()


def _saved(picture, form, **arguments):
    file = io.BytesIO()
    picture.save(file, form, **arguments)
    return file.getvalue()


def test_tables_have_room_for_all_that_group_returns():
    assert inspect.signature(group).parameters["max_modes"].default <= MAX_INSTANCES


def test_serving_default_equals_checkpoint_at_two_sizes(exported, pictures):
    for batch in (np.stack(pictures[:2]), pictures[2][np.newaxis]):
        embedding = _serve(exported, "embedding", image=batch)["embedding"]
        ours = exported.run.model(tf.constant(batch), training=False)
        np.testing.assert_allclose(embedding, ours, atol=1e-4)
        np.testing.assert_allclose(np.linalg.norm(embedding, axis=-1), 1, atol=1e-5)
        outputs = _serve(exported, "serving_default", image=batch)
        own = parameter_cases(exported.run)["own"]
        expected = expected_instances(exported.run, {"embedding": embedding}, own)
        assert measure(outputs, expected).is_within(LIMITS)
        assert outputs["num_instances"].min() >= 2  # else the maps would prove little


def test_serving_default_table_describes_the_map(exported, pictures):
    outputs = _serve(exported, "serving_default", image=np.stack(pictures[:2]))
    most = outputs["num_instances"].max()
    assert outputs["boxes"].shape == (2, most, 4) and outputs["scores"].dtype == np.float32
    for n, instance in enumerate(outputs["instance"]):
        num = outputs["num_instances"][n]
        assert set(np.unique(instance)) == set(range(num + 1))
        for k in range(num):
            rows, columns = np.nonzero(instance == k + 1)
            box = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
            assert outputs["boxes"][n, k].tolist() == box
            assert outputs["areas"][n, k] == rows.size
            assert -1 <= outputs["scores"][n, k] <= 1 + 1e-5
        for name in ("boxes", "areas", "scores"):
            assert not outputs[name][n, num:].any()


def test_serving_default_batch_equals_singles(exported, pictures):
    batch = _serve(exported, "serving_default", image=np.stack(pictures[:2]))
    assert all(x.shape[0] == 2 for x in batch.values())
    # Different pictures, or the comparison could not see them exchanged.
    assert (batch["instance"][0] != batch["instance"][1]).any()
    for n in range(2):
        single = _serve(exported, "serving_default", image=pictures[n][np.newaxis])
        num = single["num_instances"][0]
        assert batch["num_instances"][n] == num
        np.testing.assert_array_equal(batch["instance"][n], single["instance"][0])
        for name in ("boxes", "areas", "scores"):
            np.testing.assert_allclose(batch[name][n, :num], single[name][0], atol=1e-5)


def test_serving_bytes_mixed_sizes_equal_serving_default(exported, pictures):
    mixed = [pictures[0], pictures[2]]
    outputs = _serve(exported, "serving_bytes", image_bytes=[_png(x) for x in mixed])
    assert outputs["height"].tolist() == [45, 64] and outputs["width"].tolist() == [70, 40]
    assert outputs["instance"].shape == (2, 64, 70)
    assert all(x.shape[0] == 2 for x in outputs.values())
    for n, picture in enumerate(mixed):
        height, width = picture.shape[:2]
        single = _serve(exported, "serving_default", image=picture[np.newaxis])
        np.testing.assert_array_equal(
            outputs["instance"][n, :height, :width], single["instance"][0]
        )
        beyond = np.ones([64, 70], bool)
        beyond[:height, :width] = False
        assert (outputs["instance"][n][beyond] == -1).all()
        num = single["num_instances"][0]
        np.testing.assert_array_equal(outputs["boxes"][n, :num], single["boxes"][0])
        label = np.asarray(Image.open(io.BytesIO(outputs["instance_bytes"][n])))
        np.testing.assert_array_equal(label, single["instance"][0])
        # Bytes 24 and 25 of a PNG: 16 bits a sample, grey.
        assert outputs["instance_bytes"][n][24:26] == bytes([16, 0])


def test_signatures_answer_an_empty_batch_with_empty_outputs(exported):
    outputs = _serve(exported, "serving_default", image=np.zeros([0, 16, 12, 3], np.uint8))
    assert all(x.shape[0] == 0 for x in outputs.values())
    outputs = exported.loaded.signatures["serving_bytes"](image_bytes=tf.zeros([0], tf.string))
    assert all(x.shape[0] == 0 for x in outputs.values())
    assert outputs["boxes"].shape[1:] == [0, 4]


@pytest.mark.parametrize("side", [(1, 1), (1, 9), (7, 2)])
def test_serving_default_takes_tiny_pictures(exported, side):
    outputs = _serve(exported, "serving_default", image=np.full([1, *side, 3], 9, np.uint8))
    assert outputs["instance"].shape == (1, *side)


def test_decode_rgb_drops_alpha_and_repeats_grey():
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, [5, 7, 3], dtype=np.uint8)
    alpha = rng.integers(0, 256, [5, 7, 1], dtype=np.uint8)
    rgba = Image.fromarray(np.concatenate([rgb, alpha], axis=-1))
    grey = Image.fromarray(rgb[:, :, 0])
    as_rgb = np.repeat(rgb[:, :, :1], 3, axis=-1)
    deep = Image.fromarray(rgb[:, :, 0].astype(np.uint16) * 256 + 130)
    cases = [
        (_saved(Image.fromarray(rgb), "PNG"), rgb),
        (_saved(Image.fromarray(rgb), "BMP"), rgb),
        (_saved(rgba, "PNG"), rgb),
        (_saved(rgba, "BMP"), rgb),
        (_saved(grey, "PNG"), as_rgb),
        (_saved(grey.convert("LA"), "PNG"), as_rgb),
        (_saved(deep, "PNG"), as_rgb),
        (_saved(grey, "GIF", save_all=True, append_images=[rgba.convert("L")]), as_rgb),
    ]
    for encoded, expected in cases:
        np.testing.assert_array_equal(decode_rgb(tf.constant(encoded)), expected)


def test_decode_rgb_reads_jpeg_of_grey_and_colour():
    flat = np.full([16, 16], 100, np.uint8)
    for picture in (Image.fromarray(flat), Image.fromarray(np.stack([flat] * 3, axis=-1))):
        decoded = decode_rgb(tf.constant(_saved(picture, "JPEG")))
        assert decoded.shape == [16, 16, 3] and np.abs(decoded.numpy().astype(int) - 100).max() <= 1


def test_decode_rgb_refuses_what_is_no_picture():
    for spoilt in (
        b"",
        b"B",
        b"BM",
        b"hello, no picture",
        _png(np.zeros([9, 9, 3], np.uint8))[:40],
    ):
        with pytest.raises(tf.errors.InvalidArgumentError):
            decode_rgb(tf.constant(spoilt))


def test_signatures_have_documented_names(exported):
    signatures = exported.loaded.signatures
    tuned = {"concentration", "max_loops", "min_area", "min_score", "background"}
    assert {
        name: set(function.structured_input_signature[1]) for name, function in signatures.items()
    } == {
        "embedding": {"image"},
        "group": {"embedding", *tuned},
        "proposals": {"image"},
        "serving_bytes": {"image_bytes"},
        "serving_bytes_tuned": {"image_bytes", *tuned},
        "serving_default": {"image"},
        "serving_default_tuned": {"image", *tuned},
        "tf_example": {"examples"},
    }
    with open(f"{exported.export_dir}/1/model_info.json") as file:
        described = json.load(file)["signatures"]
    for name, function in signatures.items():
        assert set(described[name]["inputs"]) == set(function.structured_input_signature[1])
        assert set(described[name]["outputs"]) == set(function.structured_outputs)
    assert set(signatures["proposals"].structured_outputs) <= set(POOLED_MEANINGS)


def test_serving_default_tuned_takes_a_background_a_picture(exported, pictures):
    image = np.stack([pictures[0]] * 3)
    read_out = exported.run.settings["read_out"]
    tuned = {
        "concentration": np.full(3, read_out["concentration"], np.float32),
        **{name: np.full(3, read_out[name], np.int32) for name in ("max_loops", "min_area")},
        "min_score": np.full(3, -np.inf, np.float32),
        "background": np.array([b"border", b"none", b"largest"]),
    }
    found = _serve(exported, "serving_default_tuned", image=image, **tuned)
    plain = _serve(exported, "serving_default", image=image[:1])
    num = plain["num_instances"][0]
    assert found["num_instances"].tolist() == [num, num + 1, num]
    np.testing.assert_array_equal(found["instance"][0], plain["instance"][0])
    assert found["instance"][1].min() == 1 and found["background_share"][1] == 0
    embedding = _serve(exported, "embedding", image=image)
    again = _serve(exported, "group", **embedding, **tuned)
    for name, value in found.items():
        np.testing.assert_array_equal(again[name], value)
    with pytest.raises(tf.errors.InvalidArgumentError, match="background is outside its range"):
        _serve(exported, "serving_default_tuned", image=image, **{**tuned, "background": ["x"] * 3})


def test_serving_default_finds_the_read_out_of_the_settings(exported, pictures):
    # Another background choice must change the answer, or the settings were not baked in.
    embedding = _serve(exported, "embedding", image=pictures[0][np.newaxis])["embedding"][0]
    served = _serve(exported, "serving_default", image=pictures[0][np.newaxis])
    arguments = exported.run.settings["read_out"]
    same = read_out(tf.constant(embedding), **arguments)
    other = read_out(tf.constant(embedding), **{**arguments, "background": "none"})
    assert served["num_instances"][0] == len(same.areas) == len(other.areas) - 1
    assert served["num_loops"][0] == same.num_loops and served["converged"][0] == same.converged
