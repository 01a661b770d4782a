"""How long the live page takes for a question, once it is warm.

    python benchmarks/live_page.py RUN [--questions 3] [--method METHOD]

RUN is an indexed run with queries (`wherefrom demo` makes one). Seconds count from the question on: until
the model's first token, the end of its answer, the rows behind it, and the verdict; then the tokens of one.
"""

import argparse
import time

from wherefrom.data import Example
from wherefrom.run import WarmRun


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--questions", type=int, default=3)
    parser.add_argument("--method", help="the one that leads if not given")
    chosen = parser.parse_args()
    begun = time.perf_counter()
    run = WarmRun.open(chosen.run)
    method = chosen.method or run.leading
    _ = run.model
    loaded = time.perf_counter()
    run.warm_up(method)
    print(f"load {loaded - begun:.1f} s, warm-up {time.perf_counter() - loaded:.1f} s")
    print("| first token | answer | rows | verdict | tokens of a row |\n|---|---|---|---|---|")
    step = max(1, len(run.queries) // chosen.questions)
    for query in run.queries[::step][: chosen.questions]:
        begun = time.perf_counter()
        stamps = []

        def hear(_, begun=begun, stamps=stamps):
            stamps.append(time.perf_counter() - begun)
            return True

        said = run.speak(query.prompt, 64, hear)
        stamps = [stamps[0], time.perf_counter() - begun]
        asked = Example.of("question", query.prompt, said)
        answer = run.ask(asked, method, generated=True)
        stamps.append(time.perf_counter() - begun)
        run.judge(answer)
        stamps.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        run.tokens(answer, k=1)
        stamps.append(time.perf_counter() - begun)
        print("| " + " | ".join(f"{s:.2f}" for s in stamps) + " |")


if __name__ == "__main__":
    main()
