"""The demo's three deployments: the first, a change of the application, and nothing changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from demo import collector, log_lines, repository, traffic
from demo.deployments import Deployment, deploy
from demo.report import Check, judge
from demo.settings import DemoError
from demo.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from demo.load import Summary


class ThreeRuns:
    """The deployments, and what was asked and logged meanwhile.

    :param stage: everything that they need, running.
    :param say: takes a progress line.
    """

    def __init__(self, stage: Stage, say: Callable[[str], None]) -> None:
        self.stage = stage
        self._say = say
        self._answered: set[str] = set()
        self.deployments: list[Deployment] = []

    def run(self) -> list[Check]:
        """Deploy three times.

        :return: what had to hold.
        :raises DemoError: if a run fails, since the next would show nothing.
        """
        self._deploy("first deployment")
        self.stage.settle()
        commit = repository.commit_version(self.stage.repository, 2)
        self._say(f"the application's repository has a new commit, {commit[:12]}")
        self._deploy("application change", under_load=True)
        self._deploy("nothing changed")
        total = log_lines.compare(self._answered, collector.request_ids(self.stage.settings.collected))
        return [*judge(self.deployments), Check("all log lines were collected once", total.equal, str(total))]

    def _deploy(self, title: str, *, under_load: bool = False) -> None:
        """Deploy, then look at what serves and what was logged."""
        number = len(self.deployments) + 1
        stage = self.stage
        earlier = set(self._answered)
        summaries: list[Summary] = []
        if under_load:
            with self._load(f"run-{number}", summaries):
                done = deploy(stage.client, stage.account, number, title, self._say)
        else:
            done = deploy(stage.client, stage.account, number, title, self._say)
        if not done.succeeded:
            self.deployments.append(done)
            raise DemoError(f"run {number} failed: {stage.settings.airflow_url}/dags")
        probes = traffic.probe(stage.account.load_balancer_url())
        answered = probes.answered.union(*(each.answered for each in summaries))
        self._answered |= answered
        done = replace(
            done,
            sent=probes.sent + sum(each.sent for each in summaries),
            failures=(*probes.failures, *(error for each in summaries for error in each.errors)),
            versions=dict(probes.versions),
            lines=self._bring_in(answered, earlier),
        )
        self.deployments.append(done)
        self._say(f"run {number} took {done.seconds:.0f} s; {done.sent} requests, {done.lines} log lines")

    def _bring_in(self, answered: set[str], earlier: set[str]) -> log_lines.Comparison:
        """Have the living instances deliver, and compare this run's lines."""
        addresses = [each.private_ip for each in self.stage.account.instances()]
        return log_lines.bring_in(addresses, answered, lambda: self._collected(but=earlier))

    def _collected(self, but: Iterable[str]) -> Counter[str]:
        found = collector.request_ids(self.stage.settings.collected)
        for request_id in but:
            found.pop(request_id, None)
        return found

    @contextmanager
    def _load(self, name: str, summaries: list[Summary]) -> Iterator[None]:
        """Send steady load meanwhile."""
        url = self.stage.account.load_balancer_url()
        self._say(f"{traffic.RATE:.0f} requests a second to {url}, one in 20 takes 3 s")
        sending = traffic.LoadProcess(self.stage.settings, url, name)
        yield
        summaries.append(sending.end())
