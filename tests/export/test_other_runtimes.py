"""Whole exports in runtimes that are not TensorFlow: net, grouping and read-out in one."""

import numpy as np
import pytest

from export import conversion, conversion_scores
from export.parity import smooth_pictures
from export.version_folder import write_version
from tests.export.colour_patches import draw_patches
from tests.runtimes import need

_TASKS = ("boundary", "instances", "proposals", "semantic")
_SIZE = (45, 70)  # no multiples of the net's stride


@pytest.fixture(scope="module")
def exports(exported_boundary, trained_instances, trained_proposals, exported_semantic):
    found = (exported_boundary, trained_instances, trained_proposals, exported_semantic)
    return dict(zip(_TASKS, found, strict=True))


def convert(exports, task, runtime, folder, precision="float32", pictures=()):
    """Source and run of an export converted with a signature the runtime can hold."""
    module = need(runtime)
    size = _SIZE if runtime == "litert" else None
    source = conversion.open_source(f"{exports[task].export_dir}/1", runtime, None, size)
    path = str(folder / module.FILE_NAME)
    return source, conversion.write_converted(source, runtime, path, precision, pictures)


def assert_equal(source, run):
    batches = [draw_patches(0, 1 if source.image_size else 2, *_SIZE)[0]]
    if not source.image_size:
        batches.append(draw_patches(1, 1, 64, 48)[0])
    conversion.check_equal(conversion.compare(source, run, batches), "the model")


@pytest.mark.parametrize("task", _TASKS)
def test_openvino_answers_as_tensorflow(exports, task, tmp_path):
    assert_equal(*convert(exports, task, "openvino", tmp_path))


# Whole grouping in ONNX takes long to convert; tests/inference has its parts.
@pytest.mark.parametrize("task", ["boundary", "semantic"])
def test_onnx_runtime_answers_as_tensorflow(exports, task, tmp_path):
    assert_equal(*convert(exports, task, "onnx", tmp_path))


@pytest.mark.parametrize("runtime", ["openvino", "onnx"])
def test_a_picture_made_larger_is_read_as_by_tensorflow(exports, runtime, tmp_path):
    run = exports["boundary"].run
    settings = {**run.settings, "read_out": {"scales": [1.0, 2.0]}}
    folder = write_version(run._replace(settings=settings), str(tmp_path), version=1, metrics={})
    source = conversion.open_source(folder, runtime, None, None)
    path = str(tmp_path / need(runtime).FILE_NAME)
    assert_equal(source, conversion.write_converted(source, runtime, path, "float32", ()))


@pytest.mark.parametrize("task", _TASKS)
def test_litert_answers_as_tensorflow(exports, task, tmp_path):
    source, run = convert(exports, task, "litert", tmp_path)
    assert source.signature == (
        "serving_default" if task in ("boundary", "semantic") else "embedding"
    )
    assert_equal(source, run)


@pytest.mark.parametrize("runtime", conversion.RUNTIMES)
@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_a_lower_precision_is_near_and_not_equal(exports, runtime, precision, tmp_path):
    pictures = [smooth_pictures(seed, 1, *_SIZE) for seed in (3, 4)]
    source, run = convert(exports, "semantic", runtime, tmp_path, precision, pictures)
    row = conversion.compare(source, run, [smooth_pictures(0, 1, *_SIZE)])[0]
    # More than the rounding of float32.
    assert 2e-5 < row.measures.numbers < (0.01 if precision == "float16" else 0.3)
    assert row.measures.pixels < (0.02 if precision == "float16" else 0.3)


def test_litert_computes_convolutions_alone_in_8_bits(exports, tmp_path):
    pictures = [smooth_pictures(seed, 1, *_SIZE) for seed in (3, 4)]
    convert(exports, "semantic", "litert", tmp_path, "int8", pictures)
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    # Without the delegate, which would hide its own ops.
    plain = interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    model = interpreter.Interpreter(
        str(tmp_path / "model.tflite"), experimental_op_resolver_type=plain
    )
    dtypes = {x["index"]: x["dtype"] for x in model.get_tensor_details()}
    ops = model._get_ops_details()
    in_8_bits = {
        op["op_name"] for op in ops if np.int8 in [dtypes.get(int(k)) for k in op["inputs"]]
    }
    # A slice moves numbers and rounds none; the converter takes it before the dequantization.
    assert in_8_bits - {"STRIDED_SLICE"} == {"CONV_2D", "DEQUANTIZE"}


def test_openvino_stores_16_bits_where_grouping_follows(exports, tmp_path):
    # `save_model` itself compresses the weights of a net alone, and none of one that groups.
    source, run = convert(exports, "proposals", "openvino", tmp_path, "float16")
    num_weights = sum(x.size for x in exports["proposals"].run.model.get_weights() if x.ndim == 4)
    stored = (tmp_path / "model.bin").stat().st_size
    assert 2 * num_weights <= stored < 3 * num_weights
    images = smooth_pictures(0, 1, *_SIZE)
    assert (
        run({"image": images})["instance"].shape == source.run({"image": images})["instance"].shape
    )


@pytest.mark.parametrize("task", ["instances", "proposals"])
def test_embedding_grouped_by_the_savedmodel_is_serving_default(exports, task):
    source = conversion.open_source(f"{exports[task].export_dir}/1", "onnx", "embedding", None)
    settings = exports[task].run.settings
    run = conversion_scores.grouped({"settings": settings}, source.loaded, source.run)
    images = smooth_pictures(0, 2, *_SIZE)
    expected = source._replace(signature="serving_default").run({"image": images})
    found = run({"image": images})
    assert found.keys() == expected.keys() and found["num_instances"].max() > 0
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)
