"""The served functions of class maps: pictures with a known answer, and a run's checkpoint."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from export.semantic_answers import MEANINGS, semantic_answers
from export.served_module import ServedModule
from tests.colour_model import BLUE, GREEN, PROBABILITY, RED, colour_model, paint

SCENE = paint(9, 14, [(0, 0, 4, 4, RED), (2, 6, 9, 9, GREEN), (8, 13, 9, 14, BLUE)])
SEMANTIC = np.zeros([9, 14], np.int32)
SEMANTIC[0:4, 0:4], SEMANTIC[2:9, 6:9], SEMANTIC[8, 13] = 1, 2, 3


@pytest.fixture(scope="module")
def module():
    model = colour_model()
    return ServedModule(model, semantic_answers(model, {}))


def _serve(module, *images):
    outputs = module.serving_default(tf.constant(np.stack(images)))
    return {name: x.numpy() for name, x in outputs.items()}


def test_serving_default_of_a_known_scene(module):
    found = _serve(module, SCENE, SCENE[:, ::-1])
    np.testing.assert_array_equal(found["semantic"], [SEMANTIC, SEMANTIC[:, ::-1]])
    assert found["semantic"].dtype == np.int32
    # Of background the logits are 4 and three times 0.
    background = np.exp(4) / (np.exp(4) + 3)
    expected = np.where(SEMANTIC > 0, PROBABILITY, background)
    np.testing.assert_allclose(found["probability"][0], expected, rtol=1e-5)


def test_serving_bytes_of_mixed_sizes_are_8_bit_maps(module):
    pictures = [SCENE, SCENE[:1, :1], SCENE[:, :7]]
    pngs = tf.constant([tf.io.encode_png(picture).numpy() for picture in pictures])
    outputs = module.serving_bytes(pngs)
    assert set(outputs) == {"semantic_bytes", "height", "width"}
    assert outputs["height"].numpy().tolist() == [9, 1, 9]
    assert outputs["width"].numpy().tolist() == [14, 1, 7]
    for png, picture in zip(outputs["semantic_bytes"].numpy(), pictures, strict=True):
        written = Image.open(io.BytesIO(png))
        height, width = picture.shape[:2]
        assert written.mode == "L"
        np.testing.assert_array_equal(np.asarray(written), SEMANTIC[:height, :width])


def test_signatures_answer_an_empty_batch_with_empty_outputs(module):
    nothing = tf.zeros([0, 8, 6, 3], tf.uint8)
    for outputs in (
        module.serving_default(nothing),
        module.serving_bytes(tf.zeros([0], tf.string)),
        module.embedding(nothing),
    ):
        assert all(x.shape[0] == 0 for x in outputs.values())


def test_semantic_answers_refuse_read_out_arguments():
    with pytest.raises(ValueError, match="no read-out arguments, got"):
        semantic_answers(colour_model(), {"min_area": 3})


def test_the_export_equals_the_checkpoint_at_two_sizes(exported_semantic, pictures):
    signatures = exported_semantic.loaded.signatures
    used = set()
    for function in signatures.values():
        used |= {*function.structured_input_signature[1], *function.structured_outputs}
    assert used == set(MEANINGS) - {"logit"}
    for batch in (np.stack(pictures[:2]), pictures[2][np.newaxis]):
        ours = exported_semantic.run.model(tf.constant(batch), training=False)
        theirs = signatures["embedding"](image=tf.constant(batch))["embedding"]
        np.testing.assert_allclose(theirs, ours["embedding"], atol=1e-4)
        found = signatures["serving_default"](image=tf.constant(batch))
        expected = np.argmax(ours["logit"], axis=-1)
        assert len(np.unique(expected)) >= 3
        assert np.mean(found["semantic"].numpy() != expected) <= 1e-3
        likely = tf.nn.softmax(ours["logit"]).numpy().max(axis=-1)
        np.testing.assert_allclose(found["probability"], likely, atol=1e-4)
