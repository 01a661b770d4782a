"""Entry point: the verbs, and what becomes of an error."""

from __future__ import annotations

import os
import sys
import warnings

import typer

from wherefrom.cli import (
    _check,
    _counterfactual,
    _demo,
    _evaluate,
    _finetune,
    _index,
    _list,
    _prune,
    _replay,
    _report,
    _retrain,
    _serve,
    _study,
    _trace,
)
from wherefrom.errors import WherefromError
from wherefrom.safetext import printable

app = typer.Typer(
    name="wherefrom",
    help="Which training examples made a fine-tuned language model say this?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
_VERBS = (
    _demo,
    _study,
    _finetune,
    _index,
    _trace,
    _check,
    _counterfactual,
    _evaluate,
    _prune,
    _retrain,
    _report,
    _serve,
    _replay,
    _list,
)
for verb in _VERBS:
    verb.register(app)

_INTERRUPTED = 130
_QUIET = {
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
}


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if version:
        from wherefrom import __version__

        print(__version__)
        raise typer.Exit


def main() -> None:
    """Runs the command line; a user's mistake ends in one line and exit status 2."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings(
        "ignore", category=UserWarning, module=r"(transformers|peft|trl|torch)\b"
    )
    try:
        app()
    except WherefromError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        print(f"error:{where}: {error.strerror or error}", file=sys.stderr)
        sys.exit(1)
    except SystemExit as stop:
        # typer turns Ctrl-C into this
        if stop.code == _INTERRUPTED:
            print("\nstopped; the same command goes on where this one ended.", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
