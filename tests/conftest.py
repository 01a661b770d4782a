import os

# nothing here may reach for the hub, and two cores are all there are
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest

from tiny import save_tiny


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A tiny llama with a chat template, as a folder for --model."""
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny-llama")
