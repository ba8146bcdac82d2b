"""Runs a tool, and removes its scratch folder at the end if nobody is left who waits for it.

``python -I caretaker.py <parent's pid> <folder or empty> <program> <argument>...``; its exit status is the
tool's.

A killed Airflow task gets five seconds before SIGKILL (``supervisor.kill`` of Airflow's task SDK), Packer
needs minutes to remove its instance. So tools outlive their task, and what they need on the disk,
passwords among it, has to go when they go.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys


def main(parent: int, folder: str, argv: list[str]) -> int:
    """Run the tool to its end.

    :param parent: pid of the task; as long as it lives, the folder is its own business.
    :param folder: removed afterwards; empty for none.
    :param argv: the program and its arguments.
    :return: its exit status; 128 + n if signal n ended it.
    """
    # The whole group gets the interrupt, and only the tool acts on it. A handler, unlike SIG_IGN, is not
    # inherited by the tool.
    signal.signal(signal.SIGINT, lambda *_: None)
    try:
        status = subprocess.run(argv, check=False).returncode
    except FileNotFoundError:
        sys.stderr.write(f"{argv[0]} is not on PATH; install it\n")
        status = 127
    finally:
        if folder and os.getppid() != parent:
            shutil.rmtree(folder, ignore_errors=True)  # the next task of its kind sweeps what is left of it
    return 128 - status if status < 0 else status


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
