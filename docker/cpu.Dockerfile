# The tested packages for a CPU, those for training, serving and the tests as well. Build it at the top of the checkout:
#   docker build -f docker/cpu.Dockerfile -t autodata .
#   docker run --rm -v "$PWD/runs:/autodata/runs" autodata make demo
# hadolint checks this file; it was never built.
FROM python:3.11-slim-bookworm
# No versions are pinned here, so that the distribution's security updates come in.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential git \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /autodata
COPY . .
RUN make setup
ENV PATH=/autodata/.venv/bin:$PATH
CMD ["autodata", "--help"]
