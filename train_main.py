"""Trains a model on shards, scores it, and leaves all that an export needs in the run folder."""

import functools
import itertools
import os
import time
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf
from absl import flags, logging

from data_pipeline import command_line, damage, input_pipeline, shards, training_input
from rpe_tf import checkpoints, interruption, run_folder, strategies, training, training_flags
from rpe_tf.best_weights import keep_if_best
from rpe_tf.learner import Learner, learned_read_out, open_learner
from rpe_tf.memory_estimate import check_training
from rpe_tf.models import model_flags
from rpe_tf.models.backbone import backbone_stride
from rpe_tf.report import write_report
from rpe_tf.reporter import Reporter
from rpe_tf.tasks import TASKS, loss_flags, read_out_flags
from rpe_tf.tasks.margin import margin_warning
from rpe_tf.tracing import Tracer
from rpe_tf.train_step import make_train_step

# These parts' flags are shown by --help as if they stood here.
for _part in (training_input, model_flags, loss_flags, read_out_flags, training_flags):
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
_DETERMINISTIC = flags.DEFINE_bool(
    "deterministic",
    False,
    "Repeat a run bit for bit on the same machine; on CPUs with TF_NUM_INTRAOP_THREADS=1. Slower.",
)
_SEED = flags.DEFINE_integer("seed", 0, "Of weights, data order and drawn pixels.", lower_bound=0)

# Reports
_REPORT_EVERY = flags.DEFINE_integer("report_every", 50, "Steps between lines of the log.", 1)
_SAVE_EVERY = flags.DEFINE_integer("save_every", 200, "Steps between checkpoints.", 1)
_NUM_KEPT = flags.DEFINE_integer("num_kept", 3, "Newest checkpoints that stay.", 1)
_EVAL_EVERY = flags.DEFINE_integer(
    "eval_every",
    0,
    "Steps between scores of the first split, a multiple of --save_every; 0: only at the end.",
    lower_bound=0,
)
_BEST_BY = flags.DEFINE_string(
    "best_by",
    None,
    "Figure of these scores, such as pq: the weights where it is highest are kept, and are taken "
    "at the end.",
)
_PROFILE = flags.DEFINE_list(
    "profile", [], "FIRST,LAST step of a trace for TensorBoard's profiler; by default none."
)
_CHECK_MEMORY = flags.DEFINE_bool(
    "check_memory", True, "Refuse a training that will not fit, before its first step."
)
_PICTURE_EVERY = flags.DEFINE_integer(
    "picture_every", 500, "Steps between pictures in TensorBoard; 0: only at the end.", 0
)

# Pictures that the scorer of instances is fitted on: some hundred instances tell its few weights.
_FITTED_EXAMPLES = 100
# Pictures on the contact sheet in TensorBoard.
_DRAWN_EXAMPLES = 6


def settings_from_flags(train_paths: list[str]) -> dict:
    """Returns what settings.json holds: the arguments of each part of the program.

    Args:
      train_paths: shards to train on; their manifests say classes and checksums.

    Raises:
      ValueError: if a flag is outside its range, or flags do not fit each other.
    """
    if _EVAL_EVERY.value % _SAVE_EVERY.value or (_BEST_BY.value and not _EVAL_EVERY.value):
        raise ValueError(
            "--eval_every must be a multiple of --save_every, and --best_by needs it; got "
            f"{_EVAL_EVERY.value} and {_SAVE_EVERY.value}"
        )
    task = TASKS[_TASK.value]
    loss = loss_flags.settings_from_flags(task.loss)
    return {
        "task": _TASK.value,
        "model": model_flags.settings_from_flags(_TASK.value, shards.num_classes(train_paths)),
        "loss": loss,
        "read_out": read_out_flags.settings_from_flags(task.read_out, loss["concentration"]),
        "training": {
            **training_flags.settings_from_flags(),
            "pretrained": model_flags.pretrained_from_flags(),
            "init_from": _INIT_FROM.value,
            "strategy": _STRATEGY.value,
            "seed": _SEED.value,
        },
        "data": {
            **training_input.settings_from_flags(),
            "sources": shards.describe_sources(train_paths),
        },
    }


def main(argv: list[str]) -> int | None:
    """Trains from the newest checkpoint (or from nothing) to --num_steps, then scores.

    Returns interruption.EXIT_CODE where it was asked to stop before the end.
    """
    if len(argv) > 1:
        raise ValueError(f"unknown argument(s) {argv[1:]}; flags start with --")
    training_flags.check_devices()
    strategy = strategies.make_strategy(_STRATEGY.value)
    if _DETERMINISTIC.value:
        keras.utils.set_random_seed(_SEED.value)
        tf.config.experimental.enable_op_determinism()
    train_paths = shards.list_shards(training_input.train_shards_from_flags())
    settings = settings_from_flags(train_paths)
    splits = {shards.split_name(x): shards.list_shards(x) for x in settings["data"]["eval_shards"]}
    _log_setting(strategy, settings, train_paths)
    is_chief = strategies.is_chief(strategy)
    if is_chief:
        run_folder.write_settings(_RUN_DIR.value, settings)
        path = os.path.join(_RUN_DIR.value, "flags.txt")
        run_folder.write_text(path, flags.FLAGS.flags_into_string())
    try:
        # TensorFlow says how a record is damaged, but not in which file.
        paths = [*train_paths, *itertools.chain(*splits.values())]
        with damage.named(paths), strategies.lost_workers_named(strategy):
            model, found, train_seconds = _train(strategy, settings, train_paths, splits, is_chief)
            settings["read_out"] |= found
            if TASKS[settings["task"]].fit:
                found |= _fit(model, settings, train_paths)
                settings["read_out"] |= found
            if found and is_chief:
                run_folder.write_read_out(_RUN_DIR.value, found)
            if splits:
                _evaluate(model, settings, splits, train_seconds, is_chief)
        if is_chief:
            write_report(_RUN_DIR.value)
    except training.StopRequested as request:
        logging.info("%s, as asked; the same command goes on from there", request)
        return interruption.EXIT_CODE
    return None


def _train(
    strategy: tf.distribute.Strategy,
    settings: dict,
    train_paths: list[str],
    splits: dict[str, list[str]],
    is_chief: bool,
) -> tuple[keras.Model, dict, float]:
    """Returns the model, what it learned of the read-out, and the seconds of its steps so far."""
    task, plan = TASKS[settings["task"]], settings["training"]
    learner = open_learner(
        *(strategy, settings, _RUN_DIR.value), is_chief=is_chief, num_kept=_NUM_KEPT.value
    )
    check_training(
        *(learner.model, settings, strategy.num_replicas_in_sync),
        largest_size=shards.largest_size(train_paths),
        is_forced=not _CHECK_MEMORY.value,
    )
    reporter = Reporter(_RUN_DIR.value, learner.start_step, is_chief)

    def batches_from(step: int) -> Iterator:
        return training_input.distributed_batches(
            *(strategy, train_paths, settings["data"]),
            batch_size=plan["batch_size"] // plan["num_parts"],
            seed=plan["seed"],
            start_step=step * plan["num_parts"],
            stride=_stride(settings),
            with_boundaries=task.needs_boundaries,
        )

    def records_of(step: int) -> list[str]:
        parts, names = batches_from(step - 1), []
        for _ in range(plan["num_parts"]):
            for local in strategy.experimental_local_results(next(parts)["name"]):
                names += [name.decode() for name in local.numpy()]
        return names

    save = functools.partial(_save, learner, settings, splits, reporter, strategy)
    step, batches = learner.start_step, batches_from(learner.start_step)
    tracer = Tracer(_PROFILE.value, os.path.join(_RUN_DIR.value, "tensorboard"))
    with interruption.StopSignal() as is_stopping, tracer:
        for last_step, is_embedding_only in [
            (_embedding_only_steps(plan), True),
            (plan["num_steps"], False),
        ]:
            if step >= last_step:
                continue
            training_model = learner.training_model
            if is_embedding_only:
                with strategy.scope():
                    training_model = task.build_training_model(
                        *(learner.model, settings["loss"], True)
                    )
            training.train(
                make_train_step(
                    *(strategy, functools.partial(task.loss_terms, training_model)),
                    *(learner.variables, learner.optimizer, plan["batch_size"]),
                    *(training_flags.step_options(plan), learner.loss_scale),
                ),
                batches,
                training.Schedule(
                    *(step, last_step, plan["num_steps"]),
                    *(_REPORT_EVERY.value, _SAVE_EVERY.value, plan["steps_per_call"]),
                ),
                global_batch_size=plan["batch_size"],
                report=reporter.report,
                save=save,
                is_stopping=is_stopping,
                skips_non_finite=plan["on_non_finite"] == "skip",
                records_of=records_of,
                before=tracer,
            )
            step = last_step
    if best := run_folder.read_best(_RUN_DIR.value):
        step = checkpoints.restore_weights(_RUN_DIR.value, learner.model)
        logging.info("the weights of step %d, best by %s, are taken", step, best["figure"])
    return learner.model, learned_read_out(learner), reporter.train_seconds


def _embedding_only_steps(plan: dict) -> int:
    return round(plan["embedding_only_fraction"] * plan["num_steps"])


def _save(
    learner: Learner,
    settings: dict,
    splits: dict[str, list[str]],
    reporter: Reporter,
    strategy: tf.distribute.Strategy,
    step: int,
) -> None:
    """Writes the checkpoint of a step, and before it what a run that goes on from it must find."""
    plan = settings["training"]
    is_last = step == plan["num_steps"]
    if step == _embedding_only_steps(plan):
        learner.saved.keep_weights(checkpoints.EMBEDDING_ONLY, step)
    if is_last and plan["average_momentum"]:
        learner.optimizer.finalize_variable_values(learner.variables)
    if splits and _EVAL_EVERY.value and step % _EVAL_EVERY.value == 0:
        split, paths = next(iter(splits.items()))
        scores = _score(learner.model, settings, paths)
        reporter.scores(split, scores, step)
        if _BEST_BY.value:
            wait = functools.partial(strategies.wait_for_all, strategy)
            is_chief = strategies.is_chief(strategy)
            keep_if_best(learner.saved, _BEST_BY.value, scores, step, is_chief=is_chief, wait=wait)
    learner.saved.save(step)
    if splits and (is_last or (_PICTURE_EVERY.value and step % _PICTURE_EVERY.value == 0)):
        reporter.picture("examples", _draw(learner.model, settings, splits), step)


def _draw(model: keras.Model, settings: dict, splits: dict[str, list[str]]) -> np.ndarray:
    """Returns a contact sheet of the first pictures of the first split, [H, W, 3] uint8."""
    task = TASKS[settings["task"]]
    examples = input_pipeline.evaluation_dataset(
        next(iter(splits.values())), with_boundaries=task.needs_boundaries
    )
    return np.asarray(task.draw(model, examples.take(_DRAWN_EXAMPLES), settings["read_out"]))


def _stride(settings: dict) -> int:
    """Returns the multiple that the model pads pictures to, in pixels."""
    arguments = {name: x for name, x in settings["model"].items() if name != "embedding_dim"}
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


def _score(model: keras.Model, settings: dict, paths: list[str]) -> dict[str, float]:
    """Returns the scores of a split."""
    task = TASKS[settings["task"]]
    examples = input_pipeline.evaluation_dataset(paths, with_boundaries=task.needs_boundaries)
    return task.evaluate(model, examples, settings["read_out"])


def _evaluate(
    model: keras.Model,
    settings: dict,
    splits: dict[str, list[str]],
    train_seconds: float,
    is_chief: bool,
) -> None:
    """Scores every split; metrics.json leads with the figures of the first."""
    scores, began = {}, time.monotonic()
    for split, paths in splits.items():
        started = time.monotonic()
        scores[split] = _score(model, settings, paths)
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
    is_boundary = TASKS[settings["task"]].needs_boundaries
    most_instances = 1 if is_boundary else shards.most_instances(train_paths)
    if warning := margin_warning(loss, settings["model"]["embedding_dim"], most_instances):
        logging.warning("%s", warning)


def run() -> None:
    """Starts the command; the console entry point."""
    flags.mark_flags_as_required(["run_dir", "train_shards"])
    command_line.run(main)


if __name__ == "__main__":
    run()
