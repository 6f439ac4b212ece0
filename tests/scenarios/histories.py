"""One long history with every kind of fact in it, as commands. Run as a program it prints the bytes of its facts."""

from __future__ import annotations

from agenticflow.core.decider import Fact
from agenticflow.orchestration.chain import Carried, carry_over
from agenticflow.orchestration.definition import TaskDefinition
from agenticflow.orchestration.facts import FACTS
from agenticflow.resilience.retry import RetryPolicy
from tests.scenarios.runs import Run, once, task

TASKS = (
    task("load", params={"tags": {"b", "a", "c"}, "who": "${user}"}),
    task("each", "load", for_each="${load.rows}", max_parallel=2, params={"x": "${item}"}),
    task("never", "load", when="${load.rows} == null"),
    task("below", "never"),
    task("flaky", "load", retry_policy=RetryPolicy(3, 4.0)),
    task("slow", "load", total_timeout_seconds=90, timeout_seconds=20),
    once("pay", "load"),
    once("refund", "load"),
    TaskDefinition.timer("nap", 15, {"load"}),
    TaskDefinition.wait_for("approval", "approved", {"load", "nap"}),
    TaskDefinition.wait_for("second", "approved", {"approval"}, total_timeout_seconds=30),
    task("first", "flaky", "nap", join="any"),
    task("broken", "each"),
    task("unreached", "broken"),
)


def first_run() -> Run:
    """From the start to its failure, with pauses, retries, late outcomes and questions on the way."""
    run = Run(*TASKS, input={"user": "ada"}, timeout_seconds=10_000)
    run.signal("approved", {"by": "early"})
    run.succeed("load", value={"rows": [3, 1, 2]})
    run.fail("flaky", ConnectionError("refused"))
    run.succeed("each[1]", value="one")
    run.pause()
    run.wait(16)
    run.succeed("each[0]", value="zero")
    run.resume()
    run.wait(0)
    run.started("slow", limit=20)
    old = run.token("slow")
    run.time_out("slow", is_abandoned=True)
    run.started("pay")
    run.time_out("pay", is_abandoned=True)
    run.started("refund")
    run.crash()
    run.succeed("slow", token=old)
    run.resolve("refund", "run_again")
    run.succeed("pay", value="receipt")
    run.wait(40)
    run.fail("flaky", ConnectionError("refused again"))
    run.wait(10)
    run.started("refund")
    run.succeed("refund")
    for key in list(run.in_work):
        run.succeed(key, value={"done": key})
    run.fail_for_good("broken")
    return run


def second_run(first: Run) -> Run:
    """Goes on where the first failed, and is aborted."""
    carried: Carried = carry_over(first.state, "nap")
    run = Run(*TASKS, input={"user": "ada"}, run_no=2, carried=carried, timeout_seconds=10_000)
    run.abort("enough", grace=5)
    for key in list(run.in_work)[:-1]:
        run.cancelled(key)
    run.wait(20)
    return run


def whole() -> list[Run]:
    first = first_run()
    return [first, second_run(first)]


def encoded(facts: list[Fact]) -> bytes:
    return b"".join(fact.event_type.encode() + b"\0" + FACTS.encode(fact) for fact in facts)


if __name__ == "__main__":
    for written in whole():
        print(encoded(written.scenario.history).hex())
