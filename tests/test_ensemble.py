import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner, Result
from scipy.special import log_softmax
from tiny import architecture, tiny_dataset

from device_runner.user_features import UserFeature
from edgerec.cli.main import main
from edgerec.data.dataset import Dataset
from edgerec.errors import DataError, EdgeRecError
from edgerec.evaluation.ranking import Evaluation, evaluate, evaluate_model
from edgerec.pipeline import Run
from edgerec.recommenders import SequenceRecommender
from edgerec.recommenders.ensemble import Ensemble, load_model

ITEMS = 9
HISTORIES = [np.array(h, np.int32) for h in ([5], [3, 1, 4, 1, 5, 9], [])]
CONFIGS = (
    {"encoder": "mean", "dim": 8, "max_history": 3},
    {"encoder": "gru", "dim": 4, "blocks": 1, "max_history": 6},
    {"encoder": "sasrec", "dim": 12, "blocks": 1, "max_history": 5},
)


def untrained(seed: int, split: str = "tiny", items: int = ITEMS) -> SequenceRecommender:
    """With large random weights, so that its log-probabilities are far from uniform."""
    made = SequenceRecommender(architecture(**CONFIGS[seed % 3]), items, split)
    rng = np.random.default_rng(seed)
    made.network.set_weights([w + rng.normal(0, 0.5, size=w.shape) for w in made.network.get_weights()])
    return made


def saved(folder: Path, seed: int, **given: object) -> Path:
    folder.mkdir()
    untrained(seed, **given).save(folder)
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return tiny_dataset(tmp_path / "dataset", [[1, 2, 3, 4, 5], [2, 1, 6, 7], [8, 9, 1, 3], [4, 5, 9, 2]])


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    return [saved(tmp_path / "first", 0), saved(tmp_path / "second", 1)]


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def test_scores_are_the_mean_of_the_members_log_probabilities() -> None:
    members = [untrained(seed) for seed in range(3)]
    scores = Ensemble(members).score(HISTORIES)
    assert (scores.dtype, scores.shape) == (np.float32, (len(HISTORIES), ITEMS + 1))
    expected = np.mean([log_softmax(m.score(HISTORIES)[:, 1:].astype(np.float64), axis=1) for m in members], axis=0)
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(scores[:, 1:], expected, rtol=1e-4, atol=1e-5)
    assert np.isneginf(scores[:, 0]).all()


def test_row_0_has_no_share_in_the_probabilities() -> None:
    members = [untrained(0), untrained(1)]
    before = Ensemble(members).score(HISTORIES)
    table = members[0].item_table.embeddings
    table.assign(tf.tensor_scatter_nd_update(table, [[0]], [[50.0] * 8]))
    assert members[0].score(HISTORIES)[0, 0] != 0
    np.testing.assert_allclose(Ensemble(members).score(HISTORIES), before, rtol=1e-5)


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    ensemble = Ensemble([untrained(seed) for seed in range(3)])
    ensemble.save(tmp_path)
    loaded = load_model(tmp_path)
    assert isinstance(loaded, Ensemble)
    assert (loaded.items, loaded.split_fingerprint) == (ITEMS, "tiny")
    np.testing.assert_array_equal(loaded.score(HISTORIES), ensemble.score(HISTORIES))
    for number, member in enumerate(ensemble.members):
        alone = load_model(tmp_path / "members" / str(number))
        assert isinstance(alone, SequenceRecommender)
        assert alone.architecture == member.architecture
        np.testing.assert_array_equal(alone.score(HISTORIES), member.score(HISTORIES))


def test_members_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(DataError, match="two models or more, not 1"):
        Ensemble([untrained(0)])
    with pytest.raises(DataError, match=r"member 1 .* split other of 9 items, member 0 from tiny of 9"):
        Ensemble([untrained(0), untrained(1, split="other")])
    with pytest.raises(DataError, match=r"member 2 .* split tiny of 7 items, member 0 from tiny of 9"):
        Ensemble([untrained(0), untrained(1), untrained(2, items=7)])


def test_members_are_told_the_same_of_the_user() -> None:
    def told(length: int, *values: str) -> SequenceRecommender:
        shape = architecture(encoder="mean", dim=4, max_history=length)
        users = [UserFeature("gender", ITEMS + 1, values=values)]
        return SequenceRecommender(shape, ITEMS, "tiny", user_features=users)

    assert Ensemble([told(5, "F", "M"), told(5, "F", "M")]).score(HISTORIES).shape == (3, ITEMS + 1)
    for other in (told(5, "M", "F"), told(6, "F", "M"), untrained(0)):
        with pytest.raises(DataError, match=r"member 1 .* other model\.user_features"):
            Ensemble([told(5, "F", "M"), other])


def test_a_folder_without_ensemble_or_with_a_damaged_one_is_told(tmp_path: Path, models: list[Path]) -> None:
    with pytest.raises(EdgeRecError, match="first: no ensemble here"):
        Ensemble.load(models[0])
    for content in ("{", "[]", "{}"):
        (tmp_path / "ensemble.json").write_text(content)
        with pytest.raises(EdgeRecError, match=r"ensemble\.json: damaged"):
            load_model(tmp_path)
    (tmp_path / "ensemble.json").write_text('{"members": ["members/0", "members/1"]}')
    with pytest.raises(EdgeRecError, match="0: no model here"):
        load_model(tmp_path)


def test_the_command_measures_ensemble_and_members(tmp_path: Path, dataset: Dataset, models: list[Path]) -> None:
    out = tmp_path / "out"
    asked = ["ensemble", *models, "--dataset", dataset.folder, "--out", out]
    document = json.loads(call(*asked, "--json").stdout)
    assert document == json.loads((out / "measured.json").read_text())
    assert document["split_fingerprint"] == "tiny"
    assert [row["model"] for row in document["members"]] == [str(model) for model in models]
    scorers = [*map(SequenceRecommender.load, models), Ensemble(list(map(SequenceRecommender.load, models)))]
    for scorer, row in zip(scorers, [*document["members"], document["ensemble"]], strict=True):
        for part in ("validation", "test"):
            assert row[part] == evaluate(scorer.score, dataset.targets(part), dataset).quality()
    # A second time: the ensemble that is there is replaced, and the table shows the figures of each.
    lines = call(*asked).stdout.splitlines()
    assert lines[0].split() == ["validation", "ndcg@10", "test", "ndcg@10", "test", "hr@10"]
    for line, row in zip(lines[1:], [*document["members"], document["ensemble"]], strict=True):
        figures = [row["validation"]["ndcg@10"], row["test"]["ndcg@10"], row["test"]["hr@10"]]
        assert line.split() == [row["model"], *(f"{figure:.4f}" for figure in figures)]


def test_an_ensemble_of_a_run_is_evaluated_as_any_model(small_run: Run, tmp_path: Path) -> None:
    out = tmp_path / "ensemble"
    dataset = small_run.folder / "dataset"
    document = json.loads(
        call("ensemble", small_run.trained, small_run.pruned, "--dataset", dataset, "--out", out, "--json").stdout
    )
    variants = json.loads((small_run.folder / "report.json").read_text())["variants"]
    quality_of = {variant["name"]: variant["quality"] for variant in variants}
    for member, name in zip(document["members"], ("keras", "keras-pruned"), strict=True):
        assert member["test"] == pytest.approx(quality_of[name], rel=1e-6)
    # Members are whole scores, with transitions, and are saved as such.
    assert all(member.parts.transitions for member in Ensemble.load(out).members)
    recommender = SequenceRecommender.load(small_run.trained)
    validated = evaluate_model(recommender, small_run.dataset.targets("validation"), small_run.dataset)
    assert document["members"][0]["validation"] == pytest.approx(validated.quality(), rel=1e-6)

    quality = document["ensemble"]["test"]
    assert Evaluation.load(out, small_run.dataset.items).quality() == pytest.approx(quality)
    asked = ["--dataset", dataset, "--json"]
    alone = json.loads(call("evaluate", out, "--against", small_run.trained, *asked).stdout)
    assert alone["quality"] == pytest.approx(quality)
    other = json.loads(call("evaluate", small_run.trained, "--against", out, *asked).stdout)
    assert other["against"]["quality"] == pytest.approx(quality)
    assert alone["comparison"]["better"] == other["comparison"]["worse"]


def refused(*arguments: object) -> str:
    """The one line that tells what is wrong."""
    result = call("ensemble", *arguments)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


def test_a_users_mistakes_are_told_before_anything_is_written(
    tmp_path: Path, dataset: Dataset, models: list[Path]
) -> None:
    out = tmp_path / "out"
    rest = ["--dataset", dataset.folder, "--out", out]
    assert "two models or more, not 1" in refused(models[0], *rest)
    assert f"{tmp_path / 'none'}: no model here" in refused(models[0], tmp_path / "none", *rest)
    other = saved(tmp_path / "other", 2, split="other")
    assert f"{other}: made from split other, the data set tiny has tiny" in refused(models[0], other, *rest)
    bundle = tmp_path / "model.tflite"
    bundle.write_bytes(b"")
    assert f"{bundle}: a file; a member is a folder" in refused(models[0], bundle, *rest)
    assert f"{models[0]}: no data set here" in refused(*models, "--dataset", models[0], "--out", out)
    assert not out.exists()
    ensemble = tmp_path / "ensemble"
    ensemble.mkdir()
    Ensemble(list(map(SequenceRecommender.load, models))).save(ensemble)
    assert f"{ensemble}: an ensemble cannot be a member" in refused(models[0], ensemble, *rest)
    assert not out.exists()


def test_what_is_there_and_no_ensemble_is_not_overwritten(
    tmp_path: Path, dataset: Dataset, models: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SequenceRecommender, "load", lambda *_: pytest.fail("told too late"))
    kept = {path: path.read_bytes() for path in models[0].iterdir()}
    file = tmp_path / "file"
    file.write_text("mine")
    for out in (models[0], file):
        assert f"{out}: exists and is no ensemble" in refused(*models, "--dataset", dataset.folder, "--out", out)
    assert {path: path.read_bytes() for path in models[0].iterdir()} == kept
    assert file.read_text() == "mine"


def test_an_interrupted_ensemble_leaves_what_was_there(
    tmp_path: Path, dataset: Dataset, models: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    asked = ["ensemble", *models, "--dataset", dataset.folder, "--out", out]
    before = sorted(tmp_path.iterdir())

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Evaluation, "save", stop)
        assert call(*asked).exit_code == 130
        assert sorted(tmp_path.iterdir()) == before
        patched.undo()
        assert call(*asked).exit_code == 0
        kept = (out / "made-from.json").stat().st_mtime_ns
        patched.setattr(Evaluation, "save", stop)
        assert call(*asked).exit_code == 130
    assert (out / "made-from.json").stat().st_mtime_ns == kept
    assert sorted(tmp_path.iterdir()) == sorted([*before, out])
