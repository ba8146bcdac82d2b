"""Two environments of one account, started together; and two fleets in one of them."""

from __future__ import annotations

from demo import traffic
from demo.deployments import BAKES
from tests.end_to_end import checkout
from tests.end_to_end.conftest import SECOND_DAG, Outcome


def test_the_second_environment_is_deployed(outcome: Outcome) -> None:
    run, tasks = outcome.second
    assert run.state == "success", [task for task in tasks if task.state == "failed"]
    found = outcome.account(checkout.SECOND)
    assert [each.healthy for each in found.instances()] == [True, True]
    probes = traffic.probe(found.load_balancer_url())
    assert probes.failures == []
    assert set.union(*probes.versions.values()) == {"1"}


def test_layers_that_both_use_are_baked_once(outcome: Outcome) -> None:
    """Both found no image, both asked for one: the lease lets one bake, the other takes its image."""
    client, first = outcome.runs.stage.client, outcome.runs.deployments[0]
    for layer in ("base", "application_base"):
        results = [
            client.xcom(dag_id, run_id, BAKES[layer])
            for dag_id, run_id in ((outcome.dag_id, first.run_id), (SECOND_DAG, outcome.second[0].run_id))
        ]
        assert all(results), "both environments ran the task"
        assert len({each["image_id"] for each in results}) == 1, results
        assert sorted(each["reused"] for each in results) == [False, True], results


def test_both_fleets_run_the_new_image(outcome: Outcome) -> None:
    web = outcome.account().instances()
    worker = outcome.account(fleet=checkout.WORKER).instances()
    assert (len(web), len(worker)) == (2, 1)
    assert len({each.image_id for each in (*web, *worker)}) == 1
    assert all(each.healthy for each in (*web, *worker))


def test_each_fleet_replaced_its_own_instances(outcome: Outcome) -> None:
    change = outcome.runs.deployments[1]
    client = outcome.runs.stage.client
    for fleet, count in (("web", 2), (checkout.WORKER, 1)):
        tasks = client.tasks(outcome.dag_id, change.run_id)
        drained = [task for task in tasks if task.task_id == f"{fleet}.wave_1.drain"]
        assert [task.state for task in drained] == ["success"], drained
        receipts = client.xcom(outcome.dag_id, change.run_id, f"{fleet}.wave_1.retire")
        assert sum(map(len, receipts)) == count
