"""The budget search: its space, its halving, its resumption, and the recipe that it writes."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from edgerec.cli.main import main
from edgerec.data.dataset import Dataset
from edgerec.errors import EdgeRecError, GateError
from edgerec.pipeline import Run
from edgerec.progress import Progress
from edgerec.recipe import Recipe, check_recipe, load_recipe
from edgerec.sweep.outcome import outcome, print_outcome, require_chosen, write_outcome, write_recipe
from edgerec.sweep.points import Limits, Measured, Point, choose, dominates, is_promising, pareto
from edgerec.sweep.search import FIRST_RUNG, Search
from edgerec.sweep.space import choices, plain, schemes, settings, words
from edgerec.sweep.trials import TARGETS, Trials

DATA = {"path": "events.csv", "columns": {"time": "t"}, "repeats": "all", "name": "walks"}


def measured(size: int, ndcg: float, drop: float | None = 0.0, ms: float | None = None) -> Measured:
    ends = None if drop is None else (drop - 0.01, drop + 0.01)
    return Measured(size, 500, ndcg, drop, ends, ms, 1.0)


def point(number: int, size: int, ndcg: float, **more: Any) -> Point:
    return Point(number, {"scheme": "int8"}, 1.0, measured(size, ndcg, **more))


def test_the_space_follows_from_the_sections_of_the_recipe() -> None:
    recipe = Recipe.model_validate({"data": DATA, "model": {"transitions": {"neighbours": 8}}})
    found = choices(recipe)
    assert "int8" in found["scheme"] and "float32" not in found["scheme"]
    assert found["model.transitions.neighbours"] == [0, 2, 4, 8, 16]
    assert {f"prune.shares.{kind}" for kind in ("dims", "state", "feed_forward")} < set(found)
    sasrec = choices(
        Recipe.model_validate({"data": DATA, "model": {"encoder": "sasrec", "transitions": {"neighbours": 0}}})
    )
    assert "prune.shares.dims" in sasrec
    assert not {"prune.shares.state", "model.transitions.neighbours"} & set(sasrec)
    mean = Recipe.model_validate({"data": DATA, "model": {"encoder": "mean"}, "prune": {"enabled": False}})
    assert set(choices(mean)) == {"scheme", "aware"}


@given(st.data())
def test_every_point_of_the_space_is_a_recipe_that_can_be_written_and_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("written")
    document = {
        "data": {
            **DATA,
            "path": str(folder / "events.csv"),
            "items": {"id": "i", "path": str(folder / "a 'b' \"c\".csv")},
        },
        "model": {"encoder": "gru", "hidden": 12},
        "prune": {"sparsity": 0.9, "epochs": 6},
    }
    recipe = Recipe.model_validate(document)
    drawn = {name: data.draw(st.sampled_from(options)) for name, options in choices(recipe).items()}
    changed = [f"{key}={json.dumps(value)}" for key, value in settings(drawn).items()]
    chosen = check_recipe(recipe.model_dump(mode="json", exclude_defaults=True), changed)
    assert chosen.prune.method == "structured" and chosen.prune.epochs == 6
    assert chosen.convert.schemes == [drawn["scheme"]]
    (folder / "elsewhere").mkdir(exist_ok=True)
    write_recipe(chosen, folder / "elsewhere" / "best.toml", "Why.\nIt is best.")
    text = (folder / "elsewhere" / "best.toml").read_text()
    assert text.startswith("# Why.\n# It is best.\n") and str(folder) not in text
    read = load_recipe(folder / "elsewhere" / "best.toml")
    assert Path(read.data.path).resolve() == (folder / "events.csv").resolve()
    assert read.model_dump(exclude={"data"}) == chosen.model_dump(exclude={"data"})
    assert drawn["scheme"] in words(drawn)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=12))
def test_no_point_beats_one_of_the_pareto_set(pairs: list[tuple[int, int]]) -> None:
    points = [point(number, size, ndcg / 10) for number, (size, ndcg) in enumerate(pairs)]
    best = pareto(points)
    for one in best:
        assert not any(dominates(other.measured, one.measured) for other in points)
    for other in points:
        assert other in best or any(
            dominates(one.measured, other.measured) or (one.measured == other.measured) for one in best
        )


def test_the_better_half_of_a_rung_is_promising() -> None:
    others = [measured(100, 0.1), measured(200, 0.2), measured(300, 0.15), measured(400, 0.1)]
    assert is_promising(measured(50, 0.05), [])
    assert is_promising(measured(150, 0.3), others)
    assert is_promising(measured(90, 0.01), others)  # nothing is as small
    assert not is_promising(measured(500, 0.05), others)


def test_the_chosen_point_is_the_best_within_all_limits() -> None:
    points = [point(0, 90, 0.1, drop=0.2, ms=1.0), point(1, 99, 0.2, drop=0.1, ms=3.0), point(2, 101, 0.3)]
    assert choose(points, Limits(100)).number == 1
    assert choose(points, Limits(100, max_ms=2.0)).number == 0
    assert choose(points, Limits(100, max_ndcg_drop=0.15)).number == 1
    assert choose(points, Limits(100, max_ndcg_drop=0.05)) is None
    assert choose([point(0, 90, 0.0, drop=None)], Limits(100, max_ndcg_drop=0.05)) is None
    assert choose([point(0, 90, 0.1), point(1, 80, 0.1)], Limits(100)).number == 1


SPACE = {"scheme": ["int8", "other"], "prune.shares.dims": [0.0, 0.25, 0.5, 0.75]}


class Model:
    """Stands in for training: the more is removed, the smaller and the worse; a third of the epochs cost a bit."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, Any], float]] = []

    def __call__(self, drawn: dict[str, Any], effort: float) -> Measured:
        self.asked.append((drawn, effort))
        size = round((100 if drawn["scheme"] == "int8" else 200) * (1 - drawn["prune.shares.dims"]))
        ndcg = 0.2 - 0.1 * drawn["prune.shares.dims"] - 0.02 * (effort < 1) - 0.05 * (drawn["scheme"] == "other")
        return measured(size, ndcg, drop=1 - ndcg / 0.2)


def search(folder: Path, measure: Callable[[dict[str, Any], float], Measured], limit: int = 80, **more: Any) -> Search:
    first = [{"scheme": "int8", "prune.shares.dims": 0.0}]
    return Search(SPACE, measure, Limits(limit), folder / "sweep" / "study.db", "name", first, Progress(), **more)


def test_a_search_finds_the_best_file_within_the_size_and_halves_its_way_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Model()
    points = search(tmp_path, model).run(20)
    assert len(points) == 20
    best = choose(points, Limits(80))
    assert best and best.drawn == {"scheme": "int8", "prune.shares.dims": 0.25} and best.effort == 1
    assert points[0].drawn == {"scheme": "int8", "prune.shares.dims": 0.0}
    # Too large, or worse than most: not fine-tuned to the end.
    full = [drawn for drawn, effort in model.asked if effort == 1]
    assert {"scheme": "int8", "prune.shares.dims": 0.0} not in full
    assert len(full) < len(model.asked) - len(full)
    assert {effort for _, effort in model.asked} == {FIRST_RUNG, 1.0}
    # A point that is drawn again is not measured again.
    assert len(model.asked) == len({json.dumps(asked) for asked in model.asked})
    said = capsys.readouterr().err
    assert re.search(r"trial 20 of 20: .* kB, NDCG@10 0\.\d+, .*\(about 0:00:00 to go\)", said)


def test_a_search_that_was_killed_goes_on_and_tries_again_what_it_was_at(tmp_path: Path) -> None:
    model = Model()
    search(tmp_path, model).run(4)
    before = list(model.asked)

    def killed(drawn: dict[str, Any], effort: float) -> Measured:
        interrupted.append(drawn)
        raise KeyboardInterrupt

    interrupted: list[dict[str, Any]] = []
    known = {json.dumps(drawn, sort_keys=True) for drawn, _ in before}
    while not interrupted:  # until it draws a point that it does not know yet
        try:
            search(tmp_path, killed).run(99)
        except KeyboardInterrupt:
            break
    assert json.dumps(interrupted[0], sort_keys=True) not in known
    model.asked.clear()
    again = search(tmp_path, model)
    done = len(again.points)
    points = again.run(done + 1)
    assert model.asked[0][0] == interrupted[0]
    assert len(points) == done + 1
    model.asked.clear()
    assert [p.number for p in search(tmp_path, model).run(done + 1)] == [p.number for p in points]
    assert model.asked == []


def test_with_a_looser_limit_a_point_that_was_too_large_is_fine_tuned_to_the_end(tmp_path: Path) -> None:
    model = Model()
    (first,) = search(tmp_path, model, limit=80).run(1)
    assert first.effort == FIRST_RUNG
    again = search(tmp_path, model, limit=120)
    again._study.enqueue_trial(first.drawn)
    assert again.run(2)[1].effort == 1
    assert model.asked == [(first.drawn, FIRST_RUNG), (first.drawn, 1.0)]


def test_a_point_that_cannot_be_made_counts_as_tried_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def refuse(drawn: dict[str, Any], effort: float) -> Measured:
        asked.append(json.dumps(drawn))
        raise EdgeRecError("other: this model cannot be converted: too wide")

    assert search(tmp_path, refuse).run(20) == []
    assert capsys.readouterr().err.count("this model cannot be converted: too wide") == 20
    assert len(asked) == len(set(asked)) <= 8  # no point is made twice
    with pytest.raises(GateError, match="no file could be made"):
        require_chosen(outcome([], Limits(80), 0.2))


def test_time_ends_a_search_and_a_damaged_study_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(search(tmp_path, Model()).run(50, minutes=1e-9)) == 0
    assert "minutes are over; run again to go on" in capsys.readouterr().err
    path = tmp_path / "sweep" / "study.db"
    path.write_bytes(b"not a data base" * 100)
    with pytest.raises(EdgeRecError, match=r"study\.db: cannot be used \(.*\); remove it to search anew"):
        search(tmp_path, Model())


def test_the_pareto_set_is_a_table_and_a_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points = [point(0, 100_000, 0.2, ms=0.5), point(1, 50_000, 0.19, ms=0.4), point(2, 70_000, 0.1, ms=0.4)]
    found = outcome(points, Limits(80_000), 0.21)
    assert (found["pareto"], found["chosen"]) == ([1, 0], 1)
    print_outcome(found)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and lines[1].startswith("chosen") and "50.0" in lines[1] and "0.400" in lines[1]
    write_outcome(found, tmp_path)
    assert json.loads((tmp_path / "sweep.json").read_text()) == json.loads(json.dumps(found))
    svg = (tmp_path / "pareto.svg").read_text()
    ElementTree.fromstring(svg)
    assert "prefers-color-scheme" in svg and ">int8</text>" in svg
    none = outcome(points, Limits(10_000), 0.21)
    write_outcome(none, tmp_path)
    with pytest.raises(GateError, match=r"none of 3 files keeps the limits; the smallest, int8, has 50.0 kB"):
        require_chosen(none)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-bytes", "many"], "'many' is not a size; write it as 100kB"),
        (["--max-bytes", "0"], "less than a byte"),
        (["--max-bytes", "-5kB"], "is not a size"),
        (["--max-bytes", "5kB", "--max-ndcg-drop", "some"], "'some' is not a share; write it as 1%"),
        (["--max-bytes", "5kB", "--max-ndcg-drop", "5"], "more than everything; did you mean 5%?"),
        (["--max-bytes", "5kB", "--trials", "0"], "--trials"),
        ([], "Missing option '--max-bytes'"),
    ],
)
def test_wrong_limits_are_told_in_a_line(options: list[str], message: str) -> None:
    result = CliRunner().invoke(main, ["sweep", "recipe.toml", *options])
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.parametrize(
    ("text", "size"), [("100kB", 100_000), ("1.5MB", 1_500_000), ("96KiB", 98_304), ("98304", 98_304), ("1 kb", 1000)]
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    from edgerec.cli.sweep import Size

    assert Size().convert(text, None, None) == size


def test_without_optuna_the_message_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(sys.modules, "edgerec.sweep.search", raising=False)
    write_walks(tmp_path)
    result = CliRunner().invoke(main, ["sweep", str(tmp_path / "recipe.toml"), "--max-bytes", "9kB"])
    assert result.exit_code == 1
    assert "edgerec sweep needs the extra [sweep] (no module optuna)" in result.output


def write_walks(folder: Path) -> None:
    """A recipe and a table of 150 users who walk around a circle of 30 items."""
    starts = np.random.default_rng(0).integers(0, 30, 150)
    rows = "".join(f"u{user},i{(start + t) % 30},{t}\n" for user, start in enumerate(starts) for t in range(8))
    (folder / "events.csv").write_text("user_id,item_id,t\n" + rows)
    (folder / "recipe.toml").write_text(
        """
        [data]
        name = "walks"
        path = "events.csv"
        columns = { time = "t" }
        repeats = "all"
        [model]
        dim = 8
        max_history = 6
        transitions = { neighbours = 4 }
        [train]
        epochs = 1
        [prune]
        epochs = 3
        """
    )


@pytest.mark.slow
def test_a_sweep_from_the_table_to_the_recipe_of_the_chosen_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_walks(tmp_path)
    asked = ["sweep", str(tmp_path / "recipe.toml"), "--out", str(tmp_path / "run"), "--max-bytes", "1MB"]
    result = CliRunner().invoke(main, [*asked, "--trials", "2", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert len(found["points"]) == 2 and found["chosen"] is not None
    folder = tmp_path / "run" / "sweep"
    assert not list((folder / "trials").iterdir())
    chosen = next(entry for entry in found["points"] if entry["number"] == found["chosen"])
    assert chosen["drawn"]["scheme"] in schemes()

    # The recipe gives the file that was measured, from the trained model that is there, if the neighbours are the same.
    best = load_recipe(folder / "best.toml")
    run = Run(best, tmp_path / "run", Progress())
    if best.model.transitions.neighbours == 4:
        assert run.stages.trained.is_current()
    sizes = json.loads((run.bundle.parent / "measured.json").read_text())["bytes"]
    assert sizes["total"] - sizes["vocabulary"] == chosen["measured"]["bytes"]

    # Asked again, it is there already.
    monkeypatch.setattr(Trials, "measure", lambda *_: pytest.fail("measured again"))
    again = CliRunner().invoke(main, [*asked, "--trials", "2"])
    assert again.exit_code == 0, again.output
    assert "chosen" in again.stdout and "best.toml" in again.stdout
    small = CliRunner().invoke(main, [*asked[:-1], "1kB", "--trials", "2"])
    assert small.exit_code == 3
    assert "none of 2 files keeps the limits" in small.output


def test_trials_never_see_the_test_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_walks(tmp_path)
    run = Run(load_recipe(tmp_path / "recipe.toml"), tmp_path / "run", Progress())
    seen = Trials(run.stages, timed=False).dataset
    validation = Dataset.load(tmp_path / "run" / "dataset").targets("validation")
    found = seen.targets("test")
    assert np.array_equal(found.items, validation.items) and len(found) <= TARGETS
    assert plain(run.recipe)[0]["model.transitions.neighbours"] == 4
