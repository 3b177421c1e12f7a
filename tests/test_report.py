import copy
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from sample_report import sample_report

from edgerec.evaluation.words import WHY_NOT_MEASURABLE
from edgerec.report.build import PAGES, render_card, render_curves, render_html, stage_summary, write_report
from edgerec.report.plots import bytes_by_part, latency, learning_curves, size_against_quality, waterfall
from edgerec.report.steps import step_sentences
from edgerec.report.terminal import print_report

PLOTS = (size_against_quality, bytes_by_part, latency, learning_curves, waterfall)
# Elements without an end tag, and what makes a page load something.
VOID = {"meta", "br"}
LOADING = {"script", "link", "img", "iframe", "object", "embed"}


class Page(HTMLParser):
    """Checks that elements are closed in order, and collects what the page holds."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.links += [value for name, value in attrs if name in ("href", "src", "xlink:href") and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data.replace("\u00a0", " ")


@pytest.fixture
def report() -> dict[str, Any]:
    return sample_report()


@pytest.fixture(scope="module")
def html() -> str:
    """The page of the report as it is."""
    return render_html(sample_report())


def printed(report: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    print_report(report)
    return capsys.readouterr().out


def everywhere(report: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What people read: terminal, page and card."""
    return [printed(report, capsys), Page(render_html(report)).text, render_card(report)]


def of_the_region(svg: str) -> list[float]:
    """The figures at the vertical axis of the plot of size against quality."""
    return [float(text) for text in re.findall(r">(\d\.\d+)</text>", svg)]


def test_the_page_is_one_file_without_scripts_and_links_outside(html: str) -> None:
    page = Page(html)
    assert not LOADING & set(page.tags)
    assert all(link.startswith("#") for link in page.links)
    assert "@import" not in html


def test_every_reference_within_the_page_leads_to_an_id(html: str) -> None:
    page = Page(html)
    referred = {link.removeprefix("#") for link in page.links} | set(re.findall(r"url\(#([^)]+)\)", html))
    assert referred and referred <= set(page.ids)


@pytest.mark.parametrize("render", [*PAGES.values(), *PLOTS])
def test_the_same_report_gives_the_same_bytes(report: dict[str, Any], render: Callable[[Any], str]) -> None:
    assert render(report) == render(copy.deepcopy(report))


@pytest.mark.parametrize("plot", PLOTS)
def test_plots_take_the_colour_of_the_text_around_them_and_have_the_width_of_a_phone(
    report: dict[str, Any], plot: Callable[[Any], str]
) -> None:
    svg = plot(report)
    element = ElementTree.fromstring(svg)
    assert element.attrib["width"] == "270pt"  # 360 CSS pixels
    assert element.attrib["aria-label"]
    assert "currentColor" in svg
    assert not {"#000000", "#ffffff", "#222222"} & set(re.findall(r"#[0-9a-f]{6}", svg))


def test_the_page_and_the_curves_have_colours_for_dark_mode(html: str, report: dict[str, Any]) -> None:
    curves = render_curves(report)
    assert "prefers-color-scheme" in html and "prefers-color-scheme" in curves
    ElementTree.fromstring(curves)


def test_the_page_shows_the_learning_curves_with_the_epoch_that_was_kept(html: str, report: dict[str, Any]) -> None:
    svg = learning_curves(report)
    assert svg in html
    for label in ("loss, training", "NDCG@10, validation"):
        assert label in svg
    for stage, log in report["training"].items():
        assert f"{stage}: kept, epoch {log['best_epoch']}" in svg


def test_a_report_is_written_with_the_card_and_its_curves_beside_it(tmp_path: Path, report: dict[str, Any]) -> None:
    write_report(report, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*PAGES, "report.json"}
    assert json.loads((tmp_path / "report.json").read_text("utf-8")) == report
    assert "](curves.svg)" in (tmp_path / "MODEL_CARD.md").read_text("utf-8")
    assert 'xmlns="http://www.w3.org/2000/svg"' in (tmp_path / "curves.svg").read_text("utf-8")


@pytest.mark.parametrize("change", ["loss", "ndcg@10", "best_epoch"])
def test_the_curves_are_those_of_the_report(report: dict[str, Any], change: str) -> None:
    other = copy.deepcopy(report)
    log = other["training"]["trained"]
    if change == "best_epoch":
        log["best_epoch"] = 1 + log["best_epoch"] % len(log["curve"])
    else:
        log["curve"][0][change] *= 1.5
    assert learning_curves(report) != learning_curves(other)


def test_one_epoch_and_no_pruning_make_a_plot_too(report: dict[str, Any]) -> None:
    log = report["training"]["trained"]
    report["training"] = {"trained": {**log, "curve": log["curve"][:1], "best_epoch": 1}}
    assert "trained: kept, epoch 1" in learning_curves(report)


def test_a_stage_that_diverged_is_drawn_up_to_there_and_says_so(report: dict[str, Any]) -> None:
    trained = report["training"]["trained"]
    trained["curve"][3] |= {"loss": float("nan"), "ndcg@10": None}
    trained["stopped"] = "loss diverged at epoch 4"
    assert "trained: kept, epoch 3" in learning_curves(report)
    assert "epoch 3 of 4 kept (loss diverged at epoch 4)" in render_card(report)


def test_size_against_quality_shows_the_region_of_the_files_not_zero(report: dict[str, Any]) -> None:
    figures = of_the_region(size_against_quality(report))
    assert 0.09 < min(figures) < max(figures) < 0.11


def test_up_is_better_also_for_an_error(report: dict[str, Any]) -> None:
    files = [variant for variant in report["variants"] if variant["file"]][:3]
    for variant, error in zip(files, (0.90, 0.91, 0.92), strict=True):
        variant |= {"quality": {"rmse": error}, "fidelity": {"loss": 0.01, "loss_ci": (0.0, 0.02)}}
    ranking = {"kind": "ranking", "task": {"kind": "rating"}, "variants": files, "baselines": []}
    svg = ElementTree.fromstring(size_against_quality(ranking))
    labels = {text.text: float(text.attrib["y"]) for text in svg.iter("{http://www.w3.org/2000/svg}text")}
    heights = [y for text, y in sorted(labels.items()) if re.fullmatch(r"0\.\d+", text or "")]
    assert len(heights) > 2 and heights == sorted(heights)  # the lowest error at the top, where y is small
    assert "RMSE, test" in labels


def test_every_file_is_named_at_its_point_and_baselines_as_lines_or_outside(report: dict[str, Any]) -> None:
    svg = size_against_quality(report)
    for name in ("float32", "float16", "int8", "keras", "markov"):
        assert svg.count(f">{name}</text>") == 1
    assert "outside this region:" in svg
    assert "popularity\u00a00.0200" in svg and "markov\u00a0" not in svg


def test_files_of_one_size_and_quality_are_named_at_different_places(report: dict[str, Any]) -> None:
    float16 = next(variant for variant in report["variants"] if variant["name"] == "float16")
    report["variants"] += [{**float16, "name": f"same-{number}"} for number in range(3)]
    svg = ElementTree.fromstring(size_against_quality(report))
    names = {"float16", "same-0", "same-1", "same-2"}
    places = {
        text.text: (text.attrib["x"], text.attrib["y"])
        for text in svg.iter("{http://www.w3.org/2000/svg}text")
        if text.text in names
    }
    assert set(places) == names
    assert len(set(places.values())) == len(names)


def test_the_verdict_is_told_in_the_terminal_the_page_and_the_card(
    report: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for text in everywhere(report, capsys):
        assert report["verdict"]["sentence"] in text
    assert 'class="verdict good"' in render_html(report)
    report["verdict"] |= {"verdict": "worse than", "sentence": "int8 is worse than markov."}
    assert 'class="verdict bad">int8 is worse than markov.' in render_html(report)


def test_a_report_without_a_verdict_is_shown_too(report: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    del report["verdict"]
    assert all("best baseline" not in text for text in everywhere(report, capsys))


def test_changes_are_shown_with_their_sign(report: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    terminal, page, card = everywhere(report, capsys)
    for text in (page, card):
        assert "+2.0 % [+1.0 %, +3.0 %]" in text  # int8, whose drop is negative
        assert "-1.0 % [-2.0 %, 0.0 %]" in text
    assert "+2.0 %" in terminal and "-1.0 %" in terminal
    assert all(" drop" not in text for text in (terminal, page, card))
    assert "+2.0 % [-3.0 %, +7.0 %]" in page  # int8 in the slice "head"
    assert "too few hits" in page  # the slice "cold"


def test_a_change_that_is_not_measurable_is_said_to_be_so(
    report: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert all("not measurable" not in text for text in everywhere(report, capsys))
    for variant in report["variants"]:
        variant["fidelity"] |= {"ndcg_drop": None, "ndcg_drop_ci": None}
        variant["quality"]["ndcg@10"] = 0.0
    for text in everywhere(report, capsys):
        assert WHY_NOT_MEASURABLE in text
    assert max(of_the_region(size_against_quality(report))) < 0.01


def test_a_stage_tells_why_it_stopped_and_how_sparse_its_pruned_kernels_are(report: dict[str, Any]) -> None:
    pruned = report["training"]["pruned"]
    expected = "pruned: cross-entropy, epoch 2 of 2 kept (all epochs run), 12 s, 50 % zeros in the pruned kernels"
    assert stage_summary("pruned", pruned) == expected
    for text in (Page(render_html(report)).text, render_card(report)):
        assert expected in text and "16 %" not in text
    pruned["sparsity"]["mixed_0"] = 0.75
    assert stage_summary("pruned", pruned).endswith("50 % to 75 % zeros in the pruned kernels")
    del pruned["stopped"]
    assert "epoch 2 of 2 kept, 12 s" in stage_summary("pruned", pruned)
    assert "zeros" not in stage_summary("trained", report["training"]["trained"])


def test_the_page_says_that_it_shows_real_users_and_can_do_without(
    report: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    page = Page(render_html(report)).text
    assert "newest events of 1 real user of the data set are shown here" in page
    assert "Milk & honey" in page and "user u<1>" in page
    report["examples"] = []
    page = Page(render_html(report)).text
    assert "real user" not in page and "Examples" not in page
    assert "Recommended to user" not in printed(report, capsys)


def test_a_failed_gate_names_what_fell_short(report: dict[str, Any]) -> None:
    assert "Gate on int8: met" in Page(render_html(report)).text
    report["gate"]["failed"] = ["int8: size is 606 bytes, above the limit of 500"]
    assert "not met: int8: size is 606 bytes" in Page(render_html(report)).text


def test_recall_is_shown_for_baskets_only(report: dict[str, Any]) -> None:
    assert all("recall@10" not in text for text in (render_html(report), render_card(report)))
    report["dataset"]["split"] = "last-basket"
    assert all("recall@10" in text for text in (render_html(report), render_card(report)))


def test_the_rows_of_the_tables_of_the_card_have_as_many_cells_as_the_heading(report: dict[str, Any]) -> None:
    for split in ("leave-one-out", "last-basket"):
        report["dataset"]["split"] = split
        rows = [line for line in render_card(report).splitlines() if line.startswith("|")]
        variants = 2 + len(report["baselines"]) + len(report["variants"])
        assert len(rows) == variants + 2 + len(report["steps"])
        for table in (rows[:variants], rows[variants:]):
            assert len({row.count("|") for row in table}) == 1


def test_the_way_from_float_to_the_file_is_told_step_by_step(
    report: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for text in everywhere(report, capsys):
        assert "pruned took 20.0 % of the bytes for -2.0 % [-3.0 %, -1.0 %] NDCG@10." in text
        assert "int8 took 71.9 % of the bytes for +4.0 % [+3.0 %, +5.0 %] NDCG@10." in text
        assert "40.0 kB became 9.0 kB, 4.4 times less, for +2.0 % NDCG@10" in text
    card = render_card(report)
    assert "| pruned | 32.0 | -20.0 % | 0.0980 | -2.0 % [-3.0 %, -1.0 %] |" in card
    svg = waterfall(report)
    assert svg.replace(" %", "\u00a0%") in render_html(report)
    for text in ("trained: 40 kB", "pruned: 32 kB (-20.0 %)", "NDCG@10 0.1020, +4.0 % [+3.0 %, +5.0 %]"):
        assert text in svg


def test_any_number_of_steps_makes_a_waterfall(report: dict[str, Any]) -> None:
    first, pruned, shipped = report["steps"]
    report["steps"] = [first, shipped]
    assert "pruned" not in waterfall(report)
    assert not any(sentence.startswith("Together") for sentence in step_sentences(report["steps"]))
    larger = {**pruned, "name": "quantized", "bytes": {"total": 64_000, "network": 64_000}}
    report["steps"] = [first, pruned, larger, {**larger, "name": "int8"}]
    sentences = step_sentences(report["steps"])
    assert sentences[1].startswith("quantized added 100.0 % to the bytes")
    assert sentences[2].startswith("int8 left the bytes as they were")
    assert waterfall(report).count("NDCG@10 0.") == 4


def test_a_report_of_an_older_version_without_steps_is_shown_too(
    report: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    del report["steps"], report["fidelity"]
    assert all("of the bytes for" not in text for text in everywhere(report, capsys))


def test_whether_the_ranking_survived_is_told_in_the_terminal_the_page_and_the_card(
    report: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (conclusion,) = report["fidelity"]
    for text in everywhere(report, capsys):
        assert f"{conclusion['sentence']} {conclusion['payers']}" in text
    assert 'class="verdict good">int8 ranks as well' in render_html(report)
    conclusion["verdict"] = "inferior"
    assert 'class="verdict bad">int8 ranks as well' in render_html(report)


def test_a_stage_tells_its_parameters_and_how_far_it_over_fits(report: dict[str, Any]) -> None:
    trained = report["training"]["trained"]
    trained["parameters"] = {"total": 12_000, "nonzero": 12_000}
    trained["gap"] = {"train_ndcg@10": 0.3, "validation_ndcg@10": 0.2}
    summary = stage_summary("trained", trained)
    assert summary.endswith("12,000 parameters, NDCG@10 0.3000 on training events and 0.2000 on validation")
    trained["parameters"]["nonzero"] = 9_000
    assert "12,000 parameters (9,000 of them not zero)" in stage_summary("trained", trained)
