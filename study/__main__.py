"""Runs the study, and writes its page from what is there."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from study.cells import KEPT, ROOT, WORK, Cell
from study.classes import PAPER_DATA, located
from study.figures import draw_all
from study.page import RESULTS, render, write_results
from study.plan import cells
from study.read import read_all
from study.results import results
from wherefrom.atomic import write_text


def main() -> None:
    """Parses the command line and does what it says."""
    parser = argparse.ArgumentParser(prog="python -m study", description=__doc__)
    parser.add_argument("parts", nargs="*", help="some of the parts; all when left out")
    parser.add_argument("--quick", action="store_true", help="a small slice, in minutes")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--cell", action="append", default=[], help="make this cell, again")
    parser.add_argument("--page", action="store_true", help="only write results, figures and pages")
    parser.add_argument("--list", action="store_true", help="tell which cells there are")
    parser.add_argument("--again", action="store_true", help="make cells that are there too")
    chosen = parser.parse_args()
    kept, work = (WORK / "quick" / "cells", WORK / "quick") if chosen.quick else (KEPT, WORK)
    plan = [one for one in cells(chosen.quick) if not chosen.parts or one.part in chosen.parts]
    if chosen.list:
        for one in plan:
            print(f"{'made' if one.read(kept) else '    '}  {one.id}")
    elif chosen.page:
        write(kept, RESULTS if not chosen.quick else work)
    elif chosen.cell:
        by_id = {one.id: one for one in plan}
        for name in chosen.cell:
            if name not in by_id:
                sys.exit(f"no cell is called {name}; python -m study --list names them.")
            by_id[name].make(kept, work)
    else:
        missing = [one for one in plan if chosen.again or one.read(kept) is None]
        absent = [one.id for one in missing if located(one.settings["task"]) is None]
        if absent:
            print(
                f"{len(absent)} cells need the paper's data, which {PAPER_DATA} does not name; left out."
            )
        missing = [one for one in missing if one.id not in absent]
        failed = make_all(missing, work, chosen.quick, chosen.workers)
        write(kept, RESULTS if not chosen.quick else work)
        if failed:
            sys.exit(f"{len(failed)} cells failed: {', '.join(failed)}. Their logs are in {work}.")


def write(kept: Path, folder: Path) -> None:
    """Results, figures and pages of the cells that are there."""
    found = read_all(cells(kept != KEPT), kept)
    held = results(found)
    write_results(held, folder)
    draw_all(held, folder)
    for name, text in render(held, found).items():
        write_text(folder / name, text)
        print(f"wrote {folder / name}")


def make_all(missing: list[Cell], work: Path, quick: bool, workers: int) -> list[str]:
    """Makes cells, each in a process of one thread; a log of each lies in its folder."""
    total, failed = len(missing), []

    def make(number: int, one: Cell) -> None:
        folder = work / one.part / one.name
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "study", "--cell", one.id, *(["--quick"] if quick else [])]
        with (folder / "log").open("w", encoding="utf-8") as log:
            done = subprocess.run(  # noqa: S603
                command,
                cwd=ROOT,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=log,
                check=False,
            )
        word = "made" if done.returncode == 0 else "FAILED"
        print(f"{number} of {total}: {one.id} {word}", flush=True)
        if done.returncode:
            failed.append(one.id)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(make, range(1, total + 1), missing))
    return failed


if __name__ == "__main__":
    main()
