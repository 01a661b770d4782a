"""The live page's server: who may ask, what comes back, and that text stays text."""

import csv
import io
import json
import re
import socket
from importlib.resources import files

import numpy as np
import pytest
from starlette.testclient import TestClient

from live import ESCAPES, FORMULA, REVERSED, SCRIPT, make_hostile_run
from wherefrom.app import _serve
from wherefrom.app._desk import Desk
from wherefrom.app._faults import OURS
from wherefrom.app._marks import FILE, Marks
from wherefrom.app._pages import make_app
from wherefrom.data import Example, read_examples
from wherefrom.errors import SettingError, StoreError
from wherefrom.models import generate, generate_streaming
from wherefrom.run import Run, WarmRun
from wherefrom.safetext import printable

TOKEN = "the-token-of-this-start"
PROMPT, RESPONSE = "Class 1: tell me about sea 1", "No sea today."
LONG = "wind " * 20_000 + "THE-END"


@pytest.fixture(scope="module")
def path(tmp_path_factory, tiny_folder, cli):
    return make_hostile_run(tmp_path_factory.mktemp("live"), tiny_folder, cli, LONG)


@pytest.fixture(scope="module")
def warm(path):
    return WarmRun.open(path)


@pytest.fixture
def desk(warm):
    (warm.path / FILE).unlink(missing_ok=True)
    return Desk(warm)


@pytest.fixture
def page(desk):
    return client(desk)


def client(desk, **options):
    found = TestClient(make_app(desk, token=TOKEN), base_url="http://127.0.0.1:7860", **options)
    found.headers["X-Wherefrom-Token"] = TOKEN
    return found


def asked(page, **fields):
    """What a question's stream says, by kind."""
    reply = page.post("/api/ask", json={"prompt": PROMPT, **fields})
    assert reply.status_code == 200, reply.text
    found = {}
    for line in reply.text.splitlines():
        event = json.loads(line)
        found.setdefault(event.pop("kind"), []).append(event)
    return found


def key_of(page, **fields):
    return asked(page, response=RESPONSE, **fields)["answer"][0]["question"]


# who may ask


def test_headers_let_nothing_in_from_elsewhere(page):
    for address in ("/", "/page.js", "/page.css", "/icon.svg", "/api/run", "/nothing"):
        headers = page.get(address).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert {"script-src 'self'", "style-src 'self'", "connect-src 'self'"} <= set(
            policy.split("; ")
        )
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_files_of_the_page_name_no_other_place():
    for entry in files("wherefrom.app").iterdir():
        if entry.name.endswith((".html", ".css", ".js", ".svg")):
            text = entry.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
            assert not re.search(r"https?:|//[a-z]+\.[a-z]|@import|url\(|innerHTML|eval\(", text), (
                entry
            )


@pytest.mark.parametrize("host", ["evil.example:7860", "evil.example", "192.168.0.2:7860", "", "["])
def test_other_names_of_this_machine_are_refused(page, host):
    reply = page.get("/api/run", headers={"Host": host})
    assert reply.status_code == 403
    assert "127.0.0.1" in reply.json()["error"]


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "LOCALHOST:7860"])
def test_loopback_names_are_answered(page, host):
    assert page.get("/api/run", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Wherefrom-Token": "another"},
        {"X-Wherefrom-Token": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_what_changes_something_must_come_from_the_page(page, desk, headers):
    reply = page.post("/api/marks", json={"row": 1, "mark": "guilty"}, headers=headers)
    assert reply.status_code == 403
    assert not desk.marks.held()


def test_the_page_itself_is_let_through(page):
    own = {"Origin": "http://127.0.0.1:7860", "Sec-Fetch-Site": "same-origin"}
    assert (
        page.post("/api/marks", json={"row": 1, "mark": "guilty"}, headers=own).status_code == 200
    )
    assert TOKEN in page.get("/").text


def test_another_site_cannot_embed_what_is_read(page):
    assert page.get("/api/run", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


# questions


def test_the_answer_streams_and_is_what_trace_says(page, path):
    found = asked(page, longest=12, count=5)
    cold = Run.open(path).trace(PROMPT, max_new_tokens=12)
    assert len(found["piece"]) > 1
    assert "".join(one["text"] for one in found["piece"]).strip() == printable(cold.query.response)
    (answer,), (rows,) = found["answer"], found["rows"]
    assert answer["generated"]
    assert answer["response"] == printable(cold.query.response)
    for side, opponents in (("proponents", False), ("opponents", True)):
        lines = cold.lines(5, opponents=opponents)
        told = rows[side]
        assert [one["number"] for one in told] == [line.number for line in lines]
        for name in ("score", "removal", "percentile"):
            np.testing.assert_allclose(
                [one[name] for one in told], [getattr(line, name) for line in lines], rtol=1e-5
            )


def test_a_given_response_is_explained_as_it_is(page):
    found = asked(page, response=RESPONSE)
    assert "piece" not in found
    assert found["answer"][0]["response"] == RESPONSE
    assert not found["answer"][0]["generated"]


def test_another_method_does_not_ask_the_model_again(page, desk, path, monkeypatch):
    key = key_of(page)
    monkeypatch.setattr(desk, "speak", lambda *_: pytest.fail("the model was asked again"))
    reply = page.post("/api/rows", json={"question": key, "method": "gradient_dot", "count": 5})
    cold = Run.open(path).trace(PROMPT, RESPONSE, ["gradient_dot"])
    assert [one["number"] for one in reply.json()["proponents"]] == [
        line.number for line in cold.lines(5)
    ]


def test_a_second_question_reads_no_training_signal_again(page, monkeypatch):
    key_of(page)
    monkeypatch.setattr(
        "wherefrom.store._store.SignalStore.read", lambda *_: pytest.fail("read again")
    )
    monkeypatch.setattr(
        "wherefrom.store._store.SignalStore.stream", lambda *_: pytest.fail("read again")
    )
    assert asked(page, response="It has 5 colours.")["rows"]


def test_the_verdict_is_that_of_trace(page, path):
    reply = page.post("/api/verdict", json={"question": key_of(page), "method": "influence"})
    cold = Run.open(path).trace(PROMPT, RESPONSE).trust.verdict
    assert reply.json()["word"] == cold.word
    assert reply.json()["reasons"] == list(cold.reasons)


def test_tokens_add_up_to_the_score(page):
    key = key_of(page)
    row = asked(page, response=RESPONSE)["rows"][0]["proponents"][0]
    reply = page.post(
        "/api/tokens", json={"question": key, "method": "influence", "row": row["number"]}
    )
    sides = reply.json()["sides"]
    assert len(sides) == 2
    for side in sides:
        values = [one["value"] for one in side["tokens"] if one["value"] is not None]
        assert sum(values) == pytest.approx(row["score"], rel=1e-3)
        assert {one.get("step", 0) for one in side["tokens"]} & {4, -4}


def test_a_method_without_tokens_says_why(page):
    reply = page.post("/api/tokens", json={"question": key_of(page), "method": "bm25", "row": 1})
    assert reply.json()["sides"] == []
    assert "single tokens" in reply.json()["notes"][0]


def test_more_rows_come_where_the_last_ended(page):
    key = key_of(page)
    fields = {"question": key, "method": "influence", "side": "opponents"}
    first = page.post("/api/rows", json={**fields, "count": 24}).json()
    rest = page.post("/api/rows", json={**fields, "start": 10, "count": 5}).json()
    assert rest["opponents"] == first["opponents"][10:15]
    assert "proponents" not in rest


def test_near_duplicates_are_named(page):
    rows = asked(page, response=RESPONSE, count=24)["rows"][0]["proponents"]
    copies = {one["number"]: one["copies"] for one in rows}
    assert (copies[7], copies[8]) == ([8], [7])


# filters


def rows_by(page, **fields):
    fields = {"question": key_of(page), "method": "influence", "count": 24, **fields}
    reply = page.post("/api/rows", json=fields)
    assert reply.status_code == 200, reply.text
    return reply.json()


def facet(page, column, value):
    facets = page.get("/api/run").json()["facets"]
    at = next(i for i, one in enumerate(facets) if one["column"] == column)
    return [at, [one["value"] for one in facets[at]["values"]].index(value)]


def test_rows_are_filtered_by_any_column_and_keep_their_ranks(page):
    whole = rows_by(page)["proponents"]
    found = rows_by(page, facet=facet(page, "team", "blue"))
    assert found["matching"] == 8
    assert found["proponents"] == [one for one in whole if one["number"] % 3 == 1]
    labelled = rows_by(page, facet=facet(page, "label", "c2"))
    assert {one["label"] for one in labelled["proponents"]} == {"c2"}


def test_rows_are_filtered_by_text_and_by_mark(page):
    assert {o["number"] for o in rows_by(page, text="THE-end")["opponents"]} == {5}
    page.post("/api/marks", json={"row": 9, "mark": "innocent"})
    assert [o["number"] for o in rows_by(page, marked="innocent")["proponents"]] == [9]
    assert rows_by(page, marked="none")["matching"] == 23
    assert rows_by(page, text="nowhere")["proponents"] == []


# hostile text


def test_hostile_text_is_sent_as_harmless_text(page):
    reply = page.post(
        "/api/rows", json={"question": key_of(page), "method": "influence", "count": 24}
    )
    assert reply.headers["content-type"] == "application/json"
    rows = {one["number"]: one for one in reply.json()["proponents"]}
    assert rows[1]["prompt"]["text"].endswith(SCRIPT)
    assert rows[2]["response"]["text"] == printable(REVERSED)
    assert rows[2]["label"] == "<b>c1</b>"
    assert rows[3]["prompt"]["text"].endswith(printable(ESCAPES))
    for text in ("\x1b", "\x07", "\x00", "\u202e"):
        assert text not in json.dumps(rows, ensure_ascii=False)
    assert len(json.dumps(rows)) < 100_000


def test_a_long_row_is_fetched_in_pieces(page):
    rows = rows_by(page, text="THE-END")["proponents"]
    held = rows[0]["response"]
    assert held["length"] == len(LONG)
    text, start, pieces = held["text"], held["next"], 0
    while start is not None:
        fields = {"row": 5, "part": "response", "start": start}
        found = page.post("/api/text", json=fields).json()
        assert len(found["text"]) <= 20_000
        text, start, pieces = text + found["text"], found["next"], pieces + 1
    assert text == LONG
    assert pieces == 5


# marks


def test_marks_outlive_the_server(page, desk, warm):
    reply = page.post(
        "/api/marks",
        json={"row": 3, "mark": "guilty", "question": key_of(page), "method": "influence"},
    )
    assert [one["number"] for one in reply.json()["marks"]] == [3]
    again = Desk(warm)
    (held,) = again.about()["marks"]
    assert (held["number"], held["mark"]) == (3, "guilty")
    mark = again.marks.held()[warm.train[2].id]
    assert (mark.prompt, mark.response, mark.method) == (PROMPT, RESPONSE, "influence")
    assert mark.score is not None
    assert client(again).post("/api/marks", json={"row": 3, "mark": None}).json()["marks"] == []
    assert not Marks(warm.path).held()


def test_two_pages_do_not_undo_each_others_marks(page, warm):
    other = client(Desk(warm))
    page.post("/api/marks", json={"row": 1, "mark": "guilty"})
    other.post("/api/marks", json={"row": 2, "mark": "innocent"})
    assert len(Marks(warm.path).held()) == 2


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"version": 9, "rows": {}}', '{"version": 1, "rows": {"a": {"mark": "x"}}}'],
)
def test_a_damaged_file_of_marks_is_named(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(StoreError, match=re.escape(str(tmp_path / FILE))):
        Marks(tmp_path)


def marked(page, desk, ending):
    for row, mark in ((4, "guilty"), (2, "innocent"), (5, "guilty")):
        page.post("/api/marks", json={"row": row, "mark": mark, "question": "gone"})
    reply = page.get(f"/marked.{ending}")
    assert reply.headers["content-disposition"] == f'attachment; filename="run-marked.{ending}"'
    return reply.content


@pytest.mark.parametrize("ending", ["jsonl", "json"])
def test_exported_rows_read_back_as_they_were(page, desk, warm, tmp_path, ending):
    file = tmp_path / f"marked.{ending}"
    file.write_bytes(marked(page, desk, ending))
    rows = read_examples(file)
    assert [(row.id, row.messages, row.label) for row in rows] == [
        (row.id, row.messages, row.label) for row in (warm.train[i] for i in (1, 3, 4))
    ]
    assert [row.metadata["marked"] for row in rows] == ["innocent", "guilty", "guilty"]
    assert rows[0].metadata["team"] == "red"
    assert rows[0].metadata["marked_line"] == "t.jsonl:2"


def test_exported_csv_computes_nothing(page, desk):
    text = marked(page, desk, "csv").decode("utf-8-sig")
    csv.field_size_limit(10**8)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["marked_number"] for row in rows] == ["2", "4", "5"]
    assert rows[1]["response"] == f"'{FORMULA}"
    assert rows[2]["response"] == LONG


def test_there_are_three_formats(page):
    assert page.get("/marked.xlsx").status_code == 400
    assert "jsonl" in page.get("/marked.xlsx").json()["error"]
    assert page.get("/marked.csv").status_code == 200


# mistakes and faults


@pytest.mark.parametrize(
    ("address", "fields"),
    [
        ("/api/ask", {"prompt": 7}),
        ("/api/ask", {"prompt": "x", "longest": 0}),
        ("/api/ask", {"prompt": "x", "longest": True}),
        ("/api/ask", {"prompt": "x", "facet": [0]}),
        ("/api/rows", {"question": "gone", "method": "influence"}),
        ("/api/rows", {"question": "gone", "method": "influence", "side": "left"}),
        ("/api/verdict", {"question": "gone", "method": "influence"}),
        ("/api/tokens", {"question": "gone", "method": "influence", "row": 1}),
        ("/api/text", {"row": 99, "part": "prompt"}),
        ("/api/text", {"row": 1, "part": "label"}),
        ("/api/text", {"row": 0, "part": "prompt"}),
        ("/api/marks", {"row": 99, "mark": "guilty"}),
        ("/api/marks", {"row": 1, "mark": "<b>"}),
        ("/api/marks", []),
    ],
)
def test_a_mistake_is_told_in_one_sentence(page, address, fields):
    reply = page.post(address, json=fields)
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert error
    assert "\n" not in error
    assert "Traceback" not in error


def test_what_is_no_json_or_too_long_is_refused(page):
    assert "JSON" in page.post("/api/marks", content=b"\xff{").json()["error"]
    reply = page.post("/api/ask", json={"prompt": "x" * 5_000_000})
    assert reply.status_code == 400
    assert "too long" in reply.json()["error"]


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "  "},
        {"prompt": "\ud800", "response": "x"},
        {"method": "ekfac", "response": "x"},
        {"method": "nonsense", "response": "x"},
        {"response": "x", "facet": [99, 0]},
    ],
)
def test_a_question_that_cannot_be_answered_says_so_in_its_stream(page, fields):
    content = json.dumps({"prompt": PROMPT, **fields})
    reply = page.post("/api/ask", content=content)
    last = json.loads(reply.text.splitlines()[-1])
    assert last["kind"] == "error"
    assert "Traceback" not in last["error"]


def test_a_fault_of_ours_stays_at_the_terminal(desk, monkeypatch, capsys):
    def broken(*_):
        raise RuntimeError("secret /home/someone")

    monkeypatch.setattr(desk, "piece", broken)
    monkeypatch.setattr(desk, "rows", broken)
    page = client(desk, raise_server_exceptions=False)
    reply = page.post("/api/text", json={"row": 1, "part": "prompt"})
    assert (reply.status_code, reply.json()) == (500, {"error": OURS})
    assert asked(page, response=RESPONSE)["error"] == [{"error": OURS}]
    assert "secret" in capsys.readouterr().err


def test_old_questions_make_room(desk):
    first = desk.put("a", "b", generated=False)
    for _ in range(32):
        desk.put("a", "b", generated=False)
    with pytest.raises(SettingError, match="ask it again"):
        desk.verdict(first, "influence")


# starting


def test_a_missing_extra_is_named(path, monkeypatch, cli):
    monkeypatch.setattr(_serve, "find_spec", lambda name: None)
    told = cli("serve", path, "--no-open")
    assert told.code == 2
    assert "pip install 'wherefrom[page]'" in told.err


def test_a_port_that_is_taken_is_named(path, cli):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        told = cli("serve", path, "--no-open", "--port", port)
    assert told.code == 2
    assert f"port {port} is in use" in told.err


def test_a_folder_without_a_run_is_named(tmp_path, cli):
    told = cli("serve", tmp_path, "--no-open")
    assert told.code == 2
    assert "no run here" in told.err


def test_only_loopback_is_listened_on():
    with _serve.listening(0) as found:
        assert found.getsockname()[0] == "127.0.0.1"


# streaming


def test_pieces_are_the_greedy_answer(warm):
    prompts = [list(range(5, 5 + n)) for n in (3, 9, 17)]
    for prompt in prompts:
        pieces = []

        def hear(piece, pieces=pieces):
            pieces.append(piece)
            return True

        text = generate_streaming(warm.model, prompt, 24, hear)
        assert text == generate(warm.model, [prompt], 24, quiet=True)[0]
        assert "".join(pieces) == text
        assert len(pieces) > 1


def test_a_listener_who_has_heard_enough_stops_the_model(warm):
    pieces = []

    def hear(piece):
        pieces.append(piece)
        return len(pieces) < 3

    generate_streaming(warm.model, [5, 6, 7], 200, hear)
    assert 3 <= len(pieces) <= 4


def test_a_warm_run_scores_as_a_cold_one(warm, path):
    cold = Run.open(path)
    methods = ("influence", "gradient_cosine", "repsim", "influence(scope=whole)")
    for prompt in (PROMPT, "Class 2: tell me about fox 5"):
        told = cold.trace(prompt, RESPONSE, methods)
        for method in methods:
            answer = warm.ask(Example.of("q", prompt, RESPONSE), method)
            own, theirs = answer.of().values, told.of(method).values
            np.testing.assert_allclose(own, theirs, rtol=1e-5, atol=1e-6 * np.abs(theirs).max())
            assert [line.percentile for line in answer.lines(24)] == [
                line.percentile for line in told.lines(24, method)
            ]
