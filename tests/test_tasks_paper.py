"""The task that reads the founding paper's files, and every way in which they can be wrong."""

import csv
import json

import pytest

from wherefrom.data import Example
from wherefrom.errors import DataError, SettingError
from wherefrom.metrics import Truth
from wherefrom.tasks import TaskSize, build_task
from wherefrom.tasks._answer import agrees

TRAIN = [
    {"prompts": f"Which sound? {n}", "response": word, "variation": kind}
    for kind, word in (("cow", "moo"), ("cat", "meow"))
    for n in range(6)
]
TEST = [
    {"prompts": f"What sound? {n}", "response": word, "variation": kind}
    for kind, word in (("cow", "moo"), ("cat", "meow"))
    for n in range(3)
]


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train.jsonl").write_text(lines(TRAIN))
    (tmp_path / "test.jsonl").write_text(lines(TEST))
    return tmp_path


def test_rows_are_read_with_their_class(folder):
    made = build_task(f"paper:{folder}")
    assert made.labels == ("cow", "cat")
    assert [(row.prompt, row.response, row.label) for row in made.train] == [
        (row["prompts"], row["response"], row["variation"]) for row in TRAIN
    ]
    assert Truth.of(made).relevance.sum() == 6 * 6
    assert made.name == f"paper:{folder}"
    assert all(made.behaves(query, query.response) for query in made.queries)


def test_csv_and_json_lists_are_read_too(folder):
    expected = build_task(f"paper:{folder}")
    (folder / "train.jsonl").unlink()
    (folder / "test.jsonl").unlink()
    with (folder / "train.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, ["prompts", "response", "variation"])
        writer.writeheader()
        writer.writerows(TRAIN)
    (folder / "test.json").write_text(json.dumps(TEST))
    made = build_task(f"paper:{folder}")
    for got, wanted in ((made.train, expected.train), (made.queries, expected.queries)):
        assert [(r.prompt, r.response, r.label) for r in got] == [
            (r.prompt, r.response, r.label) for r in wanted
        ]


def test_a_size_keeps_a_seeded_sample_of_each_class(folder):
    made = build_task(f"paper:{folder}", TaskSize(2, 1), seed=1)
    assert [row.label for row in made.train] == ["cow", "cow", "cat", "cat"]
    assert [row.label for row in made.queries] == ["cow", "cat"]
    samples = {
        tuple(row.id for row in build_task(f"paper:{folder}", TaskSize(2, 1), seed).train)
        for seed in range(6)
    }
    assert len(samples) > 1


def test_a_folder_must_be_named():
    with pytest.raises(SettingError, match="Write paper:FOLDER"):
        build_task("paper")


def test_a_folder_must_be_there(tmp_path):
    with pytest.raises(DataError, match="nowhere is not a folder"):
        build_task(f"paper:{tmp_path / 'nowhere'}")


@pytest.mark.parametrize("part", ["train", "test"])
def test_both_files_must_be_there(folder, part):
    (folder / f"{part}.jsonl").unlink()
    with pytest.raises(DataError, match=rf"has no {part}\.jsonl .*prompts, response and variation"):
        build_task(f"paper:{folder}")


def test_two_files_for_one_part_are_refused(folder):
    (folder / "train.csv").write_text("prompts,response,variation\n")
    with pytest.raises(DataError, match=r"train\.jsonl and train\.csv; keep the one"):
        build_task(f"paper:{folder}")


def without(column):
    return {key: value for key, value in TRAIN[1].items() if key != column}


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("{broken", r"train\.jsonl:2: broken JSON"),
        ("[1, 2]", r"train\.jsonl:2: .*object"),
        (json.dumps(without("prompts")), r"train\.jsonl:2: .*prompts"),
        (json.dumps(without("response")), r"train\.jsonl:2: .*response"),
        (json.dumps(without("variation")), r"train\.jsonl:2: no class. .*variation"),
        (json.dumps({**TRAIN[1], "variation": None}), r"train\.jsonl:2: no class. .*variation"),
        (json.dumps({**TRAIN[1], "variation": " "}), r"train\.jsonl:2: no class. .*variation"),
        (json.dumps({**TRAIN[1], "prompts": None}), r"train\.jsonl:2: .*'prompts' is null"),
        (json.dumps({**TRAIN[1], "response": 3}), r"train\.jsonl:2: .*'response' is int"),
        (json.dumps({**TRAIN[1], "response": " "}), r"train\.jsonl:2: the response is empty"),
    ],
)
def test_broken_rows_are_named_with_file_and_line(folder, line, match):
    (folder / "train.jsonl").write_text(f"{lines(TRAIN[:1])}{line}\n{lines(TRAIN[2:])}")
    with pytest.raises(DataError, match=match):
        build_task(f"paper:{folder}")


@pytest.mark.parametrize("part", ["train", "test"])
def test_empty_files_are_refused(folder, part):
    (folder / f"{part}.jsonl").write_text("")
    with pytest.raises(DataError, match=rf"{part}\.jsonl.* no rows"):
        build_task(f"paper:{folder}")


def test_a_class_without_training_row_is_refused_with_its_row(folder):
    (folder / "test.jsonl").write_text(lines([*TEST, {**TEST[0], "variation": "dog"}]))
    with pytest.raises(SettingError, match=r"test\.jsonl:7.*'dog', which no training row has"):
        build_task(f"paper:{folder}")


LONG = "We add what each of them ate, and then we take it all away.\nAnswer: -12"


@pytest.mark.parametrize(
    ("response", "generated", "expected"),
    [
        ("Reverse Order of Words", "reverse  order of words.\n\nBecause", True),
        ("Reverse Order of Words.", "Reverse Order of Words", True),
        ("Reverse Order of Words", "Reverse the words", False),
        ("sad", "Sad!", True),
        ("sad", "sadly", False),
        ("sad", "", False),
        (LONG, LONG, True),
        (LONG, "12 away.\nAnswer: -12.", True),
        (LONG, "ANSWER: 12", False),
        (LONG, "Answer: -12\nAnswer: 5", False),
        (LONG, "-12", False),
        ("1 + 1 = 2\nAnswer: 2", "Answer: 2", False),
        ("?", "anything", False),
    ],
)
def test_agreement_with_the_reference(response, generated, expected):
    assert agrees(Example.of("q", "p", response), generated) is expected


@pytest.mark.parametrize("names", [("train", "test"), ("grammars_train.hf", "grammars_test.hf")])
def test_saved_data_sets_are_read_as_the_papers_release_has_them(tmp_path, names):
    from datasets import Dataset

    for name, count in zip(names, (4, 2), strict=True):
        rows = [
            {"prompts": f"{name} {i}", "response": "yes", "variation": "ab"[i % 2]}
            for i in range(count)
        ]
        Dataset.from_list(rows).save_to_disk(tmp_path / name)
    made = build_task(f"paper:{tmp_path}")
    assert (len(made.train), len(made.queries)) == (4, 2)
    assert made.labels == ("a", "b")
