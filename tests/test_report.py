import copy
import json
import re

import pytest

from edgerec.pipeline import Run
from edgerec.report.build import render_html
from edgerec.report.plots import CURVES, learning_curves


@pytest.fixture
def report(small_run: Run) -> dict:
    return json.loads((small_run.folder / "report.json").read_text())


def test_the_page_shows_the_learning_curves_with_the_epoch_that_was_kept(report: dict) -> None:
    page = render_html(report)
    svg = learning_curves(report)
    assert re.sub(r"\s+", " ", svg) in re.sub(r"\s+", " ", page)
    for label in CURVES.values():
        assert label in svg
    for stage, log in report["training"].items():
        assert f"{stage}: kept, epoch {log['best_epoch']}" in svg


def test_the_card_shows_the_curves_beside_it(small_run: Run, report: dict) -> None:
    assert "](curves.svg)" in (small_run.folder / "MODEL_CARD.md").read_text()
    assert (small_run.folder / "curves.svg").read_text() == learning_curves(report)
    assert 'xmlns="http://www.w3.org/2000/svg"' in learning_curves(report)


@pytest.mark.parametrize("change", ["loss", "ndcg@10", "best_epoch"])
def test_the_curves_are_those_of_the_report(report: dict, change: str) -> None:
    other = copy.deepcopy(report)
    log = other["training"]["trained"]
    if change == "best_epoch":
        log["best_epoch"] = 1 + log["best_epoch"] % len(log["curve"])
    else:
        log["curve"][0][change] *= 1.5
    assert learning_curves(report) == learning_curves(report) != learning_curves(other)


def test_one_epoch_and_no_pruning_make_a_plot_too(report: dict) -> None:
    log = report["training"]["trained"]
    report["training"] = {"trained": {**log, "curve": log["curve"][:1], "best_epoch": 1}}
    assert "trained: kept, epoch 1" in learning_curves(report)
