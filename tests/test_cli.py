import json
import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

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


def test_the_stages_can_be_called_by_name(small_run: Run, run_copy: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
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
    recipe.write_text("\n".join(lines))
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
