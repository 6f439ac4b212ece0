"""Hello, workflow: two agents share a run, and every step of it is recorded.

Run it with ``python hello_workflow.py``, or hand the definition to the command line, which keeps the record in a file:
``agenticflow run hello_workflow.py --input dataset=sales.csv --workflow-id hello-1``. Interrupt that one, start it again: it goes on.
"""

from __future__ import annotations

import asyncio

from agenticflow import Agent, EventBus, Orchestrator, TaskDefinition, WorkflowDefinition

analyst = Agent("analyst", {"data_analysis"})
reporter = Agent("reporter", {"report_generation"})

SALES = {"sales.csv": [120, 80, 100]}


@analyst.task("analyze")
async def analyze(dataset: str) -> dict[str, float]:
    rows = SALES.get(dataset, [])
    return {"count": len(rows), "mean": sum(rows) / len(rows) if rows else 0.0}


@reporter.task("create_report")
def create_report(figures: dict[str, float], dataset: str) -> str:
    return f"{dataset}: {figures['count']:g} sales of {figures['mean']:.2f} on average"


workflow = WorkflowDefinition(
    [
        TaskDefinition("analyze_data", "analyst", "analyze", {"dataset": "${input.dataset}"}),
        TaskDefinition(
            "generate_report",
            "reporter",
            "create_report",
            {"figures": "${analyze_data}"},
            dependencies={"analyze_data"},
        ),
    ],
    name="hello",
    context={"dataset": "sales.csv"},
    output="${generate_report}",
)


async def main() -> None:
    async with Orchestrator(EventBus()) as orchestrator:
        orchestrator.register_agent(analyst)
        orchestrator.register_agent(reporter)
        workflow_id = await orchestrator.execute_workflow(workflow)
        print(await orchestrator.wait(workflow_id))


if __name__ == "__main__":
    asyncio.run(main())
