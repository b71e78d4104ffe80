"""Become the command given, killed by the kernel (on Linux) as soon as the parent process is gone.

Run as a script: `python die_with_parent.py PARENT_PID COMMAND [ARGUMENT ...]`. A step between two processes, and not
`preexec_fn`, because that runs Python between fork and exec, which is unsafe in a program with threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html; it survives exec, and stays with this process."""


def main(parent_pid: int, command: list[str]) -> None:
    """Replace this process by the command, unless the parent has already gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        sys.exit("the process that wanted this server is gone")
    os.execv(command[0], command)  # noqa: S606 - the point of this script: no shell, the caller's own command


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
