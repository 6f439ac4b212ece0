"""A content pipeline with approvals at three checkpoints, each answered within an hour or decided by its deadline.

The outline is approved with changes, the draft by two of three editors, one of whom hands it on, and nobody looks at the publication: after
half an hour the chief may answer too, after an hour the deadline rejects it, and the text is kept for later. The writer asks for a headline
in the middle of its work. Time is virtual here, so the hour takes no time. Run it: ``python examples/content_pipeline.py``; with
``agenticflow run content_pipeline.py`` it is you who answers, in an hour of yours: ``agenticflow approvals list``.
"""

from __future__ import annotations

import asyncio

from agenticflow import Orchestrator, TaskContext, TaskDefinition, WorkflowDefinition, worker
from agenticflow.orchestration import Approval, Escalation
from agenticflow.testing.virtual_time import VirtualLoop, run_virtual

HOUR = 3_600.0
EDITORS = ["ada", "bob", "carl"]


@worker("outline")
async def outline(topic: str) -> dict[str, object]:
    return {"topic": topic, "chapters": 3}


@worker("write")
async def write(plan: dict[str, object], context: TaskContext) -> dict[str, object]:
    headline = context.interrupt(
        question=f"Which headline for {plan['chapters']} chapters on {plan['topic']}?",
        response_schema={"type": "string", "minLength": 3, "maxLength": 60},
        deadline_seconds=HOUR,
        on_deadline="approve",
        default="Untitled",
    )
    return {"headline": headline, "words": 400 * int(str(plan["chapters"]))}


@worker("publish")
async def publish(text: dict[str, object]) -> str:
    return f"published {text['headline']!r}"


@worker("keep")
async def keep() -> dict[str, object]:
    return {"approved": False, "comment": "kept for later"}


workflow = WorkflowDefinition(
    [
        TaskDefinition("outline", "outline", params={"topic": "${input.topic}"}),
        TaskDefinition.ask(
            "plan",
            Approval(
                "Write about ${outline.topic}?",
                deadline_seconds=HOUR,
                on_deadline="approve",
                arguments="${outline}",
                response_schema={
                    "type": "object",
                    "properties": {"topic": {"type": "string"}, "chapters": {"type": "integer", "minimum": 1}},
                    "required": ["topic", "chapters"],
                },
            ),
            {"outline"},
        ),
        TaskDefinition("draft", "write", params={"plan": "${plan.value}"}, dependencies={"plan"}),
        TaskDefinition.ask(
            "edit",
            Approval(
                "Is ${draft.headline} with ${draft.words} words fit to print?",
                assignees=EDITORS,
                quorum=2,
                deadline_seconds=HOUR,
                on_deadline="reject",
            ),
            {"draft"},
        ),
        TaskDefinition.ask(
            "release",
            Approval(
                "Publish ${draft.headline}?",
                assignees=["dora"],
                escalation=[Escalation(HOUR / 2, ["the chief"])],
                deadline_seconds=HOUR,
                on_deadline="reject",
            ),
            {"edit"},
            fallback="later",
        ),
        TaskDefinition("later", "keep"),
        TaskDefinition(
            "publication",
            "publish",
            params={"text": "${draft}"},
            dependencies={"release", "draft"},
            when="${release.approved}",
        ),
    ],
    name="content",
    context={"topic": "tides"},
    output={"headline": "${draft.headline}", "edited_by": "${edit.answers}", "release": "${release}"},
)


async def asked(orchestrator: Orchestrator, workflow_id: str, person: str | None = None) -> str:
    """Wait until the workflow asks (this person), say what, and return the id of the request."""
    while True:
        for view in await orchestrator.approvals.list(person, workflow_id=workflow_id, limit=1):
            print(f"{view.task_key} asks {', '.join(view.assignees) or 'anybody'}: {view.question}")
            return view.approval_id
        await asyncio.sleep(1)


async def main(is_released: bool = False) -> object:
    loop = asyncio.get_running_loop()
    clock = loop.clock if isinstance(loop, VirtualLoop) else None
    async with Orchestrator(store="memory:", clock=clock) as orchestrator:
        for one in (outline, write, publish, keep):
            orchestrator.register_worker(one)
        approvals = orchestrator.approvals
        run = await orchestrator.start_workflow(workflow, workflow_id="tides")

        plan = await asked(orchestrator, "tides")
        await approvals.answer(plan, {"topic": "tides", "chapters": 2}, by="ada", comment="two are enough")
        await approvals.answer(await asked(orchestrator, "tides"), "What the moon does", by="ada")

        edit = await asked(orchestrator, "tides", "bob")
        await approvals.delegate(edit, "eve", by="bob", comment="on leave")
        await approvals.approve(edit, by="eve")
        await approvals.approve(edit, by="carl")

        began = loop.time()
        release = await asked(orchestrator, "tides", "the chief")
        print(f"after {(loop.time() - began) / 60:.0f} minutes the chief is asked as well")
        if is_released:
            await approvals.approve(release, by="the chief")
        result = await run.result()
        print(f"after {(loop.time() - began) / 60:.0f} minutes: {result}")
        return result


if __name__ == "__main__":
    run_virtual(main())
