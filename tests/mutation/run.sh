#!/bin/sh
# Makes small changes (mutants) in the modules that setup.cfg lists, one at a time, and counts those that no test notices.
# It works on a copy of the project below build/mutation. `run.sh results` lists the mutants that survived, `run.sh score`
# counts them, `run.sh show NAME` shows one, and `run.sh run 's3_to_azure.transfer.commit.*'` makes those of one module
# only; `run.sh run '*__mutmut_*[37]'` makes every fifth of all. `run.sh by-hand` makes the mutants of by_hand.toml.
set -eu
cd "$(dirname "$0")/../.."
case ${1-} in
score) exec .venv/bin/python -m tests.mutation.score ;;
by-hand) shift && exec .venv/bin/python -m tests.mutation.by_hand "$@" ;;
esac
root=$PWD
work=$root/build/mutation
tools=$work/venv
mkdir -p "$work"

if [ ! -e "$tools/ready" ] || [ tests/mutation/requirements.in -nt "$tools/ready" ]; then
    .tools/bin/uv venv --quiet --clear --python .venv/bin/python "$tools"
    .tools/bin/uv pip install --quiet --python "$tools/bin/python" -c requirements-dev.txt -r tests/mutation/requirements.in
    # The project's dependencies; the project itself is the copy.
    "$root/.venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
        >"$("$tools/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/project.pth"
    touch "$tools/ready"
fi

copy() { rm -rf "$work/$2" && cp -Rp "$1" "$work/$2"; }
if [ $# -eq 0 ] || [ "$1" = run ]; then
    mkdir -p "$work/src"
    copy plugins/s3_to_azure src/s3_to_azure
    copy tests tests
    # mutmut runs each test thousands of times: a few examples, and always the same ones. It calls the tests of a class on
    # several instances, which Hypothesis would refuse.
    cat >>"$work/tests/conftest.py" <<'CONFTEST'

import os

from hypothesis import HealthCheck

settings.register_profile(
    "mutation", deadline=None, derandomize=True, database=None, max_examples=40, suppress_health_check=list(HealthCheck)
)
settings.load_profile("mutation")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes long, the tests that start a server; begin with the tests of the mutant's own module."""
    servers = {"s3_server", "azure_server", "rclone_server"}
    kept = [item for item in items if not servers.intersection(getattr(item, "fixturenames", ()))]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    *folders, module, _ = os.environ.get("MUTANT_UNDER_TEST", "").split(".")[1:] or ["", ""]
    folder = "/".join(["tests", *folders, ""])
    own = f"{folder}test_{module}.py::"
    items[:] = sorted(kept, key=lambda item: (own not in item.nodeid, folder not in item.nodeid))
CONFTEST
    for package in benchmarks local_cloud; do
        mkdir -p "$work/$package"
        cp "$package"/*.py "$work/$package/"
    done
    cp tests/mutation/setup.cfg "$work/setup.cfg"
    printf '[pytest]\npythonpath = src .\naddopts = --import-mode=importlib -m "not slow and not soak" -k "not little_memory and not memory_of and not memory_does" --ignore=tests/model/test_errors.py --ignore=tests/transfer/test_outside_assignments.py\ntimeout = 20\nmarkers =\n    slow\n    soak\n' >"$work/pytest.ini"
fi
# Python ignores a folder of its path that does not exist when Python starts.
mkdir -p "$work/mutants/src"
cd "$work"
export PYTHONPATH="$work/mutants/src:$work/mutants"
exec "$tools/bin/mutmut" "${@:-run}"
