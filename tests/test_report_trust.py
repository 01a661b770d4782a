"""The report's section on trust: verdict, checks, answers and figures."""

import json
import math
import re
import shutil
import unicodedata
from itertools import pairwise

import pytest

import judged
import trusted
from test_report import HOSTILE, Page, made, tables
from wherefrom.diagnose import GROUPS, SpotCheck, Trust, Verdict
from wherefrom.errors import DataError, IdentityError
from wherefrom.report import render_report, report_run

NAN = math.nan
HEAD = "Can these answers be trusted?"


def report(text="", **changes):
    plain = re.sub("[\ud800-\udfff]", "", text)
    return render_report(made(text, trust=trusted.trust(plain, **changes)))


def section(html):
    return re.search(r'<section id="trust".*?</section>\s*<section id="leaderboard"', html, re.S)[0]


def words(html):
    return Page.of(section(html).removesuffix('<section id="leaderboard"')).words


def group(html, name):
    """What the page has of a group of checks."""
    parts = re.findall(r'<section class="checks"[^>]*>.*?</section>', html, re.S)
    return next(part for part in parts if f"<h4>{name}</h4>" in part)


def told(html):
    """What the summary says of the check."""
    found = re.search(r"<dt>Checked</dt>\s*<dd>(.*?)</dd>", html, re.S)
    return Page.of(found[1]).words if found else ""


def answers(html):
    """Lines of the table of answers."""
    caption = "The answers that were looked at"
    return next(rows for head, rows in tables(section(html)).items() if head.startswith(caption))


def strip(html):
    return re.search(r'<svg class="dots" role="img" aria-label="Strip.*?</svg>', html, re.S)


@pytest.fixture(scope="module")
def html():
    return report()


def test_the_section_is_there_only_after_a_check(html):
    assert words(html).startswith(HEAD)
    assert '<a href="#trust">' in html
    without = render_report(made())
    assert HEAD not in without
    assert not told(without)
    assert 'id="trust"' not in without


def test_the_section_stands_right_after_the_summary(html):
    heads = re.findall(r"<h2.*?>(.*?)</h2>", html)
    assert heads[:2] == ["Summary", HEAD]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(html, text):
    page = report(text)
    assert Page.of(page).skeleton == Page.of(html).skeleton
    characters = {c for c in page if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co")}
    assert characters <= {"\n"}
    for _, attributes in Page.of(page).elements:
        assert not {"style", "src", "onclick", "onmouseover", "onload"} & set(attributes)


def test_long_texts_leave_the_section_small():
    assert len(section(report("x" * 100_000))) < 180_000


def test_structure_serves_a_screen_reader(html):
    page = Page.of(html)
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert len(page.all("caption")) == len(page.all("table"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert page.links <= {f"#{id}" for id in ids}
    for svg in page.all("svg"):
        assert svg.get("aria-hidden") == "true" or len(svg["aria-label"] or "") > 20


def test_verdict_number_and_reasons_of_the_run(html):
    found = re.search(r'<p class="verdict">(.*?)</p>\s*<ul.*?>(.*?)</ul>', section(html), re.S)
    assert Page.of(found[1]).words == "◐ weak 0.42"
    assert re.findall(r"<li.*?>(.*?)</li>", found[2]) == ["one thing", "another"]
    assert "2 training rows that it ranks first" in words(html)


@pytest.mark.parametrize("number", [None, NAN])
def test_a_run_of_which_nothing_can_be_told_has_no_number(number):
    page = report(verdict=Verdict("cannot tell", number, ()), seconds=0.0)
    found = re.search(r'<p class="verdict">(.*?)</p>', section(page), re.S)
    assert Page.of(found[1]).words == "? cannot tell"
    assert "made in" not in words(page)
    assert not re.search(r"\bnan\b|None", words(page), re.I)


def test_groups_come_in_their_order(html):
    heads = re.findall(r"<h4>(.*?)</h4>", section(html))
    assert len(heads) == len(GROUPS)
    assert heads[0] == "Integrity"
    assert [head for head in heads if "Mechanism" in head] == [
        "Mechanism 1: curvature",
        "Mechanism 2: convergence",
        "Mechanism 3: behaviour",
    ]


def test_bad_checks_are_open_and_first_with_all_that_is_known(html):
    sanity = group(html, "Sanity")
    first, _, rest = sanity.partition("<details")
    assert Page.of(re.search(r'<div class="check.*?</dl>\s*</div>', first, re.S)[0]).words == (
        "▲ warning near-duplicates near-duplicates measured 0.25 of 40 rows. normalnear-duplicates is "
        "normally 0. meaningnear-duplicates means that answers are poor. what to donear-duplicates wants "
        "a second look."
    )
    assert "lexical-overlap" in rest
    assert "<details" in sanity
    assert " open" not in sanity


def test_failures_come_before_warnings():
    findings = [
        trusted.finding("near-duplicates"),
        trusted.finding("self-retrieval", level="failure"),
    ]
    sanity = group(report(findings=findings), "Sanity")
    assert sanity.index("self-retrieval") < sanity.index("near-duplicates")


def test_good_checks_are_folded(html):
    folded = re.search(r'<details class="folded">.*?</details>', group(html, "Integrity"), re.S)[0]
    assert Page.of(folded).words.startswith("1 in order: weights ✓ good weights weights measured")
    assert "weights" not in group(html, "Integrity").replace(folded, "")


def test_what_could_not_be_measured_is_listed_with_its_reason(html):
    untold = re.search(r'<ul class="untold">.*?</ul>', group(html, "Sanity"), re.S)[0]
    assert Page.of(untold).words == "? unknown base-model not measured: no pass was made at base"


def test_links_lead_to_the_bad_checks(html):
    linked = re.findall(r'<a href="#(check-\d+)"><bdi>(.*?)</bdi></a>', section(html))
    assert [name for _, name in linked] == ["rows-fit", "near-duplicates"]
    for anchor, name in linked:
        body = re.search(rf'id="{anchor}">.*?</dl>', section(html), re.S)[0]
        assert name in body


def test_levels_and_groups_from_elsewhere_are_shown_as_not_known():
    odd = [
        trusted.finding("mine", level="dreadful"),
        trusted.finding("yours", group="astrology", level="warning"),
    ]
    page = report(findings=odd)
    assert "? dreadful mine" in words(page)
    assert "▲ warning yours" in Page.of(group(page, "Others")).words
    assert "is-dreadful" not in page
    unsure = report(verdict=Verdict("perhaps", 0.5, ()))
    assert "? perhaps 0.50" in words(unsure)


def test_answers_are_listed_the_least_supported_first(html):
    rows = answers(html)
    assert rows[0] == [
        *("answer to", "verdict", "chance", "gain", "random", "by words", "p", "why"),
    ]
    assert [row[1] for row in rows[1:]] == [
        *("○ not supported", "◐ weak", "? cannot tell", "● supported"),
    ]
    assert rows[1][2:] == [
        "0.07",
        "+0.120",
        "+0.00667",
        "+0.0500",
        "0.250",
        "one thinganother",
    ]
    assert rows[1][0] == "prompt 2 Response: response 2 query query-2"
    assert rows[3][2:7] == ["–"] * 5


def test_an_answer_to_no_query_of_the_run_has_its_id(html):
    page = report(traces=[trusted.trace("asked by hand", "weak", 0.5)])
    assert answers(page)[1][0] == "asked by hand query asked by hand"


def test_no_answers_and_no_checks_are_said():
    page = report(traces=[], findings=[])
    assert "No single answer was looked at." in words(page)
    assert "The checks" not in words(page)
    assert not strip(page)
    assert told(page) == (
        "Can the answers of influence be trusted? As a whole: weak (0.42). The weightiest reason: one "
        "thing."
    )


def test_gains_that_are_unknown_are_dashes_and_not_drawn():
    spots = [
        SpotCheck(NAN, (NAN, 0.1), (), NAN),
        SpotCheck(None, (), (None,), None),  # type: ignore[arg-type]
    ]
    traces = [trusted.trace("query-0", "weak", NAN, spot=spot) for spot in spots]
    page = report(traces=traces)
    assert [row[2:7] for row in answers(page)[1:]] == [
        ["–", "–", "+0.100", "–", "–"],
        ["–", "–", "–", "–", "–"],
    ]
    assert not strip(page)
    assert not re.search(r"\b(nan|None|inf)\b", words(page))


def test_many_answers_are_cut_and_counted():
    page = report(traces=[trusted.trace(f"q{i}", "weak", i / 100) for i in range(64)])
    assert len(answers(page)) == 61
    assert "4 more are in check.json." in words(page)
    assert strip(page)[0].count('class="value"') == 30


def test_the_strip_has_a_dot_for_the_top_rows_and_a_stroke_for_each_random_set(html):
    drawn = strip(html)[0]
    assert drawn.count('class="dot s0"') == 3
    assert drawn.count('class="draw"') == 9
    assert drawn.count('class="dot s1"') == 6
    # a straight scale: 0 lies a quarter of the way from −0.03 to 0.09
    spot = SpotCheck(0.09, (-0.03, 0.03), (), 1 / 3)
    drawn = strip(report(traces=[trusted.trace("query-0", "weak", 0.5, spot=spot)]))[0]
    low, high = (float(x) for x in re.findall(r'class="draw" x1="(.*?)"', drawn))
    zero = float(re.search(r'class="guide" x1="(.*?)"', drawn)[1])
    gain = float(re.search(r'class="dot s0" cx="(.*?)"', drawn)[1])
    assert (zero - low) / (gain - low) == pytest.approx(0.25, abs=0.002)
    assert (high - low) / (gain - low) == pytest.approx(0.5, abs=0.002)
    assert "in 1 of them the top rows gain more than every random set" in drawn


def test_small_gains_fill_the_strip():
    spot = SpotCheck(9e-6, (-3e-6, 3e-6), (), 1 / 3)
    drawn = strip(report(traces=[trusted.trace("query-0", "weak", 0.5, spot=spot)]))[0]
    low, _ = (float(x) for x in re.findall(r'class="draw" x1="(.*?)"', drawn))
    gain = float(re.search(r'class="dot s0" cx="(.*?)"', drawn)[1])
    assert gain - low > 300
    assert ">4e−06<" in drawn


def test_the_summary_says_what_was_checked(html):
    assert re.search(r"<dt>(.*?)</dt>", html)[1] == "Checked"
    assert told(html) == (
        "Can the answers of influence be trusted? As a whole: weak (0.42). The weightiest reason: one "
        "thing. 2 of 10 checks speak against them: rows-fit and near-duplicates. 1 could not be made. Of "
        "4 answers looked at: 1 supported, 1 weak, 1 not supported and 1 that nobody can tell of."
    )


def test_the_summary_of_a_run_in_order_and_of_one_that_could_not_be_checked():
    good = [trusted.finding("weights"), trusted.finding("movement")]
    assert "None of 2 checks speaks against them." in told(report(findings=good))
    unknown = [trusted.finding("base-model")]
    assert "No check could be made." in told(report(findings=unknown))


def test_many_bad_checks_are_named_in_part():
    bad = [trusted.finding(f"bad-{i}", level="warning") for i in range(7)]
    assert "bad-3, bad-4 and 2 more." in told(report(findings=bad))


def test_rows_of_another_run_are_refused():
    other = trusted.trust(traces=[trusted.trace("query-0", "weak", 0.5, rows=("elsewhere",))])
    with pytest.raises(IdentityError, match="'elsewhere'"):
        made(trust=other)


@pytest.fixture(scope="module")
def scored(tmp_path_factory, tiny_folder):
    return judged.make_run(tmp_path_factory.mktemp("trusted"), tiny_folder)


@pytest.fixture
def run(scored, tmp_path):
    """A scored run that may be changed."""
    return type(scored).open(shutil.copytree(scored.path, tmp_path / "run"))


def left(run, **changes):
    """Leaves a check in a run's folder; gives what it holds."""
    query, row = run.queries[0].id, run.train[0].id
    traces = [trusted.trace(query, "weak", 0.5, rows=(row,), spot=SpotCheck(NAN, (), (), NAN))]
    held = trusted.trust(traces=traces).to_json() | changes
    (run.path / "check.json").write_text(json.dumps(held), encoding="utf-8")
    return held


def test_a_report_of_a_run_has_its_check(run):
    assert HEAD not in report_run(run).read_text(encoding="utf-8")
    held = left(run)
    page = report_run(run).read_text(encoding="utf-8")
    assert told(page)
    assert answers(page)[1][1] == "◐ weak"
    assert Trust.from_json(held).to_json() == held


@pytest.mark.parametrize(
    "damage",
    [
        {"traces": None},
        {"traces": [{"query": "q"}]},
        {"verdict": {"word": "weak"}},
        {"findings": [{"check": "c"}]},
        {"findings": [trusted.finding("weights").__dict__ | {"measured": 3}]},
        {"findings": [trusted.finding("weights").__dict__ | {"values": [1]}]},
        {"method": None},
        {"k": "ten"},
        {"seconds": "long"},
        {"verdict": {"word": "weak", "number": "0.5", "reasons": []}},
    ],
)
def test_a_damaged_check_is_named(run, damage):
    left(run, **damage)
    with pytest.raises(DataError, match=r"check\.json: damaged .*wherefrom check"):
        report_run(run)


@pytest.mark.parametrize("text", ["", "{", "[]", '"text"', "[" * 100_000, "\x80"])
def test_a_check_that_is_no_json_is_named(run, text):
    (run.path / "check.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"check\.json: damaged"):
        report_run(run)


def test_a_check_of_another_version_is_named(run):
    left(run, version=2)
    with pytest.raises(DataError, match=r"layout is version 2, and this wherefrom reads 1"):
        report_run(run)
