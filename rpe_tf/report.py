"""The report of a run: one HTML file that needs no network, for people.

What it says comes from the files of the run: settings.json, metrics.jsonl, metrics.json and the
newest checkpoint, and where there is one from the json of `rpe_tf.metrics.evaluate_main`.
"""

import glob
import json
import os
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from absl import logging
from matplotlib.figure import Figure

from rpe_tf import html_page, run_folder
from rpe_tf.metrics.score_report import score_sections
from rpe_tf.report_pictures import look, picture_sections

NUM_LOOKED, NUM_SHOWN = 16, 3
# Of a row of metrics.jsonl, what is no figure of the training.
_COUNTERS = ("step", "train_seconds")
# What the names of losses begin with; they are drawn together.
_LOSSES = ("loss_", "logistic_", "cross_entropy")
# How a run's own scores are taken, by task.
_PROTOCOLS = {
    "proposals": "Recall and precision are pooled over pictures, class-free; adjusted Rand indices "
    "are means over pictures; ar_… of the pooled proposals.",
    "instances": "Matching (TP / (TP + FP + FN)), PQ and AP^r per class, pooled over pictures; "
    "mIoU of the classes.",
    "semantic": "IoU of a class over all pictures, mean over classes; void left out; …_within_…px "
    "in a band round true class boundaries.",
    "boundary": "Non-maximum suppression, thinning, 33 thresholds, tolerance 0.0075 of the "
    "diagonal, all annotators.",
}
_OF_RUNS = ("train_seconds", "total_seconds")


def write_report(
    run_dir: str,
    *,
    shards: Sequence[str] | None = None,
    scores_path: str | None = None,
    output: str | None = None,
    num_looked: int = NUM_LOOKED,
) -> str:
    """Returns the path of the report written, under a temporary name first.

    What is missing is said in the report and is no error: it is written at the end of a training,
    which must not fail for it.

    Args:
      run_dir: folder of a run.
      shards: paths of labelled pictures; None: those of the first --eval_shards of the run.
      scores_path: json of `evaluate_main`; None: without.
      output: of the HTML file; None: report.html in the run's folder.
      num_looked: labelled pictures among which the best and the worst are, at most; 0: none.

    Raises:
      FileNotFoundError: if run_dir holds no run, or there is no such json.
      ValueError: if settings or json cannot be read.
    """
    settings = run_folder.read_settings(run_dir)
    sections = {"Training": _training(run_dir, settings)}
    sections |= _own_scores(run_dir, settings)
    if scores_path is not None:
        found = score_sections(_read_scores(scores_path)).items()
        sections |= {f"{title}, {os.path.basename(scores_path)}": body for title, body in found}
    sections |= _pictures(run_dir, settings, shards, num_looked)
    sections["Settings"] = _settings(run_dir, settings)
    name = os.path.basename(os.path.abspath(run_dir))
    path = output or os.path.join(run_dir, "report.html")
    run_folder.write_text(path, html_page.page(f"{settings['task']}: {name}", sections))
    logging.info("report written to %s", path)
    return path


def draw_losses(rows: Sequence[Mapping[str, float]]) -> Figure:
    """Returns the losses against the step, logarithmic; rows as metrics.jsonl has them."""
    return _draw(rows, [x for x in _names(rows) if x.startswith(_LOSSES)], "loss", "log")


def _names(rows: Sequence[Mapping]) -> list[str]:
    """Returns the figures in rows, in their order."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if name not in _COUNTERS]


def _training(run_dir: str, settings: dict) -> str:
    rows = run_folder.read_metrics(run_dir)
    versions = ", ".join(f"{name} {version}" for name, version in settings["versions"].items())
    plan = settings["training"]
    facts = [("task", settings["task"])]
    if rows:
        facts += [
            ("steps", f"{rows[-1]['step']:,} of {plan['num_steps']:,}"),
            ("training", f"{rows[-1]['train_seconds'] / 60:.1f} minutes"),
        ]
    if best := run_folder.read_best(run_dir):
        facts.append(("weights taken", f"of step {best['step']:,}, best by {best['figure']}"))
    body = html_page.table([*facts, ("versions", versions)])
    if not rows:
        return body + html_page.words("No step has been reported yet (metrics.jsonl).")
    others = [name for name in _names(rows) if not name.startswith(_LOSSES)]
    plots = [html_page.plot(draw_losses(rows), "Losses")]
    plots += [html_page.plot(_draw(rows, [name], name), _spoken(name)) for name in others]
    return body + html_page.row(plots, is_plots=True)


def _draw(
    rows: Sequence[Mapping], names: Sequence[str], label: str, scale: str = "linear"
) -> Figure:
    figure = Figure(figsize=(4.8, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for k, name in enumerate(names):
        points = [(row["step"], row[name]) for row in rows if name in row]
        # A run of one report is a point, which a line alone would not show.
        marker = "o" if len(points) == 1 else None
        style = html_page.STYLES[k % len(html_page.STYLES)]
        steps, values = np.array(points, float).T
        axes.plot(steps, values, label=_spoken(name), marker=marker, **style)
    axes.set(xlabel="step", ylabel=_spoken(label))
    values = [row[name] for row in rows for name in names if name in row]
    if scale == "log" and any(x > 0 for x in values):
        axes.set_yscale("log")
    axes.grid(alpha=0.3)
    if len(names) > 1:
        axes.legend(fontsize="small")
    return figure


def _spoken(name: str) -> str:
    return name.replace("_", " ")


def _own_scores(run_dir: str, settings: dict) -> dict[str, str]:
    """Returns the section of metrics.json, which a training writes at its end."""
    scores = run_folder.read_scores(run_dir)
    splits = scores.get("splits", {})
    if not splits:
        told = "None yet: a training with --eval_shards scores at its end (metrics.json)."
        return {"Scores": html_page.words(told)}
    names = list(dict.fromkeys(name for figures in splits.values() for name in figures))
    rows = [(name, *(figures.get(name) for figures in splits.values())) for name in names]
    patterns = ", ".join(settings["data"]["eval_shards"])
    protocol = f"protocol: every picture of {patterns}, by the read-out below. "
    seconds = [f"{_spoken(x)} {scores[x]:.0f}" for x in _OF_RUNS if x in scores]
    body = html_page.words(protocol + _PROTOCOLS[settings["task"]], is_small=True)
    body += html_page.table(rows, ("figure", *splits)) + html_page.words(", ".join(seconds), True)
    return {"Scores": body}


def _read_scores(path: str) -> dict:
    if not os.path.exists(path):
        raise FileNotFoundError(f"no file {path}; write it with evaluate_main --json={path}")
    with open(path, encoding="utf-8") as file:
        try:
            found = json.load(file)
        except ValueError as error:
            raise ValueError(f"{path} is no JSON ({error}); write it with evaluate_main") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} is no JSON object; write it with evaluate_main --json")
    return found


def _pictures(
    run_dir: str, settings: dict, shards: Sequence[str] | None, num_looked: int
) -> dict[str, str]:
    """Returns the sections of the best and the worst pictures, or of why there are none."""
    if num_looked == 0:
        return {}
    if shards is None:
        shards = sorted(glob.glob((settings["data"]["eval_shards"] or [""])[0]))
    if not shards:
        told = "None: the run has no --eval_shards, or they are gone; give report_main --shards."
        return {"Pictures": html_page.words(told)}
    concentration = run_folder.read_out_arguments(run_dir).get("concentration")
    try:
        looked = look(run_dir, shards, num_looked)
        found = picture_sections(looked, settings["task"], concentration, NUM_SHOWN)
    except (ValueError, OSError, tf.errors.OpError) as error:
        told = f"None: {getattr(error, 'message', error)}"
        return {"Pictures": html_page.words(told)}
    return found or {"Pictures": html_page.words("None of them has an object to be found.")}


def _settings(run_dir: str, settings: dict) -> str:
    body = ""
    for part in ("model", "loss", "read_out", "training", "data"):
        arguments = settings[part] | (run_folder.read_found(run_dir) if part == "read_out" else {})
        rows = [(name, _said(value)) for name, value in arguments.items()]
        body += html_page.heading(_spoken(part)) + html_page.table(rows)
    return body


def _said(value: object) -> object:
    """Returns what a cell says of a setting: numbers as they are, the rest as JSON."""
    if value is None or (isinstance(value, int | float | str) and not isinstance(value, bool)):
        return value
    return json.dumps(value, ensure_ascii=False)
