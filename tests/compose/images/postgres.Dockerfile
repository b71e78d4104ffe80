# Stands in for postgres:16 with Debian's PostgreSQL, which is older.
FROM python:3.12-slim-bookworm
RUN apt-get update \
    && apt-get install --yes --no-install-recommends postgresql \
    && rm -rf /var/lib/postgresql/*/main \
    && ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/ 2>/dev/null || true
ENV PGDATA=/var/lib/postgresql/data
RUN install --directory --owner=postgres --mode=700 "$PGDATA"
COPY postgres-entrypoint.sh /
USER postgres
CMD ["sh", "/postgres-entrypoint.sh"]
