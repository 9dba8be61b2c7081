#!/usr/bin/env bash
# Benchmark of a complete training step of the M backbone, against PyTorch, on one thread each and
# in alternating turns.
#
#     experiments/pretrain_step.sh [--streams N] [--rounds N] [VARIANT…]
#
# PyTorch is installed into target/torch, which takes some gigabytes; only this benchmark needs it.
# See pretrain_step.py for the variants; by default `conv1d` and `channels-last` are run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly venv=target/torch
python=()
if [[ -x $venv/bin/python ]] && "$venv/bin/python" -c 'import torch' 2>/dev/null; then
    python=(--python "$venv/bin/python")
elif python3 -m venv "$venv" && "$venv/bin/pip" install -q torch numpy; then
    python=(--python "$venv/bin/python")
else
    printf 'PyTorch cannot be installed here: timing Wakeling alone.\n' >&2
fi
cargo build --release -p wakeling-experiments --bin pretrain_step
exec target/release/pretrain_step "${python[@]}" "$@"
