"""What new instances have to stand before old ones go: a soak, alarms, and answers to requests.

:class:`~bakeroll.core.rollout.gates.gate.Gate` is the step; each other module asks one witness. Whether they
can be asked is looked at before anything moves (:mod:`bakeroll.core.rollout.preflight.gate_check`).
"""

from bakeroll.core.rollout.gates.gate import Gate

__all__ = ["Gate"]
