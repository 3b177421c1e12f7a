"""Updates of the model on a device: what is refused leaves the old one in service, and a kill never leaves none."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from kill_update import MODEL, kill_updates
from toys import golden_case, toys

from converters.bundle_writer import bundle_bytes, with_facts
from device_runner import Bundle, BundleError, EdgeRecError, ModelSlot, Recommender
from device_runner.cli import main
from device_runner.delta import apply_delta, read_header, write_delta
from device_runner.errors import DeltaError, SignatureError, UpdateError
from device_runner.golden import check_golden, check_in_child
from device_runner.signature import key_id, make_key, parse, sign, signature_path, verify
from device_runner.update import Slot, rollback, update
from edgerec.cli.main import main as workstation

pytest.importorskip("cryptography")


def call(*arguments: object, code: int = 0, command=main) -> str:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.output


def released(folder: Path, release: int, model: Path = MODEL, **facts: object) -> Path:
    path = folder / f"release-{release}.tflite"
    path.write_bytes(with_facts(model, {"release": release, **facts}))
    return path


def remade(source: Path, path: Path, **changes: object) -> Path:
    """The bundle at ``source`` with other parts and consistent hashes."""
    bundle = Bundle.read(source)
    facts = {"runtimes": bundle.runtimes, "dataset": bundle.manifest["dataset"], **changes.pop("facts", {})}
    parts = {
        "flatbuffer": source.read_bytes()[: bundle.manifest["flatbuffer_bytes"]],
        "contract": bundle.contract,
        "items": bundle.items[1:],
        "golden": bundle.golden() or None,
        **changes,
    }
    path.write_bytes(bundle_bytes(name="remade", scheme=bundle.scheme, facts=facts, **parts))
    return path


@pytest.fixture
def current(tmp_path: Path) -> Path:
    """Release 2 in service, on a device of its own."""
    path = tmp_path / "device" / "model.tflite"
    path.parent.mkdir()
    path.write_bytes(released(tmp_path, 2).read_bytes())
    return path


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key; the public one is beside it."""
    path = tmp_path_factory.mktemp("keys") / "release.pem"
    make_key(path)
    return path


def public(key: Path) -> Path:
    return key.with_name("release.pub.pem")


def refused(current: Path, new: Path, error: type[EdgeRecError], said: str, **options: object) -> None:
    """The update is refused in one line, and changes nothing on the device."""
    before = {file.name: file.read_bytes() for file in current.parent.iterdir()}
    with pytest.raises(error, match=said) as caught:
        update(current, new, **options)
    assert "\n" not in str(caught.value) and "model.tflite.new" not in str(caught.value)
    after = {file.name: file.read_bytes() for file in current.parent.iterdir()}
    assert after == before | {"model.tflite.lock": b""}
    assert len(Recommender.load(current).recommend(["1029743"], k=3)) == 3


def test_a_new_model_takes_the_place_of_the_old_one_which_is_kept(current: Path, tmp_path: Path) -> None:
    old, new = current.read_bytes(), released(tmp_path, 3)
    done = update(current, new)
    assert (done.changed, done.release, done.previous_release, done.key_id, done.delta) == (True, 3, 2, "", False)
    assert done.items == done.shared_items == 3885 and done.cases == len(Bundle.read(new).golden())
    assert current.read_bytes() == new.read_bytes()
    assert current.with_name("model.tflite.previous").read_bytes() == old
    assert not update(current, new).changed
    assert current.with_name("model.tflite.previous").read_bytes() == old


def test_rollback_exchanges_the_models_and_can_be_undone(current: Path, tmp_path: Path) -> None:
    old, new = current.read_bytes(), released(tmp_path, 3).read_bytes()
    with pytest.raises(UpdateError, match="no model to go back to"):
        rollback(current)
    update(current, tmp_path / "release-3.tflite")
    for one, other in ((old, new), (new, old)):
        assert rollback(current).changed
        assert current.read_bytes() == one and current.with_name("model.tflite.previous").read_bytes() == other


def test_a_downgrade_is_refused_unless_asked_for(current: Path, tmp_path: Path) -> None:
    older, same = released(tmp_path, 1), released(tmp_path, 2, note="another file of the same release")
    refused(current, older, UpdateError, "is release 1, in service is release 2")
    assert update(current, same).changed
    assert update(current, older, allow_downgrade=True).release == 1


@pytest.mark.parametrize("release", [-1, 1.5, True, "3", None, 2**53])
def test_a_release_that_is_no_whole_number_is_refused(current: Path, tmp_path: Path, release: object) -> None:
    new = tmp_path / "new.tflite"
    new.write_bytes(with_facts(MODEL, {"release": release}))
    refused(current, new, BundleError, "has the release")


def test_a_first_installation_needs_no_model_and_a_damaged_one_is_replaced(tmp_path: Path) -> None:
    current = tmp_path / "device" / "model.tflite"
    with pytest.raises(UpdateError, match="there is no folder"):
        update(current, MODEL)
    current.parent.mkdir()
    assert update(current, released(tmp_path, 5)).previous_release is None
    assert not current.with_name("model.tflite.previous").exists()
    update(current, released(tmp_path, 6))
    current.write_bytes(current.read_bytes()[:1000])
    done = update(current, released(tmp_path, 7))
    assert done.changed and done.previous_release is None
    assert Bundle.read(current.with_name("model.tflite.previous")).release == 5, "a damaged model is not kept"


def wrong_scores(source: Path, path: Path) -> Path:
    cases = [{**case, "scores": [score + 3 for score in case["scores"]]} for case in Bundle.read(source).golden()]
    return remade(source, path, golden=cases, facts={"release": 9})


def wrong_items(source: Path, path: Path) -> Path:
    first = Bundle.read(source).golden()[0]
    cases = [{**first, "ids": [1 + row % 3885 for row in first["ids"]]}]
    return remade(source, path, golden=cases, facts={"release": 9})


def lenient(source: Path, path: Path) -> Path:
    cases = [{**golden_case(), "tolerance": 1e9}]
    return remade(source, path, golden=cases, facts={"release": 9})


def without_golden(source: Path, path: Path) -> Path:
    return remade(source, path, golden=None, facts={"release": 9})


def altered(source: Path, path: Path) -> Path:
    content = bytearray(source.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    return path


def scrambled(source: Path, path: Path) -> Path:
    """All hashes are right, but the flatbuffer is nonsense behind its head."""
    size = Bundle.read(source).manifest["flatbuffer_bytes"]
    content = source.read_bytes()[:size]
    noise = np.random.default_rng(0).bytes(size - 64)
    return remade(source, path, flatbuffer=content[:64] + noise, facts={"release": 9})


def ranking(source: Path, path: Path) -> Path:
    path.write_bytes(toys()["ranking"].read_bytes())
    return path


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (wrong_scores, "golden vector 1 of 5: the score at place"),
        (wrong_items, "golden vector 1 of 1: the score at place"),
        (lenient, "golden vector 1 of 1: 1 items|golden vector 1 of 1: the score"),
        (without_golden, "has no golden vectors"),
        (altered, "was altered"),
        (scrambled, "new.tflite"),
        (ranking, "has no golden vectors"),
        (lambda source, path: path.write_bytes(source.read_bytes()[:100_000]) and path, "truncated bundle"),
        (lambda source, path: path.write_text("item_id\n1\n") and path, "not a TFLite file"),
    ],
)
def test_a_model_that_does_not_work_is_refused(current: Path, tmp_path: Path, make: Callable, said: str) -> None:
    refused(current, make(MODEL, tmp_path / "new.tflite"), BundleError, said)


def test_a_runtime_that_crashes_takes_no_one_along(
    current: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child finds a runtime that ends it by a segmentation fault."""
    fake = tmp_path / "fake" / "ai_edge_litert"
    fake.mkdir(parents=True)
    (fake / "__init__.py").touch()
    (fake / "interpreter.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    Recommender.load(current)  # so that this process has the real one already
    monkeypatch.syspath_prepend(str(tmp_path / "fake"))
    refused(current, released(tmp_path, 3), BundleError, "killed by signal 11")


@pytest.mark.skipif(sys.platform != "linux", reason="finds the child in /proc")
def test_a_trial_that_is_killed_is_a_refusal(current: Path, tmp_path: Path) -> None:
    """As the system does when memory runs out."""
    done = threading.Event()

    def kill_children() -> None:
        while not done.wait(0.01):
            for thread in Path("/proc/self/task").iterdir():
                for child in (thread / "children").read_text().split():
                    if b"device_runner.golden" in Path(f"/proc/{child}/cmdline").read_bytes():
                        os.kill(int(child), 9)

    killer = threading.Thread(target=kill_children)
    killer.start()
    try:
        refused(current, released(tmp_path, 3), BundleError, "killed by signal 9")
    finally:
        done.set()
        killer.join()


def test_a_trial_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ai_edge_litert").mkdir()
    (tmp_path / "ai_edge_litert" / "__init__.py").touch()
    (tmp_path / "ai_edge_litert" / "interpreter.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(BundleError, match="had not ended within 1 seconds"):
        check_in_child(MODEL, "litert", time_limit=1)


def test_golden_vectors_allow_ties_in_another_order(tmp_path: Path) -> None:
    case = Bundle.read(MODEL).golden()[0]
    scores, ids = list(case["scores"]), list(case["ids"])
    near = min(range(len(ids) - 1), key=lambda place: scores[place] - scores[place + 1])
    ids[near], ids[near + 1] = ids[near + 1], ids[near]
    assert check_golden(remade(MODEL, tmp_path / "m.tflite", golden=[{**case, "ids": ids}])) == 1


def test_another_kind_or_another_catalogue_is_refused(current: Path, tmp_path: Path) -> None:
    bundle = Bundle.read(MODEL)
    strange = [f"other-{row}" for row in range(len(bundle.items) - 1)]
    new = remade(MODEL, tmp_path / "new.tflite", items=strange, facts={"release": 3})
    refused(current, new, UpdateError, "no item in common")
    done = update(current, new, allow_other_catalogue=True)
    assert (done.items, done.shared_items) == (3885, 0)
    current.write_bytes(toys()["ranking"].read_bytes())
    with pytest.raises(UpdateError, match=r"a retrieval model, but .* is a ranking model"):
        update(current, released(tmp_path, 4))


def test_only_one_update_runs_at_a_time(current: Path, tmp_path: Path) -> None:
    with Slot(current).locked(), pytest.raises(UpdateError, match="another update is running"):
        update(current, released(tmp_path, 3))


def test_a_loaded_model_lives_on_and_a_slot_follows_the_file(current: Path, tmp_path: Path) -> None:
    slot = ModelSlot(current)
    first = slot.get()
    expected = first.recommend(["1029743"])
    update(current, released(tmp_path, 3))
    assert first.recommend(["1029743"]) == expected
    assert slot.get().bundle.release == 3 and slot.get() is slot.get()
    rollback(current)
    assert slot.get().bundle.release == 2 and slot.error is None
    damaged = tmp_path / "damaged"
    damaged.write_bytes(b"nothing")
    damaged.replace(current)
    assert slot.get().bundle.release == 2 and "not a TFLite file" in str(slot.error)
    current.unlink()
    assert slot.get().bundle.release == 2 and "no such file" in str(slot.error)


def test_only_signed_models_are_accepted_with_a_key(current: Path, tmp_path: Path, key: Path) -> None:
    new, required = released(tmp_path, 3), {"key": public(key)}
    refused(current, new, SignatureError, "is not signed", **required)
    other = tmp_path / "other.pem"
    make_key(other)
    sign(new, other)
    refused(current, new, SignatureError, "has no signature by the key", **required)
    sign(new, key)
    signed = signature_path(new).read_text()
    assert signed.count("\n") == 3, "signatures of two keys"
    new.write_bytes(with_facts(MODEL, {"release": 4}))  # a sound bundle, but another than was signed
    refused(current, new, SignatureError, "is wrong: the file was altered", **required)
    new.write_bytes(with_facts(MODEL, {"release": 3}))
    done = update(current, new, **required)
    assert done.changed and len(done.key_id) == 16
    assert signature_path(current).read_text() == signed
    assert verify(current, public(key)) == done.key_id


def test_the_signatures_travel_with_their_models(current: Path, tmp_path: Path, key: Path) -> None:
    for release in (3, 4):
        sign(released(tmp_path, release), key)
        update(current, tmp_path / f"release-{release}.tflite", public(key))
    previous = current.with_name("model.tflite.previous")
    assert verify(previous, public(key)) == verify(current, public(key))
    rollback(current, public(key))
    assert verify(previous, public(key)) == verify(current, public(key))
    assert Bundle.read(current).release == 3
    update(current, released(tmp_path, 5))  # without a key and without a signature
    assert not signature_path(current).exists() and verify(previous, public(key))
    assert rollback(current, public(key)).release == 3
    assert not signature_path(previous).exists()
    with pytest.raises(SignatureError, match="previous: is not signed"):
        rollback(current, public(key))
    assert Bundle.read(current).release == 3


def test_an_old_signed_release_cannot_be_played_back(current: Path, tmp_path: Path, key: Path) -> None:
    for release in (1, 3):
        sign(released(tmp_path, release), key)
    update(current, tmp_path / "release-3.tflite", public(key))
    refused(current, tmp_path / "release-1.tflite", UpdateError, "is release 1, in service is release 3",
            key=public(key))  # fmt: skip


def test_keys_are_files_that_other_tools_read(tmp_path: Path, key: Path) -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    assert key.stat().st_mode & 0o777 == 0o600
    assert key.read_text().startswith("-----BEGIN PRIVATE KEY-----")
    loaded = load_pem_public_key(public(key).read_bytes())
    raw = loaded.public_bytes_raw()
    assert key_id(loaded) == hashlib.sha256(raw).hexdigest()[:16]
    file = tmp_path / "any"
    file.write_bytes(b"any bytes")
    sign(file, key)
    header, _, end = signature_path(file).read_text().split("\n")
    assert (header, end) == ("edgerec-signature 1", "")
    loaded.verify(parse(signature_path(file).read_text(), "")[0].signature, b"any bytes")
    with pytest.raises(SignatureError, match="exists already"):
        make_key(key)


def test_signing_again_replaces_the_signature_of_the_same_key(tmp_path: Path, key: Path) -> None:
    file = tmp_path / "any"
    for content in (b"one", b"two"):
        file.write_bytes(content)
        sign(file, key)
    assert len(parse(signature_path(file).read_text(), "")) == 1 and verify(file, public(key))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a signature file"),
        ("edgerec-signature 2\n", "not a signature file"),
        ("edgerec-signature 1\n", "but by: none"),
        ("edgerec-signature 1\ned25519 00 AAAA\n", "line 2: the signature has 3 bytes"),
        ("edgerec-signature 1\ned25519 00\n", "line 2: not of the form"),
        ("edgerec-signature 1\ned25519 00 ****\n", "line 2: the signature is not base64"),
        ("edgerec-signature 1\nrsa 00 AAAA\n", "but by: 00"),
        ("edgerec-signature 1\n" + "rsa 00 AAAA\n" * 17, "not a signature file"),
        ("edgerec-signature 1\nrsa 00 " + "A" * 5000, "not a signature file"),
        ("édgerec", "not a signature file"),
    ],
)
def test_malformed_signature_files_are_refused(tmp_path: Path, key: Path, text: str, said: str) -> None:
    file = tmp_path / "any"
    file.write_bytes(b"any")
    signature_path(file).write_text(text, encoding="utf-8")
    with pytest.raises(SignatureError, match=said):
        verify(file, public(key))


def test_a_wrong_key_file_is_named(tmp_path: Path, key: Path) -> None:
    file = tmp_path / "any"
    file.write_bytes(b"any")
    sign(file, key)
    for path, said in ((key, "it is the private one"), (file, "not a public key"), (tmp_path / "no", "no such file")):
        with pytest.raises(SignatureError, match=said):
            verify(file, path)
    with pytest.raises(SignatureError, match="it is the public one"):
        sign(file, public(key))


def test_a_delta_carries_the_signature_of_the_new_model(current: Path, tmp_path: Path, key: Path) -> None:
    old, new, delta = released(tmp_path, 2), released(tmp_path, 3), tmp_path / "2-3.delta"
    call("sign", new, "--key", key, command=workstation)
    assert "% of" in call("delta", old, new, delta, command=workstation)
    assert delta.stat().st_size < new.stat().st_size / 10
    shown = call("update", current, delta, "--require-key", public(key))
    assert "is release 3 now: delta applied, signed by" in shown and "3,885 of its 3,885 items" in shown
    assert current.read_bytes() == new.read_bytes()
    assert "signed by" in call("verify", current, "--key", public(key))
    assert "for another version than" in call("update", current, delta, code=1)
    assert json.loads(call("rollback", current, "--json"))["release"] == 2
    unsigned = tmp_path / "unsigned.delta"
    write_delta(old, new, unsigned)
    refused(current, unsigned, SignatureError, "is not signed", key=public(key))


def test_a_damaged_delta_is_refused(current: Path, tmp_path: Path) -> None:
    old, new, delta, out = released(tmp_path, 2), released(tmp_path, 3), tmp_path / "delta", tmp_path / "out"
    write_delta(old, new, delta)
    whole = delta.read_bytes()
    chance = np.random.default_rng(0)
    for turn in range(300):
        content = bytearray(whole)
        content[int(chance.integers(len(content)))] ^= 1 << int(chance.integers(8))
        if turn % 3 == 0:
            del content[int(chance.integers(len(content))) :]
        delta.write_bytes(content)
        out.unlink(missing_ok=True)
        try:
            apply_delta(old, delta, out)
        except DeltaError:
            assert not out.exists()
        else:
            assert out.read_bytes() == new.read_bytes()
    delta.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    refused(current, delta, DeltaError, "damaged delta|release-3|result")


def hostile_delta(old: Path, path: Path, records: list[tuple[int, int, int]], **header: object) -> Path:
    import struct
    import zlib

    control = zlib.compress(b"".join(struct.pack("<III", *record) for record in records))
    zeros = zlib.compress(bytes(1000))
    entries = {
        "old_bytes": old.stat().st_size, "old_sha256": hashlib.sha256(old.read_bytes()).hexdigest(), "new_bytes": 100,
        "new_sha256": "0" * 64, "control_bytes": len(control), "difference_bytes": len(zeros),
        "insert_bytes": len(zeros), "signature": None, **header,
    }  # fmt: skip
    head = json.dumps(entries).encode()
    path.write_bytes(b"ERDELTA1" + len(head).to_bytes(4, "little") + head + control + zeros + zeros)
    return path


@pytest.mark.parametrize(
    ("records", "header", "said"),
    [
        ([(100, 0, 0)], {}, "the result is not the file"),
        ([(0, 0, 0)] * 10_000, {}, "too many records"),
        ([(0, 0, 101)], {}, "beyond a file"),
        ([(50, 2**32 - 1, 0)], {}, "beyond a file"),
        ([(0, 0, 2000)], {"new_bytes": 2000}, "ends too early"),
        ([(0, 0, 50)], {}, "ends too early"),
        ([(0, 0, 100)], {"new_bytes": 2**40}, "sizes that are none"),
        ([(0, 0, 100)], {"new_bytes": -1}, "sizes that are none"),
        ([(0, 0, 100)], {"insert_bytes": 1}, "longer or shorter"),
        ([(0, 0, 100)], {"signature": 3}, "no text"),
        ([(0, 0, 100)], {"new_sha256": 3}, "no hashes"),
    ],
)
def test_deltas_that_lie_are_refused(current: Path, tmp_path: Path, records, header, said: str) -> None:
    refused(current, hostile_delta(current, tmp_path / "delta", records, **header), DeltaError, said)


@given(
    parts=st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=6),
    order=st.lists(st.integers(0, 7), max_size=10),
    flips=st.lists(st.integers(0, 10**6), max_size=5),
)
@settings(max_examples=80, deadline=None)
def test_any_file_can_be_made_from_any_other(tmp_path_factory, parts, order, flips) -> None:
    folder = tmp_path_factory.mktemp("d")
    old, new, delta, out = (folder / name for name in ("old", "new", "delta", "out"))
    old.write_bytes(b"".join(parts))
    content = bytearray(b"".join(parts[place % len(parts)] if place < 6 else bytes(90) for place in order))
    for flip in flips:
        if content:
            content[flip % len(content)] ^= 255
    new.write_bytes(content)
    assert write_delta(old, new, delta) == delta.stat().st_size
    assert read_header(delta).new_bytes == len(content)
    apply_delta(old, delta, out)
    assert out.read_bytes() == content


def test_moved_and_slightly_changed_parts_cost_little(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.bytes(3 << 19), rng.bytes(1 << 19)
    changed = np.frombuffer(first, np.uint8).copy()
    changed[rng.integers(0, len(changed), 100)] += 1
    old, new, delta = (tmp_path / name for name in ("old", "new", "delta"))
    old.write_bytes(first + second)
    new.write_bytes(second + b"inserted" + changed.tobytes())
    assert write_delta(old, new, delta) < 6000


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")
def test_a_killed_update_leaves_the_old_or_the_new_model(tmp_path: Path) -> None:
    changed, watched = kill_updates(tmp_path, kills=16, seed=int(time.time()), step=7)
    assert changed and watched > 8


def test_help_says_what_is_kept() -> None:
    assert "CURRENT.previous" in call("update", "--help")
    for name in ("keygen", "sign", "delta"):
        assert "Example:" in call(name, "--help", command=workstation)


def test_no_cryptography_is_an_error_in_words(tmp_path: Path, key: Path) -> None:
    program = "import sys; sys.modules['cryptography'] = None\nfrom device_runner.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", program, "verify", str(MODEL), "--key", str(public(key))], capture_output=True, text=True
    )
    assert done.returncode == 1 and 'pip install "edgerec[sign]"' in done.stderr and "Traceback" not in done.stderr
