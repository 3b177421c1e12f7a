"""A ranker behind a retrieval bundle: what it learns from, and what both together are worth."""

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL
from filelock import FileLock
from tiny import tiny_dataset

from device_runner import Ranker, Recommender, TwoStage
from edgerec.data.labelled_rows import Histories, labelled_rows
from edgerec.data.retrieved import Retriever
from edgerec.errors import DataError, EdgeRecError, RecipeError
from edgerec.evaluation.calibration import calibrated
from edgerec.evaluation.device import check_bundle
from edgerec.evaluation.two_stage import measure_two_stage
from edgerec.pipeline import Run
from edgerec.progress import Progress
from edgerec.rankers import RankingModel
from edgerec.rankers.inputs import moments
from edgerec.recipe.load import check_recipe
from edgerec.recipe.task import CANDIDATES, ImplicitTask
from edgerec.training.reranking import likeliest, ndcg_of_lists


def document(purchases: Path, bundle: Path, **sections: dict[str, object]) -> dict[str, object]:
    return {
        "kind": "ranking",
        "data": {
            **SMALL["data"],
            "path": str(purchases / "purchases.csv"),
            "columns": {"user": "household", "item": "product", "time": "when", "value": "quantity"},
            "items": {"path": str(purchases / "products.csv"), "id": "product_id", "title": "{product_type}"},
        },
        "task": {"kind": "implicit", "negatives": 2},
        "split": {"kind": "leave-one-out"},
        "model": {
            "retrieval": str(bundle), "item_features": ["department"], "max_history": 10, "dim": 4,
            "context": ["month", "recency"],
        },
        "train": {"epochs": 1, "sample": 1000},
        "cluster": {"clusters": 16, "epochs": 1},
        "convert": {"schemes": ["int8"], "candidates": 100},
        "report": {"histories": 20},
        **sections,
    }  # fmt: skip


@pytest.fixture(scope="module")
def ordered(purchases: Path, bundle: Path, shared_folder: Path) -> Run:
    """A run of both stages; ``bundle`` retrieves."""
    with FileLock(shared_folder / "ordered.lock"):
        run = Run(check_recipe(document(purchases, bundle)), shared_folder / "ordered-run", Progress())
        assert run.report
    return run


@pytest.mark.slow
def test_retrieval_alone_is_as_good_as_the_report_of_the_retrieval_run_says(ordered: Run, small_run: Run) -> None:
    alone = ordered.report["two_stage"]["retrieval"]
    expected = next(v["quality"] for v in small_run.report["variants"] if v["name"] == "int8")
    assert {name: alone[name] for name in ("ndcg@10", "hr@20")} == pytest.approx(
        {name: expected[name] for name in ("ndcg@10", "hr@20")}
    )


@pytest.mark.slow
def test_two_stages_are_compared_user_by_user_and_timed(ordered: Run, small_run: Run) -> None:
    measured = ordered.report["two_stage"]
    low, high = measured["comparison"]["ndcg_drop_ci"]
    assert low <= measured["comparison"]["ndcg_drop"] <= high
    assert measured["two_stage"]["hr@20"] <= measured["recall"]
    assert sum(one["targets"] for one in measured["slices"]) == len(small_run.dataset.targets("test"))
    latency = measured["latency"]
    assert latency["calls"] == min(1000, len(small_run.dataset.targets("test")))
    assert latency["total_ms"]["p50"] > max(latency["retrieve_ms"]["p50"], latency["rank_ms"]["p50"]) > 0
    card = (ordered.folder / "MODEL_CARD.md").read_text()
    assert "retrieval alone" in card and "One call of both takes" in card
    groups = ordered.stages.prepared.test_rows.groups  # of which those are left whose item is retrieved
    left = ordered.stages.trained.prepared.test_rows.groups
    assert left < groups and f"the {left:,} test interactions whose item is retrieved, each with 2 random and 4" in card


@pytest.mark.slow
def test_the_score_of_retrieval_reaches_the_model_on_the_device(ordered: Run, bundle: Path) -> None:
    with zipfile.ZipFile(ordered.bundle) as archive:
        features = json.loads(archive.read("features.json"))
    assert [f["of"] for f in features if f["input"] == "retrieval_score"] == ["retrieval"]
    item = str(ordered.dataset.item_table["item_id"][3])
    with Ranker.load(ordered.bundle) as ranker:
        low, high, missing = (ranker.score({}, [item], retrieval_scores=[score])[0] for score in (-20.0, 5.0, None))
        assert 0 < low < missing < high < 1  # validation gave retrieval a positive weight
    with TwoStage.load(bundle, ordered.bundle) as both, Recommender.load(bundle) as alone:
        history = [str(item) for item in ordered.dataset.item_table["item_id"][:5]]
        found = both.recommend(history, CANDIDATES, context={"month": 12})
        assert {entry.item for entry in found} == {entry.item for entry in alone.recommend(history, CANDIDATES)}


@pytest.mark.slow
def test_rows_hold_what_retrieval_says_before_the_purchase(ordered: Run, bundle: Path) -> None:
    dataset, rows = ordered.dataset, ordered.stages.prepared.test_rows
    retrieved = ordered.stages.trained.prepared.retrieved
    for part, code in (("train", 0), ("test", 2)):
        rows = retrieved.rows(part)
        assert rows.group == 1 + 2 + 4 and (dataset.parts[rows.events] == code).all()
        with Recommender.load(bundle) as recommender:
            for number in range(0, rows.groups, rows.groups // 7):
                group = rows.subset(np.array([number]))
                user, place = group.users[0], group.events[0]
                start, stop = dataset.offsets[user : user + 2]
                history = dataset.events[start:place]
                scores = recommender.item_scores(recommender.input_rows(history.tolist()))
                np.testing.assert_allclose(group.retrieval, scores[group.items], rtol=1e-5)
                assert group.items[0] == dataset.events[place] and not np.isin(group.items, history).any()
                known = dataset.events[start:stop][dataset.parts[start:stop] <= code]
                assert not np.isin(group.items[1:], known).any()
                best = recommender.recommend_rows(history.tolist(), history.tolist(), CANDIDATES)[0]
                assert np.isin(group.items[[0, 3, 4, 5, 6]], best).all()
    lists = retrieved.rows("lists")
    assert lists.group == CANDIDATES and (lists.labels.reshape(-1, CANDIDATES).sum(1) == 1).all()
    assert (dataset.parts[lists.events] == 1).all()


@pytest.mark.slow
def test_fine_tuning_goes_on_from_the_weights_of_both(ordered: Run) -> None:
    model, stage = RankingModel.load(ordered.stages.trained.made()), ordered.stages.clustered
    weighting = model.network.get_layer("blend").weighting
    weighting.assign([0.25, 0.5, 3.0])
    stage.objective(model)
    assert weighting.numpy().tolist() == [1.0, 2.0, 0.0]
    weighting.assign([-0.25, 0.5, 3.0])
    stage.objective(model)
    of_network, alone, shift = weighting.numpy().tolist()
    assert (of_network, shift) == (1.0, 0.0) and alone > 0
    weighting.assign([1.0, 0.0, 0.0])  # as in a new model
    stage.objective(model)
    assert weighting.numpy()[1] == pytest.approx(alone)


@pytest.mark.slow
def test_appended_items_are_left_out_of_the_measure(ordered: Run, retrieving: Recommender, tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path, [[1, 2, 3, 4], [5, 6, 25, 8]], time_unit="s")
    assert len(retrieving.recommend(["i1"], CANDIDATES)) == 29  # with the appended ones
    with Ranker.load(ordered.bundle) as ranker:
        measured = measure_two_stage(retrieving, ranker, dataset, "test")
    assert measured["recall"] == 1 and measured["retrieval"].keys() == measured["two_stage"].keys()


@pytest.fixture(scope="module")
def retrieving(random_bundle: Callable[..., Path]) -> Iterator[Recommender]:
    """A recommender of 25 items, and five that were appended at export."""
    facts = {"dataset": {"split_fingerprint": "tiny"}, "new_items": 5}
    with Recommender.load(random_bundle(facts=facts)) as recommender:
        yield recommender


# Negatives: one at random and six that are retrieved.
TASK = ImplicitTask(kind="implicit", negatives=1, hard_negatives=6)


def test_rows_without_a_history_or_enough_candidates_are_left_out(retrieving: Recommender, tmp_path: Path) -> None:
    users = [[1, 2, 3, 4, 5], [7, 8], [*range(1, 21), 25], [9, 25]]  # the second and the last are new in validation
    dataset = tiny_dataset(tmp_path, users, split="temporal", time_unit="s")
    retriever, done = Retriever(retrieving, dataset), []
    rows = {part: retriever.rows(TASK, part, 1, done.append) for part in ("train", "validation", "test")}
    assert sum(done) == 22 + 4 + 4
    found = {part: dataset.events[of.events[:: of.group]].tolist() for part, of in rows.items()}
    # The third user has 19 items of 25 in training, which leaves six; then 20, which leaves too few.
    assert found == {"train": [2, 3, *range(2, 20)], "validation": [4], "test": [5, 8, 25]}
    for later, part in zip((2, 1, 0), rows.values(), strict=True):
        hard = part.items.reshape(-1, part.group)[:, 2:]
        assert part.group == 8 and np.isfinite(part.retrieval).all() and (hard > 0).all()
        for user, items in zip(part.users[:: part.group], hard, strict=True):
            known = users[user][: len(users[user]) - later]
            assert len(set(items)) == 6 and not set(items) & set(known)
    lists = retriever.lists("validation")
    assert lists.users[:: lists.group].tolist() == [0, 2]


def test_a_bundle_that_retrieves_no_target_is_told_in_one_line(retrieving: Recommender, tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path, [[1, 2], [3, 4], [5, 6, 25]], split="temporal", time_unit="s")
    retriever = Retriever(retrieving, dataset)
    with pytest.raises(
        DataError, match=r"tflite retrieves none of the 1 targets of train among 100 items with 6 others"
    ):
        retriever.rows(TASK, "train", 1, lambda groups: None)
    without = tiny_dataset(tmp_path / "new", [[1, 2], [3, 4]], split="temporal", time_unit="s")
    with pytest.raises(DataError, match=r"tflite retrieves none of the 2 targets of validation among 100 items; train"):
        Retriever(retrieving, without).lists("validation")


@pytest.mark.slow
def test_a_bundle_of_another_split_is_refused(purchases: Path, ordered: Run, bundle: Path, tmp_path: Path) -> None:
    other = tiny_dataset(tmp_path / "other", [[1, 2, 3, 4]])
    with (
        Recommender.load(bundle) as recommender,
        pytest.raises(DataError, match="figures of different splits cannot be compared"),
    ):
        check_bundle(recommender.bundle, other)
    absent = Run(check_recipe(document(purchases, tmp_path / "no.tflite")), tmp_path / "run", Progress())
    with pytest.raises(EdgeRecError, match=r"model\.retrieval: .*no\.tflite: cannot be read"):
        absent.stages.check()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"task": {"kind": "implicit"}}, "model.retrieval needs split.kind"),
        ({"split": {"kind": "temporal"}}, 'model.retrieval needs task.kind = "implicit"'),
        ({"task": {"kind": "implicit"}, "split": {"kind": "temporal"}, "train": {"refit": True}}, "train.refit leaves"),
        ({"task": {"kind": "implicit", "hard_negatives": 3}, "model": {}}, "hard_negatives are what model.retrieval"),
        ({"task": {"kind": "implicit", "hard_negatives": 51}}, "task.*hard_negatives"),
    ],
)
def test_recipes_that_retrieval_does_not_go_with_are_told_why(changed: dict[str, object], said: str) -> None:
    base = {"kind": "ranking", "data": {"path": "x.csv", "columns": {"value": "rating"}}}
    with pytest.raises(RecipeError, match=said):
        check_recipe({**base, "model": {"retrieval": "x.tflite"}, **changed})


def test_negatives_do_not_spare_what_the_user_will_have_later(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path, [[1, 2, 3, 4], [4, 1, 3, 2], [2, 3, 1, 4]], split="random", time_unit="s")
    rows = labelled_rows(dataset, ImplicitTask(kind="implicit", negatives=50), ("train",), seed=1)
    drawn = {user: set(rows.items[(rows.users == user) & (rows.labels == 0)]) for user in range(3)}
    assert drawn == {0: {3, 4}, 1: {2, 3}, 2: {1, 4}}


def test_under_leave_one_out_a_history_has_what_came_before_in_the_same_moment(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path, [[1, 2, 3, 4, 5]], [[0, 0, 1, 1, 2]], split="leave-one-out", time_unit="s")
    histories = Histories(dataset, 10)
    assert [dataset.events[histories.events(place, 0)].tolist() for place in (1, 3)] == [[1], [1, 2, 3]]
    rows = labelled_rows(dataset, ImplicitTask(kind="implicit", negatives=1), ("train", "validation", "test"), seed=1)
    np.testing.assert_array_equal(histories.days_since(rows, 1.0), np.array([np.nan, np.nan, 1, 1, 1], np.float32))


def test_months_are_counted_from_january() -> None:
    times = np.array(["2017-01-31T23:59:59", "2017-12-01T00:00:00"], "datetime64[s]").astype(np.int64)
    assert moments(times, "s", "month").tolist() == [1, 12]


def test_weights_follow_the_score_that_tells_and_chances_follow_the_labels() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((200, 10), np.float32)
    labels[np.arange(200), rng.integers(0, 10, 200)] = 1
    useful, noise = labels * 1.5 + rng.normal(size=labels.shape), rng.normal(size=labels.shape)
    weights = likeliest(noise.ravel(), useful.ravel(), labels.ravel(), 10)
    assert abs(weights[0]) < 0.2 and 1 < weights[1] < 2
    perfect = ndcg_of_lists(labels.ravel(), labels.ravel(), 10)
    assert perfect == 200 and 100 < ndcg_of_lists(useful.ravel(), labels.ravel(), 10) < 200
    scale, shift = calibrated(useful.ravel(), labels.ravel())
    chances = 1 / (1 + np.exp(-(scale * useful + shift)))
    assert scale > 0 and chances.mean() == pytest.approx(0.1, abs=0.01)
