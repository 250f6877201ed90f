"""The served functions of boundaries against the checkpoint, singles and hand-made encodings."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from export.boundary_answers import MEANINGS, boundary_answers
from export.version_folder import write_version


def _serve(exported, name, **inputs):
    outputs = exported.loaded.signatures[name](**{k: tf.constant(x) for k, x in inputs.items()})
    return {key: x.numpy() for key, x in outputs.items()}


def _png(picture):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def _opened(png):
    return Image.open(io.BytesIO(png))


def _map_of(run, batch):
    """The map [N, H, W] of §5.2: mean of the sigmoids of the five logits, in float64."""
    logit = run.model(tf.constant(batch), training=False)["logit"].numpy().astype(np.float64)
    assert logit.shape[-1] == 5
    return (1 / (1 + np.exp(-logit))).mean(axis=-1)


def _is_rounded(png, boundary):
    """Whether the PNG is 8-bit grey and 255 · boundary rounded, of a map within 1e-4."""
    label = _opened(png)
    assert label.mode == "L"
    return np.abs(np.asarray(label) - 255 * boundary).max() <= 0.5 + 255 * 1e-4


def test_signatures_equal_the_model_at_two_sizes_and_a_batch(exported_boundary, pictures):
    for batch in (np.stack(pictures[:2]), pictures[2][np.newaxis]):
        embedding = _serve(exported_boundary, "embedding", image=batch)["embedding"]
        ours = exported_boundary.run.model(tf.constant(batch), training=False)["embedding"]
        assert embedding.shape == (*batch.shape[:3], 12)
        np.testing.assert_allclose(embedding, ours, atol=1e-4)
        boundary = _serve(exported_boundary, "serving_default", image=batch)["boundary"]
        assert boundary.dtype == np.float32 and 0 <= boundary.min() and boundary.max() <= 1
        assert boundary.std() > 0.01  # else the maps would prove little
        np.testing.assert_allclose(boundary, _map_of(exported_boundary.run, batch), atol=1e-4)


def test_serving_default_batch_equals_singles(exported_boundary, pictures):
    batch = _serve(exported_boundary, "serving_default", image=np.stack(pictures[:2]))["boundary"]
    assert np.abs(batch[0] - batch[1]).max() > 0.01
    for n in range(2):
        single = _serve(exported_boundary, "serving_default", image=pictures[n][np.newaxis])
        np.testing.assert_allclose(batch[n], single["boundary"][0], atol=1e-5)


def test_serving_bytes_gives_each_picture_a_png_of_its_size(exported_boundary, pictures):
    mixed = [pictures[0], pictures[2]]
    outputs = _serve(exported_boundary, "serving_bytes", image_bytes=[_png(x) for x in mixed])
    assert outputs["height"].tolist() == [45, 64] and outputs["width"].tolist() == [70, 40]
    for png, picture in zip(outputs["boundary_bytes"], mixed, strict=True):
        assert _opened(png).size == picture.shape[1::-1]
        expected = _map_of(exported_boundary.run, picture[np.newaxis])[0]
        assert _is_rounded(png, expected)


def _unusual_pictures():
    """Encoded, and the RGB that they stand for."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, [13, 19, 3], dtype=np.uint8)
    grey, deep = rgb[:, :, 0], rgb[:, :, 0].astype(np.uint16) * 256 + 130
    as_rgb = np.repeat(grey[:, :, np.newaxis], 3, axis=-1)
    return {
        "one pixel wide": (rgb[:, :1], rgb[:, :1]),
        "one pixel high": (rgb[:1], rgb[:1]),
        "one pixel": (rgb[:1, :1], rgb[:1, :1]),
        "smaller than the stride": (rgb[:3, :5], rgb[:3, :5]),
        "grey": (grey, as_rgb),
        "16 bits": (deep, as_rgb),
    }


@pytest.mark.parametrize("kind", _unusual_pictures())
def test_signatures_take_unusual_pictures(exported_boundary, kind):
    stored, rgb = _unusual_pictures()[kind]
    expected = _map_of(exported_boundary.run, rgb[np.newaxis])
    outputs = _serve(exported_boundary, "serving_default", image=rgb[np.newaxis])
    np.testing.assert_allclose(outputs["boundary"], expected, atol=1e-4)
    outputs = _serve(exported_boundary, "serving_bytes", image_bytes=[_png(stored)])
    assert (outputs["height"][0], outputs["width"][0]) == stored.shape[:2]
    assert _opened(outputs["boundary_bytes"][0]).size == stored.shape[1::-1]
    assert _is_rounded(outputs["boundary_bytes"][0], expected[0])


def test_signatures_answer_an_empty_batch_with_empty_outputs(exported_boundary):
    none = np.zeros([0, 16, 12, 3], np.uint8)
    boundary = _serve(exported_boundary, "serving_default", image=none)["boundary"]
    assert boundary.shape == (0, 16, 12)
    assert _serve(exported_boundary, "embedding", image=none)["embedding"].shape == (0, 16, 12, 12)
    signature = exported_boundary.loaded.signatures["serving_bytes"]
    outputs = signature(image_bytes=tf.zeros([0], tf.string))
    assert {name: x.shape.as_list() for name, x in outputs.items()} == {
        "boundary_bytes": [0],
        "height": [0],
        "width": [0],
    }


def test_serving_bytes_refuses_what_is_no_picture(exported_boundary, pictures):
    with pytest.raises(tf.errors.InvalidArgumentError):
        _serve(exported_boundary, "serving_bytes", image_bytes=[_png(pictures[0]), b"hello"])


def test_signatures_have_documented_names(exported_boundary):
    signatures = exported_boundary.loaded.signatures
    assert sorted(signatures) == ["embedding", "serving_bytes", "serving_default", "tf_example"]
    used = set()
    for function in signatures.values():
        used |= {*function.structured_input_signature[1], *function.structured_outputs}
    assert used == set(MEANINGS)


def test_several_scales_give_the_mean_of_the_maps(exported_boundary, pictures, tmp_path):
    run = exported_boundary.run
    settings = {**run.settings, "read_out": {"scales": [0.5, 1.0, 1.5]}}
    folder = write_version(run._replace(settings=settings), str(tmp_path), version=None, metrics={})
    served = exported_boundary._replace(loaded=tf.saved_model.load(folder))
    picture = pictures[2]  # 64×40: sides and half and one and a half of them are whole
    maps = []
    for height, width in ((32, 20), (64, 40), (96, 60)):
        scaled = tf.image.resize(picture[np.newaxis], (height, width), antialias=True)
        scaled = np.clip(np.rint(scaled.numpy()), 0, 255).astype(np.uint8)
        found = _map_of(run, scaled)[..., np.newaxis]
        maps.append(tf.image.resize(found, (64, 40)).numpy()[0, :, :, 0])
    assert min(np.abs(maps[0] - maps[1]).max(), np.abs(maps[2] - maps[1]).max()) > 0.01
    boundary = _serve(served, "serving_default", image=picture[np.newaxis])["boundary"][0]
    np.testing.assert_allclose(boundary, np.mean(maps, axis=0), atol=1e-4)
    outputs = _serve(served, "serving_bytes", image_bytes=[_png(picture), _png(picture[:1, :1])])
    assert _is_rounded(outputs["boundary_bytes"][0], np.mean(maps, axis=0))
    assert _opened(outputs["boundary_bytes"][1]).size == (1, 1)
    # The embedding is that of scale 1 whatever the scales.
    np.testing.assert_allclose(
        _serve(served, "embedding", image=picture[np.newaxis])["embedding"],
        _serve(exported_boundary, "embedding", image=picture[np.newaxis])["embedding"],
        atol=1e-5,
    )


@pytest.mark.parametrize("scales", [[], [1.0, 0.0]])
def test_boundary_answers_refuse_bad_scales_before_tracing(exported_boundary, scales):
    with pytest.raises(ValueError, match="scales must be at least one number above 0"):
        boundary_answers(exported_boundary.run.model, {"scales": scales})
