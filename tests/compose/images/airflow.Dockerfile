# Stands in for apache/airflow: its user, folders and tools, and the providers of its that this project uses, at the
# lock's versions. Its entrypoint fails: whoever relies on the real one is found out.
FROM python:3.12-slim-bookworm
RUN apt-get update \
    && apt-get install --yes --no-install-recommends curl dumb-init \
    && useradd --uid 50000 --gid 0 --create-home airflow \
    && install --directory --owner=airflow --group=root --mode=775 \
        /opt/airflow /opt/airflow/dags /opt/airflow/logs /opt/airflow/plugins /opt/airflow/config
USER airflow
ENV AIRFLOW_HOME=/opt/airflow PATH=/home/airflow/.local/bin:$PATH
COPY requirements.txt /tmp/requirements.txt
RUN python -m venv /home/airflow/.local \
    && pip install --no-cache-dir --quiet uv \
    && uv pip install --quiet --no-cache --compile-bytecode --python /home/airflow/.local/bin/python \
        --constraint /tmp/requirements.txt "apache-airflow[amazon,celery,fab,microsoft-azure,postgres]"
WORKDIR /opt/airflow
ENTRYPOINT ["/bin/false"]
CMD []
