"""Tiles: the plan of their grid, and pictures of known answers predicted by tiles and in one."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import rpe_tf
from export import large_pictures, tile_instances
from export.instance_answers import instances_answers, proposals_answers
from export.large_pictures import Tiling, predict_large
from export.parity import smooth_pictures
from export.picture_predictions import Tiles, detect_in_files, segment_files
from export.served_module import ServedModule
from export.tiling import ALIGNMENT_PX, default_overlap, describe_sight, plan_tiles
from rpe_tf.metrics.clustering import adjusted_rand_index
from rpe_tf.metrics.edge_thinning import suppress_non_maxima
from rpe_tf.metrics.rle import rle_decode
from rpe_tf.models.build import boundary_model, embedding_model
from tests.colour_model import BLUE, GREEN, RED, colour_model, paint

_TILING = Tiling(tile_px=192, overlap_px=64)
_READ_OUT = {
    "instances": {"concentration": 60.0, "mode_cosine": 0.9, "max_loops": 30, "min_area": 20},
    "proposals": {
        **{"concentration": 60.0, "mode_cosine": 0.9, "max_loops": 30, "min_area": 20},
        "background": "border",
    },
}


@pytest.mark.parametrize(
    "size", [(1, 1), (192, 192), (193, 70), (320, 1000), (5000, 4999), (20_000, 641)]
)
def test_plan_tiles_covers_every_pixel_once(size):
    tiles = plan_tiles(size, 192, 64)
    times = np.zeros(size, np.uint8)
    for (row, column), tile in tiles.items():
        assert (tile.row, tile.column) == (row, column)
        window, core = tile.window, tile.core
        assert window.y % ALIGNMENT_PX == window.x % ALIGNMENT_PX == 0
        assert max(window.y_end - window.y, window.x_end - window.x) <= 192
        times[core.y : core.y_end, core.x : core.x_end] += 1
        # Inside the picture a core ends half an overlap away from the border of its window.
        margins = (core.y - window.y, core.x - window.x)
        margins += (window.y_end - core.y_end, window.x_end - core.x_end)
        at_border = (window.y == 0, window.x == 0, window.y_end == size[0], window.x_end == size[1])
        assert [0 if x else y >= 32 for x, y in zip(at_border, margins, strict=True)] == [
            not x for x in at_border
        ]
    assert (times == 1).all()


def test_plan_tiles_makes_one_of_a_small_picture():
    ((place, tile),) = plan_tiles((150, 192), 192, 64).items()
    assert place == (0, 0) and tile.window == tile.core == (0, 0, 150, 192)


def test_plan_tiles_refuses_tiles_of_overlap_alone():
    with pytest.raises(ValueError, match="must have 320 pixels a side or more with an overlap of"):
        plan_tiles((500, 500), 256, 100)


def test_default_overlap_is_what_the_model_sees():
    sight = describe_sight(embedding_model(4, width=8, num_levels=3, num_blocks=1), {})
    assert sight == {"radius_px": 19, "beyond": []}
    # Twice 19, rounded up to 64.
    assert default_overlap({"receptive_field": sight}) == 64
    assert default_overlap({"receptive_field": {"radius_px": 91}}) == 192
    assert default_overlap({}) == 256
    # At half the size a pixel is two.
    model = boundary_model(3, backbone="resnet14", width=8, norm="batch")
    one, half = (
        describe_sight(model, {"scales": scales})["radius_px"] for scales in ([1, 2], [0.5, 1])
    )
    assert half == 2 * (one + 2)


def test_tiles_of_a_scaled_model_turn_by_the_pixels_it_reads():
    settings = {"model": {"position": "rotation", "wavelengths": [12.0, 96.0]}}
    info = {"task": "instances", "settings": settings}
    settings["read_out"] = {**_READ_OUT["instances"], "scales": [1.5]}
    assert tile_instances.plan_read_out(info, 32).wavelengths == (8.0, 64.0)
    settings["read_out"] = _READ_OUT["instances"]
    assert tile_instances.plan_read_out(info, 32).wavelengths == (12.0, 96.0)


def _save(folder, task, answers, read_out):
    """An export of the colour model."""
    model = colour_model()
    if task == "proposals":
        model = keras.Model(model.input, model.output["embedding"])
    module = ServedModule(model, answers(model, read_out))
    signatures = {
        name: getattr(module, name).get_concrete_function()
        for name in ("serving_default", "embedding", "group")
    }
    tf.saved_model.save(module, str(folder), signatures=signatures)
    info = {"task": task, "settings": {"model": {}, "read_out": read_out}}
    (folder / "model_info.json").write_text(json.dumps(info))
    return str(folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folder and loaded model of each task."""
    answers = {"instances": instances_answers, "proposals": proposals_answers}
    folders = {
        task: _save(tmp_path_factory.mktemp(task), task, answers[task], _READ_OUT[task])
        for task in answers
    }
    return {task: (folder, rpe_tf.load(folder)) for task, folder in folders.items()}


def _predict(models, task, image, folder, **options):
    """Ids, records and classes (if there are) of a picture predicted by tiles."""
    path = str(folder / "scene.png")
    Image.fromarray(image).save(path)
    records = []
    model_dir, model = models[task]
    arguments = {"tiling": _TILING, "add_records": records.extend, **options}
    predict_large(model, model_dir, path, str(folder / "out"), **arguments)
    semantic = folder / "out_semantic.png"
    assert not list(folder.glob("*.tiles")) and not list(folder.glob("*.tmp"))
    return (
        np.asarray(Image.open(folder / "out_instances.png")).astype(np.int32),
        records,
        np.asarray(Image.open(semantic)) if semantic.exists() else None,
    )


# Cuts between cores lie at 160 and, of three, also at 288. Of each picture what crosses them.
_SCENES = {
    "two tiles": (
        (180, 320),
        [
            (10, 100, 50, 200, RED),  # crosses
            (50, 120, 90, 170, GREEN),  # touches it and crosses too
            (100, 150, 140, 160, BLUE),  # ends at the cut
            (100, 160, 140, 175, RED),  # begins there, touching
            (150, 20, 170, 300, GREEN),  # from the core of one far into the other's
            (0, 240, 20, 260, BLUE),
        ],
    ),
    "four tiles": (
        (310, 310),
        [
            (140, 140, 180, 180, RED),  # on the corner of four cores
            (60, 60, 161, 161, BLUE),  # reaches over the corner by a pixel
            (161, 181, 200, 300, GREEN),
            (20, 150, 60, 170, GREEN),
            (220, 80, 240, 240, BLUE),
            (240, 80, 260, 240, RED),  # two that touch all along
            (300, 0, 310, 310, GREEN),
        ],
    ),
    "nine tiles": (
        (440, 440),
        [
            (20, 20, 420, 60, RED),  # a U larger than a tile, its bend at the bottom
            (380, 60, 420, 400, RED),
            (20, 360, 420, 400, RED),
            (60, 100, 340, 320, GREEN),  # fills the middle tile, and more
            (200, 200, 230, 230, BLUE),  # in it
            (210, 235, 230, 250, (0, 0, 0)),  # a hole that only one tile sees
            (280, 280, 300, 300, RED),  # in it, on the corner of four cores
            (0, 0, 12, 12, GREEN),
        ],
    ),
}


@pytest.mark.parametrize("name", _SCENES)
@pytest.mark.parametrize("task", ["instances", "proposals"])
def test_tiles_find_what_one_pass_finds(models, tmp_path, name, task):
    size, rectangles = _SCENES[name]
    image = paint(*size, rectangles)
    assert len(plan_tiles(size, *_TILING[:2])) == {"two": 2, "four": 4, "nine": 9}[name.split()[0]]
    ids, records, semantic = _predict(models, task, image, tmp_path)
    model = models[task][1]
    whole = model.predict_classed(image) if task == "instances" else model.predict(image)
    assert adjusted_rand_index(whole.instance, ids) == 1.0
    assert len(records) == len(whole.table) >= 2
    # Ids by falling area, as of one pass; of equal areas in any order.
    assert [row["area"] for row in records] == whole.table["area"].tolist()
    order = [whole.instance[ids == row["instance"]][0] - 1 for row in records]
    assert sorted(order) == list(range(len(order)))
    expected = whole.table[order]
    assert [row["category_id"] for row in records] == np.maximum(expected["class"], 1).tolist()
    np.testing.assert_allclose([row["score"] for row in records], expected["score"], atol=1e-3)
    for row, told in zip(records, expected, strict=True):
        y, x, y_end, x_end = told["box"].tolist()
        assert row["bbox"] == [x, y, x_end - x, y_end - y]
        np.testing.assert_array_equal(rle_decode(row["segmentation"]), ids == row["instance"])
        assert row["label_file"] == "out_instances.png"
    if task == "instances":
        np.testing.assert_array_equal(semantic, whole.semantic)


def test_no_object_fills_a_picture_of_one_colour(models, tmp_path):
    """Background is decided for the picture: in each of these tiles all is one group."""
    image = np.full([310, 310, 3], RED, np.uint8)
    ids, records, _ = _predict(models, "instances", image, tmp_path)
    assert (ids == 1).all() and [row["area"] for row in records] == [310 * 310]
    ids, records, _ = _predict(models, "proposals", image, tmp_path)
    assert not ids.any() and not records


def test_small_objects_go_only_when_they_are_whole(models, tmp_path):
    """Across the cut at column 160 one of 20 pixels, as many as are asked for, and one of 18."""
    image = paint(180, 320, [(20, 155, 22, 165, RED), (100, 157, 103, 163, GREEN)])
    ids, records, _ = _predict(models, "instances", image, tmp_path)
    assert [row["area"] for row in records] == [20]
    np.testing.assert_array_equal(ids, models["instances"][1].predict(image).instance)


def test_plan_read_out_leaves_for_the_picture_what_needs_it_whole():
    read_out = {"concentration": 24.0, "min_area": 500, "min_score": 0.6}
    info = {"task": "instances", "settings": {"model": {}, "read_out": read_out}}
    plan = tile_instances.plan_read_out(info, margin_px=96)
    # 96 pixels beyond a cut may be all that a tile sees of an object of 500.
    assert plan.parameters["min_area"] == 96 and plan.min_area == 500
    assert plan.parameters["min_score"] < -1e6 and plan.min_score == 0.6
    assert plan.background is None and "background" not in plan.parameters
    assert plan.wavelengths is None and plan.is_comparable
    model = {"position": "rotation", "wavelengths": [8.0, 80.0]}
    read_out = {"concentration": 24.0, "background": "largest"}
    info = {"task": "proposals", "settings": {"model": model, "read_out": read_out}}
    plan = tile_instances.plan_read_out(info, margin_px=96)
    assert (plan.parameters["background"], plan.background) == ("none", "largest")
    assert plan.wavelengths == (8.0, 80.0)
    info["settings"]["model"] = {"position": "channels"}
    assert not tile_instances.plan_read_out(info, margin_px=96).is_comparable


def test_many_instances_become_a_tiff_of_32_bits(models, tmp_path, monkeypatch):
    monkeypatch.setattr(large_pictures, "_MOST_16_BITS", 3)
    size, rectangles = _SCENES["two tiles"]
    Image.fromarray(paint(*size, rectangles)).save(tmp_path / "scene.png")
    model_dir, model = models["instances"]
    records = []
    arguments = {"tiling": _TILING, "add_records": records.extend}
    predict_large(model, model_dir, str(tmp_path / "scene.png"), str(tmp_path / "out"), **arguments)
    assert {row["label_file"] for row in records} == {"out_instances.tif"}
    with Image.open(tmp_path / "out_instances.tif") as picture:
        assert picture.mode in ("I", "I;32") and picture.size == (320, 180)
        ids = np.asarray(picture)
    whole = model.predict(paint(*size, rectangles)).instance
    assert ids.max() == len(records) == 6 and adjusted_rand_index(whole, ids.astype(int)) == 1.0
    assert not (tmp_path / "out_instances.png").exists()


def test_an_interrupted_picture_is_gone_on_with(models, tmp_path, monkeypatch):
    size, rectangles = _SCENES["four tiles"]
    image = paint(*size, rectangles)
    answer, calls = tile_instances.answer_tile, []

    def interrupted(*arguments):
        calls.append(arguments[-1])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return answer(*arguments)

    monkeypatch.setattr(tile_instances, "answer_tile", interrupted)
    path = tmp_path / "scene.png"
    Image.fromarray(image).save(path)
    model_dir, model = models["instances"]
    for _ in range(2):
        try:
            predict_large(model, model_dir, str(path), str(tmp_path / "out"), tiling=_TILING)
        except KeyboardInterrupt:
            assert (tmp_path / "out.tiles" / "0000_0001.npz").exists()
    # Four tiles, of which one was asked for twice; the two before it were not.
    assert [(tile.row, tile.column) for tile in calls] == [(0, 0), (0, 1), (1, 0), (1, 0), (1, 1)]
    ids = np.asarray(Image.open(tmp_path / "out_instances.png"))
    assert adjusted_rand_index(model.predict(image).instance, ids.astype(int)) == 1.0


def test_boundaries_of_tiles_are_those_of_one_pass(exported_boundary, tmp_path):
    """The overlap is what model_info.json says the model sees."""
    (image,) = smooth_pictures(8, 1, 500, 130)
    path = str(tmp_path / "scene.png")
    Image.fromarray(image).save(path)
    folder = exported_boundary.export_dir
    detector = rpe_tf.load(folder)
    tiles = Tiles(folder, Tiling(tile_px=448))
    for is_thin in (False, True):
        out = tmp_path / str(is_thin)
        out.mkdir()
        assert not detect_in_files(detector, [path], str(out), is_thin, tiles)
        expected = detector.predict(image)
        expected = suppress_non_maxima(expected) if is_thin else expected
        found = np.asarray(Image.open(out / "scene.png")).astype(int)
        assert found.shape == (500, 130) and np.ptp(found) > 10
        assert np.abs(found - np.rint(255 * expected)).max() <= 1


def test_pooled_proposals_of_large_pictures_are_refused(models, tmp_path, capsys):
    path = str(tmp_path / "scene.png")
    Image.new("RGB", (200, 10)).save(path)
    model_dir, model = models["proposals"]
    failed = segment_files(model, [path], str(tmp_path), True, Tiles(model_dir, _TILING))
    assert failed == [path]
    assert f"{path} is beyond --tile_px=192, and proposals are pooled" in capsys.readouterr().err
    assert (tmp_path / "predictions.json").read_text() == "[]\n"


def test_predict_main_cuts_what_is_large_and_refuses_what_is_too_large(exported_semantic, tmp_path):
    scenes, out = tmp_path / "scenes", tmp_path / "out"
    scenes.mkdir()
    sizes = {"a": (64, 40), "b": (300, 250), "c": (400, 300)}
    pictures = {name: smooth_pictures(0, 1, *size)[0] for name, size in sizes.items()}
    for name, picture in pictures.items():
        Image.fromarray(picture).save(scenes / f"{name}.png")
    command = [sys.executable, "-m", "export.predict_main", f"--images={scenes}"]
    command += [f"--model={exported_semantic.export_dir}", f"--output_dir={out}"]
    command += ["--tile_px=192", "--max_pixels=100000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert "c.png has 300 x 400 = 120,000 pixels, more than the limit of 100,000;" in done.stderr
    assert "classifying b: 100%" in done.stderr and "Found the classes of 2 of 3" in done.stdout
    names = [f"{stem}_{name}.png" for stem in "ab" for name in ("overlay", "semantic")]
    assert sorted(path.name for path in out.iterdir()) == names
    segmenter = rpe_tf.load(exported_semantic.export_dir)
    for name in "ab":
        found = np.asarray(Image.open(out / f"{name}_semantic.png"))
        # Equal but where rounding decides between two classes.
        assert np.mean(found != segmenter.predict(pictures[name])) < 1e-3
        assert np.asarray(Image.open(out / f"{name}_overlay.png")).shape == pictures[name].shape
