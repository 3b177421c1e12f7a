import json
import shutil
from pathlib import Path

import click
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from device_runner import Recommender
from device_runner.cli import main as device
from edgerec.cli.main import main as workstation
from edgerec.pipeline import Run

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "models" / "grocery" / "model.tflite"
HISTORY = ROOT / "tests" / "data" / "grocery-history.csv"


def call(command: click.Group, *arguments: object) -> Result:
    result = CliRunner().invoke(command, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    found: list[tuple[tuple[str, ...], click.Command]] = []
    for name, command in group.commands.items():
        found.append(((*path, name), command))
        if isinstance(command, click.Group):
            found += commands(command, (*path, name))
    return found


@pytest.mark.parametrize("group", [workstation, device], ids=["edgerec", "edgerec-device"])
def test_every_command_and_option_has_help(group: click.Group) -> None:
    for path, command in commands(group):
        assert command.help, path
        for parameter in command.params:
            assert not isinstance(parameter, click.Option) or parameter.help, (path, parameter.name)
        assert call(group, *path, "-h").exit_code == 0


def test_the_zoos_bundle_recommends_named_products() -> None:
    result = call(device, "recommend", MODEL, "--history", HISTORY, "-k", 5)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 5
    assert all(len(line.split(maxsplit=3)) == 4 for line in lines)


def test_recommend_as_json() -> None:
    result = call(device, "recommend", MODEL, "--history", HISTORY, "--json", "--exclude", "1082185")
    document = json.loads(result.stdout)
    assert document["source"] == "model"
    assert document["unknown"] == 0
    shown = [r["item"] for r in document["recommendations"]]
    assert len(shown) == 10
    assert "1082185" not in shown


def test_inspect_and_bench_as_json(bundle: Path) -> None:
    manifest = json.loads(call(device, "inspect", bundle, "--json").stdout)
    assert manifest["scheme"] == "int8"
    assert "int8" in call(device, "inspect", bundle).stdout
    for command in (device, workstation):
        assert json.loads(call(command, "bench", bundle, "--runs", 20, "--json").stdout)["runs"] == 20
    assert "p99" in call(device, "bench", bundle, "--runs", 20).stdout


def broken_inputs(tmp_path: Path, bundle: Path) -> dict[str, tuple[click.Group, list[object], int, str]]:
    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def run(table: Path, *more: str) -> list[object]:
        recipe = write(f"{table.stem}.toml", "[data]\ncolumns = { time = 't' }\nmin_user_events = 1\n")
        return ["run", recipe, "--out", tmp_path / "out", "--set", f"data.path={table}", *more]

    good = "user_id,item_id,t\n" + "".join(f"u,i{n},{n}\n" for n in range(9))
    plain = write("plain.tflite", bundle.read_bytes()[:2000])
    half = write("half.tflite", bundle.read_bytes()[:-100])
    text = write("text.tflite", "hello")
    history = ["--history", HISTORY]
    return {
        "missing column": (workstation, run(write("a.csv", "user,item_id,t\nu,i,1\n")), 1, "no column 'user_id'"),
        "unparsable row": (workstation, run(write("b.csv", good + "u,j,soon\n")), 1, "b.csv: line 11: time is not"),
        "absent table": (workstation, run(tmp_path / "absent.csv"), 1, "absent.csv: no such file"),
        "empty table": (workstation, run(write("c.csv", "user_id,item_id,t\n")), 1, "no rows"),
        "unknown key": (workstation, run(write("d.csv", good), "--set", "train.epoch=1"), 2, "did you mean epochs"),
        "absent recipe": (workstation, ["run", tmp_path / "none.toml"], 2, "no such recipe"),
        "no split": (workstation, run(write("e.csv", "user_id,item_id,t\nu,i,1\nu,j,2\n")), 1, "four or more events"),
        "no bundle": (device, ["recommend", plain, *history], 1, "without the edgerec part"),
        "truncated": (device, ["recommend", half, *history], 1, "truncated bundle"),
        "not tflite": (device, ["inspect", text], 1, "not a TFLite file"),
        "absent model": (device, ["bench", tmp_path / "none.tflite"], 1, "no such file"),
        "absent history": (device, ["recommend", bundle, "--history", "none.csv"], 1, "none.csv: no such file"),
        "no data set": (workstation, ["evaluate", bundle, "--dataset", tmp_path], 1, "no data set here"),
        "bad option": (device, ["recommend", bundle, *history, "-k", "0"], 2, "-k"),
    }


CASES = (
    "missing column",
    "unparsable row",
    "absent table",
    "empty table",
    "unknown key",
    "absent recipe",
    "no split",
    "no bundle",
    "truncated",
    "not tflite",
    "absent model",
    "absent history",
    "no data set",
    "bad option",
)


@pytest.mark.parametrize("case", CASES)
def test_bad_input_gives_one_clear_line(tmp_path: Path, bundle: Path, case: str) -> None:
    cases = broken_inputs(tmp_path, bundle)
    assert sorted(cases) == sorted(CASES)
    command, arguments, code, said = cases[case]
    result = call(command, *arguments)
    assert result.exit_code == code, result.output
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert said in errors[0]
    assert "Traceback" not in result.output
    left = [p.name for p in (tmp_path / "out").rglob("*")] if (tmp_path / "out").exists() else []
    assert set(left) <= {"rejected.csv", "dataset", "dataset.json", "interactions.parquet", "items.parquet",
                         "users.parquet", "features.json", "made-from.json", ".lock"}  # fmt: skip
    assert ("dataset" in left) == (case == "no split")


def test_evaluate_gives_the_same_figures_as_the_report(small_run: Run) -> None:
    report = json.loads((small_run.folder / "report.json").read_text())
    dataset = small_run.folder / "dataset"
    expected = {
        small_run.trained: report["variants"][0],
        small_run.bundles["int8"]: report["variants"][-1],
        "popularity": report["baselines"][0],
    }
    for model, measured in expected.items():
        document = json.loads(call(workstation, "evaluate", model, "--dataset", dataset, "--json").stdout)
        assert document["quality"] == pytest.approx(measured["quality"], rel=1e-6)
        assert document["split_fingerprint"] == report["dataset"]["split_fingerprint"]


def written_recipe(small_run: Run, path: Path) -> Path:
    """The small run's recipe as a file."""
    sections = json.loads(small_run.recipe.model_dump_json(exclude_none=True))
    lines = []
    lines.append(f'kind = "{sections.pop("kind")}"')
    for name, section in sections.items():
        lines.append(f"[{name}]")
        for key, value in section.items():
            inline = isinstance(value, dict)
            text = (
                "{" + ", ".join(f"{k} = {json.dumps(v)}" for k, v in value.items()) + "}"
                if inline
                else json.dumps(value)
            )
            lines.append(f"{key} = {text}")
    path.write_text("\n".join(lines))
    return path


def test_the_stages_can_be_called_by_name(small_run: Run, run_copy: Path, tmp_path: Path) -> None:
    recipe = written_recipe(small_run, tmp_path / "recipe.toml")
    for stage in (["data", "prepare"], ["train"], ["prune"], ["convert"], ["report"], ["run"]):
        result = call(workstation, *stage, recipe, "--out", run_copy, "--json")
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)
        assert call(workstation, *stage, recipe, "--out", run_copy).exit_code == 0


def test_an_interrupted_preparation_leaves_nothing(purchases: Path, tmp_path: Path, monkeypatch) -> None:
    from conftest import small_recipe

    from edgerec.progress import Progress

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edgerec.data.prepare.split_rows", stop)
    with pytest.raises(KeyboardInterrupt):
        _ = Run(small_recipe(purchases), tmp_path / "run", Progress()).dataset
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    shutil.rmtree(tmp_path / "run")


def test_convert_alone_is_gated(small_run: Run, run_copy: Path, tmp_path: Path) -> None:
    """Issue 10, item 6: only ``run`` and ``report`` looked at the gate."""
    recipe = written_recipe(small_run, tmp_path / "recipe.toml")
    result = call(workstation, "convert", recipe, "--out", run_copy, "--set", "gate.max_bytes=1000")
    assert result.exit_code == 3
    assert "gate not met: int8: size is" in result.stderr
    assert call(workstation, "convert", recipe, "--out", run_copy, "--set", "gate.max_bytes=10000000").exit_code == 0


def test_runs_of_one_split_are_compared_and_of_two_refused(small_run: Run, run_copy: Path, tmp_path: Path) -> None:
    """Issue 10, item 21."""
    document = json.loads(call(workstation, "compare", small_run.folder, run_copy, "--json").stdout)
    assert [entry["run"] for entry in document] == [str(small_run.folder), str(run_copy)]
    assert document[0]["comparison"] is None
    assert document[1]["comparison"]["same"] == 1
    lines = call(workstation, "compare", small_run.folder, run_copy).stdout.splitlines()
    assert len(lines) == 3 and lines[0].split()[-1] == "change"
    report = json.loads((run_copy / "report.json").read_text())
    report["dataset"]["split_fingerprint"] = "other"
    (run_copy / "report.json").write_text(json.dumps(report))
    refused = call(workstation, "compare", small_run.folder, run_copy)
    assert refused.exit_code == 1 and "figures of different splits cannot be compared" in refused.stderr
    absent = call(workstation, "compare", small_run.folder, tmp_path)
    assert absent.exit_code == 1 and "no report here; make one with: edgerec run RECIPE" in absent.stderr


def test_a_table_of_histories_gets_what_the_device_recommends(bundle: Path, tmp_path: Path) -> None:
    """Issue 10, item 21: by time, not in the order of the file; rows without an item are counted."""
    items = Recommender.load(bundle).bundle.items[1:6]
    rows = [("b", items[0], 5), ("a", items[1], 2), ("a", items[2], 1), ("b", "", 1), ("b", items[3], 4), ("c", "x", 1)]
    pd.DataFrame(rows, columns=["who", "what", "at"]).to_csv(tmp_path / "t.csv", index=False)
    out = tmp_path / "out.parquet"
    columns = ["--user", "who", "--item", "what", "--time", "at"]
    asked = ["recommend", bundle, "--histories", tmp_path / "t.csv", *columns, "-k", 3]
    result = call(workstation, *asked, "--out", out)
    assert result.exit_code == 0, result.output
    assert "1 of 6 rows" in result.stderr
    found = pd.read_parquet(out)
    assert list(found["user_id"]) == ["b"] * 3 + ["a"] * 3 + ["c"] * 3
    recommender = Recommender.load(bundle)
    for user, history in (("a", [items[2], items[1]]), ("b", [items[3], items[0]]), ("c", [])):
        expected = [entry.item for entry in recommender.recommend(history, 3)]
        assert list(found[found["user_id"] == user]["item_id"]) == expected
    assert set(found[found["user_id"] == "c"]["source"]) == {"popularity"}
    assert "unknown kind of file" in call(workstation, *asked, "--out", tmp_path / "out.txt").stderr
    assert "no column 'time'" in call(workstation, *asked, "--time", "time", "--out", out).stderr


def test_init_overwrites_no_recipe_unasked(purchases: Path, tmp_path: Path) -> None:
    """Issue 10, item 20."""
    out = tmp_path / "recipe.toml"
    asked = ["init", purchases / "purchases.csv", "--out", out]
    result = call(workstation, *asked)
    assert result.exit_code == 0, result.output
    assert 'user = "household"' in out.read_text() and "by its name" in result.stdout
    assert call(workstation, *asked).exit_code == 2
    assert call(workstation, *asked, "--force", "--json").exit_code == 0
    assert call(workstation, "run", out, "--out", tmp_path / "run", "--dry-run").stdout.startswith("dataset")
