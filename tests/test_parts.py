"""The parts of a score beside the network: transitions and prior, in Keras, in the file, and how they are weighted."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from scipy.optimize import check_grad
from tiny import architecture, tiny_dataset

from converters.servable import COUNTED, Table
from converters.sizes import bundle_sizes
from device_runner import Recommender
from device_runner.bundle import Bundle
from device_runner.errors import EdgeRecError
from edgerec.baselines import PersonalFrequency, WindowedCounts, baselines_for
from edgerec.data.dataset import Dataset
from edgerec.data.item_counts import read_item_counts
from edgerec.evaluation.ranking import evaluate_model
from edgerec.pipeline import Run
from edgerec.progress import Progress
from edgerec.recipe import Recipe
from edgerec.recipe.model import GruModel, TransitionsSection
from edgerec.recommenders import SequenceRecommender
from edgerec.recommenders.parts import Parts
from edgerec.recommenders.prior import Prior
from edgerec.recommenders.transitions import Transitions, fit_transitions
from edgerec.training.fusion import START, _Sample, _Terms, decayed_counts, fit_parts, repeat_sums

HISTORIES = [np.array(h, np.int32) for h in ([1, 2, 3], [2, 3, 1, 4], [3], [4, 4, 2, 1, 3, 4, 1], [1, 1])]


def some_transitions(items: int = 30, repeats: int = 0, levels: int = 16) -> Transitions:
    """Three neighbours an item, read for the last four events."""
    rng = np.random.default_rng(0)
    neighbours = np.array([[0] * 3, *(1 + rng.permutation(items)[:3] for _ in range(items))], np.int32)
    levels = np.sqrt(np.arange(levels, dtype=np.float32) / levels)
    codes = rng.integers(1, len(levels), neighbours.shape).astype(np.uint8)
    codes[0] = 0
    weights = np.array([40, 20, 10, 5], np.float32)
    return Transitions(neighbours, codes, levels, weights, np.linspace(9, 1, repeats, dtype=np.float32), 0.7)


def scores_by_hand(table: Transitions, history: np.ndarray) -> np.ndarray:
    """The formula of the docstring, event by event."""
    sums = np.zeros(len(table.neighbours))
    for age, event in enumerate(history[::-1]):
        if age < len(table.weights):
            for item, code in zip(table.neighbours[event], table.codes[event], strict=True):
                sums[item] += table.weights[age] * table.levels[code]
        if age < len(table.repeats):
            sums[event] += table.repeats[age]
    return table.strength * np.log(1 + sums)


def some_prior(items: int = 30) -> Prior:
    return Prior.of_counts(np.arange(items + 1.0)[::-1] ** 2, 0.3, None)


def test_transitions_are_the_largest_windowed_counts_in_few_bits(tmp_path: Path) -> None:
    users = [[*h, 1, 2] for h in ([1, 2, 3, 4], [2, 3, 1], [4, 2, 3], [1, 3, 2, 4])]
    dataset = tiny_dataset(tmp_path, users)
    table = fit_transitions(dataset, 2, 3)
    exact = WindowedCounts.fit(dataset, neighbours=2).transitions.toarray()
    kept = np.zeros_like(exact)
    for row, (items, codes) in enumerate(zip(table.neighbours, table.codes, strict=True)):
        for item, code in zip(items, codes, strict=True):
            kept[row, item] += table.levels[code]
    assert (table.neighbours[exact.any(1)] > 0).any()
    np.testing.assert_allclose(kept, exact, atol=0.005)
    assert not kept[0].any() and not kept[:, 0].any()


@pytest.mark.parametrize("repeats", [0, 5])
@pytest.mark.parametrize("levels", [16, 256])
def test_scores_are_those_of_the_formula(repeats: int, levels: int) -> None:
    table = some_transitions(4, repeats, levels)
    expected = [scores_by_hand(table, history) for history in HISTORIES]
    for history, by_hand in zip(HISTORIES, expected, strict=True):
        np.testing.assert_allclose(table.scores(tf.constant(history[None]))[0], by_hand, rtol=1e-5, atol=1e-6)
    padded = np.zeros((len(HISTORIES), 7), np.int32)
    for line, history in zip(padded, HISTORIES, strict=True):
        line[7 - len(history) :] = history
    np.testing.assert_allclose(table.scores(tf.constant(padded))[:, 1:], np.array(expected)[:, 1:], rtol=1e-5)
    sums = table.counts(0.5).score(HISTORIES)  # the weights of some_transitions are 40 times a decay of 0.5
    if not repeats:
        np.testing.assert_allclose(table.strength * np.log1p(40 * sums)[:, 1:], np.array(expected)[:, 1:], rtol=1e-5)


def test_links_name_the_neighbours_of_the_newest_events() -> None:
    table = some_transitions(4)
    items, weights = table.links(tf.constant([[0, 0, 3, 1]]))
    assert items.shape == (1, 4, 3)
    assert (items[0, 2:].numpy() == table.neighbours[[3, 1]]).all()
    assert not weights[0, :2].numpy().any()
    np.testing.assert_allclose(weights[0, 3], 40 * table.levels[table.codes[1]], rtol=1e-5)


def test_parts_are_saved_and_grow_with_the_catalogue(tmp_path: Path) -> None:
    parts = Parts(some_transitions(4, 2), replace(some_prior(4), half_life=7.0))
    parts.save(tmp_path)
    loaded = Parts.load(tmp_path)
    for part in ("transitions", "prior"):
        for name, value in vars(getattr(parts, part)).items():
            assert np.array_equal(getattr(getattr(loaded, part), name), value), name
    grown = loaded.extended(7)
    history = tf.constant([[1, 3]])
    before, after = (p.added(tf.zeros([1, n]), history, history).numpy() for p, n in ((parts, 5), (grown, 7)))
    assert np.array_equal(after[:, :5], before)
    assert not after[:, 5:].any()
    (tmp_path / "parts.npz").write_bytes(b"PK nonsense")
    with pytest.raises(EdgeRecError, match="damaged"):
        Parts.load(tmp_path)


@pytest.mark.parametrize("scheme", ["float32", "int8"])
def test_a_file_has_all_parts_on_every_runtime_and_from_a_state(
    random_bundle: Callable[..., Path], scheme: str
) -> None:
    parts = Parts(some_transitions(300, 6), some_prior(300))
    path = random_bundle(items=300, scheme=scheme, parts=parts)  # verified against Keras, by state as well
    assert {"litert", "tflite-runtime"} <= set(Bundle.read(path).manifest["runtimes"])
    contract = Recommender.load(path).contract
    assert (contract.recent, contract.neighbours) == (6, 3)
    # In this process only one runtime can be loaded; verification has compared the other with Keras as well.
    with_parts, without = Recommender.load(path), Recommender.load(random_bundle(items=300, scheme=scheme))
    for history in ([7], [3, 250, 3, 9, 14, 77], [5, 6, 7, 8, 9, 10, 11, 12]):
        extra = with_parts.item_scores(history)[1:] - without.item_scores(history)[1:]
        prior = parts.prior.codes[1:] * parts.prior.step
        by_hand = scores_by_hand(parts.transitions, np.array(history[-6:]))[1:]
        np.testing.assert_allclose(extra, by_hand + prior, rtol=1e-4, atol=2e-4)
        state = with_parts.new_state()
        for row in history[-6:]:
            state = with_parts.advance_row(state, row)
        tolerance = 1e-3 if scheme == "float32" else 0.1
        whole = with_parts.item_scores(history)[1:]
        np.testing.assert_allclose(with_parts.state_scores(state)[1:], whole, atol=tolerance)


@pytest.mark.parametrize(
    ("scheme", "levels", "entry"),
    [
        ("float32", 256, 2 + 1),
        ("float16", 256, 2 + 1),
        ("int8", 256, 2 + 1),
        ("int8", 16, 2),
    ],  # row and code, or one word
)
def test_tables_have_the_bytes_of_their_entries(
    random_bundle: Callable[..., Path], scheme: str, levels: int, entry: int
) -> None:
    """No constant is stored twice or widened, though three signatures read the transitions."""
    path = random_bundle(items=300, scheme=scheme, parts=Parts(some_transitions(300, 0, levels), some_prior(300)))
    tables = [Table("transitions", (301, 3), COUNTED), Table("prior", (1, 301), COUNTED)]
    sizes = bundle_sizes(path, tables)
    assert sizes["transitions"] == 301 * 3 * entry
    assert sizes["prior"] == 301
    without = bundle_sizes(random_bundle(items=300, scheme=scheme), [])
    assert sizes["network"] - without["network"] < 16_000  # operators and shapes of the signatures


def test_a_file_can_leave_the_network_out(random_bundle: Callable[..., Path]) -> None:
    parts = Parts(some_transitions(300), some_prior(300), network=False)
    path = random_bundle(items=300, parts=parts)
    recommender = Recommender.load(path)
    assert recommender.contract.state == 0
    expected = scores_by_hand(parts.transitions, np.array([3, 8])) + parts.prior.codes * parts.prior.step
    np.testing.assert_allclose(recommender.item_scores([3, 8])[1:], expected[1:], rtol=1e-5)
    assert path.stat().st_size < 40_000


def test_a_prior_alone_scores_every_history() -> None:
    parts = Parts(prior=some_prior(4), network=False)
    history = tf.constant([[1, 2], [3, 4], [0, 1]])
    scores = parts.added(None, history, history).numpy()
    np.testing.assert_allclose(scores, np.tile(parts.prior.codes * parts.prior.step, (3, 1)), rtol=1e-6)


def test_a_catalogue_smaller_than_the_neighbours_gets_a_column_an_item(tmp_path: Path) -> None:
    table = fit_transitions(tiny_dataset(tmp_path, [[1, 2, 1, 2, 1]]), 20, 3)
    assert table.neighbours.shape == (3, 2)


def test_the_reason_is_the_event_with_the_largest_transition(random_bundle: Callable[..., Path]) -> None:
    table = some_transitions(30)
    recommender = Recommender.load(random_bundle(parts=Parts(table)))
    history = [4, 9, 21, 17]
    found = recommender.recommend([f"i{row}" for row in history], k=30, explain=True)
    linked = 0
    for entry in found:
        row = int(entry.item[1:])
        weights = [
            table.weights[age] * table.levels[table.codes[event]][table.neighbours[event] == row].sum()
            for age, event in enumerate(reversed(history))
        ]
        if max(weights) > 0:
            linked += 1
            assert entry.because == f"i{history[::-1][int(np.argmax(weights))]}"
    assert linked > 5
    assert all(entry.because is None for entry in recommender.recommend([f"i{row}" for row in history]))


def fitted(folder: Path) -> tuple[SequenceRecommender, Parts]:
    """Users who walk through 40 items in a fixed order from anywhere: the network is random, the order says it all."""
    users = [[1 + (start + step) % 40 for step in range(12)] for start in range(40)]
    dataset = tiny_dataset(folder, users, time_unit="s")
    tf.keras.utils.set_random_seed(0)
    recommender = SequenceRecommender(architecture(encoder="gru", dim=4, max_history=8), dataset.items, "tiny")
    return recommender, fit_parts(recommender, dataset, GruModel())


def test_transitions_are_weighted_by_what_they_add(tmp_path: Path) -> None:
    recommender, parts = fitted(tmp_path / "first")
    dataset = Dataset.load(tmp_path / "first")
    before = evaluate_model(recommender, dataset.targets("test"), dataset).ndcg(10).mean()
    recommender.parts = parts
    after = evaluate_model(recommender, dataset.targets("test"), dataset).ndcg(10).mean()
    assert after > 0.9 > before
    assert parts.transitions and not len(parts.transitions.repeats)
    assert parts.prior is None  # all items are equally popular
    assert (
        fit_parts(recommender, dataset, GruModel(transitions=TransitionsSection(neighbours=0), prior=False)) == Parts()
    )


def test_repeats_are_weighted_where_the_data_set_keeps_them(tmp_path: Path) -> None:
    users = [[1 + user, 2 + user, 1 + user, 1 + user, 2 + user, 1 + user, 1 + user, 1 + user] for user in range(30)]
    dataset = tiny_dataset(tmp_path, users, repeats="all")
    recommender = SequenceRecommender(architecture(encoder="gru", dim=4, max_history=8), dataset.items, "tiny")
    recommender.parts = fit_parts(recommender, dataset, GruModel())
    assert recommender.parts.transitions and recommender.parts.recent == 8
    assert evaluate_model(recommender, dataset.targets("test"), dataset).hits(1).mean() > 0.9
    assert list(baselines_for(dataset))[-1] == "personal-frequency"


def test_the_gradient_of_the_fusion_is_that_of_its_loss() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(6, 9)).astype(np.float32)
    banned = rng.random((6, 9)) < 0.2
    banned[:, 0], banned[:, 4] = True, False
    sample = _Sample([], np.full(6, 4), scores, banned)
    sums, repeats = (rng.random((6, 9)).astype(np.float32) * 1e-2 for _ in range(2))
    prior = rng.random(9).astype(np.float32)
    terms, point = _Terms(sums, repeats, prior), np.append(START, 0.3)
    error = check_grad(
        lambda p: sample.loss(p, terms)[0],
        lambda p: sample.loss(p, terms)[1],
        point,
        epsilon=1e-3,
    )
    assert error < 2e-3


def test_a_prior_alone_is_weighted_too(tmp_path: Path) -> None:
    """One item is what everybody comes back to, and the network knows nothing."""
    users = [[9, 1 + user % 7, 9, 9] for user in range(60)]
    dataset = tiny_dataset(tmp_path, users, repeats="all")
    recommender = SequenceRecommender(architecture(encoder="gru", dim=4, max_history=8), dataset.items, "tiny")
    parts = fit_parts(recommender, dataset, GruModel(transitions=TransitionsSection(neighbours=0)))
    assert parts.transitions is None
    assert parts.prior and parts.prior.strength > 0 and parts.prior.codes.argmax() == 9


def test_counts_of_a_half_life_and_repeats(tmp_path: Path) -> None:
    day = 86_400
    dataset = tiny_dataset(
        tmp_path, [[1, 2, 1, 2], [2, 1, 1, 2]], times=[[0, 7 * day, 8 * day, 9 * day]] * 2, time_unit="s"
    )
    np.testing.assert_allclose(decayed_counts(dataset, 7.0), [0, 0.5 + 1, 1 + 0.5])
    assert decayed_counts(dataset, None).tolist() == [0, 2, 2]
    sums = repeat_sums([np.array([3, 1, 3, 2])], 3, 3, 0.5)
    assert sums.tolist() == [[0, 0.25, 1, 0.5]]


def test_personal_frequency_ranks_by_count_then_by_recency() -> None:
    scores = PersonalFrequency(5).score([np.array([4, 2, 2, 4, 1]), np.zeros(0, np.int32)])
    assert np.argsort(-scores[0], kind="stable").tolist()[:3] == [4, 2, 1]
    assert not scores[1].any()


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("item,count\na,3\nb,many\n", "line 3: column count holds 'many'"),
        ("item,count\na,-1\n", "line 2: column count holds '-1'"),
        ("item,count\n\nb,x\n", "line 3: column count holds 'x'"),
        ("item,count\nz,3\na,0\n", "none of its 2 lines gives a count above 0"),
        ("item\na\n", "has the columns item; write a CSV file"),
        ("item,week,n\na,3,9\n", "has the columns item, week, n; write"),
        ("a,7\nb,8\n", "line 1: a,7 is not a header"),
    ],
)
def test_counts_that_cannot_be_read_are_told(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(EdgeRecError, match=said):
        read_item_counts(write(tmp_path / "counts.csv", text), ["a", "b"], print)
    with pytest.raises(EdgeRecError, match="no such file"):
        read_item_counts(tmp_path / "none.csv", ["a", "b"], print)


def test_counts_are_summed_by_row(tmp_path: Path) -> None:
    path = write(tmp_path / "counts.csv", "item,count\nb,2\nz,9\nb,0.5\n")
    said: list[str] = []
    assert read_item_counts(path, ["a", "b"], said.append).tolist() == [0, 0, 2.5]
    assert said == ["convert.prior: 2 lines read, 1 of unknown items left out"]


@pytest.mark.slow
def test_a_prior_is_refreshed_without_training(small_run: Run, run_copy: Path, tmp_path: Path) -> None:
    """With counts of one item alone, that item comes first for everyone."""
    ids = list(small_run.dataset.item_table["item_id"])
    counts = write(tmp_path / "counts.csv", f"product,sold\n{ids[29]},1000000\n")
    recipe = small_run.recipe.model_dump(mode="json")
    recipe["convert"] |= {"schemes": ["int8"], "prior": str(counts)}
    run = Run(Recipe.model_validate(recipe), run_copy, Progress())
    model = run.stages.pruned.recommender
    model.parts = replace(model.parts, prior=Prior.of_counts(small_run.dataset.popularity, 2.0, None))
    path = run.bundle
    assert "prior" in bundle_sizes(path, [Table("prior", (1, small_run.dataset.items + 1), COUNTED)])
    recommender = Recommender.load(path)
    for history in ([ids[0]], ids[40:45]):
        assert recommender.recommend(history)[0].item == ids[29]


def test_a_prior_that_the_model_lacks_cannot_be_refreshed(small_run: Run, tmp_path: Path, run_copy: Path) -> None:
    counts = write(tmp_path / "counts.csv", "product,sold\n1,1\n")
    recipe = small_run.recipe.model_dump(mode="json")
    recipe["convert"] |= {"schemes": ["int8"], "prior": str(counts)}
    run = Run(Recipe.model_validate(recipe), run_copy, Progress())
    model = run.stages.pruned.recommender
    model.parts = replace(model.parts, prior=None)
    with pytest.raises(EdgeRecError, match="the model has no prior that it could replace"):
        assert run.bundle
