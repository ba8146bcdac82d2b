"""Every error bakeroll raises on purpose.

::

    BakerollError
    ├── FinalError                  trying again cannot help; a person or a change is needed
    │   ├── ConfigError             an environment file is wrong
    │   ├── InputError              a layer's inputs cannot be found out
    │   ├── AccountError            the credentials belong to another account
    │   ├── ImageError              an image is missing or disabled
    │   │   └── RejectedError       an image was rejected here, and its content has not changed since
    │   ├── BakeError               Packer or Ansible failed
    │   ├── PlanError               Terraform refused, or the plan does what this run may not do
    │   │   └── StalePlanError      the state was changed after the plan was made
    │   ├── LockedError             somebody else holds the Terraform state, the journal or a bake's lease
    │   ├── JournalError            the journal cannot be read, or must not be ended
    │   ├── OwnershipLostError      another run took the journal over: this one may not act any more
    │   ├── FleetError              the fleet is in a state that a rollout cannot start from or end in
    │   │   ├── GroupMissingError   a fleet's Auto Scaling group does not exist
    │   │   └── PreflightError      a rollout would not come to its end; nothing was changed
    │   ├── AbortedError            a person aborted the rollout, or did not answer in time
    │   ├── RolledBackError         this deployment is being rolled back: nothing goes forward any more
    │   ├── RollbackError           a rollback cannot be finished
    │   ├── CapacityError           new instances cannot come into service
    │   ├── GateError               new instances serve, but not as a fleet's gate asks
    │   └── DrainError              an instance could not be drained
    └── RetryableError              the same call may succeed a little later
        ├── RepositoryError         a git repository did not answer
        ├── ToolInterruptedError    a tool was told to stop, or killed, before it was done
        ├── MovedError              a group launches something else than what is rolled out
        ├── BakeHeldUpError         AWS refused a call of Packer's for now
        ├── RollbackHeldUpError     a rollback could not go on for now
        ├── LeaseLostError          a bake's lease was not renewed in time and somebody else bakes
        └── LeftOverError           what a killed bake left cannot be removed yet

Airflow's retry policy asks :class:`FinalError` whether to try again.
"""

from __future__ import annotations


class BakerollError(Exception):
    """Root of all; its text names what, where and the next step in one line."""


class FinalError(BakerollError):
    """Trying again cannot help."""


class ConfigError(FinalError):
    """An environment file is wrong."""


class InputError(FinalError):
    """A layer's inputs cannot be found out."""


class AccountError(FinalError):
    """The credentials belong to another account than the environment's."""


class ImageError(FinalError):
    """An image is missing or disabled."""


class RejectedError(ImageError):
    """An image was rejected here, and its content has not changed since."""


class BakeError(FinalError):
    """Packer or Ansible failed."""


class PlanError(FinalError):
    """Terraform refused, or its plan does what this run may not do."""


class StalePlanError(PlanError):
    """The state was changed after the plan was made."""


class LockedError(FinalError):
    """Somebody else holds the Terraform state or the journal."""


class JournalError(FinalError):
    """The journal cannot be read, or must not be ended."""


class OwnershipLostError(FinalError):
    """Another run took the journal over: this one may not act any more."""


class FleetError(FinalError):
    """A fleet is in a state that a rollout cannot start from or end in."""


class GroupMissingError(FleetError):
    """A fleet's Auto Scaling group does not exist."""


class PreflightError(FleetError):
    """A rollout would not come to its end, as was seen before anything was changed."""


class AbortedError(FinalError):
    """A person aborted the rollout, or did not answer in time."""


class RolledBackError(FinalError):
    """The deployment is being rolled back: nothing goes forward any more."""


class RollbackError(FinalError):
    """A rollback cannot be finished."""


class CapacityError(FinalError):
    """New instances cannot come into service."""


class GateError(FinalError):
    """New instances serve, but not as a fleet's gate asks."""


class DrainError(FinalError):
    """An instance could not be drained."""


class RetryableError(BakerollError):
    """The same call may succeed a little later."""


class ToolInterruptedError(RetryableError):
    """A tool was told to stop before it was done."""


class RepositoryError(RetryableError):
    """A git repository did not answer."""


class MovedError(RetryableError):
    """A group launches something else than what is rolled out, as far as AWS shows it yet."""


class BakeHeldUpError(RetryableError):
    """AWS refused a call of Packer's for now, and Packer gave up."""


class RollbackHeldUpError(RetryableError):
    """A rollback could not go on for now; its text says what state the fleets are in."""


class LeaseLostError(RetryableError):
    """A bake's lease was not renewed in time and somebody else bakes."""


class LeftOverError(RetryableError):
    """What a killed bake left cannot be removed yet."""
