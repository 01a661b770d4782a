"""The live page in a real browser: asked, streamed, filtered, marked, exported; hostile text stays text."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

import pytest

from live import LONG, REVERSED, SCRIPT, make_hostile_run, served
from wherefrom.app._marks import FILE
from wherefrom.data import read_examples
from wherefrom.safetext import printable

expect = pytest.importorskip("playwright.sync_api", reason="no playwright here").expect

PROMPT, RESPONSE = "Class 1: tell me about sea 1", "No sea today."


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_folder, cli, chromium):
    return make_hostile_run(tmp_path_factory.mktemp("live-browser"), tiny_folder, cli, LONG)


@pytest.fixture(scope="module")
def address(run):
    with served(run) as found:
        yield found


@dataclass
class Live:
    """The page, and everything that it should not have done."""

    page: Any
    address: str
    asked: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def ask(self, prompt=PROMPT, response=RESPONSE):
        self.page.fill("#prompt", prompt)
        if response:
            self.page.locator("#options").evaluate("box => { box.open = true }")
            self.page.fill("#response", response)
        self.page.click("#ask")
        self.page.wait_for_selector("#rows:not([hidden]) .row")

    def numbers(self, side="proponents"):
        rows = self.page.locator(f"#{side} .row")
        return rows.evaluate_all("rows => rows.map((row) => Number(row.dataset.number))")

    def row(self, number):
        return self.page.locator(f'.row[data-number="{number}"]').first

    def filtered(self, act):
        with self.page.expect_response("**/api/rows"):
            act()
        self.page.wait_for_selector('#sides[aria-busy="false"]')


@pytest.fixture
def live(chromium, address, run):
    (run / FILE).unlink(missing_ok=True)
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    page = context.new_page()
    found = Live(page, address)
    page.on("request", lambda request: found.asked.append(request.url))
    page.on("pageerror", lambda error: found.faults.append(str(error)))
    page.on("console", lambda told: told.type == "error" and found.faults.append(told.text))
    page.on("dialog", lambda box: (found.faults.append(box.message), box.dismiss()))
    page.goto(address)
    page.wait_for_selector("#method option", state="attached")
    yield found
    context.close()
    assert not found.faults
    assert all(url.startswith((address, "blob:")) for url in found.asked), found.asked


def test_the_answer_streams_and_rows_and_verdict_follow(live):
    page = live.page
    page.evaluate("""() => {
        window.seen = [];
        new MutationObserver(() => window.seen.push(document.querySelector("#said-text").textContent))
            .observe(document.querySelector("#said-text"), { childList: true, characterData: true });
    }""")
    page.fill("#prompt", PROMPT)
    page.press("#prompt", "Control+Enter")
    page.wait_for_selector("#rows:not([hidden]) .row")
    seen = [text for text in page.evaluate("window.seen") if text]
    assert len(set(seen)) > 3
    assert [len(text) for text in seen[:-1]] == sorted(len(text) for text in seen[:-1])
    assert len(live.numbers()) == len(live.numbers("opponents")) == 10
    first = page.locator("#proponents .row").first
    assert first.locator(".score").inner_text().startswith("+")
    assert "nats" in first.locator(".removal").inner_text()
    assert "%" in first.locator(".percentile").inner_text()
    assert "t.jsonl:" in first.locator(".source").inner_text()
    page.wait_for_selector("#verdict-reasons li")
    assert page.locator("#verdict-word").inner_text().lower() == "weak"
    assert page.get_attribute("#said", "aria-busy") == "false"


def test_an_answer_can_be_stopped(live):
    page = live.page
    page.locator("#options").evaluate("box => { box.open = true }")
    page.fill("#longest", "512")
    page.fill("#prompt", PROMPT)
    page.click("#ask")
    expect(page.locator("#said-text")).to_have_text(re.compile("...."))
    page.keyboard.press("Escape")
    expect(page.locator("#said-about")).to_have_text("Stopped.")
    assert page.is_enabled("#ask")
    page.fill("#longest", "64")
    live.ask()


def test_another_method_keeps_the_answer(live):
    live.ask(response="")
    live.page.wait_for_selector("#verdict-reasons li")
    said, before = live.page.inner_text("#said-text"), live.numbers()
    asked = sum(url.endswith("/api/ask") for url in live.asked)
    live.filtered(lambda: live.page.select_option("#method", "bm25"))
    assert live.numbers() != before
    assert (
        "BM25" in live.page.inner_text("#unit") or "bm25" in live.page.inner_text("#unit").lower()
    )
    assert live.page.inner_text("#said-text") == said
    assert sum(url.endswith("/api/ask") for url in live.asked) == asked


def test_rows_are_filtered_by_label_column_and_text(live):
    live.ask()
    live.filtered(lambda: live.page.select_option("#facet", label="c2 (8)"))
    assert live.page.inner_text("#matching").startswith("8 of 24")
    assert {n % 3 for n in live.numbers()} == {0}
    live.filtered(lambda: live.page.select_option("#facet", label="blue (8)"))
    assert {n % 3 for n in live.numbers()} == {1}
    live.filtered(lambda: live.page.fill("#text", "nowhere"))
    assert live.page.locator("#proponents .none").count() == 1
    live.filtered(lambda: live.page.select_option("#facet", ""))
    live.filtered(lambda: live.page.fill("#text", "the-end"))
    assert live.numbers() == [5]


def test_more_rows_are_shown_on_demand(live):
    live.ask()
    for shown in (20, 24):
        live.page.click("#more-proponents")
        expect(live.page.locator("#proponents .row")).to_have_count(shown)
    assert sorted(live.numbers()) == list(range(1, 25))
    assert live.page.is_hidden("#more-proponents")


def test_tokens_are_marked_on_demand(live):
    live.ask()
    row = live.page.locator("#proponents .row").first
    row.locator(".why").click()
    row.locator(".tokens").wait_for()
    assert row.locator(".tokens .run").count() == 2
    assert row.locator(".tokens .p4, .tokens .m4").count() >= 2
    assert row.locator(".tokens .run span[title]").count() > 4
    assert row.locator(".why").get_attribute("aria-expanded") == "true"
    row.locator(".why").click()
    assert row.locator(".tokens").is_hidden()
    live.filtered(lambda: live.page.select_option("#method", "bm25"))
    row.locator(".why").click()
    row.locator(".tokens").wait_for()
    assert "single tokens" in row.locator(".tokens").inner_text()


def test_marks_survive_a_reload_and_are_exported(live, run, tmp_path):
    live.ask()
    first, second = live.numbers()[:2]
    live.row(first).locator(".guilty").click()
    live.row(second).locator(".innocent").click()
    expect(live.page.locator("#marked-count")).to_have_text("2")
    assert live.row(first).locator(".guilty").get_attribute("aria-pressed") == "true"
    assert {one["mark"] for one in json.loads((run / FILE).read_text())["rows"].values()} == {
        *("guilty", "innocent")
    }
    live.page.reload()
    live.page.wait_for_selector("#marked li")
    assert live.page.locator("#marked li").count() == 2
    for ending in ("jsonl", "csv", "json"):
        with live.page.expect_download() as saved:
            live.page.click(f"#export-{ending}")
        assert saved.value.suggested_filename == f"run-marked.{ending}"
        saved.value.save_as(tmp_path / f"marked.{ending}")
        rows = read_examples(tmp_path / f"marked.{ending}")
        assert [row.metadata["marked"] for row in rows] == [
            "guilty" if number == first else "innocent" for number in sorted((first, second))
        ]
    live.page.locator("#marked li button").first.click()
    expect(live.page.locator("#marked-count")).to_have_text("1")


def test_hostile_rows_stay_text(live):
    live.ask(prompt=f"Class 0: tell me about router 0 {SCRIPT}", response=SCRIPT)
    page = live.page
    for _ in range(2):
        page.click("#more-opponents")
        page.wait_for_load_state("networkidle")
    assert SCRIPT in live.row(1).locator(".text.prompt").inner_text()
    assert page.locator("main script, main img, main b b").count() == 0
    assert page.title() != "owned"
    assert printable(REVERSED) in live.row(2).locator(".text.response").inner_text()
    assert live.row(2).locator(".text.response bdi").count() == 1
    text = page.locator("main").inner_text()
    assert not set(text) & {"\x1b", "\x07", "\x00", "\u202e"}
    assert "<b>c1</b>" in live.row(2).locator(".label").inner_text()
    assert page.inner_text("#said-text") == SCRIPT


def test_a_line_of_a_megabyte_is_shown_in_pieces(live):
    live.ask()
    live.filtered(lambda: live.page.fill("#text", "the-end"))
    text = live.row(5).locator(".text.response")
    assert len(text.inner_text()) < 1000
    text.locator("button").click()
    expect(text.locator("bdi")).to_have_text(re.compile("^(wind ){4000}"))
    assert "of 1,000,007 characters" in text.locator("button").inner_text()
    assert live.page.evaluate("document.documentElement.scrollWidth") == 1280


def test_the_keyboard_is_enough(live):
    page = live.page
    page.focus("#prompt")
    page.keyboard.type(PROMPT)
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#rows:not([hidden]) .row")
    page.focus("#text")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "guilty":
            break
    page.keyboard.press("Enter")
    expect(page.locator("#marked-count")).to_have_text("1")
    assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"


def test_every_control_has_a_name(live):
    live.ask()
    unnamed = live.page.evaluate("""() => [...document.querySelectorAll("button, input, select, textarea")]
        .filter((one) => !(one.labels?.length || one.getAttribute("aria-label") || one.textContent.trim()))
        .map((one) => one.outerHTML)""")
    assert not unnamed
    levels = live.page.locator("h1, h2, h3").evaluate_all("all => all.map((h) => h.tagName)")
    assert levels.count("H1") == 1
    assert live.page.get_attribute("#said", "aria-live") == "polite"


def test_colours_follow_the_system_and_the_reader(live):
    page = live.page
    paper = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(paper)
    page.emulate_media(color_scheme="light")
    light = page.evaluate(paper)
    assert dark != light
    page.click("#theme")
    page.click("#theme")
    assert page.inner_text("#theme").endswith("dark")
    assert page.evaluate(paper) == dark
    page.reload()
    assert page.evaluate(paper) == dark


def test_a_phone_needs_no_sideways_scrolling(live):
    live.page.set_viewport_size({"width": 360, "height": 740})
    live.ask()
    live.row(live.numbers()[0]).locator(".why").click()
    live.page.wait_for_selector(".tokens")
    assert live.page.evaluate("document.documentElement.scrollWidth") == 360


def test_a_mistake_is_told_on_the_page(live):
    live.ask()
    live.page.evaluate("""() => {
        const real = window.fetch;
        window.fetch = (path, about) => {
            // the verdict of the first answer may still be on its way
            if (path !== "/api/rows") return real(path, about);
            window.fetch = real;
            return real(path, { ...about, headers: { ...about.headers, "X-Wherefrom-Token": "old" } });
        };
    }""")
    live.filtered(lambda: live.page.select_option("#method", "bm25"))
    assert "Reload it" in live.page.inner_text("#fault")
    # the refusal is what the browser logs
    assert all("403" in fault for fault in live.faults)
    live.faults.clear()
