"""The documentation: it builds strictly, needs nothing else, names all there is, and its examples run."""

import ast
import io
import os
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from html.parser import HTMLParser

import pytest
import typer

from doc_examples import PAGES, ROOT, blocks, commands, mentioned, words
from tiny import row_dicts, tiny_rows, write_jsonl
from wherefrom.cli._main import app
from wherefrom.diagnose import list_checks
from wherefrom.methods import registered, select_methods, split_specs
from wherefrom.metrics import list_metrics
from wherefrom.tasks import list_tasks

DOCS = ROOT / "docs"
VERBS = typer.main.get_command(app).commands
METHOD_OPTIONS = ("methods", "method", "against")
LOADED = {
    "script": ("src",),
    "link": ("href",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "object": ("data",),
}
WITH_PYTHON = [page for page in PAGES if any(b.language == "python" for b in blocks(page))]


def name_of(page):
    return page.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make docs` builds it."""
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", out],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return out


class Tags(HTMLParser):
    """What a page loads by itself, and its text."""

    def __init__(self, text):
        super().__init__()
        self.loaded, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.loaded += [v or "" for k, v in attrs if k in LOADED.get(tag, ())]
        # a page's own address is not fetched
        if tag == "link" and ("rel", "canonical") in attrs:
            self.loaded.pop()

    def handle_data(self, data):
        self.words.append(data)


# The site


def test_no_page_loads_anything_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        for target in Tags(page.read_text()).loaded:
            assert not re.match(r"(https?:)?//", target), (page.name, target)
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", sheet.read_text()), sheet


def test_every_page_of_the_docs_is_in_the_site_and_in_its_menu(site):
    menu = Tags((site / "index.html").read_text())
    assert "Footguns" in "".join(menu.words)
    built = {path.relative_to(site).with_suffix("").as_posix() for path in site.rglob("*.html")}
    for page in PAGES:
        if page.is_relative_to(DOCS):
            name = page.relative_to(DOCS).with_suffix("").as_posix()
            assert name.replace("README", "index") in built


def test_the_site_holds_no_build_code(site):
    assert not (site / "_site").exists()
    assert not list(site.rglob("*.py"))


def test_search_works_from_the_file_system_and_asks_no_network(site, chromium):
    page = chromium.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / "index.html").as_uri())
    page.click("input.md-search__input")
    page.keyboard.type("trackstar")
    page.wait_for_selector(".md-search-result__item a")
    found = page.locator(".md-search-result__item a").first.get_attribute("href")
    page.close()
    assert "methods.html" in found
    assert asked
    assert all(url.startswith(("file:", "data:", "blob:", "about:")) for url in asked)


# The reference


def sections(site, name):
    text = (site / "reference" / f"{name}.html").read_text()
    return set(re.findall(r"<h2 id=\"[^\"]*\">([\w-]+)", text)), text


def test_the_reference_has_every_method_with_every_setting(site):
    titles, text = sections(site, "methods")
    assert titles == {*registered(), "Modifiers"}
    for cls in registered().values():
        for variant in cls.variants():
            assert f"<code>{variant.spec}</code>" in text
        for name in cls().settings():
            assert f"<code>{name}</code>" in text


@pytest.mark.parametrize(
    ("name", "things"),
    [("metrics", list_metrics()), ("tasks", list_tasks()), ("checks", list_checks())],
)
def test_the_reference_has_every_metric_task_and_check(site, name, things):
    text = (site / "reference" / f"{name}.html").read_text()
    assert things
    for thing in things:
        assert f"<td><code>{thing}</code></td>" in text


def test_the_reference_has_every_verb_and_option(site):
    titles, text = sections(site, "cli")
    assert titles == set(VERBS)
    for verb in VERBS.values():
        for one in verb.params:
            if one.param_type_name == "option" and "--help" not in one.opts:
                assert one.opts[0] in text


# Command lines


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_every_verb_has_an_example_that_parses(verb):
    lines = re.findall(
        r": ((?:torchrun \S+ \d+ -m )?wherefrom .+?)(?:\n\n|\Z)", VERBS[verb].help, re.DOTALL
    )
    assert lines, VERBS[verb].help
    for line in lines:
        given = words(" ".join(line.split()).rpartition("wherefrom ")[2])
        assert given[0] == verb
        parse(given)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_line_parses(page):
    for where, line in commands(page):
        try:
            parse(line)
        except Exception as error:
            pytest.fail(f"{where}: wherefrom {' '.join(line)}: {error!r}")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_in_running_text_names_a_verb_and_its_options(page):
    for where, line in mentioned(page):
        try:
            parse(line, whole=False)
        except Exception as error:
            pytest.fail(f"{where}: wherefrom {' '.join(line)}: {error!r}")


def test_a_command_that_is_wrong_is_seen():
    for line in (["tarce", "runs/demo"], ["trace", "runs/demo", "--promt", "x"], ["index"]):
        with pytest.raises(Exception, match=r"tarce|--promt|MissingParameter|run"):
            parse(line)
    with pytest.raises(Exception, match="no method is called"):
        parse(["trace", "runs/demo", "--prompt", "x", "--methods", "inflluence"])


def parse(line, whole=True):
    """Has the real parser read a command line; its methods, tasks and checks must exist as well."""
    if line[0] == "VERB":
        return
    if line[0].startswith("-"):
        typer.main.get_command(app).make_context("wherefrom", line, resilient_parsing=True)
        return
    verb = VERBS[line[0]]
    try:
        given = verb.make_context(line[0], list(line[1:])).params
    except Exception as error:
        if not whole and type(error).__name__ in ("MissingParameter", "BadOptionUsage"):
            return
        raise
    for name in METHOD_OPTIONS:
        if given.get(name):
            select_methods(split_specs(given[name]))
    for task in given.get("tasks") or []:
        assert task.partition(":")[0] in list_tasks(), task
    for check in (given.get("checks") or "").split(","):
        assert not check or check.strip() in list_checks(), check


def test_every_benchmark_that_is_named_is_there():
    for page in PAGES:
        for name in re.findall(r"\bbenchmarks/[\w/]+\.py", page.read_text(encoding="utf-8")):
            assert (ROOT / name).is_file(), (name_of(page), name)


# Python


@pytest.fixture(scope="module")
def place(cli, tiny_folder, tmp_path_factory):
    """A folder as the pages have it: a fine-tuned run of own rows, one of a task, files of rows."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copy(DOCS / "examples" / "support.jsonl", folder / "train.jsonl")
    questions = write_jsonl(folder / "q.jsonl", row_dicts(tiny_rows(3)))
    for name in ("bad.jsonl", "good.jsonl"):
        shutil.copy(questions, folder / name)
    shared = ["--model", tiny_folder, "--epochs", 2, "--rank", 2, "--batch-size", 8]
    shared += ["--methods", "influence,gradient_dot,repsim,bm25"]
    rows = ["--data", folder / "train.jsonl", "--queries", questions]
    small = ["--limit", 3, "--query-limit", 1]
    made = [
        ["finetune", *rows, "--out", folder / "runs/support", *shared],
        ["index", folder / "runs/support"],
        ["study", "emotion", "--out", folder / "study", *small, *shared],
    ]
    for line in made:
        done = cli(*line)
        assert done.code == 0, done.err
    shutil.move(folder / "study" / "emotion-sound-1-seed0", folder / "runs/demo")
    return folder


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_the_python_of_a_page_runs(page, place, tmp_path, monkeypatch):
    shutil.copytree(place, tmp_path / "reader")
    monkeypatch.chdir(tmp_path / "reader")
    known = {"__name__": "__main__"}
    for block in blocks(page):
        if block.language != "python" or block.not_run:
            continue
        code = compile("\n" * block.line + block.text, name_of(page), "exec")
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            exec(code, known)


@pytest.mark.parametrize("page", [p for p in PAGES if p.is_relative_to(DOCS)], ids=name_of)
def test_python_is_never_shown_where_it_would_not_be_run(page):
    for block in blocks(page):
        if block.language in ("python", "json", "yaml", "toml"):
            continue
        first = block.text.lstrip().partition("\n")[0]
        shown = re.match(r"(import|from) \w", first) is not None
        assert not (shown and parses(block.text)), f"{block.where}: make it a ```python block"


def parses(text):
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True
