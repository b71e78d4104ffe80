"""``python -m s3_to_azure`` is the command line."""

import subprocess
import sys

from s3_to_azure import __version__


def test_module_runs_the_command_line() -> None:
    """The options, the output and the exit status are those of ``s3-to-azure``."""
    done = subprocess.run(
        [sys.executable, "-m", "s3_to_azure", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"{__version__}\n"), done.stderr


def test_wrong_arguments_exit_with_2() -> None:
    """A script can tell wrong arguments from a failed copy."""
    done = subprocess.run([sys.executable, "-m", "s3_to_azure", "move"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "usage: s3-to-azure" in done.stderr
