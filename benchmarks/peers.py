"""The same job by wherefrom and by its peers: seconds, start-up, memory, and whether scores agree.

Every tool gets the same adapted model and the same token rows, and runs as a whole process of its own, in
an environment of its own that is built when it is missing (about a minute and 1.5 GB each). Nothing else
should run on the machine. All lines of one round run one after the other, then the next round; the round
with the fewest CPU seconds is shown.

    python benchmarks/peers.py [--rows 100] [--queries 20] [--threads 2] [--rounds 1] [--json FILE]
"""

import argparse
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from peers import environment, process
from peers.page import bars, describe, replace_in, table
from rich.console import Console
from scipy.stats import spearmanr

SCRIPTS = Path(__file__).parent / "peers"
REQUIREMENTS = {
    "bergson": ("bergson==2.5.1",),
    "kronfluence": ("kronfluence==1.0.1", "transformers", "peft"),
    "dattri": ("dattri==0.3.0", "transformers", "peft", "accelerate"),
    "paper": ("transformers", "peft"),
}
REFERENCES = (
    "gradient_dot;influence;datainf(damping=0.1,rule=mean);paper_lissa(damping=0.1,rule=mean)"
)


@dataclass(frozen=True)
class Line:
    """One line of the table: a tool, what it computes, and how its script is called.

    Attributes:
        default: whether these are the tool's documented defaults, which the bars compare with.
        one_pass: whether one pass over rows and queries is all it takes.
    """

    tool: str
    what: str
    precision: str
    arguments: tuple[str, ...]
    default: bool = True
    one_pass: bool = True

    @property
    def name(self):
        return f"{self.tool}: {self.what}, {self.precision}"


PEERS = (
    Line("bergson", "gradient dot", "float32", ("dot",)),
    Line(
        "bergson",
        "gradient dot, 2 processes",
        "float32",
        ("dot", "--processes", "2"),
        default=False,
    ),
    Line("bergson", "gradient dot, projected to 16", "float32", ("dot", "--projection", "16")),
    Line("bergson", "gradient dot", "bfloat16", ("dot", "--precision", "bf16"), default=False),
    Line("bergson", "EK-FAC", "float32", ("ekfac",), one_pass=False),
    Line("kronfluence", "gradient dot", "float32", ("identity",)),
    Line("kronfluence", "EK-FAC", "float32", ("ekfac",), one_pass=False),
    # larger batches save dattri passes over the queries; of 20 rows they stay near 10 GB
    Line("dattri", "gradient dot, projected to 512", "float32", ("dot", "--batch", "20")),
    Line("dattri", "LoGra", "float32", ("logra", "--batch", "20")),
    Line("dattri", "DataInf", "float32", ("datainf", "--batch", "20")),
    Line("paper", "Hessian-free, DataInf, LiSSA", "float32", ()),
)


def ours(index):
    """Our lines: at float32, as installed (with the settings given), and at bfloat16."""
    given = tuple(part for setting in index for part in ("--index", setting))
    installed = " ".join(["as installed", *index])
    for precision, arguments in (
        ("float32", ("--index", "precision=float32")),
        (installed, given),
        ("bfloat16", ("--index", "precision=bfloat16")),
    ):
        default = precision == installed
        yield Line(
            "wherefrom",
            "gradient dot",
            precision,
            ("--methods", "gradient_dot", *arguments),
            default,
        )
        if precision == "bfloat16":
            continue
        cheap = ("--methods", "cheap", *arguments)
        yield Line("wherefrom", "all methods of one pass or less", precision, cheap, default)
        ekfac = ("--methods", "ekfac", *arguments)
        yield Line("wherefrom", "EK-FAC", precision, ekfac, default, one_pass=False)


def pythons(lines, folder):
    """By tool, the Python that runs its script."""
    tools = dict.fromkeys(line.tool for line in lines)
    return {
        tool: environment.build(folder / tool, REQUIREMENTS[tool])
        if tool in REQUIREMENTS
        else sys.executable
        for tool in tools
    }


def surroundings(tool, threads, out):
    """Environment variables of a tool's process; caches start empty, so that no line warms another's."""
    found = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(out / "hf"),
        "TQDM_DISABLE": "1",
    }
    if tool != "wherefrom":
        found.pop("PYTHONPATH", None)
    return found


def agreement(scores, references):
    """Mean over queries of Spearman's correlation with our scores of the method of that name."""
    found = {}
    for path in sorted((scores / "scores").glob("*.npy")):
        held = references / "scores" / path.name
        if held.is_file():
            theirs = np.load(path)
            # a loop that was stopped has scores of the first queries alone
            pairs = zip(theirs, np.load(held)[: len(theirs)], strict=True)
            found[path.stem] = float(np.mean([spearmanr(a, b)[0] for a, b in pairs]))
    return found


def reference_scores(job, work, threads):
    """Our scores at float32 of every method that some peer has, not timed; and the run that has them."""
    out = work / "references"
    script = SCRIPTS / "score_wherefrom.py"
    for methods in ("ekfac", REFERENCES):
        command = (sys.executable, script, job, out, "--methods", methods)
        command = (*command, "--index", "precision=float32")
        environ = surroundings("wherefrom", threads, out)
        subprocess.run(command, check=True, env=environ, stderr=subprocess.DEVNULL)
    return out


def cosine(run, reference):
    command = (sys.executable, SCRIPTS / "compare_gradients.py", reference / "run", run / "run")
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(found.stdout)


def machine():
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(":")[1].strip() for line in info.splitlines() if "model name" in line]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "load before": os.getloadavg()[0],
        "python": platform.python_version(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="math")
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--only", help="run lines whose name holds one of these words, parted by commas"
    )
    parser.add_argument("--index", action="append", default=[], metavar="SETTING=VALUE")
    parser.add_argument("--limit", type=float, default=1800, help="seconds that a process may take")
    default = Path.home() / ".cache" / "wherefrom" / "peers"
    parser.add_argument("--envs", type=Path, default=default)
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--page", type=Path, help="a page whose marked part is replaced by the results"
    )
    chosen = parser.parse_args()
    about = machine()
    words = chosen.only.split(",") if chosen.only else [""]
    lines = [
        line for line in (*ours(chosen.index), *PEERS) if any(word in line.name for word in words)
    ]
    python = pythons(lines, chosen.envs.resolve())
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        work = Path(folder)
        job = work / "job"
        size = ("--task", chosen.task, "--rows", chosen.rows, "--queries", chosen.queries)
        make = (sys.executable, SCRIPTS / "make_job.py", job, *map(str, size))
        subprocess.run(make, check=True, stderr=subprocess.DEVNULL)
        about |= {"job": json.loads((job / "job.json").read_text()), "threads": chosen.threads}
        about["versions"] = {
            tool: environment.versions(
                python[tool], [tool] * (tool in REQUIREMENTS and tool != "paper")
            )
            for tool in python
        }
        about["command"] = "python " + shlex.join(sys.argv)
        references = reference_scores(job, work, chosen.threads)
        found = {}
        for turn in range(chosen.rounds):
            for number, line in enumerate(lines):
                out = work / f"{turn}-{number}"
                script = SCRIPTS / f"score_{line.tool}.py"
                command = (python[line.tool], script, job, out, *line.arguments)
                environ = surroundings(line.tool, chosen.threads, out)
                result = process.run(command, out, environ, chosen.limit)
                if result["error"] is None:
                    result["agreement"] = agreement(out, references)
                    if line.tool == "wherefrom" and line.one_pass:
                        result["cosine"] = cosine(out, references)
                print(f"{line.name}: {result['error'] or round(result['cpu'], 1)}", file=sys.stderr)
                found.setdefault(line, []).append(result)
                # gradients on disk are not needed again
                shutil.rmtree(out)
    Console(width=132).print(table(found), *bars(found), sep="\n")
    if chosen.json:
        kept = [vars(line) | {"rounds": rounds} for line, rounds in found.items()]
        chosen.json.write_text(json.dumps(about | {"lines": kept}, indent=2))
    if chosen.page:
        replace_in(chosen.page, describe(about, found))


if __name__ == "__main__":
    main()
