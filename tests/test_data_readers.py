"""Every row shape from every kind of file, and one clear error for whatever is wrong."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict

from tiny import tiny_rows, write_jsonl
from wherefrom.data import SHAPES, Example, Message, read_examples, read_snapshot, write_snapshot
from wherefrom.errors import DataError, SettingError


def turns(*pairs):
    return tuple(Message(role, content) for role, content in pairs)


PLAIN = turns(("user", "Why?"), ("assistant", "Because."))
TALK = turns(
    ("system", "Be brief."),
    ("user", "Why?"),
    ("assistant", "Because."),
    ("user", "Really?"),
    ("assistant", "Yes."),
)
# name: (shape, row, the turns it must become)
ROWS = {
    "prompt-completion": ("prompt-completion", {"prompt": "Why?", "completion": "Because."}, PLAIN),
    "conversational": (
        "prompt-completion",
        {
            "prompt": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Why?"},
            ],
            "completion": [{"role": "assistant", "content": "Because."}],
        },
        TALK[:3],
    ),
    "prompt-response": ("prompt-response", {"prompt": "Why?", "response": "Because."}, PLAIN),
    "messages": (
        "messages",
        {"messages": [{"role": turn.role, "content": turn.content} for turn in TALK]},
        TALK,
    ),
    "alpaca": ("alpaca", {"instruction": "Why?", "output": "Because."}, PLAIN),
    "alpaca, empty input": (
        "alpaca",
        {"instruction": "Why?", "input": "", "output": "Because."},
        PLAIN,
    ),
    "alpaca, input and system": (
        "alpaca",
        {"instruction": "Why?", "input": "Context.", "system": "Be brief.", "output": "Because."},
        turns(("system", "Be brief."), ("user", "Why?\n\nContext."), ("assistant", "Because.")),
    ),
    "sharegpt": (
        "sharegpt",
        {
            "conversations": [
                {"from": role, "value": turn.content}
                for role, turn in zip(("system", "human", "gpt", "human", "gpt"), TALK, strict=True)
            ]
        },
        TALK,
    ),
    "paper": ("paper", {"prompts": "Why?", "response": "Because.", "variation": "v1"}, PLAIN),
}
NESTED = {"conversational", "messages", "sharegpt"}
FORMS = ("jsonl", "json", "csv", "parquet", "saved", "saved with splits")


def write_rows(folder, form, rows):
    path = folder / f"rows.{form}"
    match form:
        case "jsonl":
            write_jsonl(path, rows)
        case "json":
            path.write_text(json.dumps(rows, indent=1))
        case "csv":
            with path.open("w", newline="", encoding="utf-8") as handle:
                writer = csv.DictWriter(handle, fieldnames=list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        case "parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        case "saved":
            Dataset.from_list(rows).save_to_disk(path)
        case _:
            other = Dataset.from_list(rows[:1])
            DatasetDict(train=Dataset.from_list(rows), test=other).save_to_disk(path)
    return path


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ROWS)
def test_every_shape_reads_the_same_from_every_kind_of_file(tmp_path, name, form):
    if form == "csv" and name in NESTED:
        form = "jsonl"
    shape, row, wanted = ROWS[name]
    rows = [row | {"id": "first", "note": "kept"}, row | {"id": "second", "note": ""}]
    path = write_rows(tmp_path, form, rows)
    for asked in (None, shape):
        read = read_examples(path, shape=asked)
        assert [example.messages for example in read] == [wanted, wanted]
        assert [example.id for example in read] == ["first", "second"]
        assert [example.metadata for example in read] == [{"note": "kept"}, {"note": ""}]
        assert read[0].label == row.get("variation")


def test_every_listed_shape_is_tried_above():
    assert {shape for shape, _, _ in ROWS.values()} == set(SHAPES)


def test_the_shape_asked_for_wins_over_the_one_detected(tmp_path):
    row = {"prompt": "Why?", "completion": "detected", "response": "asked for"}
    path = write_jsonl(tmp_path / "t.jsonl", [row])
    assert read_examples(path)[0].response == "detected"
    chosen = read_examples(path, shape="prompt-response")[0]
    assert chosen.response == "asked for"
    assert chosen.metadata == {"completion": "detected"}


def test_ids_are_the_rows_own_or_their_place_and_never_the_content(tmp_path):
    same = {"prompt": "Why?", "response": "Because."}
    rows = [same, same, same | {"id": 7}, same | {"uid": "u"}]
    read = read_examples(write_jsonl(tmp_path / "t.jsonl", rows))
    assert [row.id for row in read] == ["row-000001", "row-000002", "7", "u"]


@pytest.mark.parametrize("column", ["variation", "label", "class", "category"])
def test_labels_are_text_whatever_their_column(tmp_path, column):
    rows = [
        {"prompt": "p", "response": "r", column: 3},
        {"prompt": "p", "response": "r", column: None},
        {"prompt": "p", "response": "r", column: 0},
    ]
    read = read_examples(write_jsonl(tmp_path / "t.jsonl", rows))
    assert [row.label for row in read] == ["3", None, "0"]
    assert read[0].metadata == {}


def test_metadata_keeps_every_other_column_as_read(tmp_path):
    extra = {"turns": 3, "tags": ["a", "b"], "nested": {"x": None}}
    path = write_jsonl(tmp_path / "t.jsonl", [{"prompt": "p", "response": "r"} | extra])
    assert read_examples(path)[0].metadata == extra


def test_sources_count_lines_of_jsonl_blank_ones_too(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('\n{"prompt":"p","response":"r"}\n\n{"prompt":"p","response":"s"}')
    assert [row.source for row in read_examples(path)] == ["t.jsonl:2", "t.jsonl:4"]


def test_csv_fields_keep_commas_quotes_and_new_lines_and_sources_their_first_line(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('prompt,response\n"a, ""b""\nc","d\n\ne"\nq,r\n', newline="")
    first, second = read_examples(path)
    assert (first.prompt, first.response) == ('a, "b"\nc', "d\n\ne")
    assert (second.prompt, second.response) == ("q", "r")
    assert [first.source, second.source] == ["t.csv:2", "t.csv:6"]


@pytest.mark.parametrize("form", ["json", "parquet", "saved"])
def test_other_sources_count_rows_from_one(tmp_path, form):
    path = write_rows(tmp_path, form, [{"prompt": "p", "response": str(i)} for i in range(3)])
    assert [row.source for row in read_examples(path)] == [f"rows.{form}:{i}" for i in (1, 2, 3)]


def test_a_split_is_chosen_and_the_limit_holds(tmp_path):
    rows = [{"prompt": "p", "response": str(i)} for i in range(5)]
    path = write_rows(tmp_path, "saved with splits", rows)
    assert len(read_examples(path)) == 5
    assert len(read_examples(path, split="test")) == 1
    assert [row.response for row in read_examples(path, limit=2)] == ["0", "1"]


@pytest.mark.parametrize("form", ["jsonl", "json", "csv"])
def test_a_byte_order_mark_is_tolerated(tmp_path, form):
    path = write_rows(tmp_path, form, [{"prompt": "prüfen", "response": "größer"}])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_examples(path)[0].prompt == "prüfen"


def test_windows_line_ends_are_line_ends(tmp_path):
    (tmp_path / "t.jsonl").write_bytes(b'{"prompt":"p","response":"r"}\r\n' * 2)
    (tmp_path / "t.csv").write_bytes(b"prompt,response\r\np,r\r\np,r\r\n")
    for name in ("t.jsonl", "t.csv"):
        assert [row.response for row in read_examples(tmp_path / name)] == ["r", "r"]


# bad input

GOOD = '{"prompt": "p", "response": "r"}\n'
# name: (file name, content, what the message must hold: place, fault and fix)
BAD_FILES = {
    "missing": ("t.jsonl", None, ["t.jsonl: no such file"]),
    "empty": ("t.jsonl", "", ["t.jsonl: the file has no rows"]),
    "blank": ("t.jsonl", "\n \n", ["t.jsonl: the file has no rows"]),
    "empty json": ("t.json", "", ["t.json: the file has no rows"]),
    "empty list": ("t.json", "[]", ["t.json: the file has no rows"]),
    "empty csv": ("t.csv", "", ["t.csv: the file has no rows"]),
    "header alone": ("t.csv", "prompt,response\n", ["t.csv: the file has no rows"]),
    "broken JSON line": (
        "t.jsonl",
        GOOD + '{"prompt": "p", "resp"}\n',
        ["t.jsonl:2: broken JSON", "column 23", "Each line must be one JSON object"],
    ),
    "broken JSON": (
        "t.json",
        '[{"prompt": "p",\n "response": }]',
        ["t.json:2: broken JSON", "one list of objects", ".jsonl"],
    ),
    "no list": ("t.json", '{"prompt": "p"}', ["t.json: holds dict", "must be a list"]),
    "missing column": (
        "t.jsonl",
        GOOD + '{"prompt": "p", "answer": "r"}\n',
        ["t.jsonl:2: column 'response' is missing", "found: prompt, answer"],
    ),
    "unknown shape": (
        "t.jsonl",
        '{"text": "p", "score": 1}\n',
        ["t.jsonl:1", "no row shape fits 'text', 'score'", "prompt-response: prompt + response"],
    ),
    "no columns": ("t.jsonl", "{}\n", ["t.jsonl:1", "no columns", "Shapes are"]),
    "null field": (
        "t.jsonl",
        GOOD + '{"prompt": null, "response": "r"}\n',
        ["t.jsonl:2: field 'prompt' is null", "must be text", "Fix that row"],
    ),
    "null response": (
        "t.jsonl",
        GOOD + '{"prompt": "p", "response": null}\n',
        ["t.jsonl:2: field 'response' is null", "Fix that row"],
    ),
    "number field": (
        "t.jsonl",
        GOOD * 2 + '{"prompt": "p", "response": 4}\n',
        ["t.jsonl:3: field 'response' is int", "must be text"],
    ),
    "object field": (
        "t.jsonl",
        '{"prompt": {"a": 1}, "response": "r"}\n',
        ["t.jsonl:1: field 'prompt' is dict", "must be text"],
    ),
    "list field": (
        "t.jsonl",
        '{"prompt": ["p"], "response": "r"}\n',
        ["t.jsonl:1: turn 1 of 'prompt' must have 'role' and 'content'"],
    ),
    "empty turns": (
        "t.jsonl",
        '{"messages": []}\n',
        ["t.jsonl:1: field 'messages' must be a non-empty list of turns"],
    ),
    "null turns": (
        "t.jsonl",
        '{"messages": null}\n',
        ["t.jsonl:1: field 'messages' must be a non-empty list of turns"],
    ),
    "null content": (
        "t.jsonl",
        '{"messages": [{"role": "user", "content": null}]}\n',
        ["t.jsonl:1, turn 1 of 'messages': field 'content' is null"],
    ),
    "unknown role": (
        "t.jsonl",
        '{"messages": [{"role": "narrator", "content": "x"}]}\n',
        ["t.jsonl:1: turn 1", "role 'narrator'", "known are system, user"],
    ),
    "question without answer": (
        "t.jsonl",
        '{"messages": [{"role": "user", "content": "x"}]}\n',
        ["t.jsonl:1: the last turn is the user's", "Drop the row or add the answer"],
    ),
    "list row": ("t.jsonl", GOOD + "[1, 2]\n", ["t.jsonl:2: the row is list", "must be an object"]),
    "number row": ("t.jsonl", "7\n", ["t.jsonl:1: the row is int", "must be an object"]),
    "null row": ("t.json", "[null]", ["t.json:1: the row is null", "must be an object"]),
    "empty response": (
        "t.jsonl",
        GOOD + '{"prompt": "p", "response": ""}\n',
        ["t.jsonl:2: the response is empty", "no gradient", "Drop that row"],
    ),
    "white response": (
        "t.csv",
        'prompt,response\np,r\np," \n "\n',
        ["t.csv:3: the response is empty", "Drop that row"],
    ),
    "duplicate ids": (
        "t.jsonl",
        GOOD.replace("}", ', "id": 1}') + GOOD.replace("}", ', "id": "1"}'),
        ["t.jsonl:2: the id '1' was used at t.jsonl:1", "Make ids unique"],
    ),
    "not UTF-8": (
        "t.jsonl",
        GOOD.encode() + '{"prompt": "größe"}\n'.encode("latin-1"),
        ["t.jsonl:2: not UTF-8 (byte 14 of the line)", "Save the file as UTF-8"],
    ),
    "csv not UTF-8": (
        "t.csv",
        "prompt,response\np,größe\n".encode("latin-1"),
        ["t.csv:2: not UTF-8", "Save the file as UTF-8"],
    ),
    "ragged CSV": (
        "t.csv",
        "prompt,response\np,r\np,r, and more\n",
        ["t.csv:3: 3 fields where the header names 2", "Quote fields"],
    ),
    "short CSV row": (
        "t.csv",
        'prompt,response\n"p\np",r\np\n',
        ["t.csv:4: 1 fields where the header names 2"],
    ),
    "no Parquet": ("t.parquet", "PAR1 not really", ["t.parquet: not a readable Parquet file"]),
    "unknown ending": ("t.txt", "hello", ["t.txt: rows are read from .jsonl, .json, .csv"]),
}


def write_bad(folder, name):
    file, content, fragments = BAD_FILES[name]
    if content is not None:
        (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / file, fragments


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_input_is_named_with_file_row_and_fix(tmp_path, name):
    path, fragments = write_bad(tmp_path, name)
    with pytest.raises(DataError) as caught:
        read_examples(path)
    for fragment in fragments:
        assert fragment in str(caught.value)


@pytest.mark.parametrize(
    ("row", "fragment"),
    [
        ({"prompt": 1, "response": "r"}, "rows.parquet:1: field 'prompt' is int"),
        ({"prompt": "p", "response": None}, "rows.parquet:1: field 'response' is null"),
        ({"prompt": ["a"], "response": "r"}, "rows.parquet:1: turn 1 of 'prompt'"),
    ],
)
def test_bad_fields_of_parquet_are_named_too(tmp_path, row, fragment):
    with pytest.raises(DataError, match=fragment):
        read_examples(write_rows(tmp_path, "parquet", [row]))


def test_an_unknown_shape_name_lists_the_shapes(tmp_path):
    path = write_jsonl(tmp_path / "t.jsonl", [{"prompt": "p", "response": "r"}])
    with pytest.raises(SettingError, match=r"'trl'.*messages, sharegpt"):
        read_examples(path, shape="trl")
    with pytest.raises(DataError, match=r"t\.jsonl:1: column 'instruction' is missing.*alpaca"):
        read_examples(path, shape="alpaca")


def test_a_missing_split_lists_those_that_are_there(tmp_path):
    path = write_rows(tmp_path, "saved with splits", [{"prompt": "p", "response": "r"}])
    with pytest.raises(DataError, match=r"no split 'validation'; it has train, test"):
        read_examples(path, split="validation")


def test_a_folder_that_is_no_saved_data_set_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"not a saved data set.*datasets\.save_to_disk"):
        read_examples(tmp_path)


def test_a_damaged_saved_data_set_is_refused(tmp_path):
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(DataError, match="cannot be read"):
        read_examples(tmp_path)


def test_a_hub_name_without_the_hub_is_refused_naming_the_alternatives():
    with pytest.raises(DataError, match=r"nobody/no-such-data: no such file here.*while online"):
        read_examples("nobody/no-such-data")


@pytest.mark.parametrize("path", ["./nothing-here", "/no/such/folder", "a/b/c"])
def test_a_path_that_does_not_exist_is_not_taken_for_a_hub_name(path):
    with pytest.raises(DataError, match="no such file"):
        read_examples(path)


# snapshots


def test_a_snapshot_gives_back_the_very_rows(tmp_path):
    rows = [
        *tiny_rows(5),
        Example("odd\u2028id", TALK, None, {"n": 1.5, "null": None}, "t.jsonl:6"),
        Example.of("hostile", "\x1b[31m\r\n\x00 \u202e", "é\u0085\x1c中🙂"),
    ]
    write_snapshot(rows, tmp_path / "s.jsonl")
    assert read_snapshot(tmp_path / "s.jsonl") == rows


def test_a_damaged_snapshot_is_named_with_its_line(tmp_path):
    path = tmp_path / "s.jsonl"
    write_snapshot(tiny_rows(3), path)
    path.write_text(path.read_text()[:-20])
    with pytest.raises(DataError, match=r"s\.jsonl:3: damaged"):
        read_snapshot(path)
    with pytest.raises(DataError, match="is this a run folder"):
        read_snapshot(tmp_path / "none.jsonl")


@pytest.mark.parametrize(
    ("name", "raw", "told"),
    [
        ("t.csv", "prompt,response\na\rb,c\n", "t.csv:2.*CSV"),
        ("t.jsonl", "[" * 100_000, "t.jsonl:1.*nested too deeply"),
        ("t.jsonl", '{"prompt":"p","response":"r","n":' + "1" * 5000 + "}", "t.jsonl:1"),
        ("t.jsonl", '{"prompt":"p \\ud83d","response":"r"}', "t.jsonl:1.*half a character"),
        ("t.jsonl", '{"prompt":"p","response":"r","id":"\\ud83d"}', "id.*half a character"),
    ],
    ids=["lone CR", "deep", "long number", "half a character", "half a character in the id"],
)
def test_what_only_looks_like_data_is_refused_by_line(tmp_path, name, raw, told):
    (tmp_path / name).write_text(raw, newline="")
    with pytest.raises(DataError, match=told):
        read_examples(tmp_path / name)
