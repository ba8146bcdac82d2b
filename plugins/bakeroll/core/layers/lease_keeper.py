"""Runs Packer and renews the bake's lease beside it, so that the lease tells whether Packer lives.

``python -I lease_keeper.py <JSON: where the lease is> <program> <argument>...``; its exit status is the
program's. It runs under the caretaker (:mod:`bakeroll.core.caretaker`), so it outlives a killed task as
Packer does. If the lease became somebody else's, Packer is told to stop: it would work for nobody. If this
process is killed alone, the kernel tells Packer to stop, as nobody renews the lease then.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bakeroll.core.lease import LeaseObject

_PR_SET_PDEATHSIG = 1  # prctl(2)


def prefix(lease: LeaseObject, region: str, endpoint: str) -> list[str]:
    """Return what stands before Packer's command line; it holds no secret.

    :param region: the bucket's region.
    :param endpoint: S3's address.
    """
    where = {
        "bucket": lease.bucket,
        "key": lease.key,
        "owner": lease.owner,
        "seconds": lease.seconds,
        "region": region,
        "endpoint": endpoint,
    }
    return [sys.executable, "-I", __file__, json.dumps(where)]


def main(where: dict[str, Any], argv: Sequence[str]) -> int:
    """Run the program to its end.

    :param where: as :func:`prefix` gives it.
    :param argv: the program and its arguments.
    :return: its exit status; 128 + n if signal n ended it.
    """
    # The whole group gets the interrupt, and only Packer acts on it; a handler is not inherited by it.
    signal.signal(signal.SIGINT, lambda *_: None)
    try:
        child = subprocess.Popen(argv, preexec_fn=_stop_when_alone if sys.platform == "linux" else None)  # noqa: PLW1509
    except FileNotFoundError:
        sys.stderr.write(f"{argv[0]} is not on PATH; install it\n")
        return 127
    ours = True
    while True:
        try:
            status = child.wait(timeout=where["seconds"] / 4)
        except subprocess.TimeoutExpired:
            if ours:
                ours = _renew(where)
                if not ours:
                    os.killpg(os.getpgid(0), signal.SIGINT)
            continue
        return 128 - status if status < 0 else status


def _renew(where: dict[str, Any]) -> bool:
    """Renew the lease; tells whether it is still ours as far as is known."""
    # Late, as most bakes on a fast machine end before: boto3 costs a second and much memory.
    sys.path.insert(0, str(Path(__file__).parents[3]))
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    from bakeroll.core.errors import LeaseLostError  # noqa: PLC0415
    from bakeroll.core.lease import LeaseObject  # noqa: PLC0415

    authority = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
    try:
        s3 = boto3.client(
            "s3",
            region_name=where["region"],
            endpoint_url=where["endpoint"],
            verify=authority,
            config=Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 3}),
        )
        LeaseObject(
            s3, where["bucket"], where["key"], where["owner"], now=time.time, seconds=where["seconds"]
        ).update()
    except LeaseLostError as error:
        sys.stderr.write(f"{error}\n")
        return False
    except (BotoCoreError, ClientError) as error:
        # The task renews it too as long as it lives; without both it lapses, and the next try begins anew.
        sys.stderr.write(f"the bake's lease was not renewed beside Packer and is tried again: {error}\n")
    return True


def _stop_when_alone() -> None:
    """Have the kernel interrupt this process when its parent ends; runs in the child, before the program."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT))


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1]), sys.argv[2:]))
