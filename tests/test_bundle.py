import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import golden_case

from converters.bundle_writer import bundle_bytes, with_facts
from device_runner import Bundle, BundleError
from device_runner.contract import Ranking, Retrieval
from device_runner.numbers import pack_numbers, unpack_numbers

FLATBUFFER = b"\x1c\0\0\0TFL3" + bytes(range(256))
CONTRACT = Retrieval(max_history=4, max_exclude=4, top_k=2, items=3)


def made(tmp_path: Path, content: bytes | None = None, **changes: object) -> Path:
    path = tmp_path / "model.tflite"
    arguments = {"flatbuffer": FLATBUFFER, "name": "toy", "scheme": "float32", "contract": CONTRACT,
                 "items": ["a", "b", "c"], **changes}  # fmt: skip
    path.write_bytes(bundle_bytes(**arguments) if content is None else content)
    return path


def rewritten(path: Path, member: str, content: bytes) -> bytes:
    """The bundle with one member more or other, all else alike."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    file = io.BytesIO(FLATBUFFER)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as new:
        for name, kept in {**members, member: content}.items():
            new.writestr(name, kept)
    return file.getvalue()


ids = st.lists(st.text(min_size=1).filter(lambda t: not any("\ud800" <= c <= "\udfff" for c in t)),
               min_size=3, max_size=3, unique=True)  # fmt: skip


@given(items=ids, titles=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=3, max_size=3))
@settings(max_examples=60)
def test_any_ids_and_titles_survive_the_file(tmp_path_factory, items: list[str], titles: list[str]) -> None:
    bundle = Bundle.read(made(tmp_path_factory.mktemp("b"), items=items, titles=titles))
    assert bundle.items == ["", *items]
    assert bundle.titles == ["", *titles]


numbers = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=40, unique=True)


@given(numbers=numbers)
@settings(max_examples=60)
def test_ids_that_are_numbers_take_the_bits_of_the_largest(numbers: list[int]) -> None:
    ids = [str(number) for number in numbers]
    content = pack_numbers(ids)
    assert content is not None
    assert len(content) == 1 + -(-len(ids) * max(1, max(numbers).bit_length()) // 8)
    assert [str(number) for number in unpack_numbers(content, len(ids))] == ids


@pytest.mark.parametrize("one", ["01", "-1", "+1", "1.0", " 1", "", "x", "²", "٣", str(2**63), "9" * 30])
def test_ids_that_are_not_written_as_numbers_stay_texts(one: str, tmp_path: Path) -> None:
    assert pack_numbers(["7", one]) is None
    path = made(tmp_path, items=["7", one or "e", "8"])
    assert Bundle.read(path).items == ["", "7", one or "e", "8"]
    with zipfile.ZipFile(path) as archive:
        assert "items.txt" in archive.namelist()
    assert Bundle.read(path).manifest["format"] == 1


def test_numbers_are_read_from_the_file_and_kept_with_new_facts(tmp_path: Path) -> None:
    path = made(tmp_path, items=["30", "0", "7"], titles=["A", "B", "C"])
    bundle = Bundle.read(path)
    assert (bundle.items, bundle.titles, bundle.manifest["format"]) == (["", "30", "0", "7"], ["", "A", "B", "C"], 2)
    assert with_facts(path, {}) == path.read_bytes()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "does not hold 3 different numbers"),
        (b"\0", "does not hold 3 different numbers"),
        (b"\1\7", "does not hold 3 different numbers"),
        (b"\xff" + b"x" * 96, "does not hold 3 different numbers"),
        (b"\2\x39\0", "does not hold 3 different numbers"),
        (b"\2\x15", "an item is named twice"),
    ],
)
def test_malformed_numbers_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = made(tmp_path, items=["1", "2", "3"])
    manifest = Bundle.read(path).manifest
    manifest["members"]["items.bin"] = hashlib.sha256(content).hexdigest()
    path.write_bytes(rewritten(path, "items.bin", content))
    path.write_bytes(rewritten(path, "edgerec.json", json.dumps(manifest).encode()))
    with pytest.raises(BundleError, match=said):
        Bundle.read(path)


def test_more_numbers_than_fit_are_refused_before_anything_is_unpacked() -> None:
    with pytest.raises(ValueError, match="does not hold 1,000,000,000,000 different numbers"):
        unpack_numbers(b"\1\7", 10**12)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    assert made(tmp_path).read_bytes() == made(tmp_path).read_bytes()


def test_any_zip_tool_lists_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(made(tmp_path, golden=[], card="# Card")) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["edgerec.json", "items.txt", "golden.json", "MODEL_CARD.md"]


def test_truncated_anywhere_is_refused_in_one_line(tmp_path: Path) -> None:
    content = made(tmp_path).read_bytes()
    for end in range(0, len(content), 7):
        with pytest.raises(BundleError) as caught:
            Bundle.read(made(tmp_path, content[:end]))
        assert "\n" not in str(caught.value)


def test_a_flipped_byte_anywhere_is_refused_or_harmless(tmp_path: Path) -> None:
    path = made(tmp_path)
    content, whole = path.read_bytes(), Bundle.read(path)
    refused = 0
    for place in range(0, len(content), 3):
        flipped = content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]
        try:
            bundle = Bundle.read(made(tmp_path, flipped))
        except BundleError:
            refused += 1
        else:
            assert (bundle.items, bundle.contract) == (whole.items, whole.contract)
    assert refused > 0.7 * len(range(0, len(content), 3))


@pytest.mark.parametrize(
    ("member", "content", "said"),
    [
        ("../evil.txt", b"x", "unexpected member"),
        ("items.txt", b"a\nb\nx\n", "items.txt was altered"),
        ("titles.txt", b"a\nb\nc\n", "members are not those"),
        ("edgerec.json", b"[]", "no format version"),
        ("edgerec.json", b"{", "not JSON"),
        ("edgerec.json", b'{"format": 99}', "upgrade"),
        ("edgerec.json", b'{"format": 1}', "lacks the name"),
        ("items.txt", b"a" * 300_000_000, "claims 300,000,000 bytes"),
    ],
)
def test_hostile_or_altered_members_are_refused(tmp_path: Path, member: str, content: bytes, said: str) -> None:
    with pytest.raises(BundleError, match=said):
        Bundle.read(made(tmp_path, rewritten(made(tmp_path), member, content)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"items": ["a", "b"]}, "names 2 items, the model scores 3"),
        ({"items": ["a", "b", "b"]}, "an item is named twice"),
        ({"items": ["1", "2", "2"]}, "an item is named twice"),
        ({"titles": ["a"]}, "has 1 lines for 3 items"),
        ({"items": []}, "names 0 items, the model scores 3"),
        ({"contract": Retrieval(0, 4, 2, 3)}, "lacks the sizes"),
        ({"contract": Retrieval(4, 4, 2, 3, state=-1)}, "gives the state a size of -1"),
        ({"contract": Retrieval(4, 4, 2, 3, recent=-1)}, "gives the recent rows a number of -1"),
        ({"contract": Retrieval(4, 4, 2, 3, recent=2, neighbours=True)}, "a number of neighbours of True"),
        ({"contract": Retrieval(4, 4, 2, 3, neighbours=2)}, "2 neighbours, but no recent rows to read them for"),
        ({"contract": Ranking(0, {"x": "float32"})}, "lacks the number of candidates"),
        ({"facts": {"contract": {"kind": "clairvoyance"}}}, "unknown kind 'clairvoyance'"),
        ({"facts": {"contract": {"kind": []}}}, "unknown kind"),
        ({"facts": {"contract": 7}}, "edgerec.json has no contract"),
        ({"facts": {"runtimes": {"litert": "2"}}}, "entries of the wrong kind"),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(BundleError, match=said):
        Bundle.read(made(tmp_path, **changes))


def test_the_kind_of_the_contract_is_kept(tmp_path: Path) -> None:
    retrieval = Bundle.read(made(tmp_path))
    assert retrieval.contract_of(Retrieval) == CONTRACT
    assert retrieval.manifest["contract"]["kind"] == "retrieval"
    ranking = Bundle.read(made(tmp_path, contract=Ranking(7, {"price": "float32"}), items=[]))
    assert ranking.contract_of(Ranking) == Ranking(7, {"price": "float32"})
    assert (ranking.items, ranking.titles) == ([""], [])
    with pytest.raises(BundleError, match="a ranking model, not a retrieval model"):
        ranking.contract_of(Retrieval)


def test_recent_rows_and_neighbours_are_kept_and_optional(tmp_path: Path) -> None:
    linked = Retrieval(4, 4, 2, 3, state=5, recent=2, neighbours=6)
    assert Bundle.read(made(tmp_path, contract=linked)).contract == linked
    assert linked.signatures == ("recommend", "advance", "recommend_from_state", "links")
    assert Retrieval(4, 4, 2, 3, recent=2, neighbours=6).signatures == ("recommend", "links")
    assert (CONTRACT.recent, CONTRACT.neighbours, CONTRACT.signatures) == (0, 0, ("recommend",))


def test_a_manifest_of_before_there_were_kinds_is_for_retrieval(tmp_path: Path) -> None:
    sizes = {"max_history": 4, "max_exclude": 4, "top_k": 2, "items": 3, "state": 0}
    assert Bundle.read(made(tmp_path, facts={"contract": sizes})).contract == CONTRACT


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "not a TFLite file"), (b"PK\x03\x04 hello", "not a TFLite file"), (FLATBUFFER, "without the edgerec part")],
)
def test_a_file_that_is_no_bundle_is_told(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(BundleError, match=said):
        Bundle.read(made(tmp_path, content))


def test_facts_are_added_and_everything_else_is_kept(tmp_path: Path) -> None:
    """Issue 10, item 8: the model card was lost."""
    path = made(
        tmp_path, titles=["A", "B", "C"], golden=[golden_case()], card="# Card\n", facts={"quality": {"mrr": 0.1}}
    )
    before = Bundle.read(path)
    path.write_bytes(with_facts(path, {"dataset": {"name": "shop"}}))
    after = Bundle.read(path)
    assert (after.card(), after.golden(), after.items, after.titles) == (
        "# Card\n", [golden_case()], before.items, before.titles,
    )  # fmt: skip
    assert after.manifest == {**before.manifest, "dataset": {"name": "shop"}}
    path.write_bytes(with_facts(path, {}, card="# Another\n"))
    assert Bundle.read(path).card() == "# Another\n"


def test_what_a_bundle_lacks_is_not_added_with_facts(tmp_path: Path) -> None:
    path = made(tmp_path)
    content = path.read_bytes()
    assert with_facts(path, {}) == content
    assert (Bundle.read(path).card(), Bundle.read(path).golden()) == (None, [])


@pytest.mark.parametrize(
    "golden",
    [
        ["case"],
        [golden_case(history="1")],
        [golden_case(history=[4])],
        [golden_case(exclude=[-1])],
        [golden_case(ids=[True])],
        [golden_case(scores=None)],
        [{"history": [1]}],
    ],
)
def test_malformed_golden_vectors_are_refused(tmp_path: Path, golden: list[Any]) -> None:
    with pytest.raises(BundleError, match=r"golden\.json has a malformed case"):
        Bundle.read(made(tmp_path, golden=golden)).golden()


@pytest.mark.parametrize("content", [b"{", b"[]", b"null", b'{"case": []}', b"[" * 100_000, b"\xff"])
def test_golden_vectors_without_cases_are_refused(tmp_path: Path, content: bytes) -> None:
    path = made(tmp_path, golden=[])
    manifest = Bundle.read(path).manifest
    manifest["members"]["golden.json"] = hashlib.sha256(content).hexdigest()
    path.write_bytes(rewritten(path, "golden.json", content))
    path.write_bytes(rewritten(path, "edgerec.json", json.dumps(manifest).encode()))
    with pytest.raises(BundleError, match=r"golden\.json has no list of cases"):
        Bundle.read(path).golden()


def test_a_card_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path, card="# Card")
    manifest = Bundle.read(path).manifest
    manifest["members"]["MODEL_CARD.md"] = hashlib.sha256(b"\xff").hexdigest()
    path.write_bytes(rewritten(path, "MODEL_CARD.md", b"\xff"))
    path.write_bytes(rewritten(path, "edgerec.json", json.dumps(manifest).encode()))
    with pytest.raises(BundleError, match=r"MODEL_CARD\.md is not UTF-8"):
        Bundle.read(path).card()


def test_no_user_id_is_in_a_bundle(small_run: Any, bundle: Path) -> None:
    """Every member is known and holds items only; the golden histories are no user's."""
    read = Bundle.read(bundle)
    assert set(read.items[1:]) == set(small_run.dataset.item_table["item_id"])
    with zipfile.ZipFile(bundle) as archive:
        assert set(archive.namelist()) == {"edgerec.json", "items.bin", "titles.txt", "golden.json", "MODEL_CARD.md"}
    dataset = small_run.dataset
    for case in read.golden():
        for start, end in zip(dataset.offsets[:-1], dataset.offsets[1:], strict=True):
            events = dataset.events[start:end].tolist()
            assert len(case["history"]) < 3 or case["history"] != events[: len(case["history"])]
    manifest = json.dumps(read.manifest)
    assert "user" not in manifest
    assert "household" not in manifest
