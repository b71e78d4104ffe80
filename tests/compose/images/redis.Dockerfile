# Stands in for redis:7.2 with Debian's, which is 7.0.
FROM python:3.12-slim-bookworm
RUN apt-get update && apt-get install --yes --no-install-recommends redis-server
CMD ["redis-server"]
