"""``edgerec-device bench``: what it measures, how reports are compared, and the page."""

import json
import re
import time
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from toys import toys

from converters.servable import Table
from converters.sizes import bundle_sizes
from device_runner import Bundle
from device_runner.backends import installed_backends
from device_runner.bench import bench
from device_runner.bench.compare import compare_reports
from device_runner.bench.device import cpu_model, describe_device, device_state, throttled
from device_runner.bench.energy import EnergyUse, find_meter
from device_runner.bench.file_parts import file_parts
from device_runner.bench.operators import KNOWN
from device_runner.bench.operators_process import operators
from device_runner.bench.page import page_of
from device_runner.cli import main
from device_runner.contract import Retrieval
from device_runner.processor import cpu_features

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "models" / "grocery" / "model.tflite"
HISTORY = ROOT / "tests" / "data" / "grocery-history.csv"


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    items = Bundle.read(MODEL).items
    return json.loads(json.dumps(bench(MODEL, [list(items[1:30]), list(items[5:90])], runs=30, processes=2)))


def write(folder: Path, files: dict[str, str]) -> Path:
    """A made-up /proc and /sys."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text + "\n")
    return folder


PI = {
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd crc32\nCPU part\t: 0xd08\n\n"
    "Model\t: Raspberry Pi 4 Model B Rev 1.4",
    "proc/meminfo": "MemTotal:  3884112 kB\nMemAvailable:  3000000 kB",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "1800000",
    "sys/class/thermal/thermal_zone0/temp": "48200",
    "sys/class/thermal/thermal_zone1/temp": "51100",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005",
}


def test_the_report_holds_what_was_measured(report: dict[str, Any]) -> None:
    assert report["schema"] == 2 and report["fingerprint"] == Bundle.read(MODEL).fingerprint
    for name in ("recommend_ms", "invoke_ms", "step_ms"):
        times = report[name]
        assert 0 < times["p50"] <= times["p90"] <= times["p95"] <= times["p99"]
    cold = report["cold_start_ms"]
    assert sum(time for part, time in cold.items() if part != "process") == pytest.approx(cold["process"], rel=0.2)
    assert len(report["cold_starts"]["process_ms"]) == report["cold_starts"]["processes"] == 2
    # Calls back to back are neither much faster nor much slower than those that were timed one by one.
    assert 0.1 < report["throughput_per_s"] * report["recommend_ms"]["p50"] / 1e3 < 3


def test_the_parts_of_the_file_add_up_to_it() -> None:
    for path in (MODEL, toys()["plain"], toys()["told"], toys()["linked"], toys()["ranking"]):
        parts = file_parts(Bundle.read(path))
        assert parts.pop("total") == path.stat().st_size == sum(parts.values())
        assert all(size > 0 for size in parts.values()), parts
        with zipfile.ZipFile(path) as archive:
            titles = [info.compress_size for info in archive.infolist() if info.filename == "titles.txt"]
        assert parts.get("titles", 0) == sum(titles)


def test_the_item_table_is_as_large_as_the_workstation_says() -> None:
    bundle = Bundle.read(MODEL)
    items, parts = bundle.contract_of(Retrieval).items, file_parts(bundle)
    tables = [Table("item_table", (items + 1, 32)), Table("transitions", (items + 1, 10), ("UINT8", "INT16", "INT32"))]
    expected = bundle_sizes(MODEL, tables)
    assert parts["item_table"] == expected["item_table"] == (items + 1) * 32 // 2
    assert parts["transitions"] == expected["transitions"] > 0


@pytest.mark.skipif(installed_backends().get("litert") != KNOWN, reason=f"profiles are known of litert {KNOWN}")
def test_operators_are_profiled_where_the_runtime_is_known(report: dict[str, Any]) -> None:
    found = report["operators"]
    assert sum(entry["share"] for entry in found) == pytest.approx(1, abs=0.05)
    assert [entry["share"] for entry in found] == sorted((entry["share"] for entry in found), reverse=True)
    (lists,) = [entry for entry in found if entry["operator"] == "TOPK_V2"]
    assert lists["calls"] == 1 and not lists["delegate"] and lists["share"] > 0
    assert {entry["operator"] for entry in found if entry["delegate"]}


def test_an_unknown_version_of_the_runtime_is_not_profiled(monkeypatch: pytest.MonkeyPatch) -> None:
    from device_runner.bench import operators as module

    monkeypatch.setattr(module, "installed_backends", lambda: {"litert": "2.3.1", "tflite-runtime": "2.14.0"})
    monkeypatch.setattr(module, "call_module", lambda *_, **__: pytest.fail("a process was started"))
    bundle = Bundle.read(MODEL)
    assert (
        module.operator_profile(bundle, "litert", [1]) is module.operator_profile(bundle, "tflite-runtime", [1]) is None
    )


def test_a_profile_that_says_nothing_has_no_operators() -> None:
    assert operators("") == operators("==== Run Order ====\n[node type] [start]\n") == []


def test_the_state_of_a_raspberry_pi_is_read(tmp_path: Path) -> None:
    root = write(tmp_path, PI)
    described, state = describe_device(root), device_state(root)
    assert described["board"] == "Raspberry Pi 4 Model B Rev 1.4"
    assert cpu_model(root) == "Cortex-A72, Raspberry Pi 4 Model B Rev 1.4"
    assert cpu_features(root) == ["asimd"]
    assert (described["memory_mb"], state["memory_free_mb"]) == (3793.1, 2929.7)
    assert (state["governor"], state["clock_mhz"], state["clock_limit_mhz"]) == ("ondemand", 1500.0, 1800.0)
    assert state["temperature_c"] == 51.1
    assert state["throttled"] == ["under-voltage", "throttled", "under-voltage since start", "throttled since start"]


def test_what_the_system_does_not_show_is_none(tmp_path: Path) -> None:
    state = device_state(tmp_path)
    assert {name for name, value in state.items() if value is not None} <= {"load_1min"}
    assert describe_device(tmp_path)["board"] is None and throttled(tmp_path) is None
    write(tmp_path, {"sys/class/thermal/thermal_zone0/temp": "hot", "proc/meminfo": "MemTotal: many kB"})
    assert device_state(tmp_path)["temperature_c"] is describe_device(tmp_path)["memory_mb"] is None


def test_energy_is_read_from_a_counter_that_wraps(tmp_path: Path) -> None:
    zone = "sys/class/powercap/intel-rapl:0/"
    root = write(
        tmp_path, {zone + "name": "package-0", zone + "energy_uj": "9000000", zone + "max_energy_range_uj": "10000000"}
    )
    meter = find_meter(root)
    with EnergyUse(meter, root) as use:
        write(tmp_path, {zone + "energy_uj": "2000000"})
    assert use.found and use.found["source"] == "powercap package-0" and use.found["joules"] == pytest.approx(3.0)


def test_energy_is_sampled_from_a_power_meter(tmp_path: Path) -> None:
    chip = "sys/class/hwmon/hwmon0/"
    root = write(tmp_path, {chip + "name": "ina219", chip + "in1_input": "5000", chip + "curr1_input": "600"})
    with EnergyUse(find_meter(root), root) as use:
        time.sleep(0.12)
    assert use.found and use.found["watts"] == pytest.approx(3.0)
    assert use.found["joules"] == pytest.approx(3.0 * use.found["seconds"])


def test_a_board_without_a_meter_has_no_energy(tmp_path: Path) -> None:
    with EnergyUse(find_meter(tmp_path), tmp_path) as use:
        pass
    assert use.found is None


def test_only_figures_that_are_worse_by_more_than_the_threshold_fail(report: dict[str, Any]) -> None:
    assert not any(change.worse for change in compare_reports(report, report, 0.1))
    slower = json.loads(json.dumps(report))
    slower["recommend_ms"]["p50"] *= 1.2
    slower["recommend_ms"]["p99"] *= 5  # shown only
    slower["throughput_per_s"] *= 0.8
    slower["cold_start_ms"]["process"] *= 1.05
    slower["bytes"]["total"] //= 2
    worse = {change.figure for change in compare_reports(report, slower, 0.1) if change.worse}
    assert worse == {"recommend p50 (ms)", "throughput (1/s)"}
    better = {change.figure for change in compare_reports(slower, report, 0.1) if change.worse}
    assert better == {"file (bytes)"}


def test_a_report_of_the_first_schema_can_be_compared(report: dict[str, Any]) -> None:
    old = {"schema": 1, "recommend_ms": {"p50": report["recommend_ms"]["p50"] / 2}, "peak_rss_mb": 1e6}
    assert [change.figure for change in compare_reports(old, report, 0.1) if change.worse] == ["recommend p50 (ms)"]


def test_a_comparison_that_fails_says_so_and_exits_with_3(report: dict[str, Any], tmp_path: Path) -> None:
    earlier = json.loads(json.dumps(report))
    earlier["recommend_ms"]["p50"] /= 100
    earlier["device"]["cpu"] = "another"
    (tmp_path / "a.json").write_text(json.dumps(earlier))
    arguments = ["bench", str(MODEL), "--runs", "5", "--processes", "1", "--compare", str(tmp_path / "a.json")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 3 and "recommend p50 (ms)" in result.stderr.splitlines()[-1]
    assert "the processor is" in result.stderr
    document = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert document["compared"]["changes"][0]["worse"]
    assert CliRunner().invoke(main, [*arguments, "--threshold", "1e9"]).exit_code == 0
    (tmp_path / "a.json").write_text("[]")
    refused = CliRunner().invoke(main, arguments)
    assert refused.exit_code == 1 and "not a report of bench" in refused.stderr


class Tags(HTMLParser):
    """Whether every tag that must be closed is."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href")]
        if tag in ("div", "table", "section", "ul", "h1", "h2", "style"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("div", "table", "section", "ul", "h1", "h2", "style"):
            assert self.open.pop() == tag


def test_the_page_is_whole_and_asks_for_nothing(report: dict[str, Any], tmp_path: Path) -> None:
    hostile = {**report, "name": "<script>alert(1)</script>"}
    page = page_of(hostile)
    tags = Tags()
    tags.feed(page)
    assert not tags.open and not tags.addresses
    assert (
        "<script" not in page and "url(" not in page and "$" not in re.sub(r"<style>.*?</style>", "", page, flags=re.S)
    )
    assert f"{report['cold_start_ms']['process']:.0f} ms" in page and "prefers-color-scheme: dark" in page


def test_a_page_is_drawn_of_the_least_that_can_be_measured(report: dict[str, Any]) -> None:
    least = {**report, "step_ms": None, "operators": None, "energy": None, "backend_version": None}
    assert "offers no profile" in page_of(least) and "one more event" not in page_of(least)
    energy = {"source": "hwmon ina219", "joules": 0.0021, "watts": 3.4, "seconds": 3.0}
    assert "2.10 mJ" in page_of({**report, "energy": energy})


def test_bench_writes_the_page(tmp_path: Path) -> None:
    arguments = ["bench", str(MODEL), "--history", str(HISTORY), "--runs", "5", "--processes", "1"]
    done = CliRunner().invoke(main, [*arguments, "--html", str(tmp_path / "page.html")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
