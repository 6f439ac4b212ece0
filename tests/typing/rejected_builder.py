"""Wrong on purpose: what the type checker must refuse of the fluent builder. See test_rejected.py."""

from agenticflow import Steps, TaskDefinition, WorkflowBuilder, load_workflow


def a_step_takes_only_the_options_of_a_task(builder: WorkflowBuilder) -> None:
    builder.add_step("a", "x", timeout=5)  # E: call-arg
    builder.add_step("a", "x", timeout_seconds="5")  # E: arg-type
    builder.add_step("a", "x", on_failure="ignore")  # E: arg-type
    builder.add_map("a", "x")  # E: call-arg
    builder.add_loop("a", "x", repeat_until=True)  # E: arg-type
    WorkflowBuilder("w", retries=3)  # E: call-arg


def groups_are_made_of_steps(builder: WorkflowBuilder, task: TaskDefinition) -> None:
    builder.add_parallel(task)  # E: arg-type
    builder.add_choice("c", [Steps()])  # E: arg-type
    builder.add_workflow("w", 3)  # E: arg-type
    Steps().build()  # E: attr-defined


def a_file_is_loaded_by_its_place() -> None:
    load_workflow(3)  # E: arg-type
