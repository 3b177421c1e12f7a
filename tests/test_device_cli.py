"""``edgerec-device`` as people call it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from toys import toys

from converters.bundle_writer import bundle_bytes, with_facts
from device_runner import Bundle, Recommender
from device_runner.attributes import attributes_to_json
from device_runner.child_process import child_environment
from device_runner.cli import main

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "models" / "grocery" / "model.tflite"
HISTORY = ROOT / "tests" / "data" / "grocery-history.csv"
PROGRAM = "from device_runner.cli import main; main()"


def call(*arguments: object, code: int = 0) -> str:
    """What the command prints, on stdout and stderr."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_reader_that_ends_early_is_not_an_error(more: list[str]) -> None:
    """Issue 10, item 23: ``edgerec-device … | head`` ended in "Error: file system: Broken pipe"."""
    command = [sys.executable, "-c", PROGRAM, "inspect", str(MODEL), *more]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=child_environment())
    assert child.stdout and child.stderr
    child.stdout.close()  # before anything is written
    assert child.stderr.read() == b""
    child.stderr.close()
    assert child.wait() == 1


def test_labels_and_values_of_inspect_stand_in_columns() -> None:
    """Issue 10, item 18: "most popular1300854"."""
    for model in (MODEL, toys()["told"], toys()["ranking"]):
        lines = call("inspect", model).splitlines()
        start = max(len(line.split("  ")[0]) for line in lines) + 2
        assert all(line[start - 2 : start] == "  " and line[start] != " " for line in lines), lines


def test_inspect_shows_both_kinds_of_bundle() -> None:
    retrieval, ranking = call("inspect", toys()["told"]), call("inspect", toys()["ranking"])
    assert "the last 8 events" in retrieval and "4 floats" in retrieval and "gender: F, M" in retrieval
    assert "4 candidates" in ranking and "features (float32)" in ranking and "catalogue" not in ranking


def test_inspect_shows_the_transitions() -> None:
    shown = call("inspect", toys()["linked"])
    assert "7 floats and the newest 2 rows;" in shown and "to 2 items from each of the newest events" in shown
    assert "transitions" not in call("inspect", toys()["told"])


def test_reasons_are_shown_where_they_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_text("item_id\ni1\ni2\n")
    arguments = ["recommend", toys()["linked"], "--history", tmp_path / "h.csv", "-k", 3]
    plain, explained = call(*arguments).splitlines(), call(*arguments, "--explain").splitlines()
    reasons = ["i1", "i2", "i1"]
    assert explained == [f"{line}  because of {reason}" for line, reason in zip(plain, reasons, strict=True)]
    for more, expected in ([], [None] * 3), (["--explain"], reasons):
        document = json.loads(call(*arguments, "--json", *more))
        assert [entry["because"] for entry in document["recommendations"]] == expected
    (tmp_path / "h.csv").write_text("item_id\nunheard of\n")
    assert "because" not in call(*arguments, "--explain")


def test_reasons_have_titles_where_the_bundle_has_them() -> None:
    document = json.loads(call("recommend", MODEL, "--history", HISTORY, "--explain", "--json"))
    bundle = Bundle.read(MODEL)
    reasons = [entry["because"] for entry in document["recommendations"]]
    assert any(reasons)
    lines = call("recommend", MODEL, "--history", HISTORY, "--explain").splitlines()
    for line, reason in zip(lines, reasons, strict=True):
        title = bundle.titles[bundle.items.index(reason)] if reason else ""
        assert line.endswith(f"  because of {title}") if reason else "because" not in line


def test_bench_rounds_what_it_shows() -> None:
    """Issue 10, item 18: "state load 2.58642578125"."""
    lines = call("bench", MODEL, "--history", HISTORY, "--runs", 20).splitlines()
    assert all(len(figure.partition(".")[2]) <= 3 for line in lines[2:] for figure in line.split(" ") if "." in figure)
    assert all(line[11] == " " and line[12] != " " for line in lines[1:])


def test_bench_says_how_long_a_user_waits() -> None:
    """Issue 10, item 19."""
    document = json.loads(call("bench", MODEL, "--history", HISTORY, "--runs", 20, "--json"))
    cold = document["cold_start_ms"]
    assert list(cold) == ["process", "import", "load", "first", "python", "packages"]
    # Python and numpy begin before the import of the runtime.
    assert cold["process"] > cold["import"] + cold["load"] + cold["first"] + 5
    assert "from process start to first answer" in call("bench", MODEL, "--history", HISTORY, "--runs", 20)


def test_a_bench_of_a_model_with_a_state_times_a_step(tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_text("item_id\ni1\ni2\n")
    for name, stepped in (("recurrent", True), ("plain", False), ("one", True)):
        document = json.loads(call("bench", toys()[name], "--history", tmp_path / "h.csv", "--runs", 5, "--json"))
        assert (document["step_ms"] is not None) == stepped


def test_a_ranking_bundle_is_refused_in_one_line() -> None:
    refused = call("recommend", toys()["ranking"], "--history", HISTORY, code=1)
    assert refused.endswith("ranking.tflite: a ranking model, not a retrieval model\n")
    assert "has no features.json" in call("bench", toys()["ranking"], code=1)


def test_every_command_has_one_line_of_help() -> None:
    shown = [call("--help").partition("Commands:")[2], call("history", "--help").partition("Commands:")[2]]
    lines = [line.strip() for text in shown for line in text.splitlines() if line.strip()]
    assert len(lines) == 17 and all(line.endswith(".") and not line.endswith("...") for line in lines), lines


def test_ids_with_control_characters_stay_in_their_line(tmp_path: Path) -> None:
    database = tmp_path / "user.db"
    call("history", "add", database, "one\ntwo", "red\x1b[31m", "--type", "a\rb")
    lines = call("history", "list", database).splitlines()
    assert len(lines) == 2 and "one\\ntwo" in lines[0] and "red\\x1b[31m" in lines[1] and "a\\rb" in lines[0]


def test_the_column_of_the_bundles_data_set_is_read(tmp_path: Path) -> None:
    """Issue 10, item 23."""
    (tmp_path / "h.csv").write_text("when,sku\n1,i3\n2,i4\n")
    refused = call("recommend", toys()["plain"], "--history", tmp_path / "h.csv", code=1)
    assert "no column item_id or item among when, sku" in refused
    facts = {"dataset": {"name": "shop", "item_column": "sku"}}
    (tmp_path / "m.tflite").write_bytes(with_facts(toys()["plain"], facts))
    document = json.loads(call("recommend", tmp_path / "m.tflite", "--history", tmp_path / "h.csv", "--json"))
    assert (document["events"], document["unknown"]) == (2, 0)
    assert "step" not in call("bench", tmp_path / "m.tflite", "--history", tmp_path / "h.csv", "--runs", 3)


def test_user_features_are_given_by_name(tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_text("item_id\ni3\ni4\n")
    arguments = ["recommend", toys()["told"], "--history", tmp_path / "h.csv"]
    assert call(*arguments) != call(*arguments, "--user", "gender=F")
    assert "'gender' is not NAME=VALUE" in call(*arguments, "--user", "gender", code=2)
    assert "age=old is not known to the model and was skipped" in call(*arguments, "--user", "age=old")


def test_lists_take_allow_lists_and_caps(tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_text("item_id\ni3\ni4\n")
    (tmp_path / "allowed.csv").write_text("item_id\ni9\ni10\n")
    bundle = Bundle.read(toys()["plain"])
    shelves = attributes_to_json({"shelf": [["odd" if row % 2 else "even"] for row in range(1, 41)]})
    facts = {"runtimes": bundle.runtimes}
    content = bundle_bytes(
        bundle.model, "plain", "float32", bundle.contract, bundle.items[1:], facts=facts, attributes=shelves
    )
    (tmp_path / "m.tflite").write_bytes(content)
    arguments = ["recommend", tmp_path / "m.tflite", "--history", tmp_path / "h.csv", "--json"]

    def items(*more: object) -> list[str]:
        return [entry["item"] for entry in json.loads(call(*arguments, *more))["recommendations"]]

    assert set(items("--allow", tmp_path / "allowed.csv", "--allow", "i11")) == {"i9", "i10", "i11"}
    assert sorted(int(item[1:]) % 2 for item in items("--at-most", "shelf=2")) == [0, 0, 1, 1]
    assert "'shelf' is not NAME=COUNT" in call(*arguments, "--at-most", "shelf", code=2)
    assert "no attribute 'colour' of its items; it has: shelf" in call(*arguments, "--at-most", "colour=1", code=2)
    assert "none of its 1 ids is in the catalogue" in call(*arguments, "--allow", "unknown", code=1)
    assert "shelf: 2 values, for --at-most shelf=…" in call("inspect", tmp_path / "m.tflite")


def test_similar_items_are_listed(tmp_path: Path) -> None:
    document = json.loads(call("similar", toys()["linked"], "i1", "-k", 2, "--json"))
    expected = Recommender.load(toys()["linked"]).similar("i1", 2)
    assert [(entry["item"], entry["score"]) for entry in document["similar"]] == [(e.item, e.score) for e in expected]
    assert call("similar", toys()["linked"], "i1", "-k", 2).startswith("Similar to i1:\n  1 ")
    assert "'unknown' is not in the catalogue" in call("similar", toys()["linked"], "unknown", code=1)
