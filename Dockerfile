# Two images from one file: `operator` (no torch) and `trainer`.
#
#   docker build --target operator -t autohas-operator:0.1.0 .
#   docker build --target trainer  -t autohas-trainer:0.1.0 .
#
# BASE needs a python3 of 3.11 or later that can make virtual environments. Order is by how often a
# thing changes: dependencies lie in a layer of their own, the project's code in the last and smallest.
ARG BASE=python:3.11-slim-bookworm

# uv installs from constraints.txt and checks its hashes; pip checks that of uv itself. No cache stays in an image;
# a build may mount one of the host's and name it by UV_CACHE_DIR, with UV_NO_CACHE=0 and UV_LINK_MODE=copy.
FROM ${BASE} AS build
ARG SSL_CERT_FILE
ARG PIP_CERT
ARG PIP_INDEX_URL
COPY constraints.txt /build/
RUN sed -n '/^uv==/,/[^\\]$/p' /build/constraints.txt > /build/uv.txt \
 && python3 -m venv /build/venv \
 && /build/venv/bin/pip install --no-cache-dir --require-hashes --requirement /build/uv.txt

# What each image needs, apart from pyproject.toml: an edit there that touches no dependency keeps the big layer.
FROM build AS requirements
COPY pyproject.toml /build/
RUN python3 -c "import pathlib, tomllib; \
project = tomllib.loads(pathlib.Path('/build/pyproject.toml').read_text())['project']; \
[pathlib.Path('/build', image + '.txt').write_text('\n'.join(project['dependencies'] + \
sum((project['optional-dependencies'][extra] for extra in extras), []))) \
for image, extras in (('operator', ['operator']), ('trainer', ['trainer', 's3', 'gcs', 'hf', 'arrow']))]"

FROM build AS source
ARG SSL_CERT_FILE
ARG UV_DEFAULT_INDEX
ARG UV_NO_CACHE=1
ARG UV_CACHE_DIR
ARG UV_LINK_MODE
COPY pyproject.toml README.md LICENSE /build/project/
COPY crds/autohas_api /build/project/crds/autohas_api
COPY operator/autohas_operator /build/project/operator/autohas_operator
COPY trainer/autohas_trainer /build/project/trainer/autohas_trainer
COPY trainer/autohas /build/project/trainer/autohas
RUN python3 -m venv --without-pip /opt/venv \
 && /build/venv/bin/uv pip install --no-deps --compile-bytecode \
      --build-constraint /build/constraints.txt --python /opt/venv/bin/python --target /opt/autohas /build/project

FROM ${BASE} AS python
RUN python3 -m venv --without-pip /opt/venv
# Roots of pods are read-only: byte code is compiled at build time, never at run time.
ENV PATH=/opt/venv/bin:/opt/autohas/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONPATH=/opt/autohas \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONUTF8=1

FROM python AS operator
ARG SSL_CERT_FILE
ARG PIP_CERT
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX
ARG UV_NO_CACHE=1
ARG UV_CACHE_DIR
ARG UV_LINK_MODE
COPY --from=requirements /build/operator.txt /build/constraints.txt /build/uv.txt /opt/requirements/
# uv comes and goes in the same step: it is no part of the image.
RUN python3 -m venv /tmp/uv \
 && /tmp/uv/bin/pip install --no-cache-dir --require-hashes --requirement /opt/requirements/uv.txt \
 && /tmp/uv/bin/uv pip install --compile-bytecode --python /opt/venv/bin/python \
      --constraint /opt/requirements/constraints.txt --requirement /opt/requirements/operator.txt \
 && rm -r /tmp/uv
COPY --from=source /opt/autohas /opt/autohas
USER 65532:65532
ENTRYPOINT ["python", "-m", "autohas_operator"]

FROM python AS trainer
# WITH_COMPILER=1 adds g++ (200 MB) for searches with spec.trainer.compute.compile.
ARG WITH_COMPILER=0
RUN if [ "$WITH_COMPILER" = 1 ]; then \
      apt-get update && apt-get install --yes --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*; \
    fi
ARG SSL_CERT_FILE
ARG PIP_CERT
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX
ARG UV_NO_CACHE=1
ARG UV_CACHE_DIR
ARG UV_LINK_MODE
COPY --from=requirements /build/trainer.txt /build/constraints.txt /build/uv.txt /opt/requirements/
# uv comes and goes in the same step: it is no part of the image.
RUN python3 -m venv /tmp/uv \
 && /tmp/uv/bin/pip install --no-cache-dir --require-hashes --requirement /opt/requirements/uv.txt \
 && /tmp/uv/bin/uv pip install --compile-bytecode --python /opt/venv/bin/python \
      --constraint /opt/requirements/constraints.txt --requirement /opt/requirements/trainer.txt \
 && rm -r /tmp/uv
COPY --from=source /opt/autohas /opt/autohas
USER 65532:65532
ENTRYPOINT ["python", "-m", "autohas_trainer"]
