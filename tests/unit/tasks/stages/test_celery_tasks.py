"""The Celery tasks of the stages are the same wherever their names are listed."""

from config.celery import INTERNAL_TASKS
from tasks.stages.celery_tasks import STAGES
from worker.ledger.model.states import STAGE_ORDER
from worker.runtime.ticker import NOTIFY_TASK, TASKS, WEBHOOK_TASK


def test_each_stage_has_a_function_and_a_celery_task() -> None:
    assert set(STAGES) == set(TASKS) == set(STAGE_ORDER)


def test_flower_shows_none_of_the_internal_tasks() -> None:
    assert set(INTERNAL_TASKS) == {*TASKS.values(), NOTIFY_TASK, WEBHOOK_TASK}
