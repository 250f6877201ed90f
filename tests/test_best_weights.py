"""The best weights of a run."""

import keras
import numpy as np
import pytest

from rpe_tf import checkpoints, run_folder
from rpe_tf.best_weights import keep_if_best
from rpe_tf.optimizers import make_optimizer


@pytest.fixture
def saved(tmp_path):
    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1, use_bias=False)])
    optimizer = make_optimizer("sgd", 0.1, 100, weight_decay=0.0, momentum=0.0)
    return checkpoints.open_checkpoints(str(tmp_path), model, optimizer, is_writing=True)


def at_step(saved, step, value, score):
    """Keeps if best; the model's only weight is value."""
    saved.checkpoint.model.set_weights([np.array([[value]])])
    kept = keep_if_best(saved, "pq", {"pq": score, "miou": 0.0}, step, is_chief=True)
    saved.save(step)
    return kept


def restored(saved, **arguments):
    step = checkpoints.restore_weights(saved.run_dir, saved.checkpoint.model, **arguments)
    return step, float(saved.checkpoint.model.get_weights()[0][0, 0])


def test_keep_if_best_keeps_the_highest_and_it_is_what_is_restored(saved):
    steps = [(1, 1.0, 0.2), (2, 2.0, 0.5), (3, 3.0, 0.5), (4, 4.0, 0.1)]
    assert [at_step(saved, *step) for step in steps] == [True, True, False, False]
    assert restored(saved) == (2, 2.0)
    assert restored(saved, kept=checkpoints.BEST) == (2, 2.0)
    assert run_folder.read_best(saved.run_dir) == {"figure": "pq", "value": 0.5, "step": 2}
    assert saved.restore_latest() == 4  # a run goes on from the newest


def test_keep_if_best_by_another_figure_starts_afresh(saved):
    at_step(saved, 1, 1.0, 0.9)
    assert keep_if_best(saved, "miou", {"miou": 0.1}, 2, is_chief=True)


def test_keep_if_best_names_the_figures_there_are(saved):
    with pytest.raises(ValueError, match=r"--best_by=ar is no figure .*\['pq', 'miou'\]"):
        keep_if_best(saved, "ar", {"pq": 0.0, "miou": 0.0}, 1, is_chief=True)


def test_workers_that_are_not_the_chief_write_no_file(saved):
    assert keep_if_best(saved, "pq", {"pq": 0.1}, 1, is_chief=False)
    assert run_folder.read_best(saved.run_dir) == {}


def test_restore_weights_without_best_takes_the_newest(saved):
    saved.checkpoint.model.set_weights([np.array([[7.0]])])
    saved.save(9)
    assert restored(saved) == (9, 7.0)
    with pytest.raises(FileNotFoundError, match="--best_by and --eval_every"):
        restored(saved, kept=checkpoints.BEST)


def test_workers_wait_between_reading_and_writing_and_after_it(saved):
    found = []
    keep_if_best(
        *(saved, "pq", {"pq": 0.1}, 1),
        is_chief=True,
        wait=lambda: found.append(run_folder.read_best(saved.run_dir).get("step")),
    )
    assert found == [None, 1]
