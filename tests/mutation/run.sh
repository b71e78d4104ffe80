#!/bin/sh
# Changes the engine's decisions in small ways, one at a time, and counts the changes that no test notices.
# In a copy of the project below build/mutation: the checkout is not touched. `run.sh results` shows the survivors,
# `run.sh show NAME` one of them.
set -eu
cd "$(dirname "$0")/../.."
root=$PWD
work=$root/build/mutation
tools=$work/venv
mkdir -p "$work"

if [ ! -e "$tools/ready" ] || [ tests/mutation/requirements.in -nt "$tools/ready" ]; then
    .tools/bin/uv venv --quiet --clear --python .venv/bin/python "$tools"
    .tools/bin/uv pip install --quiet --python "$tools/bin/python" -c requirements-dev.txt -r tests/mutation/requirements.in
    # The project's own dependencies, but not the project, which is the copy.
    "$root/.venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
        >"$("$tools/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/project.pth"
    touch "$tools/ready"
fi

copy() { rm -rf "$work/$2" && cp -R "$1" "$work/$2"; }
if [ $# -eq 0 ] || [ "$1" = run ]; then
    mkdir -p "$work/src"
    copy plugins/s3_to_azure src/s3_to_azure
    copy tests tests
    # mutmut runs a class's tests on many instances of it, and thousands of times: fewer examples, always the same ones.
    cat >>"$work/tests/conftest.py" <<'CONFTEST'

from hypothesis import HealthCheck

settings.register_profile(
    "mutation", deadline=None, derandomize=True, database=None, max_examples=40, suppress_health_check=list(HealthCheck)
)
settings.load_profile("mutation")
CONFTEST
    mkdir -p "$work/local_cloud"
    cp local_cloud/*.py "$work/local_cloud/"
    cp tests/mutation/setup.cfg "$work/setup.cfg"
    printf '[pytest]\npythonpath = src .\naddopts = --import-mode=importlib -m "not slow and not soak"\ntimeout = 20\nmarkers =\n    slow\n    soak\n' >"$work/pytest.ini"
fi
# Python never looks again at a folder of its path that was not there when it started.
mkdir -p "$work/mutants/src"
cd "$work"
export PYTHONPATH="$work/mutants/src:$work/mutants"
exec "$tools/bin/mutmut" "${@:-run}"
