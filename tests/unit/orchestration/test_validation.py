"""What definitions are refused for beside mistakes of form."""

from __future__ import annotations

from agenticflow.orchestration.definition import Compensation, TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.validation import contradictions, validate
from agenticflow.resilience.limits import Limit
from agenticflow.resilience.retry import RetryPolicy


def test_policies_that_contradict_themselves_are_told_wherever_they_stand() -> None:
    hourly = RetryPolicy(initial_delay_seconds=3_600)
    undo = Compensation("agent", "undo", retry_policy=hourly)
    inner = WorkflowDefinition([TaskDefinition("b", "agent", "work", retry_policy=hourly)])
    definition = WorkflowDefinition(
        [TaskDefinition("a", "agent", "work", compensation=undo), TaskDefinition("child", workflow=inner)]
    )
    assert [problem.partition(": initial_delay")[0] for problem in contradictions(definition)] == [
        "task 'a': the retry policy of its compensation",
        "in the sub-workflow of task 'child': task 'b': its retry policy",
    ]
    assert validate(definition) == [], "what was recorded goes on"


def test_waits_for_what_has_no_name_are_told() -> None:
    definition = WorkflowDefinition([TaskDefinition("a", signal=""), TaskDefinition.ask("b", "")])
    assert contradictions(definition) == [
        "task 'a' waits for a signal without a name",
        "task 'b' asks nothing: its approval has no question",
    ]


def test_a_lock_and_a_limit_of_different_tasks_have_keys_of_their_own() -> None:
    def told(*limits: Limit) -> list[str]:
        tasks = [TaskDefinition("a", "agent", locks={"till"}), TaskDefinition("b", "agent", limits=limits)]
        return contradictions(WorkflowDefinition(tasks))

    [words] = told(Limit("till", max_concurrent=5))
    assert words.startswith("task 'b' has a limit 'till' that task 'a' has as a lock")
    assert len(told(Limit("till", rate=5))) == 1
    assert told(Limit("till", max_concurrent=1)) == told(Limit("api", max_concurrent=5)) == []
    both = TaskDefinition("a", "agent", locks={"till"}, limits=[Limit("till", rate=5)])
    assert contradictions(WorkflowDefinition([both])) == []
