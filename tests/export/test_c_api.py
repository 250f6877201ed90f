"""The example of serving from C, compiled here: it answers as TensorFlow does in Python."""

import os
import pathlib
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from export import isolated_model
from tests.export.equal_answers import check_equal

_SOURCE = pathlib.Path(__file__).parents[2] / "export" / "c_api" / "run_saved_model.c"
_LIBRARIES = ("libtensorflow_cc.so.2", "libtensorflow_framework.so.2")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The path of the program; the test is skipped where it cannot be built."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        pytest.skip("no C compiler")
    folder = os.path.dirname(tf.__file__)
    if not all(os.path.exists(f"{folder}/{name}") for name in _LIBRARIES):
        pytest.skip(f"TensorFlow's package lacks {' or '.join(_LIBRARIES)}")
    path = str(tmp_path_factory.mktemp("c_api") / "run_saved_model")
    command = [compiler, "-std=c99", "-O2", str(_SOURCE), "-o", path]
    command += [f"-I{folder}/include", f"-L{folder}", f"-Wl,-rpath,{folder}"]
    command += [f"-l:{name}" for name in _LIBRARIES]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return path


def names_of(folder, signature):
    """The tensors behind a signature: the input's name, outputs' names and dtypes by key."""
    model = saved_model_pb2.SavedModel()
    model.ParseFromString(pathlib.Path(folder, "saved_model.pb").read_bytes())
    definition = model.meta_graphs[0].signature_def[signature]
    (given,) = definition.inputs.values()
    return given.name, {key: x.name for key, x in definition.outputs.items()}


def run(program, folder, signature, given, tmp_path):
    """The outputs by name; given: the program's arguments between INPUT and the outputs."""
    kind, *given = given
    source, outputs = names_of(folder, signature)
    command = [program, folder, kind, source, *given]
    for key, name in outputs.items():
        command += [name, str(tmp_path / key)]
    # Nothing of this process: no Python there.
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    found = {}
    for line in done.stdout.splitlines():
        path, dtype, *sides = line.split()
        dtype, sides = tf.as_dtype(int(dtype)), [int(x) for x in sides]
        if dtype == tf.string:
            pngs = [pathlib.Path(f"{path}.{k}").read_bytes() for k in range(sides[0])]
            value = tf.constant(pngs)
        else:
            value = np.fromfile(path, dtype.as_numpy_dtype).reshape(sides)
        found[os.path.basename(path)] = value
    assert set(found) == set(outputs)
    return found


def check(found, outputs):
    """Whether outputs by name are equal to those of a signature; PNG are decoded one by one."""
    answers = []
    for named in (found, outputs):
        strings = {k: x.numpy() for k, x in named.items() if x.dtype == tf.string}
        answers.append({k: np.asarray(x) for k, x in named.items() if k not in strings})
        for key, pngs in strings.items():
            for n, png in enumerate(pngs):
                answers[-1][f"{key}.{n}"] = isolated_model.decoded(tf.constant([png]))
    check_equal(*answers)


@pytest.mark.parametrize(
    "fixture", ["exported", "exported_boundary", "exported_instances", "exported_semantic"]
)
def test_the_program_answers_as_tensorflow_in_python(request, fixture, program, pictures, tmp_path):
    exported = request.getfixturevalue(fixture)
    folder, signatures = f"{exported.export_dir}/1", exported.loaded.signatures
    raw = tmp_path / "pictures.raw"
    # A batch, and a picture of another size.
    for signature, images in (
        ("serving_default", np.stack(pictures[:2])),
        ("embedding", pictures[2][np.newaxis]),
    ):
        raw.write_bytes(images.tobytes())
        sides = [str(side) for side in images.shape[:3]]
        found = run(program, folder, signature, ("pixels", *sides, str(raw)), tmp_path)
        check(found, signatures[signature](image=tf.constant(images)))
    # A batch of two sizes.
    pngs = [tf.io.encode_png(pictures[k]) for k in (0, 2)]
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, png in zip(paths, pngs, strict=True):
        path.write_bytes(png.numpy())
    found = run(program, folder, "serving_bytes", ("bytes", "2", *map(str, paths)), tmp_path)
    check(found, signatures["serving_bytes"](image_bytes=tf.stack(pngs)))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "usage: see the head"),
        (["FOLDER", "colours", "x:0", "1", "2", "2", "FILE", "y:0", "OUT"], "usage: see the head"),
        (["FOLDER", "pixels", "x:0", "1", "2", "2", "FILE", "y:0"], "come OUTPUT FILE, in pairs"),
        (["FOLDER", "pixels", "x:0", "0", "2", "2", "FILE", "y:0", "OUT"], "0 is no number of 1"),
        (["FOLDER", "pixels", "x:0", "2x", "2", "2", "FILE", "y:0", "OUT"], "2x is no number of"),
        (["FOLDER", "bytes", "x:0", "99", "FILE", "y:0", "OUT"], "99 files are not given"),
        (["NONE", "bytes", "x:0", "1", "FILE", "y:0", "OUT"], "Could not find SavedModel"),
    ],
)
def test_the_program_says_what_is_wrong_with_its_arguments(program, tmp_path, arguments, message):
    refused(program, [str(tmp_path) if x == "NONE" else x for x in arguments], message)


def test_the_program_says_what_is_wrong_with_its_files(program, exported_semantic, tmp_path):
    folder = f"{exported_semantic.export_dir}/1"
    source, outputs = names_of(folder, "serving_default")
    (tmp_path / "few.raw").write_bytes(bytes(11))
    asked = [outputs["semantic"], str(tmp_path / "out")]
    for sides, message in (
        ([source, "1", "2", "2", f"{tmp_path}/few.raw"], "few.raw has 11 bytes, not N*H*W*3 = 12"),
        (["weather:0", "1", "2", "2", f"{tmp_path}/few.raw"], "the model has no tensor weather:0"),
    ):
        refused(program, [folder, "pixels", *sides, *asked], message)


def refused(program, arguments, message):
    done = subprocess.run([program, *arguments], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith("error: ")
    assert message in done.stderr
