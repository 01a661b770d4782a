from __future__ import annotations

import base64
import hashlib
import io
import math
import re
import unicodedata
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from wherefrom.answers import Calibration, with_calibration
from wherefrom.data import Example
from wherefrom.errors import DataError, IdentityError
from wherefrom.methods import REMOVAL
from wherefrom.report import ReportData, render_report, write_report
from wherefrom.report._choice import distinct_methods, sample_queries
from wherefrom.report._matrix import block_mean, normalised
from wherefrom.report._numbers import score
from wherefrom.report._png import png_address
from wherefrom.report._shown import Shown
from wherefrom.scores import Scores

VOID = {"meta", "br", "img", "input", "link", "hr"}
FILES = {"csv": "data:text/csv;charset=utf-8;base64,", "json": "data:application/json;base64,"}
METRICS = ("accuracy", "recall@10", "of our own")
HOSTILE = (
    "</style></script></title><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)' x='",
    "<svg/onload=alert(1)>&lt;b&gt;&#60;i&#62;",
    "{{ 7 * 7 }}{% raw %}{# #}",
    "]]>--><!--<plaintext>",
    "javascript:alert(1) https://evil.example/x.js",
    "\x1b[31mred\x1b[0m\x07\x00\u202eright to left\u2066\u200f\ud800\ufeff",
)


@dataclass
class Page(HTMLParser):
    """What a browser would make of the page: elements with attributes, and the text between."""

    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    text: list[tuple[str, str]] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    @classmethod
    def of(cls, html: str) -> Page:
        page = cls()
        page.feed(html)
        page.close()
        assert page.open == []
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append((self.open[-1] if self.open else "", data))

    @property
    def skeleton(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(tag, tuple(sorted(attributes))) for tag, attributes in self.elements]

    @property
    def words(self) -> str:
        spoken = (text for tag, text in self.text if tag not in ("style", "script"))
        return " ".join("".join(spoken).split())

    @property
    def links(self) -> set[str | None]:
        """Addresses within the page."""
        return {a["href"] for a in self.all("a") if "download" not in a}

    @property
    def files(self) -> dict[str, bytes]:
        """What can be saved from the page, by name."""
        kept = [a for a in self.all("a") if "download" in a]
        return {
            a["download"] or "": base64.b64decode((a["href"] or "").partition(",")[2]) for a in kept
        }

    def inside(self, tag: str) -> list[str]:
        return [text for owner, text in self.text if owner == tag]

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def made(
    text: str = "",
    *,
    classes: int = 3,
    rows: int = 4,
    queries: int = 2,
    methods: tuple[str, ...] = ("repsim", "gradient-cosine", "datainf", "random"),
    recipes: tuple[str, ...] = ("sound-1", "paper-1"),
    labels: bool = True,
    **changes: Any,
) -> ReportData:
    """A report's data with `text` at the end of every text in it."""
    rng = np.random.default_rng(0)
    # Lone surrogates come from escapes in JSON; ids and data frames refuse them by themselves.
    free, text = text, re.sub("[\ud800-\udfff]", "", text)

    def example(kind: str, number: int) -> Example:
        label = f"class {number % classes}{free}" if labels else None
        row = Example.of(
            f"{kind}-{number}{text}", f"prompt {number}{free}", f"response {number}{free}", label
        )
        return replace(row, source=f"{kind}.jsonl:{number + 1}{free}")

    train = tuple(example("train", number) for number in range(classes * rows))
    asked = tuple(example("query", number) for number in range(classes * queries))
    keys = [(recipe + text, method + text) for recipe in recipes for method in methods]
    scores = {
        key: Scores(
            rng.normal(size=(len(asked), len(train))),
            tuple(query.id for query in asked),
            tuple(row.id for row in train),
            key[1],
            unit="cosine" + free,
        )
        for key in keys
    }
    lines = [
        {
            "recipe": recipe,
            "method": method,
            "metric": metric + (text if metric == "of our own" else ""),
            "value": 0.9 - 0.1 * place,
            "low": 0.86 - 0.1 * place,
            "high": 0.94 - 0.1 * place,
            "queries": len(asked),
        }
        for place, (recipe, method) in enumerate(keys)
        for metric in METRICS
    ]
    known: dict[str, Any] = {
        "title": "a run" + free,
        "about": "What is taught." + free,
        "evaluation": pd.DataFrame(lines if labels else []),
        "train": train,
        "queries": asked,
        "scores": scores,
        "seconds": dict.fromkeys(keys, 1.5),
        "concentration": dict.fromkeys(keys, (3, len(asked), train[0].id, 0.5)),
        "behaviour": {"before fine-tuning" + text: 0.05, "after fine-tuning" + text: 0.9},
        "timings": {"capture" + text: 12.0, "methods" + text: 3.5},
        "card": {
            "seed" + text: 0,
            "versions" + text: {"torch" + text: "2.6" + free},
            "settings": {"lora": {"targets": ["q" + text, "v"]}},
        },
        "notes": ("3 rows were cut." + free,),
        "chance": {"accuracy": 0.1},
    }
    return ReportData(**{**known, **changes})


def evaluation(*lines: tuple[str, str, str, float, float, float]) -> pd.DataFrame:
    names = ["recipe", "method", "metric", "value", "low", "high"]
    return pd.DataFrame(list(lines), columns=names).assign(queries=20)


def tables(html: str) -> dict[str, list[list[str]]]:
    """Cells of every table by its caption's first words."""
    found = {}
    for body in re.findall(r"<table.*?</table>", html, re.S):
        caption = Page.of(re.search(r"<caption>.*?</caption>", body, re.S)[0]).words
        found[caption] = [
            [Page.of(cell).words for cell in re.findall(r"<t[hd][ >].*?</t[hd]>", row, re.S)]
            for row in re.findall(r"<tr>.*?</tr>", body, re.S)
        ]
    return found


def leaderboard(html: str, recipe: str = "sound-1") -> dict[str, dict[str, str]]:
    rows = next(t for caption, t in tables(html).items() if caption.startswith(f"Recipe {recipe}:"))
    return {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows[1:]}


@pytest.fixture(scope="module")
def html() -> str:
    return render_report(made())


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_an_element_or_an_attribute(html: str, text: str) -> None:
    assert Page.of(render_report(made(text))).skeleton == Page.of(html).skeleton


@settings(max_examples=15, deadline=None)
@given(st.text(alphabet=st.characters() | st.sampled_from("<>\"'&/={}%#`\n\t "), max_size=20))
def test_any_text_leaves_the_page_as_it_was(text: str) -> None:
    small = {"classes": 2, "rows": 2, "queries": 1, "methods": ("a", "b"), "recipes": ("r",)}
    assert Page.of(render_report(made(text, **small))).skeleton == (
        Page.of(render_report(made(**small))).skeleton
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_no_character_moves_a_cursor_or_reverses_its_neighbours(text: str) -> None:
    page = render_report(made(text)).encode().decode()
    assert {c for c in page if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co")} <= {"\n"}


def test_the_text_is_shown_as_it_is() -> None:
    page = Page.of(render_report(made("<b onclick='x()'>&amp;")))
    assert "prompt 0<b onclick='x()'>&amp;" in page.words
    assert page.inside("title") == ["a run<b onclick='x()'>&amp;"]


@pytest.mark.parametrize("text", ["", *HOSTILE])
def test_nothing_is_loaded_from_elsewhere(text: str) -> None:
    page = Page.of(render_report(made(text)))
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"link", "img", "iframe", "object", "embed", "form", "base", "audio", "video"}
    for tag, attributes in page.elements:
        assert not {name for name in attributes if name.startswith("on")}
        assert not {"style", "src", "srcset", "action", "xlink:href"} & set(attributes)
        address = attributes.get("href")
        if address is not None:
            assert tag in ("a", "image")
            kept = "data:image/png;base64," if tag == "image" else "#"
            if "download" in attributes:
                kept = FILES[(attributes["download"] or "").rpartition(".")[2]]
            assert address.startswith(kept)
    own = page.inside("style") + page.inside("script")
    assert not re.search(r"https?:|//|url\(|@import|fetch|import\(", "".join(own))


def test_links_within_the_page_lead_somewhere(html: str) -> None:
    page = Page.of(html)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert page.links <= {f"#{id}" for id in ids}


@pytest.mark.parametrize("text", ["", HOSTILE[0]])
def test_policy_allows_this_style_and_this_script_only(text: str) -> None:
    page = Page.of(render_report(made(text)))
    policy = next(m["content"] for m in page.all("meta") if "http-equiv" in m)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for tag in ("style", "script"):
        (own,) = page.inside(tag)
        digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"


def test_a_megabyte_in_every_text_stays_small(html: str) -> None:
    line = "<p>" + "x" * 1_000_000
    assert len(render_report(made(line, recipes=("r",), methods=("a", "b")))) < 700_000


def test_a_large_run_stays_small() -> None:
    big = made(classes=10, rows=100, queries=50, recipes=("sound-1",))
    page = render_report(big)
    assert len(page) < 1_200_000
    assert "One pixel is the mean over about 2.1 queries × 2.1 training rows." in page


def test_structure_serves_a_screen_reader(html: str) -> None:
    page = Page.of(html)
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert len(page.all("caption")) == len(page.all("table")) > 0
    assert all(head.get("scope") in ("col", "row") for head in page.all("th"))
    for svg in page.all("svg"):
        assert svg.get("aria-hidden") == "true" or len(svg["aria-label"] or "") > 20
    for landmark in ("header", "nav", "main", "footer"):
        assert len(page.all(landmark)) == 1
    assert page.all("html") == [{"lang": "en"}]


def test_leaderboard_has_the_figures_of_the_data() -> None:
    data = made()
    page = render_report(data)
    for line in data.evaluation.to_dict("records"):
        cell = leaderboard(page, line["recipe"])[line["method"]][line["metric"]]
        assert cell.removeprefix("◆ best: ") == (
            f"{100 * line['value']:.1f} {100 * line['low']:.1f}–{100 * line['high']:.1f}"
        )
    row = leaderboard(page)["repsim"]
    assert row["accuracy"].startswith("◆ best:")
    assert row["seconds"] == "1.5"
    assert row["distinct top rows"] == "3 of 6 train-0: 50.0 %"
    assert not leaderboard(page)["random"]["accuracy"].startswith("◆")


def test_best_is_marked_once_a_column_and_all_of_a_tie() -> None:
    frame = evaluation(
        ("r", "repsim", "accuracy", 0.8, 0.7, 0.9),
        ("r", "datainf", "accuracy", 0.8, 0.7, 0.9),
        ("r", "random", "accuracy", 0.1, 0.0, 0.2),
    )
    board = leaderboard(render_report(made(recipes=("r",), evaluation=frame)), "r")
    assert [row["accuracy"][0] for row in board.values() if "accuracy" in row][:3] == [
        "◆",
        "◆",
        "1",
    ]


def test_unknown_numbers_are_dashes() -> None:
    frame = evaluation(
        ("r", "repsim", "accuracy", 0.8, math.nan, math.nan),
        ("r", "datainf", "accuracy", math.nan, math.nan, math.nan),
        ("r", "datainf", "mrr", 0.5, 0.4, 0.6),
    )
    data = made(
        recipes=("r",),
        evaluation=frame,
        seconds={("r", "repsim"): None},
        concentration={},
        chance={"accuracy": math.nan, "mrr": 0.25},
    )
    page = render_report(data)
    board = leaderboard(page, "r")
    assert board["datainf"]["accuracy"] == "–"
    assert board["repsim"]["accuracy"] == "◆ best: 80.0"
    assert board["repsim"]["MRR"] == "–"
    assert board["repsim"]["seconds"] == board["datainf"]["seconds"] == "–"
    assert board["repsim"]["distinct top rows"] == "–"
    assert board["random order"]["accuracy"] == "–"
    assert board["random order"]["MRR"] == "25.0"
    assert not re.search(r"(?i:\bnan\b|\binf\b)|None", Page.of(page).words)


def test_an_evaluation_without_any_value_still_makes_a_page() -> None:
    frame = evaluation(("r", "repsim", "accuracy", math.nan, math.nan, math.nan))
    page = Page.of(render_report(made(recipes=("r",), evaluation=frame)))
    assert "no method leads" in page.words


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ((0.6, 0.5, 0.69), "lies wholly above it"),
        ((0.6, 0.5, 0.75), "do not settle which of the two is better"),
        ((0.8, 0.7, 0.9), "has the same value"),
        ((0.6, math.nan, math.nan), "not to be relied on"),
    ],
)
def test_summary_says_whether_the_leader_is_apart(
    second: tuple[float, float, float], said: str
) -> None:
    frame = evaluation(
        ("sound-1", "repsim", "accuracy", 0.8, 0.7, 0.9),
        ("paper-1", "repsim", "accuracy", 0.79, 0.69, 0.89),
        ("sound-1", "datainf", "accuracy", *second),
    )
    words = Page.of(render_report(made(evaluation=frame))).words
    assert "repsim (sound-1) leads on accuracy with 80.0 % (95 % interval 70.0–90.0 %)" in words
    assert "datainf (sound-1)" in words
    assert said in words
    assert "not a row that caused the answer" in words


def test_summary_doubts_what_was_not_learned_or_not_shown() -> None:
    frame = evaluation(("sound-1", "repsim", "accuracy", 0.2, 0.05, 0.35))
    words = Page.of(render_report(made(evaluation=frame, behaviour={"before": 0.4, "after": 0.4})))
    assert "nothing here is shown to beat chance" in words.words
    assert "It did not rise" in words.words
    assert "comes first for at least half of the queries" in words.words


def test_an_interval_without_width_is_not_called_certain() -> None:
    frame = evaluation(("sound-1", "repsim", "accuracy", 1.0, 1.0, 1.0))
    assert "that is not certainty" in Page.of(render_report(made(evaluation=frame))).words


def test_behaviour_and_size_are_in_the_summary(html: str) -> None:
    words = Page.of(html).words
    assert "in 5.0 % before fine-tuning and in 90.0 % after fine-tuning" in words
    for fact in ("12 training rows", "6 queries", "3 classes", "4 methods", "2 recipes"):
        assert fact in words


def test_rows_without_labels_have_no_leaderboard_and_no_marks() -> None:
    page = render_report(made(labels=False, concentration={}, behaviour={}, chance={}))
    words = Page.of(page).words
    assert "no leaderboard, since the rows carry no labels" in words
    assert "same class" not in words
    assert "Caution" not in words
    assert not any(caption.startswith("Recipe") for caption in tables(page))
    assert Page.of(page).all("image")


def test_labels_without_evaluation_are_not_called_missing() -> None:
    words = Page.of(render_report(made(evaluation=pd.DataFrame()))).words
    assert "this run was not evaluated" in words
    assert "● same class" in words


def test_some_rows_without_labels() -> None:
    data = made()
    train = (*data.train[:-1], replace(data.train[-1], label=None))
    assert "no label" in Page.of(render_report(replace(data, train=train))).words


def test_nothing_at_all_still_makes_a_page() -> None:
    data = ReportData(
        title="empty", about="", evaluation=pd.DataFrame(), train=(), queries=(), scores={}
    )
    words = Page.of(render_report(data)).words
    assert "There are no scores to draw." in words
    assert "There are no queries to show." in words


def test_samples_show_the_highest_and_the_lowest_rows() -> None:
    data = made(methods=("repsim",), recipes=("r",), classes=3, rows=4, queries=1)
    values = np.tile(np.arange(12.0), (3, 1))
    scores = {("r", "repsim"): replace(data.scores["r", "repsim"], values=values)}
    page = render_report(replace(data, scores=scores))
    first = re.search(r'<details class="sample" open>.*?</ol>.*?</ol>', page, re.S)[0]
    ranks = re.findall(r"</span>(\d+)</span> <span class=\"score\">(\S+)</span>", first)
    assert ranks == [
        *[("1", "+11.0"), ("2", "+10.0"), ("3", "+9.00"), ("4", "+8.00"), ("5", "+7.00")],
        *[("12", "0"), ("11", "+1.00"), ("10", "+2.00")],
    ]
    assert first.count("● same class") == 2
    assert "train.jsonl:12" in first


def test_methods_not_shown_in_full_are_folded(html: str) -> None:
    brief = tables(html)[next(name for name in tables(html) if "query 1, and the lowest" in name)]
    assert len(brief) == 1 + 8 - 3
    assert len({len(row) for row in brief}) == 1


def test_sample_queries_take_one_of_each_class_first() -> None:
    rows = [Example.of(str(i), "p", "r", label) for i, label in enumerate("aabacb")]
    assert sample_queries(rows, 4) == (0, 2, 4, 1)
    assert sample_queries(rows, 2) == (0, 2)


def test_methods_that_say_the_same_are_not_shown_side_by_side() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 4, 30))
    values = {"a": one, "b": 2 * one + 1, "c": other, "d": -one}
    ids = (tuple("wxyz"), tuple(map(str, range(30))))
    scores = {("r", name): Scores(value, *ids, name) for name, value in values.items()}
    assert distinct_methods(list(scores), scores, 3) == (("r", "a"), ("r", "c"), ("r", "d"))
    twins = {key: scores[key] for key in (("r", "a"), ("r", "b"))}
    assert distinct_methods(list(twins), twins, 3) == (("r", "a"), ("r", "b"))


def test_a_method_that_foretells_removal_is_shown_in_full() -> None:
    data = made(recipes=("r",), methods=tuple("abcde"))
    weakest = ("r", "e")
    assert weakest not in Shown.of(data).full
    scores = data.scores | {weakest: replace(data.scores[weakest], unit=REMOVAL)}
    shown = Shown.of(replace(data, scores=scores))
    assert weakest in shown.full
    assert len(shown.full) == 3
    page = render_report(replace(data, scores=scores))
    least = float(scores[weakest].top(1).values[0, 0])
    assert f"without it {score(-least / len(data.train))} nats" in page
    assert "their size can be many times too large or too small" in page
    sized = with_calibration(scores[weakest], Calibration(0.5, 0.4, 0.6, 30))
    page = render_report(replace(data, scores=scores | {weakest: sized}))
    assert f"without it {score(-0.5 * least / len(data.train))} nats" in page
    assert "multiplied by 0.5 (95 % interval 0.4 to 0.6), as 30 models trained on parts" in page


def test_of_those_that_foretell_the_default_under_the_own_recipe_is_shown() -> None:
    data = made(methods=("repsim", "bm25", "datainf", "logra", "influence"))
    foretelling = {key for key in data.scores if key[1] in ("logra", "influence")}
    scores = {
        key: replace(one, unit=REMOVAL) if key in foretelling else one
        for key, one in data.scores.items()
    }
    assert foretelling & set(Shown.of(replace(data, scores=scores)).full) == {
        ("sound-1", "influence")
    }


def test_normalised_scores_have_mean_0_and_deviation_1() -> None:
    values = np.random.default_rng(0).normal(5, 3, size=(4, 50))
    values[3] = 7.0
    normal = normalised(np.concatenate([values, values[:1] * 1e37]).astype(np.float32))
    assert np.allclose(normal.mean(axis=1), 0)
    assert np.allclose(normal.std(axis=1), [1, 1, 1, 0, 1])


def test_block_mean_keeps_the_mean_of_equal_blocks() -> None:
    values = np.arange(24.0).reshape(4, 6)
    assert block_mean(values, 4, 6) is values
    assert np.allclose(block_mean(values, 2, 3), [[3.5, 5.5, 7.5], [15.5, 17.5, 19.5]])
    assert block_mean(np.ones((7, 11)), 3, 4).tolist() == np.ones((3, 4)).tolist()


def test_image_is_clear_at_the_mean_and_full_at_three_deviations() -> None:
    address = png_address(np.array([[-9.0, -3.0, 0.0, 3.0]]))
    data = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))[0]
    assert pixels[:, 3].tolist() == [255, 255, 0, 255]
    assert pixels[0].tolist() == pixels[1].tolist()
    assert pixels[0][2] > pixels[0][0]
    assert pixels[3][0] > pixels[3][2]


def test_heat_map_is_sorted_by_class_and_told_in_words() -> None:
    data = made(methods=("repsim",), recipes=("r",), classes=2, rows=2, queries=1)
    match = np.array([[q.label == t.label for t in data.train] for q in data.queries])
    scores = {("r", "repsim"): replace(data.scores["r", "repsim"], values=match)}
    page = Page.of(render_report(replace(data, scores=scores)))
    (image,) = page.all("image")
    drawn = base64.b64decode((image["href"] or "").removeprefix("data:image/png;base64,"))
    red = np.asarray(Image.open(io.BytesIO(drawn)).convert("RGBA"))[:, :, 0] > 128
    assert red.tolist() == [[True, True, False, False], [False, False, True, True]]
    (alt,) = (s["aria-label"] or "" for s in page.all("svg") if "Heat map" in str(s))
    assert "+1.00 within the query's class, −1.00 outside it" in alt


def test_timings_card_and_notes_are_shown(html: str) -> None:
    found = tables(html)
    assert found["Wall-clock time of each phase, in seconds."][1:] == [
        ["capture", "12.0"],
        ["methods", "3.5"],
        ["all phases", "15.5"],
    ]
    assert found["Run card: settings"][1] == ["lora.targets", "q, v"]
    assert "3 rows were cut." in Page.of(html).words


def test_report_is_one_file_and_the_same_each_time(tmp_path: Path, html: str) -> None:
    path = tmp_path / "runs" / "report.html"
    write_report(made(), path)
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
    assert path.read_text(encoding="utf-8") == html


def test_scores_of_other_rows_are_refused() -> None:
    data = made()
    with pytest.raises(IdentityError, match=r"place 0 is 'train-0' .* and 'train-1' in the report"):
        replace(data, train=data.train[1:] + data.train[:1])
    with pytest.raises(IdentityError, match="cover 6 queries, and the report has 5"):
        replace(data, queries=data.queries[1:])


def test_a_wrong_evaluation_is_refused() -> None:
    data = made()
    with pytest.raises(DataError, match="lacks the columns low"):
        replace(data, evaluation=data.evaluation.drop(columns="low"))
    with pytest.raises(DataError, match="two values of accuracy for repsim"):
        replace(data, evaluation=pd.concat([data.evaluation, data.evaluation]))
