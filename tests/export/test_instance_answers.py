"""The served functions of instances: pictures with a known answer, and a run's checkpoint."""

import io
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from export.expected_answers import expected_instances, parameter_cases, predicted_by
from export.instance_answers import INSTANCES_MEANINGS, instances_answers
from export.parity import LIMITS, measure
from export.served_module import ServedModule
from export.version_folder import write_version
from rpe_tf.inference.instance_scoring import FEATURES
from rpe_tf.tasks import instances
from tests.colour_model import BLUE, GREEN, PROBABILITY, RED, colour_model, paint

_TABLES = ("boxes", "areas", "scores", "classes")
# Two red squares of 16 and 20 pixels apart, a green one beside the second; two bits of blue.
SCENE = paint(
    *(12, 20),
    [(1, 1, 5, 5, RED), (1, 8, 6, 12, RED), (1, 12, 6, 18, GREEN), (10, 3, 11, 5, BLUE)],
)
BOXES = [[1, 12, 6, 18], [1, 8, 6, 12], [1, 1, 5, 5]]
AREAS, CLASSES = [30, 20, 16], [2, 1, 1]


@pytest.fixture(scope="module")
def module():
    return serve_instances({"concentration": 36.0, "min_area": 3})


def serve_instances(arguments):
    model = colour_model()
    return ServedModule(model, instances_answers(model, arguments))


def _numpy(outputs):
    return {name: x.numpy() for name, x in outputs.items()}


def _serve(module, *images):
    return _numpy(module.serving_default(tf.constant(np.stack(images))))


def _png(picture):
    return tf.io.encode_png(picture).numpy()


def _read_png(png, mode):
    picture = Image.open(io.BytesIO(png))
    assert picture.mode == mode
    return np.asarray(picture)


def test_serving_default_of_a_known_scene(module):
    found = _serve(module, SCENE)
    assert found["num_instances"].tolist() == [3]
    assert found["boxes"].tolist() == [BOXES]
    assert found["areas"].tolist() == [AREAS] and found["classes"].tolist() == [CLASSES]
    np.testing.assert_allclose(found["scores"], [[PROBABILITY] * 3], rtol=1e-5)
    expected, semantic = np.zeros([2, 12, 20], np.int32)
    for row, (y, x, y_end, x_end) in enumerate(BOXES):
        expected[y:y_end, x:x_end], semantic[y:y_end, x:x_end] = row + 1, CLASSES[row]
    semantic[10, 3:5] = 3  # too small for an instance, and a class all the same
    np.testing.assert_array_equal(found["instance"], [expected])
    np.testing.assert_array_equal(found["semantic"], [semantic])
    assert set(found) <= set(INSTANCES_MEANINGS)


def test_serving_default_batch_equals_singles_and_pads_the_tables(module):
    one = paint(12, 20, [(0, 0, 12, 20, BLUE)])  # one instance that covers all
    none = paint(12, 20, [])
    batch = _serve(module, SCENE, one, none)
    assert batch["num_instances"].tolist() == [3, 1, 0] and batch["boxes"].shape == (3, 3, 4)
    assert batch["boxes"][1, 0].tolist() == [0, 0, 12, 20] and batch["areas"][1, 0] == 240
    assert not batch["instance"][2].any() and not batch["semantic"][2].any()
    for n, picture in enumerate((SCENE, one, none)):
        single = _serve(module, picture)
        for name in ("instance", "semantic", "num_instances", "num_loops", "converged"):
            np.testing.assert_array_equal(batch[name][n], single[name][0])
        for name in _TABLES:
            num = single["num_instances"][0]
            np.testing.assert_allclose(batch[name][n, :num], single[name][0], rtol=1e-6)
            assert not batch[name][n, num:].any()


def test_serving_default_of_300_instances(module):
    image = np.zeros([60, 80, 3], np.uint8)
    y, x = np.mgrid[:60, :80]
    inside = (y % 4 < 3) & (x % 4 < 3)
    image[inside] = np.array([RED, GREEN, BLUE])[((y // 4) * 20 + x // 4) % 3][inside]
    found = _serve(module, image)
    assert found["num_instances"].tolist() == [300]
    assert found["areas"].tolist() == [[9] * 300]
    assert found["classes"].tolist() == [[1, 2, 3] * 100]
    outputs = _numpy(module.serving_bytes(tf.constant([_png(image)])))
    label = _read_png(outputs["instance_bytes"][0], "I;16")
    assert label.max() == 300
    np.testing.assert_array_equal(label, found["instance"][0])


def test_serving_bytes_mixed_sizes_equal_serving_default(module):
    pictures = [SCENE, SCENE[:7, :14], SCENE[:1, :1]]
    outputs = _numpy(module.serving_bytes(tf.constant([_png(x) for x in pictures])))
    assert outputs["height"].tolist() == [12, 7, 1] and outputs["width"].tolist() == [20, 14, 1]
    assert outputs["num_instances"].tolist() == [3, 3, 0] and set(outputs) <= set(
        INSTANCES_MEANINGS
    )
    for n, picture in enumerate(pictures):
        height, width = picture.shape[:2]
        single = _serve(module, picture)
        for name, mode in (("instance", "I;16"), ("semantic", "L")):
            stacked = outputs[name][n]
            np.testing.assert_array_equal(stacked[:height, :width], single[name][0])
            assert (stacked[height:] == -1).all() and (stacked[:, width:] == -1).all()
            png = _read_png(outputs[f"{name}_bytes"][n], mode)
            np.testing.assert_array_equal(png, single[name][0])
        num = single["num_instances"][0]
        for name in _TABLES:
            np.testing.assert_allclose(outputs[name][n, :num], single[name][0], rtol=1e-6)


def test_signatures_answer_an_empty_batch_with_empty_outputs(module):
    nothing = tf.zeros([0, 16, 12, 3], tf.uint8)
    answers = (
        module.serving_default(nothing),
        module.serving_bytes(tf.zeros([0], tf.string)),
        module.embedding(nothing),
        module.group(*module.embedding(nothing).values(), *choose(0)),
    )
    for outputs in answers:
        assert all(x.shape[0] == 0 for x in outputs.values())
    assert answers[0]["boxes"].shape == answers[1]["boxes"].shape == (0, 0, 4)


def choose(num, concentration=36.0, max_loops=50, min_area=3, min_score=-np.inf):
    """The parameters of num pictures, as the tuned signatures take them, in their order."""
    values = (concentration, max_loops, min_area, min_score)
    dtypes = (tf.float32, tf.int32, tf.int32, tf.float32)
    return [
        tf.constant(np.broadcast_to(value, [num]), dtype)
        for value, dtype in zip(values, dtypes, strict=True)
    ]


def test_tuned_signatures_with_the_defaults_are_the_plain_ones(module):
    images = np.stack([SCENE, SCENE[::-1]])
    pngs = tf.constant([_png(SCENE), _png(SCENE[:7, :14])])
    for plain, tuned, given in (
        (module.serving_default, module.serving_default_tuned, tf.constant(images)),
        (module.serving_bytes, module.serving_bytes_tuned, pngs),
    ):
        expected, found = _numpy(plain(given)), _numpy(tuned(given, *choose(2)))
        assert set(found) == set(expected)
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value)


def test_tuned_signatures_take_a_value_a_picture(module):
    images = tf.constant(np.stack([SCENE] * 3))
    # Of 30, 20 and 16 pixels, and all of class 1 at a score above that of class 2.
    chosen = choose(3, min_area=[3, 18, 3], min_score=[-np.inf, -np.inf, 2.0])
    found = _numpy(module.serving_default_tuned(images, *chosen))
    assert found["num_instances"].tolist() == [3, 2, 0]
    share = np.mean(found["instance"] == 0, axis=(1, 2))
    np.testing.assert_allclose(found["background_share"], share, rtol=1e-6)
    # At a kernel as wide as the sphere red and green, side by side, are one.
    wide = _numpy(module.serving_default_tuned(images[:1], *choose(1, concentration=0.1)))
    assert wide["num_instances"].tolist() == [2] and wide["areas"].tolist() == [[50, 16]]
    none = _numpy(module.serving_default_tuned(images[:1], *choose(1, max_loops=0)))
    assert none["num_loops"].tolist() == [0]


def test_group_regroups_without_the_net(module):
    images = tf.constant(np.stack([SCENE, SCENE[:, ::-1]]))
    given = module.embedding(images)
    assert set(given) == {"embedding", "logit"}
    chosen = choose(2, min_area=[18, 3])
    expected = _numpy(module.serving_default_tuned(images, *chosen))
    found = _numpy(module.group(given["embedding"], given["logit"], *chosen))
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)
    graph = module.group.get_concrete_function().graph.as_graph_def()
    # Of the net nothing is in it.
    assert "Colours" not in str([node.name for node in graph.node])


def test_tf_example_answers_as_its_pictures(module):
    pngs = [_png(SCENE), _png(SCENE[:7, :14])]
    records = [
        tf.train.Example(
            features=tf.train.Features(
                feature={
                    "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[png])),
                    "other": tf.train.Feature(int64_list=tf.train.Int64List(value=[3])),
                }
            )
        ).SerializeToString()
        for png in pngs
    ]
    expected, found = module.serving_bytes(tf.constant(pngs)), module.tf_example(records)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"concentration": 0.0}, "concentration is outside its range"),
        ({"concentration": np.inf}, "concentration is outside its range"),
        ({"max_loops": -1}, "max_loops is outside its range"),
        ({"min_area": 0}, "min_area is outside its range"),
        ({"min_score": np.nan}, "min_score is outside its range"),
    ],
)
def test_tuned_signatures_refuse_values_outside_their_range(module, change, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        module.serving_default_tuned(tf.constant(SCENE[np.newaxis]), *choose(1, **change))


def test_tuned_signatures_refuse_another_number_of_values(module):
    with pytest.raises(tf.errors.InvalidArgumentError, match="must have one value a picture"):
        module.serving_default_tuned(tf.constant(SCENE[np.newaxis]), *choose(2))


def test_the_scorer_of_the_settings_is_in_the_module():
    weights = [float(name == "height") for name in FEATURES]
    scorer = {"features": list(FEATURES), "weights": weights, "bias": 0.5}
    arguments = {"concentration": 36.0, "min_area": 3, "scorer": scorer}
    found = _serve(serve_instances(arguments), SCENE)
    np.testing.assert_allclose(found["scores"], [[0.5 + h / 12 for h in (5, 5, 4)]], rtol=1e-6)


def test_instances_answers_refuse_more_classes_than_8_bits_hold():
    image = keras.Input([None, None, 3], dtype="uint8")
    logit = keras.layers.Rescaling(1.0, dtype="float32")(image)
    model = types.SimpleNamespace(output={"logit": keras.layers.Conv2D(256, 1)(logit)})
    with pytest.raises(ValueError, match="holds 255 classes, the model has 256"):
        instances_answers(model, {"concentration": 36.0})


def test_a_scaled_export_answers_at_the_picture_s_size(exported_instances, pictures, tmp_path):
    run = exported_instances.run
    settings = {**run.settings, "read_out": {**run.settings["read_out"], "scales": [1.5]}}
    run = run._replace(settings=settings)
    signatures = tf.saved_model.load(
        write_version(run, str(tmp_path), version=None, metrics={})
    ).signatures
    picture = tf.constant(pictures[2][np.newaxis])  # 64×40, read as 96×60
    larger = tf.cast(tf.round(tf.image.resize(picture, [96, 60])), tf.uint8)
    direct = tf.image.resize(run.model(larger, training=False)["logit"], [64, 40])
    given = _numpy(signatures["embedding"](image=picture))
    np.testing.assert_allclose(given["logit"], direct, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(given["embedding"], axis=-1), 1, atol=1e-5)
    found = _numpy(signatures["serving_default"](image=picture))
    expected = expected_instances(
        run, predicted_by(run, pictures[2][np.newaxis]), parameter_cases(run)["own"]
    )
    assert measure(found, expected).is_within(LIMITS)
    # The task's own evaluation reads the same.
    _, own = instances.make_predictor(run.model, run.settings["read_out"])(picture[0])
    np.testing.assert_array_equal(found["semantic"][0], own.semantic)
    plain = _numpy(exported_instances.loaded.signatures["embedding"](image=picture))
    assert np.abs(plain["logit"] - given["logit"]).max() > 0.01


def test_the_export_equals_the_checkpoint_at_two_sizes(exported_instances, pictures):
    signatures = exported_instances.loaded.signatures
    assert sorted(signatures) == [
        *("embedding", "group", "serving_bytes", "serving_bytes_tuned"),
        *("serving_default", "serving_default_tuned", "tf_example"),
    ]
    for batch in (np.stack(pictures[:2]), pictures[2][np.newaxis]):
        given = _numpy(signatures["embedding"](image=tf.constant(batch)))
        ours = exported_instances.run.model(tf.constant(batch), training=False)
        np.testing.assert_allclose(given["embedding"], ours["embedding"], atol=1e-4)
        found = _numpy(signatures["serving_default"](image=tf.constant(batch)))
        assert found["num_instances"].min() >= 3 and set(np.unique(found["semantic"])) >= {0, 1, 2}
        own = parameter_cases(exported_instances.run)["own"]
        expected = expected_instances(exported_instances.run, given, own)
        assert measure(found, expected).is_within(LIMITS)
