"""Examples in the documentation: the code blocks of Markdown pages, and the commands in them."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"],
    key=lambda path: path.relative_to(ROOT).as_posix(),
)
NOT_RUN = re.compile(r"<!-- not run: (?P<why>.+?) -->")
_LAUNCHED = re.compile(
    r"""(?:\$\ )?                                   # a prompt
        (?:(?:export\ )?\w+=\S+\ )*                 # settings of the environment
        (?:(?:srun\ )?(?:torchrun|accelerate\ launch|python3?)\b.*?\s-m\ )?
        (?:\S*/bin/)?wherefrom\ (?P<line>.+)""",
    re.VERBOSE | re.DOTALL,
)
_SPAN = re.compile(r"(?<!`)`(wherefrom [^`]+)`(?!`)")


@dataclass(frozen=True)
class Block:
    """A code block: where it stands, its language (empty for indented ones), its text."""

    page: Path
    line: int
    language: str
    text: str
    not_run: str = ""

    @property
    def where(self):
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page):
    """Every code block of a page, fenced or indented."""
    found = []
    lines = page.read_text(encoding="utf-8").splitlines()
    number, above = 0, ""
    while number < len(lines):
        line, start = lines[number], number
        if line.startswith("```"):
            number += 1
            while not lines[number].startswith("```"):
                number += 1
            note = NOT_RUN.fullmatch(above)
            text = "\n".join(lines[start + 1 : number]) + "\n"
            found.append(
                Block(page, start + 1, line[3:].strip(), text, note["why"] if note else "")
            )
        elif line.startswith("    ") and (number == 0 or not lines[number - 1].strip()):
            while number < len(lines) and (lines[number].startswith("    ") or not lines[number]):
                number += 1
            text = "\n".join(each[4:] for each in lines[start:number]).rstrip() + "\n"
            found.append(Block(page, start + 1, "", text))
            number -= 1
        above = line.strip() or above
        number += 1
    return found


def commands(page):
    """Command lines of `wherefrom` in a page's blocks: where each stands, and its words after the name."""
    found = []
    for block in blocks(page):
        if block.language == "python":
            continue
        for line in re.sub(r"\\\n\s*", " ", block.text).splitlines():
            match = _LAUNCHED.fullmatch(line.strip())
            if match:
                found.append((block.where, words(match["line"])))
    return found


def mentioned(page):
    """The same in running text, where an argument may be left out: `wherefrom check`."""
    text = page.read_text(encoding="utf-8")
    return [(page.relative_to(ROOT).as_posix(), words(span[10:])) for span in _SPAN.findall(text)]


def words(line):
    """The words of a command line, without its comment and without a bare `…` for more of them."""
    return shlex.split(re.sub(r"(?<=\s)…(?=\s|$)", "", line), comments=True)
