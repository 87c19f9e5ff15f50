#!/usr/bin/env bash
# Installs the pinned packages into .venv without resolving dependencies (the header of cpu.txt says why).
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x .venv/bin/python ] || "${PYTHON:-python3.11}" -m venv .venv
pip=(.venv/bin/python -m pip --disable-pip-version-check -q)
torch=$(grep '^torch==' requirements/cpu.txt)
extra=()
# PyPI has no +cpu builds of torch; if pip finds none elsewhere, it also searches PyTorch's own index.
if ! "${pip[@]}" download --no-deps -d .venv/wheels "$torch" >/dev/null 2>&1; then
    extra=(--extra-index-url "https://download.pytorch.org/whl/cpu")
fi
echo "installing $(grep -c == requirements/cpu.txt) packages into .venv; this takes some minutes the first time"
"${pip[@]}" install --no-deps --no-compile "${extra[@]}" setuptools==77.0.3
"${pip[@]}" install --no-deps --no-compile "${extra[@]}" -r requirements/cpu.txt
"${pip[@]}" install --no-deps --no-build-isolation -e .
rm -rf .venv/wheels
