"""The web export in headless Chromium: the conformance suite, the page without a network, its weight and its times."""

import base64
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from file_recipes import content_of, place_of
from test_conformance import FILES, same

from converters.bundle_writer import with_facts
from converters.targets.folder import ExportError
from converters.targets.web.demo import served
from converters.targets.web.export import export_web
from converters.targets.web.litert_js import PACKAGES, write_litert_js
from device_runner import Bundle, Recommender
from device_runner.contract import Ranking

playwright = pytest.importorskip("playwright.sync_api")
ROOT = Path(__file__).resolve().parents[2]
GROCERY = ROOT / "models" / "grocery" / "model.tflite"
HERE = Path(__file__).parent
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
AXE = "axe-core@4.11.0"
MUST_RUN = os.environ.get("EDGEREC_SERVERS") == "1"
WANTED = bool(os.environ.get("EDGEREC_TARGETS"))
# Kilobytes of what a visitor loads besides LiteRT's WebAssembly and its loader, compressed as servers send it.
PAGE_LIMIT = 250_000
FIRST_LIMIT_MS = 50.0
# A function of the page.
SUITE_CALL = (HERE / "conformance.js").read_text().partition("\n")[2].rstrip(";\n")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not WANTED:
        pytest.skip("make check-targets fetches LiteRT.js")
    out = tmp_path_factory.mktemp("web") / "grocery"
    try:
        export_web(GROCERY, out)
    except ExportError as error:
        if MUST_RUN:
            raise
        pytest.skip(f"LiteRT.js cannot be fetched: {error}")
    return out


@pytest.fixture(scope="module")
def address(exported: Path) -> Iterator[str]:
    with served(exported) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not WANTED:
        pytest.skip("make check-targets opens Chromium")
    if not CHROMIUM.exists():
        if MUST_RUN:
            pytest.fail(f"{CHROMIUM} is not there")
        pytest.skip(f"{CHROMIUM} is not there")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def suite_page(browser: Any, address: str) -> Iterator[Any]:
    """A page that has loaded the runtime, for all topics of the suite."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{address}self-test.html")
    page.wait_for_selector("html[data-outcome]")
    yield page
    context.close()


@pytest.mark.parametrize("topic", sorted(FILES))
def test_the_conformance_suite_passes(topic: str, suite_page: Any, address: str) -> None:
    file = FILES[topic]
    cases = [
        {"call": case["call"], "arguments": with_content(case["arguments"]), "bundle": file.get("bundle")}
        | ({"content": encoded(content_of(case["file"]))} if "file" in case else {})
        for case in file["cases"]
    ]
    bundles = {file["bundle"]: encoded(place_of(file["bundle"]).read_bytes())} if "bundle" in file else {}
    given = {"base": address, "cases": cases, "bundles": bundles}
    outcomes = suite_page.evaluate(SUITE_CALL, given)
    wrong = [
        (case["name"], outcome, case["expected"])
        for case, outcome in zip(file["cases"], outcomes, strict=True)
        if not all(name in outcome and same(outcome[name], value, file["tolerance"])
                   for name, value in case["expected"].items())
    ]  # fmt: skip
    assert not wrong


def test_every_scheme_and_encoder_gives_the_scores_of_python(suite_page: Any, address: str) -> None:
    """The bundles of ``make check-arm``: random weights, one network of the grocery model's shape in all schemes."""
    sys.path.insert(0, str(ROOT / "tests" / "arm"))
    from models import bundles

    for name, path in bundles().items():
        given: dict[str, Any] = {"base": address, "bundles": {name: encoded(path.read_bytes())}}
        if isinstance(Bundle.read(path).contract, Ranking):
            given["cases"] = [{"call": "golden", "arguments": {}, "bundle": name}]
            (outcome,) = suite_page.evaluate(SUITE_CALL, given)
            assert outcome["passed"] > 0 and not outcome["failed"], (name, outcome)
            continue
        recommender = Recommender.load(path, "litert")
        items = recommender.bundle.items[1:]
        asked = [{"history": items[place : place + length], "candidates": items[:: len(items) // 90]}
                 for place, length in ((7, 1), (100, 30), (140, 120))]  # fmt: skip
        given["cases"] = [{"call": "candidates", "arguments": one, "bundle": name} for one in asked]
        for one, outcome in zip(asked, suite_page.evaluate(SUITE_CALL, given), strict=True):
            assert same(outcome.get("scores"), recommender.score(**one), 1e-4), (name, outcome.get("said"))


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def with_content(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments with the files of their steps as base64."""
    steps = [step | {"file": encoded(content_of(step["file"]))} if "file" in step else step
             for step in arguments.get("steps", [])]  # fmt: skip
    return arguments | {"steps": steps} if steps else arguments


def test_the_self_test_passes(page: Any, address: str) -> None:
    page.goto(f"{address}self-test.html")
    page.wait_for_selector("html[data-outcome]")
    assert page.inner_text("#outcome") == "5 of 5 golden vectors pass."


def test_picks_by_keyboard_change_the_list_and_every_item_has_a_reason(page: Any, address: str) -> None:
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    begin(page, address)
    assert page.inner_text("#list-title") == "Popular to begin with"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "query"
    page.keyboard.type("banana")
    page.wait_for_selector("#matches li")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_selector("#list-title:text-is('Recommended for you')")
    page.wait_for_selector("#times:has-text('reasons')")
    assert page.locator("#recommended li").count() == 10
    assert "because of" in page.inner_text("#recommended")
    assert "Bananas" in page.inner_text("#history")
    assert page.inner_text("#said").startswith("Bananas 40 lb (National) added.")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert "Bananas" in page.inner_text("#history")
    page.click("#history button")
    page.wait_for_selector("#list-title:text-is('Popular to begin with')")
    assert not complaints


def test_the_page_works_without_a_network_once_loaded_and_asks_no_other_origin(page: Any, address: str) -> None:
    asked: list[str] = []
    page.context.on("request", lambda request: asked.append(request.url))
    begin(page, address)
    page.wait_for_selector("#offline:not([hidden])", timeout=60_000)
    page.context.set_offline(True)
    page.reload()
    page.wait_for_selector("html[data-ready]")
    page.click("#recommended button")
    page.wait_for_selector("#list-title:text-is('Recommended for you')")
    assert asked and all(url.startswith((address, "data:", "blob:")) for url in asked)


VIOLATIONS = "axe.run().then(found => found.violations.map(v => [v.id, v.nodes.map(n => n.html)]))"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_to_complain_about(
    browser: Any, address: str, scheme: str, width: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    axe = axe_core(tmp_path_factory)
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 844}, bypass_csp=True)
    page = context.new_page()
    begin(page, address)
    for _ in range(3):
        page.locator("#recommended button").first.click()
    page.wait_for_selector("#times:has-text('reasons')")
    page.fill("#query", "milk")
    page.wait_for_selector("#matches li")
    page.evaluate("document.querySelector('details').open = true")
    page.add_script_tag(content=axe)
    assert page.evaluate(VIOLATIONS) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if folder := os.environ.get("EDGEREC_SCREENSHOTS"):
        page.fill("#query", "")
        page.evaluate("document.querySelector('details').open = false")
        page.screenshot(path=f"{folder}/page-{width}-{scheme}.png", full_page=True)
    context.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_of_a_ranking_model_is_its_self_test(
    browser: Any, width: int, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    axe = axe_core(tmp_path_factory)
    export_web(place_of("ranking"), tmp_path / "ranking")
    context = browser.new_context(viewport={"width": width, "height": 844}, bypass_csp=True)
    page = context.new_page()
    with served(tmp_path / "ranking") as url:
        page.goto(url)
        page.wait_for_selector("html[data-outcome]")
        assert page.inner_text("#outcome") == "2 of 2 golden vectors pass."
        page.add_script_tag(content=axe)
        assert page.evaluate(VIOLATIONS) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if folder := os.environ.get("EDGEREC_SCREENSHOTS"):
            page.screenshot(path=f"{folder}/ranking-{width}.png", full_page=True)
    context.close()


REPLACE = """async ({ base, content, signature, key, options }) => {
  const { ModelSlot } = await import(`${base}edgerec/recommender.js`);
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const slot = await ModelSlot.open('test', { initial: `${base}model.tflite`, publicKey: key && bytes(key) });
  let said = 'replaced';
  try {
    if (content) await slot.replace(bytes(content), { signature, ...options });
  } catch (error) {
    if (error.name !== 'BundleError') throw error;
    said = error.message;
  }
  const list = await slot.model.recommend(['1029743'], { k: 3 });
  const outcome = { said, release: slot.model.bundle.release, listed: list.length };
  await slot.close();
  return outcome;
}"""


def test_a_replacement_is_kept_between_visits_and_refused_unless_it_is_newer_or_allowed(
    page: Any, address: str
) -> None:
    page.goto(f"{address}self-test.html")
    page.wait_for_selector("html[data-outcome]")

    def replace(content: bytes = b"", **given: Any) -> dict[str, Any]:
        return page.evaluate(REPLACE, {"base": address, "content": encoded(content), "key": None, **given})

    first, second = (with_facts(GROCERY, {"release": release}) for release in (1, 2))
    assert replace(second) == {"said": "replaced", "release": 2, "listed": 3}
    page.reload()
    page.wait_for_selector("html[data-outcome]")
    assert replace() == {"said": "replaced", "release": 2, "listed": 3}
    refused = replace(first)
    assert "release 1 is older" in refused["said"] and refused["release"] == 2
    assert "no item in common" in replace(place_of("plain").read_bytes(), options={"allowDowngrade": True})["said"]
    assert replace(first, options={"allowDowngrade": True})["release"] == 1


def test_the_signature_of_the_first_model_stands_beside_it(page: Any, exported: Path, tmp_path: Path) -> None:
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    own = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([1] * 32))
    public = own.public_key().public_bytes_raw()

    def signed(content: bytes) -> str:
        key_id = hashlib.sha256(public).hexdigest()[:16]
        return f"edgerec-signature 1\ned25519 {key_id} {encoded(own.sign(content))}\n"

    folder = Path(shutil.copytree(exported, tmp_path / "signed"))
    (folder / "model.tflite.sig").write_text(signed(GROCERY.read_bytes()))
    newer = with_facts(GROCERY, {"release": 5})
    with served(folder) as url:
        page.goto(f"{url}self-test.html")
        page.wait_for_selector("html[data-outcome]")
        for signature, said, release in ((None, "not signed", 0), (signed(newer), "replaced", 5)):
            given = {"base": url, "content": encoded(newer), "key": encoded(public), "signature": signature}
            outcome = page.evaluate(REPLACE, given)
            assert said in outcome["said"] and (outcome["release"], outcome["listed"]) == (release, 3)


# What the browser received of each file, in bytes as they were sent, without headers.
RECEIVED = """[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
  .map((entry) => [entry.name, entry.encodedBodySize, entry.decodedBodySize])"""


def test_weight_and_first_recommendation(page: Any, address: str) -> None:
    begin(page, address)
    took = float(page.evaluate("document.documentElement.dataset.recommendationMs"))
    page.locator("#recommended button").first.click()
    page.wait_for_selector("#list-title:text-is('Recommended for you')")
    by_model = float(page.evaluate("document.documentElement.dataset.recommendationMs"))
    parts = {"litert/wasm": 0, "litert": 0, "model.tflite": 0, "page": 0}
    raw = dict(parts)
    for url, sent, size in page.evaluate(RECEIVED):
        part = next((part for part in parts if url.removeprefix(address).startswith(part)), "page")
        parts[part] += sent
        raw[part] += size
    print(json.dumps({"sent": parts, "raw": raw, "popularity_ms": took, "first_by_model_ms": by_model}))
    assert 0 < parts["model.tflite"] < raw["model.tflite"], "the server compresses"
    assert sum(sent for part, sent in parts.items() if part != "litert/wasm") <= PAGE_LIMIT
    assert took <= FIRST_LIMIT_MS and by_model <= FIRST_LIMIT_MS


def test_what_the_browser_has_is_not_sent_again(address: str) -> None:
    with urlopen(Request(f"{address}model.tflite", headers={"Accept-Encoding": "gzip"})) as answer:
        tag, content = answer.headers["ETag"], gzip.decompress(answer.read())
    assert content == GROCERY.read_bytes()
    with pytest.raises(HTTPError) as error:
        urlopen(Request(f"{address}model.tflite", headers={"Accept-Encoding": "gzip", "If-None-Match": tag}))
    assert error.value.code == 304 and error.value.read() == b""


def test_an_export_takes_less_than_ten_seconds_and_replaces_an_earlier_one(exported: Path, tmp_path: Path) -> None:
    out = tmp_path / "web"
    for _ in range(2):
        begun = time.perf_counter()
        export_web(GROCERY, out)
        assert time.perf_counter() - begun < 10
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert names == {path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.txt").write_text("x")
    with pytest.raises(ExportError, match="no earlier export"):
        export_web(GROCERY, tmp_path / "mine")
    assert (tmp_path / "mine" / "precious.txt").read_text() == "x"


def test_a_package_that_is_absent_or_another_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="npm pack"):
        write_litert_js(tmp_path / "out", tmp_path)
    for tarball, _ in PACKAGES.values():
        (tmp_path / tarball).write_bytes(b"something else")
    with pytest.raises(ExportError, match="sha512"):
        write_litert_js(tmp_path / "out", tmp_path)


def begin(page: Any, address: str) -> None:
    page.goto(address)
    page.wait_for_selector("html[data-ready]", timeout=60_000)


def axe_core(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, by npm."""
    folder = tmp_path_factory.getbasetemp() / "axe"
    script = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        folder.mkdir(exist_ok=True)
        command = ["npm", "install", "--silent", "--no-save", "--prefix", str(folder), AXE]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=120)
        except (OSError, subprocess.SubprocessError) as error:
            if MUST_RUN:
                raise
            pytest.skip(f"{AXE} cannot be installed: {error}")
    return script.read_text(encoding="utf-8")
