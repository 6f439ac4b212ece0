"""Record golden histories: real runs of this release, kept for ever and replayed by every later one.

``python -m tests.golden.record`` writes ``tests/golden/v<release>/*.json`` and refuses to touch a release that is there;
``--again`` records it anew, which is only right before that release is out. Runs take place in virtual time with fixed ids and
seeds, so recording twice gives the same files.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import traceback
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Literal

import agenticflow
from agenticflow import (
    Agent,
    EffectClass,
    Orchestrator,
    RetryPolicy,
    StepFailed,
    TaskContext,
    TaskDefinition,
    WorkflowContext,
    WorkflowDefinition,
    WorkflowExecutionError,
    worker,
    workflow,
)
from agenticflow.app.engine import starting as starting_module
from agenticflow.app.repair.replanner import Replans
from agenticflow.core.engine import ActivityStarted, ProcessDeath
from agenticflow.orchestration import Approval, Ask, Escalation
from agenticflow.orchestration.definition import Compensation
from agenticflow.orchestration.repair.planner import FailedRun, NewPlan
from agenticflow.orchestration.suspicion.commands import ProcessDied, SuspectsInterrupted
from agenticflow.resilience.limits import Limit
from agenticflow.storage.memory import MemoryStore
from agenticflow.storage.store import Store
from agenticflow.testing.crashes.record import read_whole
from agenticflow.testing.virtual_time import VirtualLoop, run_virtual
from tests.golden.histories import ROOT, final_of, plain

SEED: Final = "0123456789abcdef"
QUICKLY: Final = RetryPolicy(max_attempts=2, initial_delay_seconds=1)


@worker("ask_twice")
async def ask_twice(context: TaskContext) -> object:
    title = context.interrupt({"title": "Spring"}, key="title", question="Which title?")
    return [title, context.interrupt("How many?", key="count", deadline_seconds=100, on_deadline="approve", default=7)]


@worker("ask_several")
async def ask_several(on_rejection: Literal["fail", "return"], context: TaskContext) -> object:
    """Ask three things, and with the first answer no longer the last of them; take a while then, for answers that come meanwhile."""
    keys = ["first", "second", "gone"]
    if context.replies:
        await asyncio.sleep(5)
        keys.remove("gone")
    asks = [Ask.of(key, key=key, deadline_seconds=1_000, on_rejection=on_rejection) for key in keys]
    return [[reply.is_approved, reply.value, reply.by] for reply in context.interrupt_all(asks)]


@worker("double")
async def double(value: int) -> int:
    return value * 2


@worker("listing")
async def listing(count: int) -> list[int]:
    return list(range(count))


@worker("fail")
async def fail(message: str = "no") -> None:
    raise ValueError(message)


@worker("fail_once")
async def fail_once(context: TaskContext) -> str:
    if context.attempt == 1:
        raise ConnectionError("nobody there")
    return "there"


@worker("fail_in_first_run")
async def fail_in_first_run(context: TaskContext) -> int:
    if context.run_no == 1:
        raise ValueError("not yet")
    return context.run_no


@worker("sleep")
async def sleep(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "awake"


@worker("sleep_in_first_generation")
async def sleep_in_first_generation(context: TaskContext) -> str:
    if context.generation == 0:
        await asyncio.sleep(3_600)
    return f"generation {context.generation}"


@worker("large")
async def large(letters: int) -> str:
    return "x" * letters


@worker("length")
async def length(text: str) -> int:
    return len(text)


def T(task_id: str, performer: str, params: dict[str, object] | None = None, **options: Any) -> TaskDefinition:  # noqa: N802
    return TaskDefinition(task_id, performer, params=params, **options)


def W(*tasks: TaskDefinition, **options: Any) -> WorkflowDefinition:  # noqa: N802
    return WorkflowDefinition(list(tasks), **options)


Scenario = Callable[[Orchestrator], Awaitable[None]]
HOURLY: Final = RetryPolicy(max_attempts=2, initial_delay_seconds=3_600, max_delay_seconds=3_600, jitter=False)
SCENARIOS: Final[dict[str, tuple[str, Scenario]]] = {}


def scenario(what: str) -> Callable[[Scenario], Scenario]:
    def register(play: Scenario) -> Scenario:
        SCENARIOS[play.__name__] = (what, play)
        return play

    return register


@scenario("a chain, a split and a join, with input, references and an agent")
async def split_and_join(orchestrator: Orchestrator) -> None:
    agent = Agent("adder", {"sums"})

    @agent.task("add")
    async def add(left: int, right: int) -> int:
        return left + right

    orchestrator.register_agent(agent)
    definition = W(
        T("first", "double", {"value": "${start}"}),
        T("left", "double", {"value": "${first}"}, dependencies={"first"}),
        T("right", "double", {"value": 5}, dependencies={"first"}),
        TaskDefinition("sum", "adder", "add", {"left": "${left}", "right": "${right}"}, dependencies={"left", "right"}),
        name="split",
        output={"sum": "${sum}"},
    )
    await orchestrator.execute_workflow(definition, {"start": 3}, workflow_id="split")


@scenario("maps: bounded, empty, over a literal")
async def maps(orchestrator: Orchestrator) -> None:
    definition = W(
        T("list", "listing", {"count": 5}),
        T("each", "double", {"value": "${item}"}, dependencies={"list"}, for_each="${list}", max_parallel=2),
        T("none", "double", {"value": "${item}"}, for_each=[]),
        T("last", "double", {"value": "${each[4]}"}, dependencies={"each", "none"}),
    )
    await orchestrator.execute_workflow(definition, workflow_id="maps")


@scenario("a condition that holds and one that does not, skipping what hangs on it; a join of any")
async def conditions(orchestrator: Orchestrator) -> None:
    definition = W(
        T("score", "double", {"value": 4}),
        T("high", "double", {"value": 1}, dependencies={"score"}, when="${score} > 5"),
        T("low", "double", {"value": 2}, dependencies={"score"}, when="${score} <= 5"),
        T("below", "double", {"value": 3}, dependencies={"low"}),
        T("end", "double", {"value": 4}, dependencies={"high", "below"}, join="any"),
    )
    await orchestrator.execute_workflow(definition, workflow_id="conditions")


@scenario("a retry that helps, one that does not, and what never ran because of it")
async def retries(orchestrator: Orchestrator) -> None:
    definition = W(
        T("helped", "fail_once", retry_policy=QUICKLY),
        T("lost", "fail", retry_policy=QUICKLY),
        T("never", "double", {"value": 1}, dependencies={"lost"}),
    )
    await expect_failure(orchestrator.execute_workflow(definition, workflow_id="retries"))


@scenario("a timer, a signal that came early and one that came late, a signal that never came")
async def waits(orchestrator: Orchestrator) -> None:
    definition = W(
        TaskDefinition.timer("pause", 60),
        TaskDefinition.wait_for("early", "first", {"pause"}),
        TaskDefinition.wait_for("late", "second"),
        TaskDefinition.wait_for("never", "third", total_timeout_seconds=600),
    )
    handle = await orchestrator.start_workflow(definition, workflow_id="waits")
    await handle.signal("first", {"by": "hand"}, signal_id="1")
    await asyncio.sleep(120)
    await handle.signal("second", [1, 2])
    await expect_failure(handle.result())


@scenario("paused and resumed, with a retry that fell due meanwhile")
async def pauses(orchestrator: Orchestrator) -> None:
    definition = W(
        T("flaky", "fail_once", retry_policy=QUICKLY), T("after", "double", {"value": 1}, dependencies={"flaky"})
    )
    handle = await orchestrator.start_workflow(definition, workflow_id="pauses")
    await asyncio.sleep(0.01)
    await handle.pause(reason="lunch")
    await asyncio.sleep(10)
    await handle.resume()
    await handle.result()


@scenario("aborted while one task runs and another has not started")
async def aborted(orchestrator: Orchestrator) -> None:
    definition = W(T("runs", "sleep", {"seconds": 100}), T("never", "double", {"value": 1}, dependencies={"runs"}))
    handle = await orchestrator.start_workflow(definition, workflow_id="aborted")
    await asyncio.sleep(5)
    await handle.abort("enough", grace_seconds=3)
    await expect_failure(handle.result())


@scenario("time limits: of an attempt with another try, of a task (its handler ends late), of the workflow")
async def time_limits(orchestrator: Orchestrator) -> None:
    attempts = W(T("slow", "sleep", {"seconds": 50}, timeout_seconds=5, retry_policy=QUICKLY))
    await expect_failure(orchestrator.execute_workflow(attempts, workflow_id="attempt_limit"))
    total = W(T("slow", "sleep", {"seconds": 50}, total_timeout_seconds=8), T("other", "sleep", {"seconds": 9}))
    await expect_failure(orchestrator.execute_workflow(total, workflow_id="total_limit"))
    whole = W(T("slow", "sleep", {"seconds": 50}), timeout_seconds=20)
    await expect_failure(orchestrator.execute_workflow(whole, workflow_id="workflow_limit"))


@scenario(
    "at-most-once work: done, unknown and run again, unknown and said to be completed, unknown and said to have failed"
)
async def at_most_once(orchestrator: Orchestrator) -> None:
    once: dict[str, Any] = {"effect": EffectClass.AT_MOST_ONCE, "timeout_seconds": 10}
    definition = W(
        T("done", "double", {"value": 1}, **once),
        T("again", "sleep_in_first_generation", **once),
        T("said", "sleep", {"seconds": 3_600}, **once),
        T("lost", "sleep", {"seconds": 3_600}, **once),
    )
    handle = await orchestrator.start_workflow(definition, workflow_id="once")
    await asyncio.sleep(60)
    await orchestrator.resolve("once", "again", "run_again")
    await orchestrator.resolve("once", "said", "completed", value={"seen": True})
    await orchestrator.resolve("once", "lost", "failed", reason="nobody saw it")
    await expect_failure(handle.result())


@scenario("a failed run and the next, which keeps what was done; then once more from a task in the middle")
async def chains(orchestrator: Orchestrator) -> None:
    definition = W(
        T("kept", "double", {"value": 21}),
        T("each", "double", {"value": "${item}"}, for_each=[1, 2], dependencies={"kept"}),
        T("mended", "fail_in_first_run", dependencies={"each"}, retry_policy=RetryPolicy(max_attempts=1)),
        T("last", "double", {"value": "${mended}"}, dependencies={"mended"}),
    )
    await expect_failure(orchestrator.execute_workflow(definition, workflow_id="chain"))
    handle = await orchestrator.resume_workflow("chain")
    await handle.result()
    handle = await orchestrator.resume_workflow("chain", from_task="mended")
    await handle.result()


@scenario("values too large to be stored inline: an input, a result, and what is kept for the next run")
async def large_values(orchestrator: Orchestrator) -> None:
    definition = W(
        T("large", "large", {"letters": 70_000}),
        T("length", "length", {"text": "${large}"}, dependencies={"large"}),
        T("given", "length", {"text": "${text}"}),
        T("fails", "fail_in_first_run", dependencies={"length", "given"}, retry_policy=RetryPolicy(max_attempts=1)),
    )
    await expect_failure(orchestrator.execute_workflow(definition, {"text": "y" * 80_000}, workflow_id="large"))
    handle = await orchestrator.resume_workflow("large")
    await handle.result()


@scenario("left open: work in flight, a timer, a retry and a signal to come")
async def left_open(orchestrator: Orchestrator) -> None:
    definition = W(
        T("runs", "sleep", {"seconds": 100}),
        TaskDefinition.timer("pause", 1_000),
        TaskDefinition.wait_for("approval", "approve"),
        T(
            "flaky",
            "fail_once",
            retry_policy=RetryPolicy(max_attempts=2, initial_delay_seconds=500, max_delay_seconds=500),
        ),
        T("end", "double", {"value": "${approval}"}, dependencies={"runs", "pause", "approval", "flaky"}),
        name="open",
    )
    await orchestrator.start_workflow(definition, workflow_id="open")
    await asyncio.sleep(3)


@scenario("a choice of one way, a choice of many, and what was not chosen")
async def choices(orchestrator: Orchestrator) -> None:
    definition = W(
        T("score", "double", {"value": 4}),
        TaskDefinition.choice("route", {"high": "${score} > 10", "low": None}, {"score"}),
        TaskDefinition.choice("all", {"a": "${score} > 1", "b": "${score} > 99"}, {"score"}, choose_many=True),
        *(T(name, "double", {"value": 1}, dependencies={"route"}) for name in ("high", "low")),
        *(T(name, "double", {"value": 1}, dependencies={"all"}) for name in ("a", "b")),
    )
    await orchestrator.execute_workflow(definition, workflow_id="choices")


@scenario("loops: until it is good, with a delay; at the limit; and one that fails there")
async def loops(orchestrator: Orchestrator) -> None:
    good = W(
        T(
            "grow",
            "double",
            {"value": "${previous}"},
            repeat_from=1,
            repeat_until="${grow} > 5",
            repeat_delay_seconds=9,
        ),
        T("enough", "double", {"value": 1}, repeat_until="false", max_iterations=2, on_limit="complete"),
    )
    await orchestrator.execute_workflow(good, workflow_id="loops")
    bad = W(T("never", "double", {"value": 1}, repeat_until="${never} > 5", max_iterations=2))
    await expect_failure(orchestrator.execute_workflow(bad, workflow_id="loop_limit"))


@scenario("joins of some, the rest cancelled; enough of a map; a race of a signal and a timer; the end of all")
async def regions(orchestrator: Orchestrator) -> None:
    definition = W(
        T("a", "sleep", {"seconds": 1}),
        T("b", "sleep", {"seconds": 2}),
        T("slow", "sleep", {"seconds": 500}),
        T("two", "double", {"value": 1}, dependencies={"a", "b", "slow"}, join=2, cancel_rest=True),
        T("ask", "sleep", {"seconds": "${item}"}, for_each=[1, 400, 2], enough=2),
        TaskDefinition.wait_for("paid", "payment", cancels={"expired"}),
        TaskDefinition.timer("expired", 5, cancels={"paid"}),
        T("end", "double", {"value": 1}, dependencies={"two", "ask", "expired"}, join="settled", ends_run=True),
        T("other", "sleep", {"seconds": 900}, timeout_seconds=None),
        output="${end}",
    )
    await orchestrator.execute_workflow(definition, workflow_id="regions")


@scenario("failures that do not end the run: skipped, stood in for, given to another")
async def recoveries(orchestrator: Orchestrator) -> None:
    once = RetryPolicy(max_attempts=1)
    definition = W(
        T("extra", "fail", on_failure="skip", retry_policy=once),
        T("fast", "fail", fallback="safe", retry_policy=once),
        T("safe", "double", {"value": 21}),
        T("unused", "double", {"value": 1}, fallback="spare"),
        T("spare", "double", {"value": 1}),
        T("moved", "fail_once", on_failure="reassign", reassign_to=["listing"], retry_policy=once, params={"count": 2}),
        T("end", "double", {"value": "${fast}"}, dependencies={"extra", "fast", "moved", "unused"}),
    )
    await orchestrator.execute_workflow(definition, workflow_id="recoveries")


@scenario("people asked: one says yes, one says no, one does not answer")
async def approvals(orchestrator: Orchestrator) -> None:
    definition = W(
        TaskDefinition.ask("yes", "May I?"),
        TaskDefinition.ask("no", "Really?", on_failure="skip"),
        TaskDefinition.ask("never", "Anybody?", on_failure="skip", total_timeout_seconds=60),
        T("then", "double", {"value": 2}, dependencies={"yes"}),
    )
    handle = await orchestrator.start_workflow(definition, workflow_id="approvals")
    await asyncio.sleep(5)
    await orchestrator.approve("approvals", "yes", value=7, comment="of course")
    await orchestrator.reject("approvals", "no", comment="not today")
    await handle.result()


@scenario(
    "people asked under terms: a quorum, one who hands it on, an escalation, deadlines, and a handler that asks twice"
)
async def inbox(orchestrator: Orchestrator) -> None:
    form: dict[str, object] = {"type": "object", "required": ["amount"]}
    definition = W(
        TaskDefinition.ask(
            "pay",
            Approval(
                "Pay ${amount}?",
                assignees=["ada", "bob"],
                quorum=2,
                escalation=[Escalation(10, ["eve"])],
                deadline_seconds=3_600,
                arguments={"amount": "${amount}"},
                response_schema=form,
            ),
        ),
        TaskDefinition.ask("late", Approval("Late?", deadline_seconds=60, on_deadline="approve", default=7)),
        T("draft", "ask_twice"),
        T("then", "double", {"value": "${pay.value.amount}"}, dependencies={"pay", "late", "draft"}),
        context={"amount": 5},
    )
    handle = await orchestrator.start_workflow(definition, workflow_id="inbox")
    await asyncio.sleep(5)
    approvals = orchestrator.approvals
    ids = {view.task_key: view.approval_id for view in await approvals.list()}
    await approvals.delegate(ids["pay"], "carl", by="bob", comment="on leave")
    await approvals.approve(ids["pay"], by="carl")
    await approvals.answer(ids["draft"], "Summer", by="ada")
    await asyncio.sleep(10)
    await approvals.answer(ids["pay"], {"amount": 4}, by="eve", comment="less")
    await handle.result()


@scenario("a handler whose first answer is kept: aborted before the second, gone on with in the next run")
async def answers(orchestrator: Orchestrator) -> None:
    handle = await orchestrator.start_workflow(W(T("draft", "ask_twice"), name="answers"), workflow_id="answers")
    await asyncio.sleep(1)
    await orchestrator.approve("answers", "draft", value="Summer")
    await asyncio.sleep(1)
    await handle.abort("later")
    await expect_failure(handle.result())
    handle = await orchestrator.resume_workflow("answers")
    await asyncio.sleep(1)
    await orchestrator.approve("answers", "draft", value=8)
    await handle.result()


@scenario(
    "left open with people asked: half of a quorum, an escalation to come, and a handler that waits for its second answer"
)
async def left_open_asking(orchestrator: Orchestrator) -> None:
    terms = Approval("Pay?", assignees=["ada", "bob"], quorum=2, escalation=[Escalation(500, ["eve"])])
    definition = W(TaskDefinition.ask("pay", terms), T("draft", "ask_twice"), name="asking")
    await orchestrator.start_workflow(definition, workflow_id="asking")
    await asyncio.sleep(3)
    for view in await orchestrator.approvals.list():
        await orchestrator.approvals.answer(view.approval_id, "yes", by="ada")
    await asyncio.sleep(3)


@scenario(
    "handlers that ask several things at once: answered in part and while they run, withdrawn, refused, told of a no"
)
async def several_asked(orchestrator: Orchestrator) -> None:
    tell: dict[str, object] = {"on_rejection": "return"}
    definition = W(
        T("later", "ask_several", tell),
        T("meanwhile", "ask_several", tell),
        T("refused", "ask_several", {"on_rejection": "fail"}, fallback="instead"),
        T("instead", "double", {"value": 1}),
        name="several",
    )
    handle = await orchestrator.start_workflow(definition, workflow_id="several")
    await asyncio.sleep(3)
    approvals = orchestrator.approvals
    ids = {(view.task_key, view.interrupt_key): view.approval_id for view in await approvals.list()}
    for key in ("later", "meanwhile", "refused"):
        await approvals.answer(ids[key, "first"], 1, by="ada")
    await asyncio.sleep(2)
    await approvals.answer(ids["meanwhile", "second"], 2, by="bob")
    await approvals.reject(ids["refused", "second"], by="bob", comment="not this")
    await asyncio.sleep(5)
    await approvals.reject(ids["later", "second"], by="eve", comment="no")
    await handle.result()


@scenario("sub-workflows: one, one for each item, one that fails and is gone on with")
async def sub_workflows(orchestrator: Orchestrator) -> None:
    inner = W(T("one", "double", {"value": "${value}"}), name="inner", output="${one}")
    broken = W(T("mend", "fail_in_first_run", retry_policy=RetryPolicy(max_attempts=1)), name="broken")
    definition = W(
        TaskDefinition("each", workflow=inner, params={"value": "${item}"}, for_each=[1, 2]),
        TaskDefinition("again", workflow=broken, retry_policy=QUICKLY),
    )
    await orchestrator.execute_workflow(definition, workflow_id="parent")


@scenario("locks, a limit, priorities and a bound on what is in work at once")
async def locks_and_limits(orchestrator: Orchestrator) -> None:
    definition = W(
        *(T(f"lock{n}", "sleep", {"seconds": 2}, locks={"door"}, priority=n) for n in range(3)),
        *(T(f"rate{n}", "double", {"value": n}, limits=[Limit("mail", rate=1, per_seconds=10)]) for n in range(3)),
        max_parallel=4,
    )
    await orchestrator.execute_workflow(definition, workflow_id="locks")


@scenario("a saga that fails: what was done is undone, the last first; one undoing is decided by a person")
async def sagas(orchestrator: Orchestrator) -> None:
    once = RetryPolicy(max_attempts=1)
    definition = W(
        T("reserve", "double", {"value": 1}, compensation="double"),
        T(
            "charge",
            "double",
            {"value": 20},
            dependencies={"reserve"},
            compensation=Compensation("fail", params={"message": "refund ${charge}"}, retry_policy=once),
        ),
        T("ship", "fail", dependencies={"charge"}, retry_policy=once),
    )
    handle = await orchestrator.start_workflow(definition, workflow_id="saga")
    await asyncio.sleep(5)
    await orchestrator.resolve("saga", "undo:charge", "completed", reason="by hand")
    await expect_failure(handle.result())


@scenario("a saga with a completed sub-workflow and a map of them: they are undone, and a person decides about one")
async def undone_children(orchestrator: Orchestrator) -> None:
    once = RetryPolicy(max_attempts=1)
    undo = Compensation("fail", params={"message": "refund ${pay}"}, retry_policy=once)
    inner = W(
        T("book", "double", {"value": "${n}"}, compensation="double"),
        T("pay", "double", {"value": 20}, dependencies={"book"}, compensation=undo),
        name="inner",
        context={"n": 1},
    )
    outer = W(
        TaskDefinition("one", workflow=inner),
        TaskDefinition(
            "each",
            workflow=W(T("seat", "double", {"value": "${n}"}, compensation="double"), name="seat"),
            params={"n": "${item}"},
            for_each=[1, 2],
            max_parallel=1,
            dependencies={"one"},
        ),
        T("ship", "fail", dependencies={"each"}, retry_policy=once),
    )
    handle = await orchestrator.start_workflow(outer, workflow_id="trip")
    await asyncio.sleep(5)
    await orchestrator.resolve("trip~one", "undo:pay", "completed", reason="by hand")
    await expect_failure(handle.result())


@scenario("a person steps in: something said, tried now, skipped, given its result, other tasks; then the next run")
async def interventions(orchestrator: Orchestrator) -> None:
    definition = W(
        T(
            "flaky",
            "fail_once",
            retry_policy=RetryPolicy(
                max_attempts=2, initial_delay_seconds=3_600, max_delay_seconds=3_600, jitter=False
            ),
        ),
        T("lost", "fail", retry_policy=RetryPolicy(max_attempts=1)),
        T("runs", "sleep", {"seconds": 100}),
        T("extra", "double", {"value": 1}, dependencies={"runs"}),
        T("end", "double", {"value": 2}, dependencies={"runs", "extra"}),
        T("last", "fail_in_first_run", dependencies={"end"}, retry_policy=RetryPolicy(max_attempts=1)),
    )
    handle = await orchestrator.start_workflow(definition, workflow_id="stepped")
    await asyncio.sleep(5)
    await orchestrator.give_feedback("stepped", {"tone": "polite"}, task_key="end", given_by="ada")
    await orchestrator.retry_task("stepped", "flaky", reason="it is back", retried_by="ada")
    await orchestrator.retry_task("stepped", "lost", retried_by="ada")
    await asyncio.sleep(1)
    await orchestrator.set_result("stepped", "lost", 7, reason="by hand", given_by="ada")
    await orchestrator.skip_task("stepped", "extra", reason="not today", skipped_by="ada")
    changes = [
        {"add": T("check", "double", {"value": "${lost}"}, dependencies={"lost"})},
        {"replace": T("end", "double", {"value": "${check}"}, dependencies={"runs", "check"})},
    ]
    await orchestrator.modify_workflow("stepped", changes, reason="one more look", modified_by="ada")
    await expect_failure(handle.result())
    handle = await orchestrator.resume_workflow("stepped")
    await handle.result()


@scenario(
    "processes that died while tasks were in work: one is put aside and retried, one is given up, and a stop that counts nothing"
)
async def lost_processes(orchestrator: Orchestrator) -> None:
    definition = W(
        T("bad", "sleep", {"seconds": 50}),
        T("worse", "sleep", {"seconds": 50}, on_failure="skip"),
        T("good", "sleep", {"seconds": 2}),
    )
    handle = await orchestrator.start_workflow(definition, workflow_id="lost")
    engine, stream = await orchestrator._running(), "workflow-lost/1"

    async def began() -> None:
        for key, task in (await engine.host.read(stream)).tasks.items():
            if task.status == "SCHEDULED":
                await engine.host.submit(stream, ActivityStarted(now=now(), task_key=key, token=task.token))

    def now() -> int:
        return orchestrator._clock.now_ns()

    await asyncio.sleep(1)
    for number in range(3):
        death = ProcessDeath(f"life-{number}", now() - 1_000_000_000, 4_711, 3)
        await engine.host.submit(stream, ProcessDied(now=now(), death=death))
        await began()
        if number == 0:
            await engine.host.submit(stream, SuspectsInterrupted(now=now()))
            await began()
        await asyncio.sleep(2)
    bad, worse = (letter.letter_id for letter in await orchestrator.dead_letters.list())
    await orchestrator.dead_letters.retry(bad, by="ada", reason="more memory")
    await orchestrator.dead_letters.discard(worse, by="ada", reason="broken")
    await handle.result()


@scenario("another plan for a run that would fail: one that is followed, and one that does not fit")
async def replanned(orchestrator: Orchestrator) -> None:
    definition = W(
        T("bad", "fail", retry_policy=RetryPolicy(max_attempts=1)),
        T("after", "double", {"value": "${bad}"}, dependencies={"bad"}),
    )

    async def plan(run: FailedRun) -> NewPlan:
        if run.workflow_id == "refused":
            return NewPlan([{"remove": "bad"}], "it is not needed")
        return NewPlan([{"replace": T("bad", "double", {"value": 4})}], "another way")

    orchestrator._replans = Replans(plan, orchestrator._clock, orchestrator._unperformed)
    orchestrator._replans.begin(await orchestrator._running())
    await orchestrator.execute_workflow(definition, workflow_id="replanned")
    await expect_failure(orchestrator.execute_workflow(definition, workflow_id="refused"))


@scenario("a workflow that goes on as new, twice")
async def continued(orchestrator: Orchestrator) -> None:
    definition = W(
        T("page", "double", {"value": "${cursor}"}),
        TaskDefinition("next", continue_with={"cursor": "${page}"}, dependencies={"page"}, when="${page} < 8"),
        context={"cursor": 2},
    )
    await orchestrator.execute_workflow(definition, workflow_id="continued")


@scenario(
    "left open with all of it: a loop that waits, a question, a child at work, a lock that is held and one that is waited for"
)
async def left_open_later(orchestrator: Orchestrator) -> None:
    inner = W(T("runs", "sleep", {"seconds": 100}), name="inner")
    definition = W(
        T("loop", "double", {"value": "${iteration}"}, repeat_until="${iteration} > 2", repeat_delay_seconds=200),
        TaskDefinition.ask("may", "May I?"),
        TaskDefinition("child", workflow=inner),
        T("holds", "sleep", {"seconds": 50}, locks={"x"}),
        T("waits", "sleep", {"seconds": 50}, locks={"x"}),
        T("end", "double", {"value": 1}, dependencies={"loop", "may", "child", "holds", "waits"}),
        name="open",
    )
    await orchestrator.start_workflow(definition, workflow_id="later")
    await asyncio.sleep(3)


@workflow(name="code")
async def as_code(ctx: WorkflowContext, given: dict[str, int]) -> object:
    first = await ctx.task("first", "double", {"value": given["value"]}, compensation="listing")
    pair = await ctx.gather(
        ctx.task("left", "double", {"value": first}), ctx.task("right", "large", {"letters": 70_000})
    )
    try:
        await ctx.task("bad", "fail", retry_policy=RetryPolicy(max_attempts=1))
    except StepFailed as failed:
        pair.append(failed.kind)
    winner = await ctx.first(ctx.signal("go"), ctx.sleep("late", 30))
    if ctx.patched("more"):
        await ctx.approval("sure", "Sure?")
    if given["value"] == 1:
        ctx.continue_as_new({"value": 2})
    return [pair[0], len(pair[1]), pair[2], winner.result(), ctx.random(), ctx.now().timestamp()]


@scenario("a workflow as code: side by side, a failure that is caught, a patch, a question, continued as new")
async def code(orchestrator: Orchestrator) -> None:
    handle = await orchestrator.start_workflow(as_code, {"value": 1}, workflow_id="code")
    for _ in range(2):
        await asyncio.sleep(5)
        await orchestrator.signal("code", "go", "went")
        await asyncio.sleep(5)
        await orchestrator.approve("code", "sure")
    await handle.result()


async def expect_failure(work: Awaitable[object]) -> None:
    try:
        await work
    except WorkflowExecutionError:
        return
    raise AssertionError("this run was to fail")


WORKERS: Final = (
    ask_several,
    ask_twice,
    double,
    fail,
    fail_in_first_run,
    fail_once,
    large,
    length,
    listing,
    sleep,
    sleep_in_first_generation,
)


def new_orchestrator(store: Store) -> Orchestrator:
    """Return an orchestrator in virtual time that can perform every task of the scenarios."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    orchestrator = Orchestrator(store=store, clock=loop.clock, orchestrator_id="golden")
    for each in WORKERS:
        orchestrator.register_worker(each)
    return orchestrator


async def record(what: str, play: Scenario) -> dict[str, object]:
    """Play one scenario and return its history."""
    store = MemoryStore()
    orchestrator = new_orchestrator(store)
    await orchestrator.start()
    await play(orchestrator)
    await asyncio.sleep(30)
    names = list(dict.fromkeys(event.stream_id for event in await store.scan_page(0, 100_000)))
    streams = [await record_stream(store, name) for name in names]
    blobs = {name: await store.get_blob(name) or b"" for name in sorted(blobs_in(streams))}
    await orchestrator.stop(drain_seconds=0)
    return {
        "release": agenticflow.__version__,
        "what": what,
        "streams": streams,
        "blobs": {name: base64.b64encode(zlib.compress(data)).decode() for name, data in blobs.items()},
    }


async def record_stream(store: Store, stream_id: str) -> dict[str, object]:
    stored = await read_whole(store, stream_id)
    events = [
        {
            "version": event.version,
            "type": event.event_type,
            "schema_version": event.schema_version,
            "timestamp": event.timestamp,
            "payload": plain(event.data),
            "metadata": plain(event.metadata) if event.metadata else None,
            "data": base64.b64encode(event.data).decode(),
        }
        for event in stored
    ]
    final = await final_of(store, stream_id, stored) if stream_id.startswith("workflow-") else None
    return {"stream_id": stream_id, "events": events, "final": final}


def blobs_in(value: object) -> set[str]:
    if isinstance(value, dict):
        found = {str(value["$blob"])} if "$blob" in value else set()
        return found.union(*map(blobs_in, value.values()))
    if isinstance(value, list):
        return set().union(*map(blobs_in, value))
    return set()


def main(root: Path = ROOT) -> int:
    directory = root / f"v{agenticflow.__version__}"
    if directory.exists() and "--again" not in sys.argv:
        print(f"{directory} is there: the histories of a release do not change (before it is out: --again)")
        return 1
    directory.mkdir(exist_ok=True)
    setattr(starting_module, "new_seed", lambda: SEED)  # noqa: B010 - not one of its names
    traceback.format_exc = lambda *_, **__: "Traceback (most recent call last): …"  # without the paths of this machine
    for name, (what, play) in SCENARIOS.items():
        history = run_virtual(record(what, play))
        text = json.dumps(history, indent=1, ensure_ascii=False, sort_keys=False)
        (directory / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")
        print(f"{name}: {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
