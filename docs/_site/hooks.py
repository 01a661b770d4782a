"""What mkdocs calls while it builds the site: generated pages, notebooks, links out of the docs."""

from __future__ import annotations

import re
from pathlib import Path

import commands
import notebooks
import reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_OUTWARD = re.compile(r"\[([^\]]+)\]\((?:\.\./)+(?P<path>[\w./-]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made from the registry and from the notebooks."""
    for name, text in {**reference.pages(), "cli": commands.page()}.items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    for path in sorted((Path(config.docs_dir) / "notebooks").glob("*.ipynb")):
        text = notebooks.page(path)
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Names what lies outside the docs: a repository has such files, a site has not."""
    source = Path(config.docs_dir) / page.file.src_uri

    def named(match: re.Match[str]) -> str:
        target = (source.parent / match[0].rpartition("(")[2].rstrip(")")).resolve()
        if target.is_relative_to(config.docs_dir):
            return match[0]
        if not target.exists():
            # left as it is, so that the strict build names the broken link
            return match[0]
        return f"`{target.relative_to(Path(config.docs_dir).parent)}`"

    return _OUTWARD.sub(named, markdown)
