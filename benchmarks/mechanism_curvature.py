"""Mechanism 1 of arXiv 2409.19998, measured: is (H + λI)⁻¹ ≈ I/λ at scale, and the Hessian idle?

A ladder of small llamas reads the emotion task's texts with shuffled answers and is fine-tuned as in the
paper, LoRA on q and v, in several seeds; then one of them with other ranks. Of every run: where λ sits in
the spectrum of each block's empirical Fisher, and influence against gradient_dot as λ goes through eight
decades. On models small enough the true Hessian and the Gauss–Newton matrix stand beside the empirical
Fisher. With --run, the signals of a run that is there are read too, and where it was retrained on subsets,
how well the scores foretell that (LDS).

Models that are trained already are not trained again. Writes mechanism-curvature.json and .svg.

    OMP_NUM_THREADS=1 python benchmarks/mechanism_curvature.py --out DIR [--run RUN]
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from mechanism_curvature_figure import draw
from small_model import make_base, shuffled_texts

from wherefrom.counterfactual import (
    CURVATURES,
    ExactCurvature,
    compare_curvatures,
    read_retrainings,
)
from wherefrom.data import Renderer
from wherefrom.diagnose import survey_curvature
from wherefrom.methods import parse_method, score_all
from wherefrom.metrics import lds
from wherefrom.run import Run, execute, make_config
from wherefrom.signals import Side
from wherefrom.tasks import TaskSize

LADDER = ((32, 2), (48, 2), (64, 2), (96, 3), (128, 4))
RANKS, RANKED = (1, 4, 16), (64, 2)
SIZE = (12, 4)
"""Training rows and queries of each of emotion's five classes."""
RULES = {"nonzero": 1.0, "mean": 0.1}
"""c of each damping rule: the default's, and the paper's."""
DENSE = 1200
"""Trained weights up to which whole curvature matrices are formed here; beyond, Lanczos."""
K = 5
METHODS = ("influence", "gradient_dot")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--run", type=Path, help="a run that is indexed for influence")
    parser.add_argument("--results", type=Path, default=Path("docs/results"))
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    begun = time.time()
    wanted = {(size, rank) for size in LADDER for rank in (1, 4)}
    wanted |= {(RANKED, rank) for rank in RANKS}
    runs, exact = [], []
    for size, rank in sorted(wanted):
        for seed in range(chosen.seeds):
            run = small_run(chosen.out, size, rank, seed)
            about = {"model": f"{size[0]}×{size[1]}", "rank": rank, "seed": seed}
            runs.append(about | surveyed(run))
            say(runs[-1], begun)
            if seed == 0 and (rank == 1 or runs[-1]["trained"] <= DENSE):
                exact.append(about | three_curvatures(run))
                say(exact[-1], begun)
    given = None
    if chosen.run:
        run = Run.open(chosen.run)
        tuned, name = run.config.finetune, run.config.model.replace(":", "/").split("/")[-1]
        given = {"model": name, "rank": tuned and tuned.rank, "seed": run.config.seed}
        given |= surveyed(run)
        say(given, begun)
    found = {"runs": runs, "exact": exact, "given": given, "seconds": round(time.time() - begun)}
    path = chosen.results / "mechanism-curvature.json"
    path.write_text(by_line(rounded(found)) + "\n")
    draw(json.loads(path.read_text()), chosen.results / "mechanism-curvature.svg")


def small_run(out, size, rank, seed):
    """A small model fine-tuned with LoRA on q and v."""
    width, layers = size
    base = out / "bases" / f"{width}-{layers}"
    if not (base / "config.json").is_file():
        make_base(base, shuffled_texts("emotion", TaskSize(40, 1)), 15, width, layers)
    train, queries = SIZE
    config = make_config(
        "mechanism_curvature",
        model=str(base),
        task="emotion",
        train_per_class=train,
        queries_per_class=queries,
        methods=list(METHODS),
        seed=0,
        finetune={
            "rank": rank,
            "alpha": 8.0 * rank,
            "targets": ["q_proj", "v_proj"],
            "epochs": 15,
            "batch_size": 8,
            "learning_rate": 1e-2,
            "dropout": 0.0,
            "precision": "float32",
            "seed": seed,
        },
    )
    return execute(out / "runs" / f"{width}-{layers}-r{rank}-s{seed}", config).run


def surveyed(run):
    """The curvature of a run's final model under both rules of damping."""
    recipe = run.config.recipes()[0]
    methods = [parse_method(name) for name in METHODS]
    evidence = run.evidence(recipe, methods)
    train, query = (evidence.final.source(side) for side in (Side.TRAIN, Side.QUERY))
    parameters = list(run.model.model.parameters())
    tuned = run.card.entries.get("fine-tune", {})
    found = {
        "parameters": sum(p.numel() for p in parameters if not p.requires_grad),
        "trained": sum(p.numel() for p in parameters if p.requires_grad),
        "rows": len(train.ids),
        "queries": len(query.ids),
        "blocks": len(train.blocks),
        "entries of a block": [
            min(b.size for b in train.blocks),
            max(b.size for b in train.blocks),
        ],
        "loss": [tuned.get(f"loss {end}") for end in ("first", "last")],
    }
    for rule, strength in RULES.items():
        found[rule] = under(survey_curvature(train, query, rule, strength, K))
    path = run.path / "counterfactual" / "retrainings.safetensors"
    if path.is_file():
        truth = read_retrainings(path)
        survey = survey_curvature(train, query, "nonzero", 1.0, K)
        found["lds"] = [float(np.nanmean(lds(one, truth))) for one in survey.scores]
        plain = score_all([parse_method("gradient_dot")], evidence).scores[0]
        found["lds plain"] = float(np.nanmean(lds(plain, truth)))
        found["subsets"], found["seeds"] = truth.outcomes.shape[1], truth.outcomes.shape[0]
    return found


def under(survey):
    """A survey's numbers."""
    numbers = ("above", "rank", "train_energy", "trace_above", "query_energy", "query_outside")
    numbers += ("effective_dimension", "quantile", "ratio", "changed")
    agreements = ("plain", "weighted", "tenth", "tenfold")
    curves = ("multipliers", "dimension", "train_energy", "query_energy")
    curves += ("spearman", "spearman_weighted")
    return {
        "c": survey.strength,
        "blocks": {name: survey.mean(name) for name in numbers},
        "agreement": {name: vars(getattr(survey, name)) for name in agreements},
        "curve": {name: list(getattr(survey, name)) for name in curves},
    }


def three_curvatures(run):
    """Hessian, Gauss–Newton matrix and empirical Fisher of a run's final model."""
    recipe = run.config.recipes()[0]
    renderer = Renderer(run.model.tokenizer, recipe)
    train, queries = renderer.render_all(run.train), renderer.render_all(run.queries)
    curvature = ExactCurvature.of(run.model, train, recipe.reduction, "float32")
    if curvature.size > DENSE:
        most = {k: curvature.extreme_eigenvalues(k, 5).tolist() for k in CURVATURES}
        least = curvature.extreme_eigenvalues("hessian", 5, least=True).tolist()
        traces = {k: curvature.trace(k, 16) for k in CURVATURES}
        return {
            "trained": curvature.size,
            "largest": most,
            "least of the hessian": least,
            "trace": traces,
        }
    found = {"trained": curvature.size}
    for rule, strength in RULES.items():
        for scope in ("block", "whole"):
            one = compare_curvatures(
                curvature, queries, rule=rule, strength=strength, scope=scope, k=K
            )
            found[f"{rule}, {scope}"] = {
                "spearman": one.spearman.to_dict(),
                "overlap": one.overlap.to_dict(),
                "alignment": one.alignment.to_dict(),
                "λ": {kind: float(np.mean(lams)) for kind, lams in one.damping.items()},
                "query energy": dict(one.query_energy),
                "negative": one.negative,
                "negative count": one.negative_count,
                "indefinite": one.indefinite,
                "largest": {
                    kind: values[::-1][:5].tolist() for kind, values in one.eigenvalues.items()
                },
                "least of the hessian": one.eigenvalues["hessian"][:5].tolist(),
                "trace": {kind: float(values.sum()) for kind, values in one.eigenvalues.items()},
            }
    return found


def by_line(found):
    """JSON with a line for each run."""

    def plain(value):
        return json.dumps(value, ensure_ascii=False)

    parts = []
    for key, value in found.items():
        if isinstance(value, list):
            lines = ",\n".join(plain(one) for one in value)
            parts.append(f"{plain(key)}: [\n{lines}\n]")
        else:
            parts.append(f"{plain(key)}: {plain(value)}")
    return "{\n" + ",\n".join(parts) + "\n}"


def rounded(value):
    """Floats to five digits, so that the file is read and compared easily."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def say(found, begun):
    head = {k: found[k] for k in ("model", "rank", "seed", "trained")}
    rest = {}
    if "nonzero" in found:
        rest = {r: round(found[r]["agreement"]["plain"]["spearman"], 3) for r in RULES}
    if "nonzero, block" in found:
        rest = found["nonzero, block"]["spearman"]["hessian-free"]
    print(f"{time.time() - begun:.0f} s", head, rest, flush=True)


if __name__ == "__main__":
    main()
