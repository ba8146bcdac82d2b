"""Runs a tool, and cleans up after it if nobody is left who waits for it.

``python -I caretaker.py <parent's pid> <folder or empty> <commands> <program> <argument>...``, the commands a
JSON list of lists; its exit status is the tool's.

A killed Airflow task gets five seconds before SIGKILL (``supervisor.kill`` of Airflow's task SDK), Packer
needs minutes to remove its instance. So tools outlive their task, and what they need on the disk,
passwords among it, has to go when they go.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence


def main(parent: int, folder: str, afterwards: Sequence[Sequence[str]], argv: Sequence[str]) -> int:
    """Run the tool to its end.

    :param parent: pid of the task; as long as it lives, all that follows is its own business.
    :param folder: removed afterwards; empty for none.
    :param afterwards: commands that are run before that, one after the other, whatever comes of them.
    :param argv: the program and its arguments.
    :return: its exit status; 128 + n if signal n ended it.
    """
    # The whole group gets the interrupt, and only the tool acts on it. A handler, unlike SIG_IGN, is not
    # inherited by the tool.
    signal.signal(signal.SIGINT, lambda *_: None)
    status = 0
    try:
        status = subprocess.run(argv, check=False).returncode
    except FileNotFoundError:
        sys.stderr.write(f"{argv[0]} is not on PATH; install it\n")
        status = 127
    finally:
        if status < 0:
            # Killed outright: what it had started, such as Terraform's providers, would stay for ever.
            signal.signal(signal.SIGTERM, lambda *_: None)
            os.killpg(0, signal.SIGTERM)
        if os.getppid() != parent:
            for command in afterwards:
                subprocess.run(command, check=False)
            if folder:
                shutil.rmtree(folder, ignore_errors=True)  # the next task of its kind sweeps what is left
    return 128 - status if status < 0 else status


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), sys.argv[4:]))
