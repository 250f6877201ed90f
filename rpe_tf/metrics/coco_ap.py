"""COCO's own figures of masks, AP and AR, as the library faster-coco-eval computes them."""

from collections.abc import Sequence

from faster_coco_eval import COCO, COCOeval_faster

from rpe_tf.metrics.coco_files import decode_masks
from rpe_tf.metrics.object_files import Item
from rpe_tf.metrics.rle import rle_encode

# Our keys, and what the library calls them.
_KEYS = {
    **{"ap": "AP_all", "ap_50": "AP_50", "ap_75": "AP_75"},
    **{f"ap_{size}": f"AP_{size}" for size in ("small", "medium", "large")},
    **{"ar_1": "AR_all", "ar_10": "AR_second", "ar_100": "AR_third"},
    **{f"ar_{size}": f"AR_{size}" for size in ("small", "medium", "large")},
}


def coco_scores(items: Sequence[Item], is_class_free: bool = False) -> dict[str, float]:
    """Returns COCO's twelve figures for masks, IoU 0.5:0.05:0.95, the best 100 a picture.

    Crowd regions, sizes and the order of equal scores are as COCO's program has them.

    Args:
      items: pictures of a COCO json, with predictions from a json.
      is_class_free: whether any prediction may match any object.

    Returns:
      A dict with `ap`, `ap_50`, `ap_75`, `ap_small`, `ap_medium`, `ap_large`, and `ar_1`, `ar_10`,
      `ar_100`, `ar_small`, `ar_medium`, `ar_large`, in [0, 1]; −1 where there is nothing to find.

    Raises:
      ValueError: if a side is not from a json, a record lacks its score or category, or an
        image_id is no integer.
    """
    if any(item.picture is None or item.records is None for item in items):
        raise ValueError(
            "COCO's figures need a COCO json as ground truth and a json of predictions"
        )
    path = items[0].truth
    if any(not isinstance(item.picture.image_id, int) for item in items):
        raise ValueError(f"{path} must have integers as image ids for COCO's figures")
    predicted = [_result(item, record) for item in items for record in item.records]
    truth = COCO(path)
    found = COCOeval_faster(truth, truth.loadRes(predicted), "segm", print_function=_be_silent)
    found.params.imgIds = sorted(item.picture.image_id for item in items)
    found.params.useCats = int(not is_class_free)
    found.evaluate()
    found.accumulate()
    found.summarize()
    return {ours: found.stats_as_dict[theirs] for ours, theirs in _KEYS.items()}


def _result(item: Item, record: dict) -> dict:
    """Returns a record as COCO wants it; without a box, since the library would take its area."""
    missing = [key for key in ("score", "category_id") if key not in record]
    if missing:
        raise ValueError(
            f"{item.predicted} must have {missing[0]} in each record for COCO's figures"
        )
    # Decoded and encoded again: a spoilt one is found here, and named.
    mask = decode_masks(item.predicted, [record], item.picture.size)[0]
    return {
        "image_id": item.picture.image_id,
        "category_id": record["category_id"],
        "segmentation": rle_encode(mask),
        "score": float(record["score"]),
    }


def _be_silent(*words: object) -> None:
    del words
