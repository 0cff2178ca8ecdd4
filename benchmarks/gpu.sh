#!/usr/bin/env bash
# The benchmark of the reward model on one GPU, without network: at most ten minutes. Writes gpu.txt.
set -euo pipefail
cd "$(dirname "$0")/.."
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True
timeout 600 python -m benchmarks.gpu "$@" 2>&1 | tee "${OUT:-.}/gpu.txt"
