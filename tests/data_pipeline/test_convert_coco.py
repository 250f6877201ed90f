"""The COCO command as a user types it: what is skipped, what vanishes, what ends it."""

import json

from PIL import Image
from programs import run_all

from data_pipeline import shards

_SMALL = [[1, 1, 3, 1, 3, 3, 1, 3]]
_LARGE = [[0, 0, 6, 0, 6, 4, 0, 4]]


def test_convert_coco_tells_what_is_skipped_and_what_vanishes(tmp_path):
    Image.new("RGB", (6, 4)).save(tmp_path / "a.jpg")
    images = [
        {"id": 1, "file_name": "a.jpg", "height": 4, "width": 6},
        {"id": 2, "file_name": "gone.jpg", "height": 4, "width": 6},
    ]
    # Of picture 1 the second object covers the first, which is as large; a crowd is no object.
    outlines = [(1, _SMALL, 0), (1, _SMALL, 0), (1, _LARGE, 1), (2, _LARGE, 0)]
    annotations = [
        {"id": k, "image_id": image, "category_id": 1, "segmentation": outline, "iscrowd": crowd}
        for k, (image, outline, crowd) in enumerate(outlines, 1)
    ]
    content = {"images": images, "annotations": annotations}
    content["categories"] = [{"id": 1, "name": "cup"}]
    (tmp_path / "x.json").write_text(json.dumps(content))
    base = [f"--input_dir={tmp_path}", f"--annotations={tmp_path}/x.json", "--split=val"]
    skipping, stopping = run_all(
        "data_pipeline.convert_coco",
        [*base, f"--output_dir={tmp_path}/skipping", "--on_error=skip"],
        [*base, f"--output_dir={tmp_path}/stopping"],
    )
    missing = f"{tmp_path}/gone.jpg is in the annotations, and there is no such file"
    assert skipping[0] == 0, skipping[2]
    assert "1 of 2 pictures skipped" in skipping[2] and missing in skipping[2]
    assert "1 of 2 annotated objects have no pixel" in skipping[2]
    manifest = shards.read_manifest(f"{tmp_path}/skipping")
    assert manifest["classes"] == ["background", "cup"]
    assert manifest["splits"]["val"]["num_instances"] == 1
    assert stopping[0] == 1 and f"error: {missing}" in stopping[2]
    assert "Traceback" not in skipping[2] + stopping[2]
