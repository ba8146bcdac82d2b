"""The demo's table, and the list of what had to hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from demo.account import LAYERS
from demo.deployments import Deployment, Layer

#: How many broken requests are shown; the rest is in the load generator's file.
SHOWN = 3


@dataclass(frozen=True)
class Check:
    """One thing that had to hold.

    :param evidence: what was seen, in case it did not.
    """

    what: str
    held: bool
    evidence: str


def show(deployments: Sequence[Deployment], checks: Sequence[Check], console: Console) -> None:
    """Print a column for each run, and whether each check held.

    :param deployments: the runs, in their order.
    :param checks: what had to hold.
    :param console: where to.
    """
    table = Table(title="bakeroll: three deployments of development", show_lines=False)
    table.add_column("")
    for each in deployments:
        table.add_column(f"{each.number}. {each.title}", overflow="fold")
    rows = {
        "result": [f"{'green' if each.succeeded else 'RED'} in {each.seconds:.0f} s" for each in deployments],
        **{layer: [_layer(each.layers[layer]) for each in deployments] for layer in LAYERS},
        "instances replaced": [str(each.replaced) for each in deployments],
        "instances serving": [_serving(each) for each in deployments],
        "requests sent / failed": [f"{each.sent} / {len(each.failures)}" for each in deployments],
        "log lines written / collected": [
            f"{each.lines.written} / {each.lines.collected}" if each.lines else "-" for each in deployments
        ],
    }
    for name, cells in rows.items():
        table.add_row(name, *cells)
    table.add_section()
    for step in _steps(deployments):
        cells = [f"{each.steps[step]:.1f} s" if step in each.steps else "skipped" for each in deployments]
        table.add_row(step, *cells)
    console.print(table)
    for check in checks:
        words = check.what if check.held else f"{check.what}: {check.evidence}"
        console.print(f"{'✓' if check.held else '✗'} {words}", markup=False, highlight=False)


def judge(deployments: Sequence[Deployment]) -> list[Check]:
    """Tell what had to hold in the three runs and whether it did.

    :param deployments: first deployment, application change, nothing changed.
    """
    first, change, nothing = deployments
    checks = [
        Check(f"run {each.number} is green", each.succeeded, f"it failed, see {each.run_id}")
        for each in deployments
    ]
    checks += [_baked(first, LAYERS), _baked(change, ("application",)), _baked(nothing, ())]
    for each, version in ((first, "1"), (change, "2"), (nothing, "2")):
        served = each.versions
        held = (
            each.instances == 2 and len(served) == 2 and all(found == {version} for found in served.values())
        )
        checks.append(
            Check(f"after run {each.number} two instances serve version {version}", held, _serving(each))
        )
    checks += [
        Check("run 2 replaced both instances", change.replaced == 2, f"it replaced {change.replaced}"),
        Check("run 3 changed nothing", not nothing.changed, f"these tasks ran: {', '.join(nothing.changed)}"),
        Check("run 3 replaced no instance", nothing.replaced == 0, f"it replaced {nothing.replaced}"),
    ]
    for each in deployments:
        evidence = f"{len(each.failures)} of {each.sent} failed: {'; '.join(each.failures[:SHOWN])}"
        checks.append(
            Check(f"run {each.number}: no request failed", bool(each.sent) and not each.failures, evidence)
        )
        equal = each.lines is not None and each.lines.equal
        checks.append(Check(f"run {each.number}: every log line was collected once", equal, str(each.lines)))
    return checks


def _baked(deployment: Deployment, expected: Sequence[str]) -> Check:
    baked = [layer for layer in LAYERS if deployment.layers[layer].baked]
    return Check(
        f"run {deployment.number} baked {', '.join(expected) or 'nothing'}",
        baked == list(expected),
        f"it baked {', '.join(baked) or 'nothing'}",
    )


def _layer(layer: Layer) -> str:
    return f"{'baked' if layer.baked else 'skipped'} {layer.image_id}\n{layer.reason}"


def _serving(deployment: Deployment) -> str:
    versions = sorted({version for found in deployment.versions.values() for version in found})
    return f"{deployment.instances}, version {' and '.join(versions) or 'unknown'}"


def _steps(deployments: Sequence[Deployment]) -> list[str]:
    """Give every task that ran in some run, as the fullest run ordered them."""
    ordered: list[str] = []
    for each in sorted(deployments, key=lambda one: -len(one.steps)):
        ordered += [step for step in each.steps if step not in ordered]
    return ordered
