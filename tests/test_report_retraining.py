"""The report's section on retraining: its chart and its tables."""

import math
import re
import unicodedata

import pandas as pd
import pytest

from test_report import HOSTILE, Page, evaluation, made, tables
from wherefrom.errors import DataError
from wherefrom.metrics import NoiseCeiling
from wherefrom.report import render_report
from wherefrom.report._retraining import PARTS, Retraining

METHODS = ("repsim", "gradient-cosine", "datainf", "random")
NAN = math.nan
HEAD = "Ground truth by retraining"
SETTINGS = {
    "parts": list(PARTS),
    "outcome": "log_probability",
    "keep": 0.5,
    "draws": 20,
    "steps": 1,
}


def lds(*lines, seeds=2, undefined=0):
    names = ["method", "value", "low", "high"]
    return pd.DataFrame(list(lines), columns=names).assign(
        queries=6, undefined=undefined, subsets=32, seeds=seeds
    )


def removals(what, *lines):
    """Lines of method, k, drop and excess, with made-up intervals."""
    return pd.DataFrame(
        [
            {
                "method": method,
                "k": k,
                what: value,
                "low": value - 0.1,
                "high": value + 0.1,
                "excess": excess,
                "excess_low": excess - 0.2,
                "excess_high": excess + 0.2,
                "p": 1 / 21,
                "beyond": 0.25,
                "queries": 6,
                "seeds": 2,
            }
            for method, k, value, excess in lines
        ]
    )


def frames(text=""):
    """Every part, with `text` at the end of every method's name."""
    one, two, three, four = (method + text for method in METHODS)
    return {
        "lds": lds(
            (one, 0.1, -0.2, 0.4),
            (two, 0.6, 0.4, 0.8),
            (three, 0.3, 0.1, 0.5),
            (four, -0.1, NAN, NAN),
        ),
        "leave-out": removals(
            "drop", (one, 2, 0.1, -0.05), (two, 2, 0.3, 0.25), (two, 5, 0.5, 0.4)
        ),
        "tail-patch": removals("gain", (one, 2, 0.1, 0.05), (two, 2, 0.3, 0.25)),
        "brittleness": pd.DataFrame(
            {"method": [one, two], "median": [NAN, 4.5], "flipped": [0.4, 0.9], "queries": 5}
        ),
        "leave-one-out": pd.DataFrame(
            {"method": [one, two], "spearman": [-0.05, 0.31], "queries": 6}
        ),
    }


def matched(text="", recipe="sound-1"):
    """Class match of every method, best first in the order of `METHODS`."""
    return evaluation(
        *(
            (recipe + text, method + text, "average_precision", value, value - 0.05, value + 0.05)
            for method, value in zip(METHODS, (0.9, 0.7, 0.5, 0.2), strict=True)
        )
    )


def held(text="", **changes):
    """What retraining said of the first recipe of `made`."""
    known = {
        "recipe": "sound-1" + text,
        "frames": frames(text),
        "ceiling": NoiseCeiling(0.7, 0.9, 0.8, 0.95),
        "gap": 0.0,
        "settings": SETTINGS,
    }
    return Retraining(**{**known, **changes})


def report(text="", retraining=None, **changes):
    plain = re.sub("[\ud800-\udfff]", "", text)
    known = {"evaluation": matched(plain), "retraining": retraining or held(plain)}
    return render_report(made(text, **{**known, **changes}))


def section(html):
    return re.search(r'<section id="retraining".*?</section>', html, re.S)[0]


def drawing(html):
    return re.search(r'<svg class="dots".*?</svg>', section(html), re.S)[0]


def dots(html):
    """Centre of each dot by what pointing at it tells."""
    found = re.findall(
        r'<circle class="dot s0" cx="(.*?)" cy="(.*?)" r="4.5"><title>(.*?)</title>', drawing(html)
    )
    return {told: (float(x), float(y)) for x, y, told in found}


def guides(html):
    """Height of each level line by its name."""
    found = re.findall(r'class="guide".*?y1="(.*?)".*?<text.*?>(.*?)</text>', drawing(html), re.S)
    return {name: float(y) for y, name in found}


def told(html):
    """What the summary says of retraining."""
    found = re.search(r"<dt>Retraining</dt>\s*<dd>(.*?)</dd>", html, re.S)
    return Page.of(found[1]).words if found else ""


@pytest.fixture(scope="module")
def html():
    return report()


def test_the_section_is_there_only_with_results(html):
    assert HEAD in Page.of(html).words
    assert '<a href="#retraining">' in html
    without = render_report(made(evaluation=matched()))
    assert HEAD not in without
    assert "#retraining" not in without
    assert not told(without)
    empty = report(retraining=held(frames={"lds": frames()["lds"][:0]}))
    assert HEAD not in empty


@pytest.mark.parametrize("part", PARTS)
def test_a_part_alone_has_its_table_and_no_other(part):
    page = report(retraining=held(frames={part: frames()[part]}))
    assert section(page).count("<table") == 1
    assert ("<svg" in section(page)) == (part == "lds")
    assert bool(told(page)) == (part == "lds")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_stay_text(html, text):
    page = report(text)

    def skeleton(html):
        # how many names fit beside the dots depends on how long they are
        drawn = re.sub(r'<text class="beside".*?</text>|<line class="tie".*?/>', "", html)
        return Page.of(drawn).skeleton

    assert skeleton(page) == skeleton(html)
    characters = {c for c in page if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co")}
    assert characters <= {"\n"}


def test_long_names_leave_the_drawing_small():
    page = report("x" * 100_000, recipes=("sound-1",), methods=METHODS[:2])
    assert len(section(page)) < 40_000


def test_structure_serves_a_screen_reader(html):
    page = Page.of(html)
    (svg,) = Page.of(drawing(html)).all("svg")
    alt = svg["aria-label"]
    assert "Highest is gradient-cosine with 0.600, lowest random with −0.100" in alt
    assert "farthest to the right is repsim with 90.0 %" in alt
    described = {table["aria-describedby"] for table in page.all("table") if "slim" in str(table)}
    assert described <= {attributes.get("id") for _, attributes in page.elements}
    assert len(page.all("caption")) == len(page.all("table"))


def test_right_is_class_match_and_up_is_lds(html):
    at = {name.split(":")[0]: place for name, place in dots(html).items()}
    assert sorted(at, key=lambda name: -at[name][0]) == list(METHODS)
    assert sorted(at, key=lambda name: at[name][1]) == [
        *("gradient-cosine", "datainf", "repsim", "random"),
    ]
    zero, ceiling = guides(html)["foretells nothing"], guides(html)["noise ceiling"]
    assert ceiling < at["gradient-cosine"][1] < at["repsim"][1] < zero < at["random"][1]
    # straight scales: equal steps lie equally far apart
    assert at["datainf"][0] - at["random"][0] == pytest.approx(
        1.5 * (at["gradient-cosine"][0] - at["datainf"][0]), abs=0.5
    )


def test_a_dot_tells_its_numbers_and_where_it_ends(html):
    assert "repsim: class match 90.0 % (85.0–95.0 %), LDS 0.100 (−0.200 to 0.400)" in dots(html)
    assert "random: class match 20.0 % (15.0–25.0 %), LDS −0.100" in dots(html)


def test_intervals_that_are_unknown_are_not_drawn(html):
    assert drawing(html).count('class="range thin') == 3
    unknown = frames() | {"lds": lds(*((method, 0.2, NAN, NAN) for method in METHODS))}
    page = report(retraining=held(frames=unknown))
    assert "range thin" not in drawing(page)
    assert len(dots(page)) == 4
    assert "Without an interval, that is not to be relied on." in told(page)
    assert not re.search(r"\bnan\b|None", Page.of(section(page)).words, re.I)


def test_values_that_are_unknown_are_dashes_at_the_end():
    part = {"lds": lds(("repsim", NAN, NAN, NAN), ("random", 0.2, 0.1, 0.3))}
    page = report(retraining=held(frames=part))
    assert [name.split(":")[0] for name in dots(page)] == ["random"]
    rows = table(page, "Linear datamodeling score")
    assert rows[1:] == [["random", "0.200 0.100 to 0.300"], ["repsim", "–"]]
    nothing = {"lds": lds(("repsim", NAN, NAN, NAN))}
    page = report(retraining=held(frames=nothing))
    assert "<svg" not in section(page)
    assert not told(page)


def test_methods_that_say_the_same_share_a_dot():
    twins = {"lds": lds(("repsim", 0.4, 0.2, 0.6), ("datainf", 0.4, 0.2, 0.6))}
    same = evaluation(
        ("sound-1", "repsim", "average_precision", 0.5, 0.4, 0.6),
        ("sound-1", "datainf", "average_precision", 0.5, 0.4, 0.6),
    )
    page = report(retraining=held(frames=twins), evaluation=same)
    (only,) = dots(page)
    assert only.startswith("repsim and datainf: ")
    assert "repsim +1" in drawing(page)


def test_one_seed_has_no_ceiling():
    one = frames() | {"lds": lds(("repsim", 0.4, 0.2, 0.6), seeds=1)}
    page = report(retraining=held(frames=one, ceiling=NoiseCeiling(NAN, NAN, NAN, NAN)))
    assert list(guides(page)) == ["foretells nothing"]
    words = Page.of(section(page)).words
    assert "With one seed there is no noise ceiling" in words
    assert "over subsets and queries." in words
    assert "ceiling" not in told(page)


def test_class_match_is_that_of_the_recipe_that_was_judged():
    both = pd.concat([matched(recipe="paper-1").assign(value=0.99), matched()])
    page = report(evaluation=both)
    assert not any("99.0" in name for name in dots(page))
    assert "The scores are those of recipe sound-1." in Page.of(section(page)).words
    other = report(evaluation=matched(recipe="paper-1"))
    assert not dots(other)


def test_a_method_without_class_match_is_counted():
    page = report(evaluation=matched()[:3])
    assert len(dots(page)) == 3
    assert "Of 1 no class match is known: in the table only." in Page.of(section(page)).words


def test_rows_without_labels_get_a_chart_of_intervals():
    page = report(labels=False, evaluation=pd.DataFrame(), chance={})
    assert "Further right = foretells better what leaving rows out does." in section(page)
    marks = [float(x) for x in re.findall(r'<circle class="dot s0" cx="(.*?)"', drawing(page))]
    assert marks == sorted(marks, reverse=True)
    assert len(marks) == 4
    assert "noise ceiling" in drawing(page)
    assert "class match" not in Page.of(section(page)).words
    assert "class match" not in told(page)


def table(html, name):
    body = section(html)
    return next(rows for caption, rows in tables(body).items() if caption.startswith(name + ":"))


def test_tables_have_the_numbers_with_their_signs(html):
    assert table(html, "Linear datamodeling score") == [
        ["method", "LDS"],
        ["gradient-cosine", "0.600 0.400 to 0.800"],
        ["datainf", "0.300 0.100 to 0.500"],
        ["repsim", "0.100 −0.200 to 0.400"],
        ["random", "−0.100"],
    ]
    rows = table(html, "Leaving the top rows out")
    assert rows[0] == ["method", "k", "drop", "excess", "p", "beyond"]
    assert [row[:2] for row in rows[1:]] == [
        *(["gradient-cosine", "2"], ["repsim", "2"], ["gradient-cosine", "5"]),
    ]
    assert rows[2][2:] == [
        *("+0.100 0 to +0.200", "−0.0500 −0.250 to +0.150", "0.048", "25.0"),
    ]
    assert table(html, "Training on the top rows (tail-patch)")[0][2] == "gain"
    assert table(html, "Brittleness")[1:] == [
        ["gradient-cosine", "4.5", "90.0"],
        ["repsim", "–", "40.0"],
    ]
    assert table(html, "Leaving single rows out")[1:] == [
        ["gradient-cosine", "0.310"],
        ["repsim", "−0.050"],
    ]


def test_words_beside_the_tables_say_scale_and_sign(html):
    words = Page.of(section(html)).words
    for said in (
        "From −1 to 1, higher is better",
        "each 50 % of them",
        "The noise ceiling is 0.900 (0.800 to 0.950)",
        "Above 0 = without them the outcome was lower",
        "Above 0 = these rows push towards the response.",
        "with 20 random sets, never below 0.048",
        "in nats a token",
        "would say this",
        "it gives back the run’s own model",
    ):
        assert said in words


def test_settings_of_another_command_are_not_claimed():
    page = report(retraining=held(settings=SETTINGS | {"parts": ["lds"]}, gap=NAN))
    words = Page.of(section(page)).words
    assert words.count("in nats a token") == 1
    assert "never below" not in words
    assert "a few more steps" in words
    assert "own model" not in words


def test_too_few_random_sets_are_admitted():
    page = report(retraining=held(settings=SETTINGS | {"draws": 3}, gap=2e-5))
    words = Page.of(section(page)).words
    assert "none can with 3 random sets" in words
    assert "never below 0.250" in words
    assert "by more than 2e−05." in words


def test_queries_that_nothing_can_foretell_are_counted():
    part = {"lds": lds(("repsim", 0.4, 0.2, 0.6), undefined=2)}
    assert "Left out: 2 queries" in Page.of(section(report(retraining=held(frames=part)))).words


@pytest.mark.parametrize("part", PARTS)
def test_a_frame_without_a_column_is_refused(part):
    column = PARTS[part][1]
    with pytest.raises(DataError, match=f"{part} lacks the columns {column}"):
        held(frames={part: frames()[part].drop(columns=column)})


def test_an_unknown_part_is_refused():
    with pytest.raises(DataError, match="no part 'other'"):
        held(frames={"other": frames()["lds"]})
