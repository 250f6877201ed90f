"""convert_main: what it writes, that nothing is left where it fails, and each error."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from data_pipeline import conversion as shard_conversion
from data_pipeline.labelled_picture import LabelledPicture, Source
from export import conversion, conversion_scores, parity
from export.fixed_size import fit_example
from tests.runtimes import need

_ROOT = pathlib.Path(__file__).parents[2]


def _start(*arguments):
    command = [sys.executable, "-m", "export.convert_main", *arguments]
    return subprocess.Popen(
        command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def save(folder, function):
    """A SavedModel that answers boundary = function(image), as an export with its record."""
    module = tf.Module()
    spec = tf.TensorSpec([None, None, None, 3], tf.uint8, name="image")
    module.serve = tf.function(lambda image: {"boundary": function(image)}, input_signature=[spec])
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
    (folder / "model_info.json").write_text('{"task": "boundary"}')
    return str(folder)


def grey(image):
    return tf.reduce_mean(tf.cast(image, tf.float32), axis=-1) / 255


def _picture(source):
    instance = np.zeros([40, 50], np.int32)
    instance[5:20, 5:30] = 1
    image = np.random.default_rng(source.details).integers(0, 256, [40, 50, 3]).astype(np.uint8)
    return LabelledPicture(image, instance, instance)


@pytest.fixture(scope="module")
def ended(exported_semantic, tmp_path_factory):
    """Exit code, output, errors and folder of four processes that ran at the same time."""
    need("onnx")
    work = tmp_path_factory.mktemp("convert")
    sources = [Source(f"p_{k}", details=k) for k in range(2)]
    shard_conversion.write_split(_picture, sources, str(work), "val", num_shards=1)
    # No two calls of it agree, as those of a wrong conversion.
    random = save(work / "random", lambda image: grey(image) + tf.random.uniform([]))
    model = f"--model={exported_semantic.export_dir}"
    shards = f"{work}/val-*"
    commands = {
        "good": [model, f"--eval_shards={shards}"],
        "int8": [model, f"--eval_shards={shards}", "--precision=int8", "--num_calibration=1"],
        "random": [f"--model={random}"],
        "no_shards": [model, "--precision=int8"],
    }
    commands["int8"].append(f"--calibration_shards={shards}")
    processes = {
        name: _start("--to=onnx", f"--output_dir={work / 'out' / name}", *arguments)
        for name, arguments in commands.items()
    }
    found = {}
    for name, process in processes.items():
        out, err = process.communicate(timeout=300)
        assert "Traceback" not in err, err
        found[name] = (process.returncode, out, err, work / "out" / name)
    return found


def test_convert_main_writes_a_model_and_its_record(ended, exported_semantic):
    code, out, err, folder = ended["good"]
    assert code == 0, err
    assert sorted(os.listdir(folder)) == ["conversion.json", "model.onnx"]
    record = json.loads((folder / "conversion.json").read_text())
    assert record["source"] == os.path.abspath(f"{exported_semantic.export_dir}/1")
    assert (record["runtime"], record["precision"]) == ("onnx", "float32")
    assert record["bytes"] == os.path.getsize(folder / "model.onnx")
    assert record["versions"]["tensorflow"] == tf.__version__
    assert [row["batch"] for row in record["differences"]] == [[2, 61, 83, 3], [1, 128, 96, 3]]
    assert max(row["numbers"] for row in record["differences"]) < 1e-4
    before, after = (record["scores"][name]["scores"] for name in ("tensorflow", "converted"))
    assert before.keys() == {"miou", "pixel_accuracy"}
    assert after == pytest.approx(before, abs=1e-3)
    assert "miou" in out and "Wrote" in out


def test_convert_main_prints_what_int8_costs(ended):
    code, out, err, folder = ended["int8"]
    assert code == 0, err
    record = json.loads((folder / "conversion.json").read_text())
    assert record["calibration"]["num"] == 1
    assert record["bytes"] < json.loads((ended["good"][3] / "conversion.json").read_text())["bytes"]
    assert max(row["numbers"] for row in record["differences"]) > 1e-4
    # One format for all figures: TensorFlow, converted, and their difference with its sign.
    line = next(line.split() for line in out.splitlines() if line.split()[:1] == ["pixel_accuracy"])
    assert float(line[2]) - float(line[1]) == pytest.approx(float(line[3]), abs=1.1e-4)


def test_convert_main_leaves_nothing_where_the_answers_differ(ended):
    code, _, err, folder = ended["random"]
    assert code == 1
    assert "does not answer as TensorFlow on 2 of 2 batches" in err and "2×61×83" in err
    assert sorted(os.listdir(folder.parent)) == ["good", "int8"]


def test_convert_main_refuses_int8_without_pictures(ended):
    code, _, err, folder = ended["no_shards"]
    assert code == 1 and not folder.exists()
    assert "error: --calibration_shards goes with --precision=int8" in err


def test_onnx_refuses_an_op_it_has_none_for(tmp_path):
    need("onnx")
    folder = save(tmp_path / "model", lambda image: tf.math.digamma(grey(image) + 1))
    source = conversion.open_source(folder, "onnx", None, None)
    path = str(tmp_path / "model.onnx")
    with pytest.raises(ValueError, match=r"cannot be converted to onnx.*Digamma"):
        conversion.write_converted(source, "onnx", path, "float32")
    assert not os.path.exists(path)


def test_openvino_refuses_an_op_it_has_none_for(tmp_path):
    need("openvino")
    folder = save(tmp_path / "model", lambda image: tf.math.digamma(grey(image) + 1))
    source = conversion.open_source(folder, "openvino", None, None)
    with pytest.raises(ValueError, match=r"cannot be converted to openvino.*Digamma"):
        conversion.write_converted(source, "openvino", str(tmp_path / "model.xml"), "float32")


def test_litert_refuses_an_op_it_has_none_for(tmp_path):
    need("litert")
    folder = save(tmp_path / "model", lambda image: tf.math.digamma(grey(image) + 1))
    source = conversion.open_source(folder, "litert", None, (8, 8))
    with pytest.raises(ValueError, match=r"cannot be converted to litert.*[Dd]igamma"):
        conversion.write_converted(source, "litert", str(tmp_path / "model.tflite"), "float32")


def test_open_source_refuses_what_a_runtime_cannot_hold(exported, exported_semantic, tmp_path):
    grouping, classes = (f"{x.export_dir}/1" for x in (exported, exported_semantic))
    with pytest.raises(ValueError, match="LiteRT cannot group"):
        conversion.open_source(grouping, "litert", "serving_default", (40, 50))
    with pytest.raises(ValueError, match="give --image_size=H,W"):
        conversion.open_source(classes, "litert", None, None)
    with pytest.raises(ValueError, match="onnx takes pictures of any size"):
        conversion.open_source(classes, "onnx", None, (40, 50))
    with pytest.raises(ValueError, match="has no signature embedding"):
        conversion.open_source(save(tmp_path / "m", grey), "onnx", "embedding", None)


def test_difference_preset():
    expected = {
        "instance": np.int32([[[0, 1, 1, 2]]]),
        "areas": np.int32([[2, 1]]),
        "scores": np.float32([[0.5, 0.25]]),
        "num_instances": np.int32([2]),
        "num_loops": np.int32([3]),
    }
    exchanged = {**expected, "instance": np.int32([[[0, 2, 2, 1]]]), "num_loops": np.int32([9])}
    # Names of ids do not matter; tables are of the ids, so they are not compared then.
    assert conversion.difference(exchanged, expected)[:2] == (0.0, 0.0)
    # One pixel of four went to another instance.
    moved = {**expected, "instance": np.int32([[[0, 1, 1, 1]]]), "num_instances": np.int32([1])}
    assert conversion.difference(moved, expected)[:2] == (0.0, 0.25)
    # The largest of the pictures, each with the rows of its own instances.
    double = {name: np.concatenate([x, x]) for name, x in expected.items()}
    padded = {name: x.copy() for name, x in double.items()}
    for name in ("areas", "scores"):
        padded[name] = np.pad(padded[name], [(0, 0), (0, 3)])
    assert conversion.difference(padded, double)[:2] == (0.0, 0.0)
    padded["scores"][1, 1] += 0.5
    padded["instance"][0] = moved["instance"][0]
    assert conversion.difference(padded, double)[:2] == (0.5, 0.25)
    rescored = {**expected, "scores": np.float32([[0.5, 0.75]])}
    assert conversion.difference(rescored, expected)[:2] == (0.5, 0.0)
    missing = {name: x for name, x in expected.items() if name != "areas"}
    assert conversion.difference(missing, expected).numbers == np.inf
    smaller = {**expected, "instance": expected["instance"][..., :3]}
    assert conversion.difference(smaller, expected).pixels == np.inf


def test_check_equal_names_the_batch_and_refuses_nan():
    def row(numbers, pixels):
        return conversion.Difference((2, 30, 40, 3), parity.Measures(numbers, pixels, 0.0))

    conversion.check_equal([row(1e-4, 1e-3)], "m")
    for wrong in (row(1.1e-4, 0.0), row(0.0, 1.1e-3), row(np.nan, 0.0)):
        with pytest.raises(ArithmeticError, match=r"m does not .* 1 of 2 batches \(2×30×40"):
            conversion.check_equal([row(0.0, 0.0), wrong], "m")


def test_new_folder_is_there_as_a_whole_or_not_at_all(tmp_path):
    target = tmp_path / "a" / "b"
    with pytest.raises(OSError, match="full"), conversion.new_folder(f"{target}/") as folder:
        (pathlib.Path(folder) / "file").write_text("half")
        assert not target.exists()
        raise OSError("full")
    assert os.listdir(tmp_path / "a") == []
    with conversion.new_folder(str(target)) as folder:
        (pathlib.Path(folder) / "file").write_text("whole")
    assert os.listdir(tmp_path / "a") == ["b"] and (target / "file").read_text() == "whole"
    with pytest.raises(ValueError, match="is there already"), conversion.new_folder(str(target)):
        pass


def test_fit_example_cuts_and_pads():
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(1, 2, 3, 3)
    example = {"image": image, "instance": np.int32([[[1, 2, 3], [4, 5, 6]]]), "name": b"x"}
    fitted = fit_example(example, (3, 2))
    np.testing.assert_array_equal(fitted["instance"], [[[1, 2], [4, 5], [-1, -1]]])
    np.testing.assert_array_equal(fitted["image"][0, :, :, 0], [[0, 3], [9, 12], [9, 12]])
    assert fitted["name"] == b"x"
    annotators = fit_example({"annotator_boundary": np.ones([1, 2, 1, 1], bool)}, (2, 1))
    assert annotators["annotator_boundary"].tolist() == [[[[True], [False]]] * 2]
    assert fit_example(example, None) is example


def _info(task):
    return {"task": task, "settings": {"model": {"num_classes": 2}}}


def test_score_each_preset():
    instance = np.zeros([1, 8, 10], np.int32)
    instance[0, :4, :5] = 1
    example = {
        "image": np.zeros([1, 8, 10, 3], np.uint8),
        "instance": instance,
        "semantic": instance,
        "annotator_boundary": np.pad(np.ones([1, 1, 8, 1], bool), [(0, 0)] * 3 + [(4, 5)]),
    }
    tables = {"scores": np.float32([[0.5]]), "classes": [[1]], "num_instances": [1]}
    right = {"instance": instance, "semantic": instance, **tables}
    right["boundary"] = example["annotator_boundary"][0].astype(np.float32)
    # Nothing found; of 80 pixels 20 are then of a wrong class: IoU 60/80 and 0.
    nothing = {"instance": 0 * instance, "semantic": 0 * instance, "num_instances": [0]}
    nothing |= {"scores": np.zeros([1, 0]), "classes": np.zeros([1, 0], int)}
    nothing["boundary"] = 0 * right["boundary"]
    runs = {"right": lambda inputs: right, "nothing": lambda inputs: nothing}
    for task, figure, wrong in (
        ("instances", "pq", 0.0),
        ("instances", "miou", 0.375),
        ("proposals", "recall_50", 0.0),
        ("semantic", "pixel_accuracy", 0.75),
        ("boundary", "ods", 0.0),
    ):
        found = conversion_scores.score_each(_info(task), runs, [example, example])
        assert found["right"].scores[figure] == pytest.approx(1.0)
        assert found["nothing"].scores[figure] == pytest.approx(wrong)
    with pytest.raises(ValueError, match="no picture to score on"):
        conversion_scores.score_each(_info("semantic"), runs, [])


def test_last_convolutions_are_those_no_other_follows():
    module = need("onnx")
    helper = pytest.importorskip("onnx").helper
    # first → relu → second → out, and first → side → other out.
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Conv", ["b", "w"], ["c"], name="second"),
        helper.make_node("Conv", ["a", "w"], ["d"], name="side"),
        helper.make_node("Exp", ["c"], ["e"], name="exp"),
    ]
    graph = helper.make_graph(nodes, "g", [], [])
    assert sorted(module._last_convolutions(graph)) == ["second", "side"]
