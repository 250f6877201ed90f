"""The training loop, on made-up steps."""

import numpy as np
import pytest

from rpe_tf.train_step import StepResults
from rpe_tf.training import NonFiniteError, Schedule, StopRequested, train


class Loop:
    """Runs `train` on made-up terms, and records what it reports and saves."""

    def __init__(self, terms_at=lambda step: {"loss_loop_0": float(step)}):
        self.reports, self.saved, self.calls, self.taken = [], [], [], 0
        self.terms_at = terms_at

    def run(self, start_step, num_steps, report_every=3, save_every=4, steps_per_call=1, **options):
        self.taken = start_step

        def train_step(batches, num_steps, is_stopping):
            steps = [next(batches) for _ in range(num_steps)]
            self.calls.append(num_steps)
            self.taken = steps[-1]
            rows = [self.terms_at(step) for step in steps]
            terms = {name: np.array([row[name] for row in rows]) for name in rows[0]}
            return StepResults(terms, is_stopping)

        train(
            train_step,
            iter(range(start_step + 1, 100)),
            Schedule(start_step, num_steps, 20, report_every, save_every, steps_per_call),
            global_batch_size=8,
            report=self.reports.append,
            save=self.saved.append,
            **options,
        )
        return self


def test_train_reports_and_saves_on_the_way_and_at_the_end():
    loop = Loop().run(0, 10)
    assert loop.taken == 10
    assert [report.step for report in loop.reports] == [3, 6, 9, 10]
    assert loop.saved == [4, 8, 10]


def test_train_reports_means_since_the_last_report():
    means = [report.terms["loss_loop_0"] for report in Loop().run(0, 7).reports]
    assert means == [(1 + 2 + 3) / 3, (4 + 5 + 6) / 3, 7.0]


def test_train_goes_on_from_its_start_step():
    loop = Loop().run(4, 8)
    # Multiples of report_every and save_every as in a run that was never stopped.
    assert [report.step for report in loop.reports] == [6, 8]
    assert [report.terms["loss_loop_0"] for report in loop.reports] == [(5 + 6) / 2, (7 + 8) / 2]
    assert loop.saved == [8]


@pytest.mark.parametrize("start_step", [8, 9])
def test_train_of_a_finished_run_does_nothing(start_step):
    loop = Loop().run(start_step, 8)
    assert (loop.taken, loop.reports, loop.saved) == (start_step, [], [])


def test_train_report_counts_to_the_end_of_the_run():
    reports = Loop().run(0, 6).reports
    for report in reports:
        assert report.num_steps == 20
        assert report.seconds_left == pytest.approx((20 - report.step) * report.seconds_per_step)
        assert report.images_per_second == pytest.approx(8 / report.seconds_per_step)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_train_stops_at_the_first_term_that_is_not_finite_and_saves_nothing_after(value):
    # Step 8 would be saved and step 6 reported.
    for bad_step, saved, reported in ((8, [4], [3, 6]), (6, [4], [3]), (1, [], [])):
        loop = Loop(lambda step, bad=bad_step: {"a": 1.0, "b": value if step >= bad else 0.0})
        with pytest.raises(
            NonFiniteError, match=f"b is {value} at step {bad_step}\\. Its pictures: p{bad_step}, q"
        ):
            loop.run(0, 20, records_of=lambda step: [f"p{step}", "q"])
        assert loop.taken == bad_step
        assert loop.saved == saved
        assert [report.step for report in loop.reports] == reported


def test_non_finite_error_says_what_to_try():
    with pytest.raises(NonFiniteError, match=r"--learning_rate.*--on_non_finite=skip"):
        Loop(lambda step: {"a": float("nan")}).run(0, 1)
    # The command turns arithmetic errors into one line.
    assert issubclass(NonFiniteError, ArithmeticError)


def test_train_lets_large_numbers_pass():
    assert Loop(lambda step: {"a": 3e38, "b": -1e-45, "zero": 0.0}).run(0, 2).saved == [2]


def test_train_leaves_out_steps_that_are_not_finite_if_asked():
    loop = Loop(lambda step: {"a": float("nan") if step == 2 else float(step)})
    loop.run(0, 4, skips_non_finite=True)
    assert loop.saved == [4]
    # Of steps 1 and 3; then of step 4.
    assert [report.terms for report in loop.reports] == [{"a": 2, "skipped_steps": 1}, {"a": 4}]


def test_train_gives_up_after_fifty_such_steps_in_a_row():
    loop = Loop(lambda step: {"a": float("nan") if step > 3 else 1.0})
    with pytest.raises(NonFiniteError, match="a is nan at step 53"):
        loop.run(0, 90, skips_non_finite=True)


def test_train_makes_several_steps_a_call_and_meets_every_report_and_save():
    loop = Loop().run(0, 10, steps_per_call=3)
    assert loop.calls == [3, 1, 2, 2, 1, 1]
    assert [report.step for report in loop.reports] == [3, 6, 9, 10]
    assert loop.saved == [4, 8, 10]
    alone = Loop().run(0, 10)
    assert [r.terms for r in loop.reports] == [r.terms for r in alone.reports]


def test_train_names_the_bad_step_among_several_of_a_call():
    loop = Loop(lambda step: {"a": float("inf") if step == 5 else 1.0})
    with pytest.raises(NonFiniteError, match="a is inf at step 5"):
        loop.run(4, 8, steps_per_call=4)


def test_train_saves_and_stops_when_asked():
    loop = Loop()
    with pytest.raises(StopRequested) as stop:
        loop.run(0, 20, is_stopping=lambda: loop.taken >= 4)
    assert stop.value.step == 5
    assert loop.saved == [4, 5]
    assert [report.step for report in loop.reports] == [3, 5]
