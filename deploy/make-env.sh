#!/bin/sh
# Write .env for docker-compose.yaml: a copy of .env.example with a strong secret for each empty one.
# With --demo, .env also has the settings of the demo: its profile, and the migration from LocalStack to Azurite.
set -eu
umask 077
cd "$(dirname "$0")/.."

case "$#:${1-}" in
    0: | 1:--demo) ;;
    *) echo "usage: deploy/make-env.sh [--demo]" >&2; exit 2 ;;
esac
if [ -e .env ]; then
    echo ".env exists and is not changed: with a new AIRFLOW_FERNET_KEY, Airflow could not read its stored connections." >&2
    exit 1
fi

secret() { od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n'; }
# A Fernet key is 32 bytes in URL-safe base64.
fernet_key() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n'; }

fill() {
    while IFS= read -r line; do
        case "$line" in
            AIRFLOW_FERNET_KEY=) printf '%s%s\n' "$line" "$(fernet_key)" ;;
            *_PASSWORD= | *_SECRET= | *_SECRET_KEY=) printf '%s%s\n' "$line" "$(secret)" ;;
            *) printf '%s\n' "$line" ;;
        esac
    done <.env.example
    if [ "${1-}" = --demo ]; then
        printf '\nCOMPOSE_PROFILES=demo\n'
        printf 'S3_TO_AZURE_SOURCE=s3://demo-source/nightly/\nS3_TO_AZURE_DESTINATION=az://demo-destination/\n'
    fi
}

# The file gets its name only when it is complete.
fill "$@" >".env.$$"
mv ".env.$$" .env
echo "Wrote .env, which only you can read. Show the first user's name and password: grep AIRFLOW_ADMIN .env"
