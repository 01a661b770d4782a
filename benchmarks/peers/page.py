"""What was measured, as a table for the terminal and as a part of a page."""

from rich.table import Table

BEGIN, END = "<!-- measured -->", "<!-- end -->"
COLUMNS = (
    "tool",
    "what",
    "precision",
    "start-up s",
    "wall s",
    "CPU s",
    "peak GB",
    "agrees with ours",
)


def best(rounds):
    """The round with the fewest CPU seconds; one that failed only where all did."""
    return min(rounds, key=lambda found: (found["error"] is not None, found["cpu"]))


def cells(line, found):
    if found["error"]:
        return [line.tool, line.what, line.precision, "–", "–", "–", "–", found["error"]]
    mark = "*" if found["extrapolated"] else ""
    ranks = ", ".join(f"{value:.3f}" for value in found["agreement"].values()) or "–"
    least = f" (cosine ≥ {found['cosine']['least']:.4f})" if "cosine" in found else ""
    return [
        line.tool,
        line.what,
        line.precision,
        # unseen where the tool's own child processes run the model
        f"{found['stamps']['first batch'][0]:.1f}" if "first batch" in found["stamps"] else "–",
        f"{found['wall']:.0f}{mark}",
        f"{found['cpu']:.0f}{mark}",
        f"{found['peak'] / 1e9:.1f}",
        ranks + least,
    ]


def table(results):
    shown = Table(*COLUMNS)
    for line, rounds in results.items():
        shown.add_row(*cells(line, best(rounds)))
    return shown


def bars(results):
    """One sentence for each bar that the lines which ran can speak of."""
    done = {line: best(rounds) for line, rounds in results.items() if not best(rounds)["error"]}
    peers = {line: found for line, found in done.items() if line.tool != "wherefrom"}
    own = {line: found for line, found in done.items() if line.tool == "wherefrom"}

    def least(lines, key):
        return min(lines.items(), key=lambda pair: pair[1][key])

    said = []
    defaults = {line: found for line, found in peers.items() if line.default}
    for line, found in own.items():
        if not line.one_pass:
            rivals = {k: v for k, v in peers.items() if not k.one_pass}
        elif line.what == "gradient dot" and not line.default:
            rivals = {
                k: v for k, v in peers.items() if k.precision == line.precision and k.one_pass
            }
        else:
            rivals = defaults
        if not rivals:
            continue
        (quick, wall), (cheap, cpu) = least(rivals, "wall"), least(rivals, "cpu")
        ratios = f"CPU {found['cpu'] / cpu['cpu']:.2f} × that of {cheap.name}"
        ratios += f"; wall {found['wall'] / wall['wall']:.2f} ×"
        said.append(
            f"{line.name}: {ratios}" + (f" that of {quick.name}." if quick != cheap else ".")
        )
    return said


def describe(about, results):
    """Markdown: when and where, versions, the command, the table, the ratios."""
    job, versions = about["job"], about["versions"]
    tools = {tool: found.get(tool) for tool, found in versions.items() if found.get(tool)}
    shared = next(iter(versions.values()))
    lines = [
        f"{about['date']}, {about['processor']}, {about['cores']} cores, no GPU used, "
        f"{about['threads']} threads each; load average {about['load before']:.1f} before the first line. "
        f"Python {about['python']}, torch {shared['torch']}, transformers {shared['transformers']}, "
        f"PEFT {shared['peft']} in every environment; "
        + ", ".join(f"{tool} {version}" for tool, version in tools.items())
        + ".",
        "",
        f"    {about['command']}",
        "",
        f"SmolLM2-135M-Instruct, LoRA r={job['rank']} on q and v; {job['rows']} rows of the {job['task']} "
        f"task ({job['tokens']['train'] / job['rows']:.0f} tokens each, "
        f"{job['counted tokens'] / job['rows']:.0f} of them counted) and {job['queries']} queries.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|" + "---|" * len(COLUMNS),
    ]
    lines += [f"| {' | '.join(cells(line, best(r)))} |" for line, r in results.items()]
    if any(best(rounds).get("extrapolated") for rounds in results.values()):
        lines += ["", "\\* stopped at its limit and extended in proportion to the queries left."]
    lines += ["", *(f"- {said}" for said in bars(results))]
    return "\n".join(lines)


def replace_in(path, text):
    """Puts text between the two marks of a page."""
    page = path.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
