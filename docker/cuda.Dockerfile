# The same for NVIDIA GPUs, with CUDA 13. Build it at the top of the checkout:
#   docker build -f docker/cuda.Dockerfile -t autodata-cuda .
#   docker run --rm --gpus all --ipc host -v "$PWD/runs:/autodata/runs" autodata-cuda autodata doctor RECIPE MODELS
# hadolint checks this file; it was never built.
FROM nvidia/cuda:13.0.1-devel-ubuntu24.04
# No versions are pinned here, so that the distribution's security updates come in.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential git python3.12-dev python3.12-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /autodata
COPY . .
# A build sees no driver; DRIVER is the oldest one of the machines that may run the image.
RUN make setup GPU=1 DRIVER=580 PYTHON=python3.12
ENV PATH=/autodata/.venv-gpu/bin:$PATH
CMD ["autodata", "--help"]
