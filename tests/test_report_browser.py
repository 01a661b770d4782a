"""The report in a real browser: opened from disk, clicked, filtered, saved from, printed."""

import csv
import io
import json
import re
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

import trusted
from test_report import HOSTILE, made
from wherefrom.answers import Token, TokenEvidence
from wherefrom.methods import REMOVAL
from wherefrom.report import write_report

FORMULA = "=HYPERLINK(0)"
BAD = "".join(HOSTILE)
LEADER = ("sound-1", "influence")
METHODS = ("influence", "gradient-cosine", "datainf", "random")


def evidence(row: str, method: str, text: str = "") -> TokenEvidence:
    """Tokens of every strength and sign; the query's prompt has none."""
    prompt = tuple(Token(f"word{number} ", None, False) for number in range(50))
    values = (0.01, 0.2, -0.2, 0.4, -0.4, 0.7, -0.7, 1.0, -1.0)
    said = tuple(Token(f" t{value}{text}", value, True) for value in values)
    total = sum(values)
    return TokenEvidence(row, method, total, (*prompt, *said), said, (0.0, 0.0))


def rich(text: str = "", formula: str = ""):
    """A report with everything in it, `text` at the end of every text."""
    plain = re.sub("[\ud800-\udfff]", "", text)
    data = made(text, methods=METHODS, trust=trusted.trust(plain))
    train = tuple(
        replace(row, label=f"{formula}{row.label}", metadata={"origin": ("web", "own")[place % 2]})
        for place, row in enumerate(data.train)
    )
    # two rows that say the same
    train = (*train[:-1], replace(train[-1], messages=train[0].messages))
    leader = tuple(part + plain for part in LEADER)
    scores = data.scores | {leader: replace(data.scores[leader], unit=REMOVAL)}
    tokens = {}
    for query in data.queries:
        row = scores[leader].top(1).ids[data.queries.index(query), 0]
        tokens[query.id] = (evidence(row, leader[1], text),)
    return replace(
        data, train=train, scores=scores, tokens={leader: tokens}, model="a model", source="rows"
    )


@dataclass
class Opened:
    """A page, and everything that it should not have done."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def opened(chromium, path, **settings):
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, **settings)
    page = context.new_page()
    found = Opened(page)
    page.on("console", lambda line: found.complaints.append(f"{line.type}: {line.text}"))
    page.on("pageerror", lambda error: found.complaints.append(str(error)))
    page.on("dialog", lambda dialog: (found.complaints.append("dialog"), dialog.dismiss()))
    page.on("request", lambda request: found.requests.append(request.url))
    page.goto(path.as_uri())
    try:
        yield found
        assert found.complaints == []
        addresses = {one.partition("#")[0] for one in found.requests}
        assert {one for one in addresses if not one.startswith("data:")} <= {path.as_uri()}
    finally:
        context.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(rich(formula=FORMULA), path)
    return path


def shown(page, selector):
    return page.locator(selector).filter(visible=True)


def saved(page, name):
    with page.expect_download() as waiting:
        page.get_by_role("link", name=name).click()
    assert waiting.value.suggested_filename == name
    return waiting.value.path().read_bytes().decode("utf-8-sig")


def test_it_opens_from_disk_and_asks_for_nothing(chromium, report):
    with opened(chromium, report) as found:
        assert found.page.get_by_role("heading", level=1).inner_text() == "a run"
        for role in ("banner", "navigation", "main", "contentinfo"):
            assert found.page.get_by_role(role).count() == 1
    assert found.requests[0] == report.as_uri()


def test_a_table_is_sorted_by_a_click_and_says_so(chromium, report):
    with opened(chromium, report) as found:
        table = found.page.get_by_role("table", name="Recipe sound-1")
        head = table.get_by_role("columnheader", name="accuracy")
        names = table.locator("tbody th")
        before = names.all_inner_texts()
        assert head.get_attribute("aria-sort") == "descending"
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == "ascending"
        assert names.all_inner_texts() == before[::-1]
        table.get_by_role("columnheader", name="method").get_by_role("button").click()
        assert names.all_inner_texts() == sorted(before)
        assert head.get_attribute("aria-sort") is None


def test_a_filter_leaves_what_was_asked_for(chromium, report):
    with opened(chromium, report) as found:
        found.page.get_by_label("Show only methods with").fill("COSINE")
        assert set(shown(found.page, "#leaderboard tbody th").all_inner_texts()) == {
            "gradient-cosine"
        }
        told = found.page.locator("#leaderboard").get_by_role("status")
        assert told.inner_text() == "2 of 8 methods"
        found.page.get_by_label("Show only methods with").fill("")
        assert shown(found.page, "#leaderboard tbody th").count() == 8
        found.page.get_by_label("Show only queries with").fill("not supported")
        assert shown(found.page, "#samples .sample").count() == 1
        assert "query-2" in shown(found.page, "#samples .sample").text_content()


def test_the_column_is_switched_by_keys(chromium, report):
    with opened(chromium, report) as found:
        columns = found.page.get_by_role("group", name="Add up by")
        assert columns.get_by_role("radio").count() == 3
        heads = shown(found.page, "#groups h3")
        assert heads.all_inner_texts() == ["By label"]
        columns.get_by_label("label").focus()
        found.page.keyboard.press("ArrowDown")
        assert heads.all_inner_texts() == ["By origin"]
        lines = shown(found.page, "#groups tbody th").all_inner_texts()
        assert set(lines) == {"web", "own"}
        found.page.keyboard.press("ArrowDown")
        assert heads.all_inner_texts() == ["By near-duplicates"]
        assert "train-0, train-11" in " ".join(
            shown(found.page, "#groups tbody th").all_inner_texts()
        )


def test_sums_are_those_of_the_scores(chromium, report):
    data = rich(formula=FORMULA)
    values = data.scores[LEADER].values.astype(np.float64).mean(0)
    web = [row.metadata["origin"] == "web" for row in data.train]
    with opened(chromium, report) as found:
        lines = csv.DictReader(io.StringIO(saved(found.page, "groups.csv")))
        (line,) = (
            one for one in lines if (one["recipe"], one["method"], one["value"]) == (*LEADER, "web")
        )
    assert float(line["sum of scores"]) == pytest.approx(values[web].sum(), rel=1e-5)
    assert float(line["removal"]) == pytest.approx(-values[web].sum() / len(web), rel=1e-5)
    assert line["rows"] == "6"


def test_every_table_can_be_saved(chromium, report):
    data = rich(formula=FORMULA)
    with opened(chromium, report, accept_downloads=True) as found:
        boards = list(csv.DictReader(io.StringIO(saved(found.page, "leaderboard.csv"))))
        rows = list(csv.DictReader(io.StringIO(saved(found.page, "rows.csv"))))
        for name in ("leaderboard", "rows", "groups", "checks", "answers"):
            held = json.loads(saved(found.page, f"{name}.json"))
            lines = list(csv.reader(io.StringIO(saved(found.page, f"{name}.csv"))))
            assert held["columns"] == lines[0]
            assert len(held["data"]) == len(lines) - 1 > 0
    assert len(boards) == len(data.scores)
    best = next(one for one in boards if (one["recipe"], one["method"]) == LEADER)
    assert float(best["accuracy"]) == 0.9
    first = next(one for one in rows if (one["recipe"], one["method"]) == LEADER)
    top = data.scores[LEADER].top(1)
    assert first["row"] == top.ids[0, 0]
    assert float(first["score"]) == pytest.approx(float(top.values[0, 0]))
    assert float(first["removal"]) == pytest.approx(-float(top.values[0, 0]) / len(data.train))
    # a spreadsheet computes no label
    assert {one["label"][:2] for one in rows} == {f"'{FORMULA[0]}"}


def test_a_keyboard_is_enough(chromium, report):
    with opened(chromium, report) as found:
        page = found.page
        focused = "document.activeElement"
        page.keyboard.press("Tab")
        assert page.evaluate(f"{focused}.textContent") == "Skip to the summary"
        assert page.locator(".skip").bounding_box()["x"] >= 0
        page.keyboard.press("Tab")
        assert page.evaluate(f"{focused}.id") == "theme"
        seen = []
        for _ in range(400):
            page.keyboard.press("Tab")
            here = page.evaluate(
                f"[{focused}.tagName, {focused}.id, getComputedStyle({focused}).outlineStyle]"
            )
            if here[0] == "BODY":
                break
            assert here[2] != "none", here
            seen.append(here[:2])
        assert here[0] == "BODY"
        assert {"A", "SUMMARY", "BUTTON", "INPUT", "DIV"} <= {tag for tag, _ in seen}
        assert ["INPUT", "filter-samples"] in seen
        second = page.locator("#samples details.sample").nth(1)
        second.locator("> summary").focus()
        page.keyboard.press("Enter")
        assert second.get_attribute("open") is not None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_follows_the_system_until_it_is_told_otherwise(chromium, report, scheme):
    other = {"light": "dark", "dark": "light"}[scheme]
    with opened(chromium, report, color_scheme=scheme) as found:
        button = found.page.locator("#theme")
        assert button.inner_text() == "Theme: as the system"
        assert ground(found.page) == scheme
        while button.inner_text() != f"Theme: {other}":
            button.click()
        assert ground(found.page) == other


def ground(page):
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return "light" if sum(map(int, re.findall(r"\d+", colour)[:3])) > 380 else "dark"


# of the letters of every marked token on what is painted beneath them
CONTRAST = """() => {
  const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const over = (...colours) => {
    paint.clearRect(0, 0, 1, 1);
    for (const colour of colours) { paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1); }
    return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => rgb
    .map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const page = getComputedStyle(document.body).backgroundColor;
  return [...document.querySelectorAll("#samples .t")].map((token) => {
    const style = getComputedStyle(token);
    const [a, b] = [over(style.color), over(page, style.backgroundColor)].map(light);
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("media", ["screen", "print"])
def test_tokens_are_readable_and_differ_without_colour(chromium, report, scheme, media):
    with opened(chromium, report, color_scheme=scheme) as found:
        found.page.emulate_media(media=media, color_scheme=scheme)
        contrasts = found.page.evaluate(CONTRAST)
        assert len(contrasts) > 50
        assert min(contrasts) >= 4.5
        marks = found.page.locator(".sample[open] .why").first.locator(".tokens .t")
        style = (
            "all => all.map(t => [t.className, t.title, getComputedStyle(t).textDecorationStyle, "
            "getComputedStyle(t).textDecorationThickness, getComputedStyle(t).fontWeight])"
        )
        by_kind = {name: rest for name, *rest in marks.evaluate_all(style)}
        assert by_kind["t p4"] == ["+1.00", "solid", "3px", "700"]
        assert by_kind["t m4"] == ["−1.00", "dotted", "3px", "700"]
        assert by_kind["t p1"][1:] == ["solid", "1px", "400"]
        # every strength has its own look
        strengths = [tuple(rest[1:]) for name, rest in by_kind.items() if name[2] in "pm"]
        assert len(set(strengths)) == len(strengths) == 8
        assert "t none" in by_kind
        assert found.page.locator(".key-of-tokens .t").count() == 6


def test_strongest_tokens_are_told_in_words(chromium, report):
    with opened(chromium, report) as found:
        why = found.page.locator(".sample[open] .why").first
        assert why.locator(".strongest").first.inner_text() == (
            "Strongest: “t1.0” +1.00, “t-1.0” −1.00 and “t0.7” +0.700"
        )
        # a long prompt that nothing is said of is not read
        assert "… 42 tokens …" in why.locator(".tokens").first.inner_text()


def test_paper_has_everything_and_no_switches(chromium, report):
    with opened(chromium, report, color_scheme="dark") as found:
        page = found.page
        page.locator("#theme").click()
        page.locator("#theme").click()
        printed = page.pdf(format="A4")
        assert printed.startswith(b"%PDF")
        assert len(re.findall(rb"/Type /Page\b", printed)) > 3
        # what was folded on the screen is folded again
        assert page.locator("details:not([open])").count() > 0
        page.emulate_media(media="print")
        assert ground(page) == "light"
        assert shown(page, "#theme, .tools, .switch, .downloads, nav, .skip").count() == 0
        assert shown(page, "#groups .panel").count() == 3
        heights = page.evaluate(
            "[...document.querySelectorAll('details > :not(summary)')]"
            ".map((part) => part.getBoundingClientRect().height)"
        )
        assert min(heights) > 0


def test_the_summary_leads_to_the_mechanisms(chromium, report):
    with opened(chromium, report) as found:
        page = found.page
        page.locator("#summary").get_by_role("link", name="Mechanism 1: curvature").click()
        assert page.url.endswith("#checks-curvature")
        page.evaluate("location.hash = 'check-1'")
        folded = page.locator("#check-1")
        folded.wait_for(state="visible")


def test_a_phone_scrolls_only_down(chromium, report):
    with opened(chromium, report) as found:
        found.page.set_viewport_size({"width": 390, "height": 800})
        assert found.page.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize("text", [BAD, f"<p onclick='x'>{'x' * 1_000_000}"], ids=["bad", "long"])
def test_hostile_text_stays_text(chromium, tmp_path, text):
    # as long and as often the same, so that near-duplicates are found in both
    path, plain = tmp_path / "report.html", tmp_path / "plain.html"
    write_report(rich(text), path)
    write_report(rich("y" * len(text)), plain)
    assert path.stat().st_size < 3_000_000
    count = "document.querySelectorAll('*').length"
    with opened(chromium, plain) as harmless:
        elements = harmless.page.evaluate(count)
    with opened(chromium, path) as found:
        assert found.page.evaluate(count) == elements
        assert found.page.locator("img, [onload], [onerror], [onclick]").count() == 0
        assert found.page.title().startswith(f"a run{text[:8]}")
        whole = found.page.locator("body").text_content()
        assert not re.search(
            "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]", whole
        )
        found.page.get_by_label("Show only queries with").fill("<")
        lines = saved(found.page, "rows.csv")
        assert len(lines) < 300_000
        found.page.set_viewport_size({"width": 390, "height": 800})
        assert found.page.evaluate("document.documentElement.scrollWidth") == 390
