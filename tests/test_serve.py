"""``edgerec-device serve``: what it answers, and what it refuses without harm to other requests."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_ranker import CASE, ITEMS, toy_rankers
from toys import toys

from converters.bundle_writer import bundle_bytes
from converters.convert import golden_cases
from device_runner import Bundle, BundleError, Ranker, Recommender, TwoStage
from device_runner.child_process import child_environment
from device_runner.contract import Retrieval
from device_runner.serve import Address, Limits, Source
from device_runner.serve.endpoint import Endpoint, RequestError
from device_runner.serve.server import ServeError, Server

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "models" / "grocery" / "model.tflite"
LIMITS = Limits(body_bytes=100_000, k=50, ids=500, id_length=100, seconds=1.0, idle_seconds=1.0, connections=4)
HISTORY = ["1029743", "995242", "unheard of"]


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    return Recommender.load(MODEL)


@pytest.fixture
def server(recommender: Recommender) -> Iterator[Server]:
    started = Server(Address(port=0), Endpoint(recommender, LIMITS))
    threading.Thread(target=started.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield started
    started.stop()


def ask(server: Server, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """Status and document of one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    given = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    connection.request(method, path, content, given)
    answer = connection.getresponse()
    document = json.loads(answer.read())
    connection.close()
    return answer.status, document


def raw(server: Server, content: bytes, wait: float = 5.0) -> bytes:
    """What the server sends for these bytes until it ends the connection."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=wait) as connection:
        connection.sendall(content)
        parts = []
        try:
            while part := connection.recv(65536):
                parts.append(part)
        except ConnectionResetError:
            pass
        return b"".join(parts)


def test_recommendations_are_those_of_the_recommender(server: Server, recommender: Recommender) -> None:
    status, document = ask(server, "POST", "/recommend", {"history": HISTORY, "k": 7, "exclude": ["1106523"]})
    expected = recommender.recommend(HISTORY, 7, ["1106523"])
    assert status == 200 and document["unknown"] == 1 and document["source"] == "model"
    assert document["recommendations"] == [json.loads(json.dumps(vars(entry))) for entry in expected]
    allowed = [entry.item for entry in expected[2:5]]
    status, document = ask(server, "POST", "/recommend", {"history": HISTORY, "allow": allowed, "explain": True})
    assert [entry["item"] for entry in document["recommendations"]] == allowed
    assert any(entry["because"] for entry in document["recommendations"])
    status, document = ask(server, "POST", "/recommend", {"history": [], "k": 3})
    assert document["source"] == "popularity" and len(document["recommendations"]) == 3


def test_candidates_are_scored_and_unknown_ones_are_null(server: Server, recommender: Recommender) -> None:
    candidates = ["1029743", "unheard of", "995242"]
    status, document = ask(server, "POST", "/score", {"history": HISTORY, "candidates": candidates})
    scores = recommender.score(HISTORY, candidates)
    assert status == 200 and document["scores"] == [scores[0], None, scores[2]]


def test_similar_items_are_those_of_the_recommender(server: Server, recommender: Recommender) -> None:
    status, document = ask(server, "POST", "/similar", {"item": "1029743", "k": 4})
    assert status == 200
    assert [entry["item"] for entry in document["recommendations"]] == [
        entry.item for entry in recommender.similar("1029743", 4)
    ]
    assert ask(server, "POST", "/similar", {"item": "unheard of"})[0] == 400


def test_health_and_model_say_what_is_in_service(server: Server, recommender: Recommender) -> None:
    status, health = ask(server, "GET", "/health")
    assert status == 200 and health["status"] == "ok" and health["fingerprint"] == recommender.bundle.fingerprint
    status, model = ask(server, "GET", "/model")
    assert model["contract"]["items"] == 3885 and model["limits"]["k"] == 50 and model["backend"] == recommender.backend


def test_one_connection_takes_one_request_after_the_other(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    for _ in range(3):
        connection.request("POST", "/recommend", json.dumps({"history": HISTORY}), {"Content-Type": "application/json"})
        assert len(json.loads(connection.getresponse().read())["recommendations"]) == 10
    connection.close()


def test_requests_at_the_same_time_get_their_own_answers(server: Server, recommender: Recommender) -> None:
    # A connection that has just ended may still be counted, so with fewer some would be told to try again.
    server.endpoint.limits = replace(LIMITS, connections=100)
    items = recommender.bundle.items[1:5]
    expected = {item: [entry.item for entry in recommender.recommend([item], 5)] for item in items}
    answered: list[tuple[str, list[str]]] = []

    def client(item: str) -> None:
        for _ in range(20):
            _, document = ask(server, "POST", "/recommend", {"history": [item], "k": 5})
            answered.append((item, [entry["item"] for entry in document["recommendations"]]))

    clients = [threading.Thread(target=client, args=(item,)) for item in items]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    assert len(answered) == 80 and all(found == expected[item] for item, found in answered)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 50_000, "not JSON"),
        (b'{"history": [], "k": ' + b"9" * 5000 + b"}", "a number of 5,000 digits"),
        (b'{"history": [], "k": NaN}', "NaN is not a number"),
        (b"[]", "not a JSON object"),
        (b"{}", "history is missing"),
        ({"history": "1029743"}, "history is not a list"),
        ({"history": [1]}, "item ids are strings"),
        ({"history": [["x"]]}, "item ids are strings"),
        ({"history": ["x"] * 501}, "the limit is 500"),
        ({"history": ["x" * 101]}, "101 characters"),
        ({"history": [], "k": 0}, "k is 0"),
        ({"history": [], "k": 51}, "from 1 to 50"),
        ({"history": [], "k": True}, "not a whole number"),
        ({"history": [], "k": 1.5}, "not a whole number"),
        ({"history": [], "k": 10**30}, "a very large number"),
        ({"history": [], "exclude": {}}, "exclude is not a list"),
        ({"history": [], "exclude_history": "no"}, "not true or false"),
        ({"history": [], "user": []}, "not an object"),
        ({"history": [], "user": {"age": {}}}, "not a text or a number"),
        ({"history": [], "user": {"age": 3}}, "age"),
        ({"history": [], "at_most": {"category": 0}}, "category"),
        ({"history": [], "at_most": {"category": 2}}, "category"),
        ({"history": [], "\n\x1b[31m": 1}, "unknown field"),
    ],
)
def test_a_malformed_request_is_told_why(server: Server, body: Any, said: str) -> None:
    status, document = ask(server, "POST", "/recommend", body)
    assert status == 400 and said in document["error"], document
    assert "\n" not in document["error"] and "\x1b" not in document["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/../../etc/passwd", 404),
        ("POST", "/health", 405),
        ("GET", "/recommend", 405),
        ("PUT", "/recommend", 501),
        ("DELETE", "/model", 501),
    ],
)
def test_other_methods_and_paths_are_refused(server: Server, method: str, path: str, status: int) -> None:
    found, document = ask(server, method, path, {} if method == "POST" else None)
    assert found == status and document["error"]


def test_a_web_page_of_another_origin_cannot_ask(server: Server) -> None:
    assert ask(server, "POST", "/recommend", {"history": []}, Host="shop.example:80")[0] == 403
    assert ask(server, "GET", "/health", Host="rebound.example")[0] == 403
    assert ask(server, "POST", "/recommend", {"history": []}, Content_Type="text/plain")[0] == 415
    for host in ("localhost", "127.0.0.1:99", "[::1]:99"):
        assert ask(server, "GET", "/health", Host=host)[0] == 200


POST = b"POST /recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"Content-Length: 100001\r\n\r\n", 413),
        (b"Content-Length: 99999999999999999999999\r\n\r\n", 400),
        (b"Content-Length: -1\r\n\r\n", 400),
        (b"Content-Length: 1_0\r\n\r\n", 400),
        (b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 411),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 411),
        (b"\r\n", 411),
        (b"Host: second\r\nContent-Length: 2\r\n\r\n{}", 400),
        (b"X: " + b"y" * 70_000 + b"\r\n\r\n", 431),
        (b"".join(b"X%d: y\r\n" % n for n in range(200)) + b"\r\n", 431),
    ],
)
def test_hostile_heads_are_refused(server: Server, head: bytes, status: int) -> None:
    answer = raw(server, POST + head)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert ask(server, "GET", "/health")[0] == 200


@pytest.mark.parametrize("content", [b"\r\n", b"\x00\x01", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"A" * 70_000])
def test_what_is_not_http_ends_the_connection_only(server: Server, content: bytes) -> None:
    answer = raw(server, content)
    assert answer == b"" or b" 400 " in answer or b" 505 " in answer or b" 414 " in answer, answer[:100]
    assert ask(server, "GET", "/health")[0] == 200


def test_a_slow_client_is_cut_off_in_time(server: Server) -> None:
    """A byte now and then must not keep a connection for ever."""
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
        ended = False
        for byte in POST + b"Content-Length: 1000\r\n\r\n" + b"x" * 900:
            try:
                connection.sendall(bytes([byte]))
            except OSError:
                ended = True
                break
            time.sleep(0.05)
            if time.monotonic() - start > 8:
                break
    assert ended and time.monotonic() - start < 6


def test_connections_above_the_limit_are_told_to_try_again(server: Server) -> None:
    address = ("127.0.0.1", server.server_port)
    held = [socket.create_connection(address) for _ in range(LIMITS.connections)]
    time.sleep(0.2)
    assert raw(server, b"").startswith(b"HTTP/1.1 503 ")
    for connection in held:
        connection.close()
    deadline = time.monotonic() + 5
    while (found := ask(server, "GET", "/health")[0]) != 200:
        assert found == 503 and time.monotonic() < deadline
        time.sleep(0.05)


def test_silent_connections_end_by_themselves(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=5) as connection:
        assert connection.recv(1) == b""


def test_a_client_that_goes_away_harms_nobody(server: Server) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.server_port)) as connection:
            connection.sendall(POST + b"Content-Length: 50\r\n\r\n{")
    deadline = time.monotonic() + 5
    while ask(server, "GET", "/health")[0] != 200:
        assert time.monotonic() < deadline


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
NAMES = st.sampled_from(
    [
        "history", "k", "exclude", "allow", "at_most", "exclude_history", "user", "explain", "item", "candidates",
        "context", "history_values", "retrieval_scores",
    ]
)  # fmt: skip


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(["/recommend", "/score", "/similar"]), body=st.dictionaries(NAMES, VALUES, max_size=5))
def test_no_body_makes_the_endpoint_fail(both: TwoStage, path: str, body: dict[str, Any]) -> None:
    for served in (both.recommender, both.ranker, both):
        no_failure(Endpoint(served, LIMITS), path, body)


def no_failure(endpoint: Endpoint, path: str, body: dict[str, Any]) -> None:
    try:
        document = endpoint.answer("POST", path, json.dumps(body).encode())
    except RequestError as error:
        assert error.status in (400, 404) and "\n" not in str(error)
    else:
        json.dumps(document, allow_nan=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "::", "example.org", ""])
def test_addresses_that_others_can_reach_are_refused(host: str) -> None:
    with pytest.raises(ServeError, match="not a loopback address"):
        Address(host)


def test_a_port_or_a_socket_that_is_taken_is_told(server: Server, recommender: Recommender, tmp_path: Path) -> None:
    with pytest.raises(ServeError, match="cannot listen there"):
        Server(Address(port=server.server_port), Endpoint(recommender))
    (tmp_path / "file").write_text("kept")
    with pytest.raises(ServeError, match="is not a socket"):
        Server(Address(unix=tmp_path / "file"), Endpoint(recommender))
    assert (tmp_path / "file").read_text() == "kept"
    with pytest.raises(ServeError, match="cannot listen there"):
        Server(Address(unix=tmp_path / "absent" / "s"), Endpoint(recommender))
    first = Server(Address(unix=tmp_path / "s"), Endpoint(recommender))
    with pytest.raises(ServeError, match="another server listens there"):
        Server(Address(unix=tmp_path / "s"), Endpoint(recommender))
    first.server_close()  # as a killed server: the socket stays behind
    Server(Address(unix=tmp_path / "s"), Endpoint(recommender)).server_close()


@pytest.fixture(scope="module")
def ranker() -> Ranker:
    return Ranker.load(toy_rankers()["float32"])


@pytest.fixture(scope="module")
def both(ranker: Ranker) -> TwoStage:
    return TwoStage(Recommender.load(toys()["recurrent"]), ranker, candidates=12)


def post(served: Any, path: str, body: Any) -> tuple[int, Any]:
    """Status and document of a request, without a connection."""
    try:
        return 200, Endpoint(served, LIMITS).answer("POST", path, json.dumps(body).encode())
    except RequestError as error:
        assert "\n" not in str(error) and len(str(error)) < 400
        return error.status, str(error)


def test_a_ranking_model_scores_raw_values(ranker: Ranker) -> None:
    status, document = post(ranker, "/score", CASE)
    assert status == 200 and document["scores"] == ranker.score(**CASE)
    scored = post(ranker, "/score", {"candidates": ["i1", "i2"], "retrieval_scores": [1.5, None]})[1]
    assert scored["scores"] == ranker.score({}, ["i1", "i2"], retrieval_scores=[1.5, None])
    assert post(ranker, "/score", {"candidates": []}) == (200, {"scores": []})
    many = post(ranker, "/score", {"candidates": ITEMS * 12})[1]["scores"]
    assert many == ranker.score({}, ITEMS * 12)
    assert post(ranker, "/recommend", {"history": []})[0] == 404
    about = Endpoint(ranker, LIMITS).answer("GET", "/model", b"")
    assert about["features"]["user"]["age"] == "a number" and about["contract"]["kind"] == "ranking"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"candidates": ["i1"], "user": {"age": NaN}}', "NaN is not a number of JSON"),
        (b'{"candidates": ["i1"], "user": {"age": 1e999}}', "'age' is inf: no finite number"),
        (b'{"candidates": ["i1"], "user": {"age": ' + b"9" * 300 + b"}}", "'age' is a very large number: no finite"),
        (b'{"candidates": ["i1"], "user": {"age": ' + b"9" * 9000 + b"}}", "a number of 9,000 digits"),
        ({"candidates": ["i1"], "user": {"age": "old"}}, "'age' is 'old', not a number"),
        ({"candidates": ["i1"], "user": {"age": {}}}, "not a text or a number"),
        ({"candidates": ["i1"], "user": {"likes": "Crime"}}, "give a list of categories"),
        ({"candidates": ["i1"], "user": {"likes": ["x"] * 101}}, "101 values of 'likes', the limit is 100"),
        ({"candidates": ["i1"], "user": {"likes": [["x"]]}}, "not a text or a number"),
        ({"candidates": ["i1"], "user": {"colour": 1}}, "no user feature 'colour'"),
        ({"candidates": ["i1"], "user": 3}, "user is not an object"),
        ({"candidates": ["i1"], "context": {"minute": 1}}, "no context feature 'minute'"),
        ({"candidates": "i1"}, "candidates is not a list"),
        ({"candidates": [1]}, "item ids are strings"),
        ({"candidates": [{"item": 1}]}, "item ids are strings"),
        ({"candidates": [{"item": "i1", "size": 1}]}, "no item feature 'size'"),
        ({"candidates": ["i1"] * 501}, "the limit is 500"),
        ({"candidates": ["i1"], "history": ["i1"], "history_values": []}, "history_values has 0 values for 1 events"),
        ({"candidates": ["i1"], "history": ["i1"], "history_values": ["5"]}, "of event 1 is '5', not a number"),
        ({"candidates": ["i1"], "history_values": 5}, "history_values is not a list of numbers"),
        ({"candidates": ["i1"], "retrieval_scores": []}, "retrieval_scores has 0 scores for 1 candidates"),
        ({}, "candidates is missing"),
    ],
)
def test_bad_values_for_a_ranking_model_are_told(ranker: Ranker, body: Any, said: str) -> None:
    try:
        Endpoint(ranker, LIMITS).answer(
            "POST", "/score", body if isinstance(body, bytes) else json.dumps(body).encode()
        )
    except RequestError as error:
        assert error.status == 400 and said in str(error) and "\n" not in str(error)
    else:
        pytest.fail("it was answered")


def test_two_stages_are_served_as_one(both: TwoStage) -> None:
    asked = {"history": ["i3", "i7"], "k": 4, "user": {"age": 20, "gender": "M"}, "context": {"hour": "12"}}
    status, document = post(both, "/recommend", {**asked, "history_values": [5, 1]})
    expected = both.recommend(**asked, history_values=[5, 1])
    assert status == 200 and document["recommendations"] == [json.loads(json.dumps(vars(entry))) for entry in expected]
    assert post(both, "/score", {"candidates": ["i1"], "user": {"age": 20}})[1]["scores"] == both.ranker.score(
        {"age": 20}, ["i1"]
    )
    assert len(post(both, "/similar", {"item": "i1", "k": 3})[1]["recommendations"]) == 3
    assert post(both, "/recommend", {**asked, "user": {"colour": "red"}})[0] == 400
    assert "unknown field 'explain'" in post(both, "/recommend", {**asked, "explain": True})[1]
    health = Endpoint(both, LIMITS).answer("GET", "/health", b"")
    assert health["ranker"]["fingerprint"] == both.ranker.bundle.fingerprint and health["times"]["calls"] > 0
    assert Endpoint(both, LIMITS).answer("GET", "/model", b"")["ranker"]["contract"]["kind"] == "ranking"


def test_scores_that_are_not_finite_are_null(both: TwoStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        both.ranker, "score", lambda *given: [float("nan"), float("-inf"), *[0.5] * (len(given[1]) - 2)]
    )
    listed = post(both, "/recommend", {"history": ["i3"], "k": 12})[1]["recommendations"]
    assert sorted(str(entry["score"]) for entry in listed) == ["0.5"] * 10 + ["None"] * 2


def test_the_files_of_a_service_are_loaded_by_what_they_are(tmp_path: Path) -> None:
    ranking = toy_rankers()["float32"]
    assert isinstance(Source(ranking).load(), Ranker)
    assert isinstance(Source(toys()["recurrent"]).load(), Recommender)
    assert isinstance(Source(toys()["recurrent"], ranking, 30).load(), TwoStage)
    with pytest.raises(BundleError, match="a retrieval model, not a ranking model"):
        Source(toys()["recurrent"], toys()["recurrent"]).load()


def test_head_answers_like_get_without_a_body(server: Server) -> None:
    for path, status in (("/health", 200), ("/model", 200), ("/recommend", 405), ("/nothing", 404)):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=5) as connection:
            connection.sendall(f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            head, end, rest = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status) and end and not rest
        assert b"Content-Length: 0" not in head


class Service:
    """The command in a process of its own, with a service manager that hears what it says."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.socket = folder / "edgerec.sock"
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(str(folder / "notify"))
        self.manager.settimeout(30)
        program = "from device_runner.cli import main; main()"
        command = [sys.executable, "-c", program, "serve", str(model), "--socket", str(self.socket)]
        environment = {**child_environment(), "NOTIFY_SOCKET": str(folder / "notify")}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, text=True)
        assert self.heard().startswith("READY=1\nSTATUS=serving")

    def heard(self) -> str:
        return self.manager.recv(1000).decode()

    def ask(self, path: str) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.socket))
            connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            parts = b"".join(iter(lambda: connection.recv(65536), b""))
        return dict(json.loads(parts.partition(b"\r\n\r\n")[2]))

    def end(self) -> str:
        """End it as systemd does; what it wrote."""
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=20)
        self.manager.close()
        return errors


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    (tmp_path / "model.tflite").write_bytes(toys()["recurrent"].read_bytes())
    started = Service(tmp_path, tmp_path / "model.tflite")
    yield started
    started.process.kill()


def with_golden_vectors(source: Path) -> bytes:
    """The bundle with golden vectors, without which no model is put into service."""
    bundle = Bundle.read(source)
    contract, facts = bundle.contract_of(Retrieval), {"runtimes": bundle.runtimes}
    cases = golden_cases(source, "litert", contract)
    return bundle_bytes(bundle.model, bundle.name, bundle.scheme, contract, bundle.items[1:], None, cases, facts=facts)


def test_a_service_reloads_keeps_what_works_and_ends(service: Service, tmp_path: Path) -> None:
    first = service.ask("/health")["fingerprint"]
    assert oct(service.socket.stat().st_mode & 0o777) == "0o660"
    (tmp_path / "new").write_bytes(with_golden_vectors(toys()["another"]))
    (tmp_path / "new").replace(tmp_path / "model.tflite")
    service.process.send_signal(signal.SIGHUP)
    assert service.heard().startswith("RELOADING=1\nMONOTONIC_USEC=") and service.heard() == "READY=1"
    second = service.ask("/health")["fingerprint"]
    assert second != first
    for refused in (b"not a bundle", toys()["recurrent"].read_bytes()):  # which has no golden vectors
        (tmp_path / "new").write_bytes(refused)
        (tmp_path / "new").replace(tmp_path / "model.tflite")
        service.process.send_signal(signal.SIGHUP)
        assert service.heard().startswith("RELOADING=1") and service.heard() == "READY=1"
        assert service.ask("/health")["fingerprint"] == second
    errors = service.end()
    assert service.process.returncode == 0 and not service.socket.exists()
    assert "the model in service stays" in errors and "Traceback" not in errors


def test_a_server_that_is_stopped_finishes_the_request_it_is_in(
    recommender: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(_: Endpoint, __: str, ___: str, ____: bytes) -> dict[str, Any]:
        begun.set()
        go_on.wait(10)
        return {"answered": True}

    monkeypatch.setattr(Endpoint, "answer", slow)
    server = Server(Address(port=0), Endpoint(recommender, LIMITS))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    address = ("127.0.0.1", server.server_port)
    with socket.create_connection(address) as idle, socket.create_connection(address) as asking:
        asking.sendall(POST + b"Content-Length: 2\r\n\r\n{}")
        assert begun.wait(5)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        assert idle.recv(1) == b""  # which waits for a next request is ended at once
        go_on.set()
        answer = b"".join(iter(lambda: asking.recv(65536), b""))
        stopping.join()
    assert answer.startswith(b"HTTP/1.1 200 ") and b"Connection: close" in answer and b'"answered": true' in answer
    with pytest.raises(OSError):
        socket.create_connection(address)
