#!/usr/bin/env bash
# Installs the pinned packages without resolving dependencies (the header of cpu.txt says why):
#   install.sh cpu    into .venv
#   install.sh gpu    into .venv-gpu
# For gpu, the NVIDIA driver is checked before anything is downloaded. On a machine without a GPU, such as a login
# node, the variable DRIVER names the driver of the machines that will use .venv-gpu.
set -euo pipefail
cd "$(dirname "$0")/.."
pins=requirements/$1.txt
python=${PYTHON:-python3.11}
venv=.venv
needed_driver=580  # for CUDA 13: https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html

fail() {
    echo "error: $1" >&2
    exit 1
}

check_python() {
    # The latest of all pins is soupsieve's: it needs Python 3.11.5.
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11, 5))' ||
        fail "$python is $("$python" --version), but the pins need 3.11.5 or later: make setup PYTHON=…"
}

check_driver() {
    local found=${DRIVER:-}
    if [ -z "$found" ]; then
        found=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2> /dev/null) ||
            fail "nvidia-smi finds no NVIDIA driver here: run make setup GPU=1 on a machine with a GPU, or add
       DRIVER= with the version that nvidia-smi shows on the GPU machines: make setup GPU=1 DRIVER=580.95.05"
        found=${found%%$'\n'*}  # one line for each GPU
    fi
    [[ $found =~ ^[0-9]+ ]] || fail "the driver's version must be a number such as 580.95.05, not '$found'"
    [ "${BASH_REMATCH[0]}" -ge $needed_driver ] ||
        fail "the NVIDIA driver is $found, but $torch is built for CUDA 13, which needs $needed_driver or later:
       install a newer driver, or ask the administrators of the machine for it"
    echo "NVIDIA driver $found, at least $needed_driver is needed"
}

torch=$(grep '^torch==' "$pins")
check_python
if [ "$1" = gpu ]; then
    check_driver
    venv=.venv-gpu
fi
[ -x $venv/bin/python ] || "$python" -m venv $venv
pip=($venv/bin/python -m pip --disable-pip-version-check -q)
extra=()
# PyPI has no +cpu builds of torch; if pip finds none elsewhere, it also searches PyTorch's own index.
if [ "$1" = cpu ] && ! "${pip[@]}" download --no-deps -d $venv/wheels "$torch" > /dev/null 2>&1; then
    extra=(--extra-index-url "https://download.pytorch.org/whl/cpu")
fi
echo "installing $(grep -c == "$pins") packages into $venv; this takes some minutes the first time"
"${pip[@]}" install --no-deps --no-compile "${extra[@]}" setuptools==77.0.3
"${pip[@]}" install --no-deps --no-compile "${extra[@]}" -r "$pins"
"${pip[@]}" install --no-deps --no-build-isolation -e .
rm -rf $venv/wheels
if [ "$1" = gpu ]; then
    echo "Use $venv/bin/python where the documentation says .venv/bin/python."
    echo "Qwen3.5 trains faster with causal-conv1d. It is not among the pins, because your machine must compile it:"
    echo "    $venv/bin/python -m pip install --no-deps --no-build-isolation causal-conv1d==1.7.0  # needs nvcc"
fi
