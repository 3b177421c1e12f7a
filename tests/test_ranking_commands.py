"""Commands of the workstation with ranking models: figures where they make sense, else one line on what to do."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_ranking_run import ranked  # noqa: F401  (fixture)

from edgerec.cli.main import main
from edgerec.pipeline import Run

ROOT = Path(__file__).parent.parent
RETRIEVAL = ROOT / "models" / "grocery" / "model.tflite"
pytestmark = pytest.mark.slow


def call(*arguments: object, code: int = 0) -> str:
    """What the command prints on stdout, or the one line of its error."""
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == code, result.output
    if code:
        assert "Traceback" not in result.stderr and len(result.stderr.strip().splitlines()) == 1
        return result.stderr
    return result.stdout


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Run:
    return request.getfixturevalue("ranked")


def test_evaluate_measures_a_bundle_as_the_run_did(run: Run) -> None:
    dataset = run.folder / "dataset"
    document = json.loads(call("evaluate", run.bundle, "--dataset", dataset, "--against", "popularity", "--json"))
    report = run.report
    assert document["quality"] == pytest.approx(report["variants"][-1]["quality"], abs=1e-6)
    assert document["against"]["quality"] == pytest.approx(report["baselines"][0]["quality"])
    figures = {one["figure"]: one for one in document["comparison"]["figures"]}
    assert list(figures) == ["auc", "gauc", "ndcg@10", "log_loss", "ece"]
    assert all(figures[name]["loss_ci"] for name in ("auc", "gauc", "ndcg@10", "log_loss"))
    model = json.loads(call("evaluate", run.pruned, "--dataset", dataset, "--json"))
    assert model["quality"] == pytest.approx(report["variants"][1]["quality"], abs=1e-6)
    shown = call("evaluate", "popularity", "--dataset", dataset, "--against", run.bundle)
    assert "auc" in shown and "at a margin of" in shown


def test_runs_are_compared_by_every_figure(run: Run) -> None:
    entries = json.loads(call("compare", run.folder, run.folder, "--json"))
    assert entries[0]["comparison"] is None and entries[1]["kind"] == "ranking"
    assert entries[1]["comparison"]["figures"][0]["loss"] == 0
    assert "gauc" in call("compare", run.folder, run.folder)


def test_what_is_not_for_ranking_models_says_what_to_do_instead(run: Run, purchases: Path, tmp_path: Path) -> None:
    dataset = run.folder / "dataset"
    told = call(
        "recommend", run.bundle, "--histories", purchases / "purchases.csv", "--out", tmp_path / "o.csv", code=1
    )
    assert "edgerec-device score" in told and "--ranker" in told
    told = call("ensemble", run.trained, run.trained, "--dataset", dataset, "--out", tmp_path / "e", code=1)
    assert "a ranking model; ensembles are of retrieval models" in told
    assert "a retrieval model, not a ranking model" in call("evaluate", RETRIEVAL, "--dataset", dataset, code=1)
    assert "--dataset must be that of a ranking run" in call("evaluate", run.bundle, "--dataset", tmp_path, code=1)
    assert "no baseline (popularity)" in call("evaluate", "markov", "--dataset", dataset, code=1)
    (tmp_path / "retrieval").mkdir()
    (tmp_path / "retrieval" / "report.json").write_text('{"schema": 1, "dataset": {"split_fingerprint": "0"}}')
    assert "a retrieval run" in call("compare", run.folder, tmp_path / "retrieval", code=1)
    (tmp_path / "recipe.toml").write_text(
        'kind = "ranking"\n[data]\nname = "x"\npath = "x.csv"\n[task]\nkind = "implicit"\n'
    )
    recipe = (tmp_path / "recipe.toml", "--out", tmp_path / "run")
    assert "ranking" in call("sweep", *recipe, "--max-bytes", "1MB", code=2)
    assert 'such as scheme = "int8-full"' in call("quantize", *recipe, code=2)
