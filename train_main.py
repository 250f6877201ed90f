"""Trains a model on shards, scores it, and leaves all that an export needs in the run folder."""

import functools
import itertools
import os
import time

import keras
import numpy as np
import tensorflow as tf
from absl import flags, logging

from data_pipeline import command_line, input_pipeline, shards, training_input
from rpe_tf import checkpoints, initialization, run_folder, strategies, training
from rpe_tf.core.sphere import smallest_margin
from rpe_tf.models import model_flags, pretrained
from rpe_tf.models.backbone import backbone_stride
from rpe_tf.models.build import learned_grouping
from rpe_tf.optimizers import make_optimizer
from rpe_tf.reporter import Reporter
from rpe_tf.tasks import TASKS, loss_flags, read_out_flags

# These parts' flags are shown by --help as if they stood here.
for _part in (training_input, model_flags, loss_flags, read_out_flags):
    flags.adopt_module_key_flags(_part)

# Run
_RUN_DIR = flags.DEFINE_string(
    "run_dir", None, "Folder of the run; a run that is there already goes on from its checkpoint."
)
_TASK = flags.DEFINE_enum("task", "proposals", list(TASKS), "What to learn (§5).")
_INIT_FROM = flags.DEFINE_string(
    "init_from",
    None,
    "Run or export to start from: layers of equal name and shapes are taken, the others listed. A "
    "run that goes on does without.",
)
_STRATEGY = flags.DEFINE_enum(
    "strategy", "auto", strategies.STRATEGIES, "Devices: auto takes TF_CONFIG's hosts or all GPUs."
)
_SEED = flags.DEFINE_integer("seed", 0, "Of weights, data order and drawn pixels.", lower_bound=0)

# Optimisation
_EMBEDDING_ONLY_FRACTION = flags.DEFINE_float(
    "embedding_only_fraction",
    0.0,
    "Share in [0, 1] of the steps, at the start, that train the embedding alone: with T = 0, for "
    "boundaries before the logistic layers (§5.2).",
    *(0, 1),
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 16, "Pictures a step, over all replicas.", lower_bound=1
)
_NUM_STEPS = flags.DEFINE_integer("num_steps", 1500, "Steps, at the end of all resumes.", 1)
_OPTIMIZER = flags.DEFINE_string(
    "optimizer", "adamw", "sgd, adam, adamw, or a class of tensorflow-addons such as LAMB."
)
_LEARNING_RATE = flags.DEFINE_float(
    "learning_rate", 5e-3, "At the first step, > 0; falls to 0 by the poly rate (§5.1).", 0
)
_MOMENTUM = flags.DEFINE_float("momentum", 0.9, "Of sgd, in [0, 1).", 0, 1)
_WEIGHT_DECAY = flags.DEFINE_float(
    "weight_decay", 5e-4, "Times the learning rate: share by which weights shrink a step.", 0
)

# Reports
_REPORT_EVERY = flags.DEFINE_integer("report_every", 50, "Steps between lines of the log.", 1)
_SAVE_EVERY = flags.DEFINE_integer("save_every", 200, "Steps between checkpoints.", 1)
_PICTURE_EVERY = flags.DEFINE_integer(
    "picture_every", 500, "Steps between pictures in TensorBoard; 0: only at the end.", 0
)


# Pictures that the scorer of instances is fitted on: some hundred instances tell its few weights.
_FITTED_EXAMPLES = 100
# Pictures on the contact sheet in TensorBoard.
_DRAWN_EXAMPLES = 6


def settings_from_flags(num_classes: int | None) -> dict:
    """Returns what settings.json holds: the arguments of each part of the program.

    Args:
      num_classes: that the shards have, None if they do not say.

    Raises:
      ValueError: if a flag is outside its range, or flags do not fit each other.
    """
    task = TASKS[_TASK.value]
    loss = loss_flags.settings_from_flags(task.loss)
    return {
        "task": _TASK.value,
        "model": model_flags.settings_from_flags(_TASK.value, num_classes),
        "loss": loss,
        "read_out": read_out_flags.settings_from_flags(task.read_out, loss["concentration"]),
        "training": {
            "num_steps": _NUM_STEPS.value,
            "embedding_only_fraction": _EMBEDDING_ONLY_FRACTION.value,
            "batch_size": _BATCH_SIZE.value,
            "pretrained": model_flags.pretrained_from_flags(),
            "init_from": _INIT_FROM.value,
            "optimizer": _OPTIMIZER.value,
            "learning_rate": _LEARNING_RATE.value,
            "momentum": _MOMENTUM.value,
            "weight_decay": _WEIGHT_DECAY.value,
            "strategy": _STRATEGY.value,
            "seed": _SEED.value,
        },
        "data": training_input.settings_from_flags(),
    }


def main(argv: list[str]) -> None:
    """Trains from the newest checkpoint (or from nothing) to --num_steps, then scores."""
    if len(argv) > 1:
        raise ValueError(f"unknown argument(s) {argv[1:]}; flags start with --")
    strategy = strategies.make_strategy(_STRATEGY.value)
    train_paths = shards.list_shards(training_input.train_shards_from_flags())
    settings = settings_from_flags(shards.num_classes(train_paths))
    data = settings["data"]
    data["sources"] = shards.describe_sources(train_paths)
    splits = {
        shards.split_name(pattern): shards.list_shards(pattern) for pattern in data["eval_shards"]
    }
    _log_setting(strategy, settings, train_paths)
    is_chief = strategies.is_chief(strategy)
    if is_chief:
        run_folder.write_settings(_RUN_DIR.value, settings)
        path = os.path.join(_RUN_DIR.value, "flags.txt")
        run_folder.write_text(path, flags.FLAGS.flags_into_string())
    try:
        model, found, train_seconds = _train(strategy, settings, train_paths, splits, is_chief)
        settings["read_out"] |= found
        if TASKS[settings["task"]].fit:
            found |= _fit(model, settings, train_paths)
            settings["read_out"] |= found
        if found and is_chief:
            run_folder.write_read_out(_RUN_DIR.value, found)
        if splits:
            _evaluate(model, settings, splits, train_seconds, is_chief)
    except tf.errors.DataLossError as error:
        # TensorFlow says how a record is damaged, but not in which file.
        damage = shards.find_damage([*train_paths, *itertools.chain(*splits.values())])
        raise ValueError(damage or error.message) from error


def _train(
    strategy: tf.distribute.Strategy,
    settings: dict,
    train_paths: list[str],
    splits: dict[str, list[str]],
    is_chief: bool,
) -> tuple[keras.Model, dict, float]:
    """Returns the model, what it learned of the read-out, and the seconds of its steps so far."""
    task, plan = TASKS[settings["task"]], settings["training"]
    keras.utils.set_random_seed(plan["seed"])
    with strategy.scope():
        model = task.build_model(**settings["model"])
        optimizer = make_optimizer(
            *(plan["optimizer"], plan["learning_rate"], plan["num_steps"]),
            weight_decay=plan["weight_decay"],
            momentum=plan["momentum"],
        )
        # The last phase's, whose grouping may have weights of its own; they come after the model's.
        whole_model = task.build_training_model(model, settings["loss"], False)
        grouping = learned_grouping(whole_model)
        variables = model.trainable_variables + (grouping.trainable_variables if grouping else [])
        saved = checkpoints.open_checkpoints(
            *(_RUN_DIR.value, model, optimizer, is_chief), grouping=grouping
        )
        start_step = saved.restore_latest()
        if start_step == 0 and plan["pretrained"]:
            pretrained.load_weights(model, plan["pretrained"])
        if start_step == 0 and plan["init_from"]:
            initialization.initialize(model, plan["init_from"])
    logging.info(
        "%s weights; %s",
        f"{model.count_params():,}",
        f"going on from step {start_step}" if start_step else "starting at step 0",
    )
    reporter = Reporter(_RUN_DIR.value, start_step, is_chief)
    batches = training_input.distributed_batches(
        *(strategy, train_paths, settings["data"]),
        batch_size=plan["batch_size"],
        seed=plan["seed"],
        start_step=start_step,
        stride=_stride(settings),
        with_boundaries=task.needs_boundaries,
    )

    embedding_only = round(plan["embedding_only_fraction"] * plan["num_steps"])

    def save(step: int) -> None:
        if step == embedding_only:
            # Before the checkpoint: a run that goes on from this step must find them.
            saved.keep_embedding_only(step)
        saved.save(step)
        due = _PICTURE_EVERY.value and step % _PICTURE_EVERY.value == 0
        if splits and (due or step == plan["num_steps"]):
            reporter.picture("examples", _draw(model, settings, splits), step)

    for last_step, is_embedding_only in [(embedding_only, True), (plan["num_steps"], False)]:
        if start_step >= last_step:
            continue
        training_model = whole_model
        if is_embedding_only:
            with strategy.scope():
                training_model = task.build_training_model(model, settings["loss"], True)
        train_step = training.make_train_step(
            strategy,
            functools.partial(task.loss_terms, training_model),
            *(variables, optimizer, plan["batch_size"]),
        )
        training.train(
            train_step,
            batches,
            start_step=start_step,
            num_steps=last_step,
            total_steps=plan["num_steps"],
            global_batch_size=plan["batch_size"],
            report=reporter.report,
            report_every=_REPORT_EVERY.value,
            save=save,
            save_every=_SAVE_EVERY.value,
        )
        start_step = last_step
    found = {}
    if grouping is not None:
        found["concentration"] = float(grouping.concentration)
        logging.info(
            "learned: concentration %.4g, step size %.4g",
            *(found["concentration"], float(grouping.step_size)),
        )
    return model, found, reporter.train_seconds


def _draw(model: keras.Model, settings: dict, splits: dict[str, list[str]]) -> np.ndarray:
    """Returns a contact sheet of the first pictures of the first split, [H, W, 3] uint8."""
    task = TASKS[settings["task"]]
    examples = input_pipeline.evaluation_dataset(
        next(iter(splits.values())), with_boundaries=task.needs_boundaries
    )
    drawn = task.draw(model, examples.take(_DRAWN_EXAMPLES), settings["read_out"])
    return np.asarray(drawn)


def _stride(settings: dict) -> int:
    """Returns the multiple that the model pads pictures to, in pixels."""
    arguments = dict(settings["model"])
    del arguments["embedding_dim"]
    return backbone_stride(**arguments)


def _fit(model: keras.Model, settings: dict, train_paths: list[str]) -> dict:
    """Returns the read-out arguments that are fitted to the trained model's instances."""
    logging.info("fitting the scores of instances on training pictures")
    examples = input_pipeline.evaluation_dataset(train_paths).take(_FITTED_EXAMPLES)
    scorer = TASKS[settings["task"]].fit(model, examples, settings["read_out"])
    if scorer is None:
        logging.warning("no instance was found in training pictures: scores stay without a fit")
        return {}
    return {"scorer": scorer}


def _evaluate(
    model: keras.Model,
    settings: dict,
    splits: dict[str, list[str]],
    train_seconds: float,
    is_chief: bool,
) -> None:
    """Scores every split; metrics.json leads with the figures of the first."""
    task, scores, began = TASKS[settings["task"]], {}, time.monotonic()
    for split, paths in splits.items():
        started = time.monotonic()
        examples = input_pipeline.evaluation_dataset(paths, with_boundaries=task.needs_boundaries)
        scores[split] = task.evaluate(model, examples, settings["read_out"])
        figures = "  ".join(f"{name} {value:.4g}" for name, value in scores[split].items())
        logging.info("%s: %s  (%.0f s)", split, figures, time.monotonic() - started)
    if is_chief:
        first = next(iter(scores.values()))
        path = os.path.join(_RUN_DIR.value, "metrics.json")
        seconds = {
            "train_seconds": train_seconds,
            "total_seconds": train_seconds + time.monotonic() - began,
        }
        run_folder.write_json(path, {**first, **seconds, "splits": scores})
        logging.info("scores written to %s", path)


def _log_setting(strategy: tf.distribute.Strategy, settings: dict, train_paths: list[str]) -> None:
    """Says first of all what runs where, and whether the margin can be met at all."""
    versions = f"TensorFlow {tf.__version__}, Keras {keras.__version__}"
    logging.info("%s; %s", versions, strategies.describe(strategy))
    for part, arguments in settings.items():
        logging.info("%s: %s", part, arguments)
    loss = settings["loss"]
    if loss["radius"] is not None or loss.get("embedding_weight") == 0:
        return  # Only neighbours need differ, or nothing is learned of it.
    most_instances = shards.most_instances(train_paths)
    if TASKS[settings["task"]].needs_boundaries:
        most_instances = 1  # boundary and not: two groups
    if most_instances is None:
        return
    num_groups = max(1, most_instances + (not loss["foreground_only"]))
    feasible = smallest_margin(num_groups, settings["model"]["embedding_dim"])
    if loss["margin"] < feasible:
        logging.warning(
            "--margin=%g cannot be met: %d groups (a background included) in --embedding_dim=%d "
            "need at least %.4f. Raise one of the two, or accept a loss above 0.",
            *(loss["margin"], num_groups, settings["model"]["embedding_dim"], feasible),
        )


def run() -> None:
    """Starts the command; the console entry point."""
    flags.mark_flags_as_required(["run_dir", "train_shards"])
    command_line.run(main)


if __name__ == "__main__":
    run()
