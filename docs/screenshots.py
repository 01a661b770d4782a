"""Makes the README's pictures from a run: report, live page, terminal.

    python docs/screenshots.py runs/demo --out docs/images

Everything on them is real: the report is written from the run, the command is run, the page is served.
Needs chromium and the development packages.
"""

from __future__ import annotations

import argparse
import io
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from wherefrom.data import read_snapshot
from wherefrom.safetext import printable

ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
LARGEST = 300_000
"""Bytes of a picture: a README is to load at once."""
WIDTH, HEIGHT = 1200, 800
COLUMNS = 118
COLOURS = 128
PATIENCE = 180.0
"""Seconds that the live page may take to answer."""

DARK, LIGHT = (21, 24, 28), (231, 228, 222)
COLOURED = (
    *((255, 154, 143), (174, 203, 124), (242, 165, 102)),
    *((141, 188, 240), (211, 163, 227), (130, 205, 205)),
)
THEME = TerminalTheme(DARK, LIGHT, [DARK, *COLOURED, LIGHT])
"""The report's own colours, in a terminal's order."""

TERMINAL = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: #ffffff; }}
main {{ display: inline-block; padding: 18px 22px; border-radius: 8px; }}
main {{ background: #15181c; color: #e7e4de; }}
pre {{ margin: 0; font: 14px/1.4 "DejaVu Sans Mono", "Liberation Mono", monospace; }}
</style><main><pre>{code}</pre></main>"""


def main() -> None:
    """Makes them all, and says where they are."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="a run folder, indexed and scored")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--only", choices=("report", "page", "terminal"))
    parser.add_argument(
        "--prompt", help="asked in terminal and page; the run's first query if none"
    )
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    query = read_snapshot(chosen.run / "data" / "queries.jsonl")[0]
    prompt, response = chosen.prompt or query.prompt, None if chosen.prompt else query.response
    with sync_playwright() as driver:
        program = shutil.which("chromium")
        browser = driver.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        if chosen.only in (None, "report"):
            report(browser, chosen.run, chosen.out)
        if chosen.only in (None, "terminal"):
            terminal(browser, chosen.run, prompt, response, chosen.out)
        if chosen.only in (None, "page"):
            live_page(browser, chosen.run, prompt, chosen.out)
        browser.close()


def report(browser: Browser, run: Path, out: Path) -> None:
    """The report by day and by night: its first words, the tokens of a row, the sums."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder).resolve() / "report.html"
        wherefrom("report", str(run), "--out", str(file))
        for scheme in ("light", "dark"):
            with opened(browser, file.as_uri(), scheme) as page:
                save(page, out / f"report-{scheme}.png")
                for name, part in (("tokens", "#samples .versus"), ("groups", "#groups")):
                    page.locator(part).first.evaluate("part => part.scrollIntoView()")
                    save(page, out / f"report-{name}-{scheme}.png")


def terminal(browser: Browser, run: Path, prompt: str, response: str | None, out: Path) -> None:
    """A trace as a terminal shows it."""
    given = ["--prompt", prompt, *(["--response", response] if response else [])]
    said = wherefrom("trace", str(run), *given)
    typed = shlex.join(["wherefrom", "trace", str(run), *given])
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ {printable(typed, 2 * COLUMNS)}", style="bold"))
    console.print()
    console.print(Text.from_ansi(said.rstrip()))
    code = console.export_html(inline_styles=True, code_format="{code}", theme=THEME)
    with opened(browser, "about:blank", "light") as page:
        page.set_content(TERMINAL.format(code=code))
        save(page, out / "terminal.png", "main")


def live_page(browser: Browser, run: Path, prompt: str, out: Path) -> None:
    """The live page after one question; nothing where this version serves none."""
    asked = [sys.executable, "-m", "wherefrom", "serve", "--help"]
    if subprocess.run(asked, capture_output=True, check=False).returncode:  # noqa: S603
        print("no `wherefrom serve` here: no picture of the live page", file=sys.stderr)
        return
    with served(run) as address:
        for scheme in ("light", "dark"):
            with opened(browser, address, scheme) as page:
                page.set_default_timeout(1000 * PATIENCE)
                page.get_by_label("Ask the model").fill(prompt)
                page.locator("#ask").click()
                page.locator("#proponents .row").first.wait_for()
                page.locator("#verdict").wait_for()
                page.locator("#proponents .why").first.click()
                page.locator("#proponents .tokens").first.wait_for()
                for name, part in (("", "#answer"), ("-rows", "#rows")):
                    page.locator(part).evaluate("part => part.scrollIntoView()")
                    save(page, out / f"page{name}-{scheme}.png")


def wherefrom(*arguments: str) -> str:
    """What a command prints, coloured as for a terminal."""
    wide = {"COLUMNS": str(COLUMNS), "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "wherefrom", *arguments],
        env={**os.environ, **wide},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


@contextmanager
def served(run: Path) -> Iterator[str]:
    """The address of the live page, once it has one."""
    command = [sys.executable, "-m", "wherefrom", "serve", str(run), "--port", "0", "--no-open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603
        try:
            assert server.stdout is not None
            said = server.stdout.readline()
            if not said.startswith("http://127.0.0.1:"):
                raise SystemExit("`wherefrom serve` gave no address.")
            yield said.split()[0]
        finally:
            server.terminate()


@contextmanager
def opened(browser: Browser, address: str, scheme: str) -> Iterator[Page]:
    """A page of the README's size."""
    context = browser.new_context(
        viewport={"width": WIDTH, "height": HEIGHT},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto(address)
    try:
        yield page
    finally:
        context.close()


def save(page: Page, path: Path, part: str | None = None) -> None:
    """A picture of what is in sight, or of one part, in few colours."""
    taken = page.locator(part).screenshot() if part else page.screenshot()
    picture = Image.open(io.BytesIO(taken)).convert("RGB")
    picture = picture.quantize(COLOURS, dither=Image.Dither.NONE)
    picture.save(path, optimize=True)
    size = path.stat().st_size
    print(f"{path} ({size // 1000} kB)")
    if size > LARGEST:
        raise SystemExit(f"{path} has {size} bytes; {LARGEST} are the most.")


if __name__ == "__main__":
    main()
