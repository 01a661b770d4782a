"""Pruning: the rows that stay are the user's own, the rows that go are named with a reason."""

import csv
import hashlib
import json
import os
import re
import shutil

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from planted import PLANTED, STRANGE, planted_rows, write_planted
from tiny import write_jsonl
from wherefrom.data import as_rows, copy_rows, read_examples, write_rows
from wherefrom.errors import DataError, SettingError
from wherefrom.run import Run, make_config, prune, read_ids

BM25 = {"method": "bm25", "by_group": False}
EVIL = "\x1b[2J\u202e</script>\U0001f525 ß"


def run_of(path, out, **settings):
    """A run of rows that nothing was trained on: pruning by words asks no model."""
    return Run.create(out, make_config("test", data=str(path), methods=("bm25",), **settings))


@pytest.fixture
def made(tmp_path):
    write_planted(tmp_path)
    return run_of(tmp_path / "train.jsonl", tmp_path / "run")


def bad_of(run):
    return read_examples(run.path.parent / "bad.jsonl")


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def manifest_of(path):
    return json.loads(path.with_name(path.name + ".manifest.json").read_text())


# What stays


def test_jsonl_keeps_every_byte_of_the_lines_that_stay(tmp_path):
    """Key order, spaces, escapes, line ends, a byte order mark: nothing is written anew."""
    rows = planted_rows()
    lines = [json.dumps(row).encode() for row in rows]
    lines[0] = (
        b"\xef\xbb\xbf" + json.dumps(rows[0], indent=None, separators=(" ,", " :  ")).encode()
    )
    lines[1] = json.dumps(rows[1] | {"note": EVIL}, ensure_ascii=False).encode() + b"\r"
    lines[3] = json.dumps(dict(reversed(rows[3].items()))).encode() + b"  "
    lines[5] = b"\n" + json.dumps(rows[5] | {"long": "x" * 200_000}).encode()
    lines[6] = json.dumps(rows[6] | {"half": "\ud83d", "number": 1.0e-7}).encode()
    (tmp_path / "train.jsonl").write_bytes(b"\n".join(lines))
    run = run_of(tmp_path / "train.jsonl", tmp_path / "run")
    gone = [i for i, row in enumerate(rows) if row["id"] in PLANTED]
    found = prune(run, tmp_path / "out.jsonl", rows=PLANTED)
    kept = [line.lstrip(b"\n") for i, line in enumerate(lines) if i not in gone]
    assert (tmp_path / "out.jsonl").read_bytes() == b"\n".join(kept)
    assert found.rewritten == ""
    assert found.kept == 12
    read = read_examples(tmp_path / "out.jsonl")
    assert [row.id for row in read] == [r["id"] for r in rows if r["id"] not in PLANTED]


def test_csv_keeps_every_byte_of_the_records_that_stay(tmp_path):
    head = b'\xef\xbb\xbf"id",prompt,response,team\r\n'
    records = [
        b"a,what is it?,a thing,red\r\n",
        b'b,"with, a comma","two\nlines\r\nand ""quotes""",blue\r\n',
        b"\r\n",
        b'c,"go","\xc3\x9f \xf0\x9f\x94\xa5",\r\n',
        b"d,last,without a line end,red",
    ]
    (tmp_path / "t.csv").write_bytes(head + b"".join(records))
    run = run_of(tmp_path / "t.csv", tmp_path / "run")
    prune(run, tmp_path / "o.csv", rows=["a", "c"])
    assert (tmp_path / "o.csv").read_bytes() == head + records[1] + records[4]
    prune(run, tmp_path / "p.csv", rows=["d"])
    assert [row.id for row in read_examples(tmp_path / "p.csv")] == ["a", "b", "c"]
    prune(run, tmp_path / "o.jsonl", rows=["a", "c"])
    lines = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert lines[0]["response"] == 'two\nlines\r\nand "quotes"'
    assert lines[0]["team"] == "blue"


def test_parquet_keeps_its_schema_and_its_columns(tmp_path):
    rows = planted_rows()
    held = {key: [row.get(key) for row in rows] for key in ("id", "prompt", "response", "label")}
    table = pa.table(
        {
            **held,
            "when": pa.array(
                [pd.Timestamp("2024-01-02") + pd.Timedelta(days=i) for i in range(16)]
            ),
            "weight": pa.array([i / 7 for i in range(16)], pa.float32()),
            "tags": pa.array([["x"] * (i % 3) for i in range(16)]),
        }
    ).replace_schema_metadata({b"mine": b"kept"})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=5)
    run = run_of(tmp_path / "t.parquet", tmp_path / "run")
    prune(run, tmp_path / "o.parquet", rows=PLANTED)
    kept = [i for i, row in enumerate(rows) if row["id"] not in PLANTED]
    wanted = pq.read_table(tmp_path / "t.parquet").take(kept)
    assert pq.read_table(tmp_path / "o.parquet").equals(wanted, check_metadata=True)
    assert wanted.schema.metadata == {b"mine": b"kept"}


def test_a_saved_data_set_is_read_again_with_all_its_columns(tmp_path):
    from datasets import Dataset

    rows = [{**row, "label": f"c{i}", "n": i} for i, row in enumerate(planted_rows())]
    Dataset.from_list([{k: v for k, v in row.items() if k != "team"} for row in rows]).save_to_disk(
        str(tmp_path / "set")
    )
    run = run_of(tmp_path / "set", tmp_path / "run")
    found = prune(run, tmp_path / "o.jsonl", rows=PLANTED)
    assert found.rewritten == ""
    lines = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert [line["n"] for line in lines] == [
        i for i, row in enumerate(rows) if row["id"] not in PLANTED
    ]
    with pytest.raises(SettingError, match="which is read"):
        prune(run, tmp_path / "set" / "o.jsonl", rows=PLANTED)


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".csv", ".parquet"])
@pytest.mark.parametrize("source", [".jsonl", ".json", ".csv", ".parquet"])
def test_every_format_is_written_from_every_other(tmp_path, source, ending):
    given = [
        {"id": f"r{i}", "prompt": f"question {i}, {EVIL}", "response": f"a\n{i}", "team": f"t{i}"}
        for i in range(6)
    ]
    write_rows(given, tmp_path / f"t{source}", source)
    before = read_examples(tmp_path / f"t{source}")
    copy_rows(tmp_path / f"t{source}", [0, 3, 5], tmp_path / f"o{ending}", ending)
    after = read_examples(tmp_path / f"o{ending}")
    for one, two in zip([before[i] for i in (0, 3, 5)], after, strict=True):
        assert (one.id, one.messages, one.label, one.metadata) == (
            two.id,
            two.messages,
            two.label,
            two.metadata,
        )


def test_what_a_format_cannot_hold_is_refused(tmp_path):
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]
    with pytest.raises(SettingError, match="turns of a conversation"):
        write_rows([{"messages": turns}], tmp_path / "o.csv", ".csv")
    with pytest.raises(DataError, match="not of one kind"):
        write_rows([{"x": 1}, {"x": "one"}], tmp_path / "o.parquet", ".parquet")
    with pytest.raises(DataError, match="half a character"):
        write_rows([{"x": "\ud83d"}], tmp_path / "o.csv", ".csv")
    with pytest.raises(SettingError, match="rows are written as"):
        write_rows([{"x": 1}], tmp_path / "o.txt", ".txt")
    write_rows([{"x": "\ud83d"}], tmp_path / "o.jsonl", ".jsonl")
    assert json.loads((tmp_path / "o.jsonl").read_text()) == {"x": "\ud83d"}


# When the file is not what it was


def reversed_lines(path):
    path.write_text("".join(path.read_text().splitlines(keepends=True)[::-1]))


def one_word(path):
    path.write_text(path.read_text().replace("fox", "dog", 1))


def other_column(path):
    path.write_text(path.read_text().replace('"team": [2]', '"team": [9]', 1))


def shorter(path):
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (reversed_lines, "was changed after the run was made, first at train.jsonl:1"),
        (one_word, "was changed after the run was made, first at train.jsonl:"),
        (other_column, "was changed after the run was made, first at train.jsonl:9"),
        (shorter, r"its number of rows \(15, then 16\)"),
        (lambda path: path.write_text("{"), "can no longer be read"),
        (lambda path: path.unlink(), "can no longer be read"),
    ],
)
def test_rows_of_a_changed_file_are_those_of_the_snapshot(made, tmp_path, change, why):
    data = tmp_path / "train.jsonl"
    before = read_examples(data)
    change(data)
    found = prune(made, tmp_path / "o.jsonl", rows=PLANTED)
    assert re.search(why, found.rewritten)
    assert manifest_of(tmp_path / "o.jsonl")["source"]["taken from"] == "the run's snapshot"
    kept = [row for row in before if row.id not in PLANTED]
    after = read_examples(tmp_path / "o.jsonl")
    assert [(r.id, r.messages, r.label, r.metadata) for r in after] == [
        (r.id, r.messages, r.label, r.metadata) for r in kept
    ]


def test_a_snapshot_of_conversations_is_written_as_messages(tmp_path):
    turns = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "what?"},
        {"role": "assistant", "content": "that"},
    ]
    write_jsonl(tmp_path / "t.jsonl", [{"id": str(i), "messages": turns} for i in range(3)])
    rows = read_examples(tmp_path / "t.jsonl")
    held, shape = as_rows(rows)
    assert shape == "messages"
    write_rows(held, tmp_path / "o.jsonl", ".jsonl")
    assert [r.messages for r in read_examples(tmp_path / "o.jsonl")] == [r.messages for r in rows]


def test_a_column_that_looks_like_another_shape_misleads_nobody(tmp_path):
    row = {"instruction": "do", "output": "done", "prompt": "other", "completion": "text"}
    write_jsonl(tmp_path / "t.jsonl", [row])
    rows = read_examples(tmp_path / "t.jsonl", "alpaca")
    held, shape = as_rows(rows)
    assert shape == "messages"
    write_rows(held, tmp_path / "o.jsonl", ".jsonl")
    again = read_examples(tmp_path / "o.jsonl")[0]
    assert (again.messages, again.metadata) == (rows[0].messages, rows[0].metadata)


def test_a_run_of_a_task_is_written_from_its_snapshot(tmp_path):
    run = Run.create(
        tmp_path / "run", make_config("test", task="grammars", train_per_class=1, methods=("bm25",))
    )
    first = run.train[0].id
    found = prune(run, tmp_path / "o.csv", rows=[first])
    assert "is of the task grammars" in found.rewritten
    assert [row.id for row in read_examples(tmp_path / "o.csv")] == [r.id for r in run.train[1:]]


def test_of_a_run_that_read_some_rows_only_those_are_written(tmp_path):
    write_planted(tmp_path)
    run = run_of(tmp_path / "train.jsonl", tmp_path / "run", limit=6)
    found = prune(run, tmp_path / "o.jsonl", rows=["bad0"])
    assert found.kept == 5
    assert found.rewritten == ""
    assert len(read_examples(tmp_path / "o.jsonl")) == 5


# What goes


def test_the_guiltiest_rows_go_and_the_manifest_says_why(made, tmp_path):
    out, bad = tmp_path / "o.jsonl", bad_of(made)
    found = prune(made, out, bad, top=4, **BM25, command="wherefrom prune …")
    assert {one.id for one in found.removed} == set(PLANTED)
    held = manifest_of(out)
    assert held["removed"] == [one.to_json() for one in found.removed]
    by_id = {row.id: (number, row) for number, row in enumerate(made.train, start=1)}
    for rank, entry in enumerate(held["removed"], start=1):
        number, row = by_id[entry["id"]]
        assert (entry["rank"], entry["number"], entry["line"]) == (rank, number, row.source)
        assert entry["guilt"] > 0
        assert f"cause {rank} of the bad answers" in entry["why"]
        assert "of 3 bad answers" in entry["why"]
    assert held["command"] == "wherefrom prune …"
    assert held["method"] == "bm25"
    assert held["run"]["path"] == str(made.path)
    assert held["rows"]["digest"] == made.card.entries["rows"]["train digest"]
    assert held["queries"]["bad"]["count"] == 3
    assert held["written"] == {
        "path": "o.jsonl",
        "rows": 12,
        "shape": None,
        "sha256": digest(out),
    }
    assert held["source"]["sha256"] == digest(tmp_path / "train.jsonl")


def test_the_same_command_writes_the_same_bytes(made, tmp_path):
    bad = bad_of(made)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        prune(made, tmp_path / name / "o.jsonl", bad, top=3, **BM25)
    for file in ("o.jsonl", "o.jsonl.manifest.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def with_copies(tmp_path):
    rows = planted_rows()
    rows.append({**rows[2], "id": "copy"})
    assert rows[2]["id"] == "bad0"
    write_planted(tmp_path, rows)
    return run_of(tmp_path / "train.jsonl", tmp_path / "run")


def test_copies_go_together_unless_told_otherwise(tmp_path):
    run = with_copies(tmp_path)
    bad = [bad_of(run)[0]]
    together = prune(run, tmp_path / "a.jsonl", bad, method="bm25", top=1)
    assert {one.id for one in together.removed} == {"bad0", "copy"}
    assert together.causes == 1
    assert any("near-duplicate of" in one.why for one in together.removed)
    alone = prune(run, tmp_path / "b.jsonl", bad, top=1, **BM25)
    assert len(alone.removed) == 1
    assert alone.spared == 1


def test_named_rows_go_alone_unless_told_otherwise(tmp_path):
    run = with_copies(tmp_path)
    alone = prune(run, tmp_path / "a.jsonl", rows=["bad0"])
    assert [one.id for one in alone.removed] == ["bad0"]
    assert alone.spared == 1
    assert alone.removed[0].why == "named"
    together = prune(run, tmp_path / "b.jsonl", rows=["bad0"], by_group=True)
    assert [one.id for one in together.removed] == ["bad0", "copy"]
    assert together.removed[1].why == "near-duplicate of bad0, which was named"
    both = prune(run, tmp_path / "c.jsonl", bad_of(run), top=1, rows=["r0"], **BM25)
    assert [one.why.partition(":")[0] for one in both.removed] == [
        "cause 1 of the bad answers",
        "named",
    ]


def test_rows_that_are_not_guilty_stay_however_many_are_asked_for(made, tmp_path):
    bad = bad_of(made)
    # bad and good answers that are alike: no row is guilty of one more than of the other
    good = [row.with_response(f"{STRANGE} ") for row in bad]
    with pytest.raises(SettingError, match="a guilt above 0"):
        prune(made, tmp_path / "o.jsonl", bad, good, method="bm25")
    assert not (tmp_path / "o.jsonl").exists()


# Ids in a file


def test_ids_are_read_from_text_tables_and_lists(tmp_path):
    (tmp_path / "ids.txt").write_bytes("\ufeffa\r\n\nwith space, comma\nb\na\n".encode())
    assert read_ids(tmp_path / "ids.txt") == ["a", "with space, comma", "b"]
    with (tmp_path / "g.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([["rank", "row"], [1, "a\nb"], [2, "c\u2028d"]])
    assert read_ids(tmp_path / "g.csv") == ["a\nb", "c\u2028d"]
    (tmp_path / "m.json").write_text(json.dumps([{"id": "x", "mark": "guilty"}, "y", {"row": "z"}]))
    assert read_ids(tmp_path / "m.json") == ["x", "y", "z"]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.txt", "\n \n", "names no row"),
        ("a.csv", "name\nx\n", "no column 'row' or 'id'"),
        ("a.json", '{"id": 1}', "must be a list"),
        ("a.json", "[", "not readable"),
        ("a.txt", b"\xff\xfe", "not readable"),
    ],
)
def test_a_file_without_ids_is_refused(tmp_path, name, text, why):
    path = tmp_path / name
    path.write_bytes(text) if isinstance(text, bytes) else path.write_text(text)
    with pytest.raises(DataError, match=why):
        read_ids(path)


# What is never written to


def test_the_training_file_is_never_written_to(made, tmp_path, monkeypatch):
    data = tmp_path / "train.jsonl"
    before = digest(data)
    (tmp_path / "link.jsonl").symlink_to(data)
    os.link(data, tmp_path / "hard.jsonl")
    monkeypatch.chdir(tmp_path)
    for name in ("train.jsonl", "./run/../train.jsonl", "link.jsonl", "hard.jsonl"):
        with pytest.raises(SettingError, match="never written to"):
            prune(made, tmp_path / name, rows=["bad0"], force=True)
    shutil.copy(tmp_path / "bad.jsonl", tmp_path / "asked.jsonl")
    with pytest.raises(SettingError, match="what this command reads"):
        prune(
            made,
            tmp_path / "asked.jsonl",
            rows=["bad0"],
            force=True,
            never=[tmp_path / "asked.jsonl"],
        )
    with pytest.raises(SettingError, match="in the run's folder"):
        prune(made, made.path / "data" / "train.jsonl", rows=["bad0"], force=True)
    assert digest(data) == before


def test_a_manifest_may_not_lie_where_something_is_read(tmp_path):
    write_planted(tmp_path)
    data = tmp_path / "o.jsonl.manifest.json"
    data.write_text(json.dumps(planted_rows()))
    run = run_of(data, tmp_path / "run")
    with pytest.raises(SettingError, match="never written to"):
        prune(run, tmp_path / "o.jsonl", rows=["bad0"], force=True)
    assert len(json.loads(data.read_text())) == 16


def test_an_existing_file_is_kept_unless_forced(made, tmp_path):
    out = tmp_path / "o.jsonl"
    out.write_text("mine")
    with pytest.raises(SettingError, match="replace it with --force"):
        prune(made, out, rows=["bad0"])
    assert out.read_text() == "mine"
    prune(made, out, rows=["bad0"], force=True)
    assert len(read_examples(out)) == 15
    out.unlink()
    with pytest.raises(SettingError, match=r"manifest\.json exists"):
        prune(made, out, rows=["bad0"])
    assert not out.exists()


def test_a_file_that_changes_under_the_command_is_not_copied(made, tmp_path, monkeypatch):
    import wherefrom.run._prune as module

    whole = module.copy_rows

    def slow(source, kept, out, *more):
        whole(source, kept, out, *more)
        one_word(tmp_path / "train.jsonl")

    monkeypatch.setattr(module, "copy_rows", slow)
    with pytest.raises(DataError, match="was changed while it was read"):
        prune(made, tmp_path / "o.jsonl", rows=["bad0"])
    assert not list(tmp_path.glob("*o.jsonl*"))


def test_what_cannot_be_meant_is_refused(made, tmp_path):
    bad, out = bad_of(made), tmp_path / "o.jsonl"
    for arguments, why in (
        ({}, "nothing says which rows"),
        ({"good": bad, "rows": ["bad0"]}, "held against bad ones"),
        ({"rows": ["nobody"]}, r"has the id 'nobody' \(1 such ids\)"),
        ({"rows": [row.id for row in made.train]}, "all 16 rows would go"),
        ({"bad": bad, "top": 0, "method": "bm25"}, "at least 1"),
    ):
        with pytest.raises((SettingError, DataError), match=why):
            prune(made, out, **arguments)
    with pytest.raises(SettingError, match="rows are written as"):
        prune(made, tmp_path / "o.txt", rows=["bad0"])
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(SettingError, match="is a folder"):
        prune(made, tmp_path / "folder.jsonl", rows=["bad0"])
    assert not out.exists()


# The command


def test_planted_rows_are_pruned_by_influence(planted, cli, tmp_path):
    out = tmp_path / "cleaned.jsonl"
    before = digest(planted.train)
    told = cli(
        *("prune", planted.run, "--queries", planted.bad, "--good", planted.good),
        *("--top", 4, "--out", out),
    )
    assert told.code == 0, told.err
    assert all(name in told.out for name in PLANTED)
    assert "left out 4 of 16 rows; 12 stay" in told.err
    assert "predicted without them, to first order: bad answers -" in told.err
    wanted = [
        line
        for line in planted.train.read_text().splitlines()
        if json.loads(line)["id"] not in PLANTED
    ]
    assert out.read_text().splitlines() == wanted
    assert digest(planted.train) == before
    held = manifest_of(out)
    assert held["command"].startswith(f"wherefrom prune {planted.run} --queries")
    assert held["method"] == "influence"
    assert held["model"]["model"]
    assert held["predicted change of the log-probability, in nats"]["bad"] < 0
    again = cli(*("prune", planted.run, "--queries", planted.bad, "--out", out))
    assert again.code == 2
    assert "--force" in again.err
    own = cli(*("prune", planted.run, "--queries", planted.bad, "--out", planted.train, "--force"))
    assert own.code == 2
    assert "never written to" in own.err
    assert digest(planted.train) == before


def test_a_list_of_guilty_rows_may_be_edited_and_given_back(planted, cli, tmp_path):
    told = cli("trace", planted.run, "--bad", planted.bad, "--top", 3, "--out", tmp_path / "g.csv")
    assert told.code == 0, told.err
    lines = (tmp_path / "g.csv").read_text().splitlines(keepends=True)
    (tmp_path / "g.csv").write_text("".join([lines[0], lines[2]]))
    done = cli(
        *("prune", planted.run, "--rows", tmp_path / "g.csv", "--out", tmp_path / "o.csv"),
        *("--format", "json"),
    )
    assert done.code == 0, done.err
    held = json.loads(done.out)
    (removed,) = held["removed"]
    assert removed["id"] in lines[2]
    assert removed["guilt"] is None
    assert held["method"] is None
    assert len(read_examples(tmp_path / "o.csv")) == 15


def test_hostile_rows_do_not_reach_the_terminal(cli, tmp_path, tiny_folder):
    rows = planted_rows()
    rows[2] |= {"id": f"evil{EVIL}", "response": f"{STRANGE} {EVIL}"}
    write_planted(tmp_path, rows)
    run_of(tmp_path / "train.jsonl", tmp_path / "run", model=str(tiny_folder))
    for form in ("table", "md"):
        done = cli(
            *("prune", tmp_path / "run", "--queries", tmp_path / "bad.jsonl", "--method", "bm25"),
            *("--out", tmp_path / "o.jsonl", "--top", 4, "--force", "--format", form),
        )
        assert done.code == 0, done.err
        assert "evil" in done.out
        assert not {"\x1b", "\u202e"} & set(done.out + done.err)
    removed = {entry["id"] for entry in manifest_of(tmp_path / "o.jsonl")["removed"]}
    assert f"evil{EVIL}" in removed
    assert "\x1b" not in (tmp_path / "o.jsonl.manifest.json").read_text()
