"""Replace this process by a command that the kernel (on Linux) kills as soon as the parent process ends.

Run as a script: `python die_with_parent.py PARENT_PID COMMAND [ARGUMENT ...]`. It is a process of its own because
`preexec_fn` would run Python between fork and exec, which is unsafe in a program with threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html; exec keeps the setting."""


def main(parent_pid: int, command: list[str]) -> None:
    """Replace this process by the command, unless the parent has already ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        sys.exit("The process that started this server has ended.")
    os.execv(command[0], command)  # noqa: S606 - the command of the caller, without a shell


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
