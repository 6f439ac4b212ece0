"""An agent with tools: a function of its own, the tables of a folder, and failures that say whose move it is."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated

from agenticflow import Agent, Orchestrator, TaskContext, TaskDefinition, WorkflowDefinition, tool
from agenticflow.tools.builtin import table_tools

SALES = "shop,amount\nOslo,0.10\nOslo,0.20\nRome,5.00\n"


@tool(category="money", effect="pure")
def with_tax(amount: Annotated[str, "exact, as text"], percent: int = 25) -> str:
    """Add tax to an amount, exactly, in hundredths."""
    whole, _, hundredths = amount.partition(".")
    cents = (int(whole) * 100 + int(hundredths or 0)) * (100 + percent) // 100
    return f"{cents // 100}.{cents % 100:02}"


def analyst(folder: Path) -> Agent:
    """Return an agent that may read the tables of ``folder``, and nothing else."""
    agent = Agent("analyst", {"reports"}, tools=[with_tax, *table_tools(folder)])

    @agent.task("report")
    async def report(context: TaskContext) -> dict[str, str]:
        groups = await context.invoke_tool("table_group", {"path": "sales.csv", "by": ["shop"], "totals": ["amount"]})
        found = groups.unwrap()
        assert isinstance(found, list)
        totals = {one["key"]["shop"]: one["totals"]["amount"]["total"] for one in found}
        taxed = await context.invoke_tool_parallel([("with_tax", {"amount": total}) for total in totals.values()])
        return {shop: str(result.unwrap()) for shop, result in zip(totals, taxed, strict=True)}

    return agent


async def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sales.csv").write_text(SALES, encoding="utf-8")
        agent = analyst(folder)
        async with Orchestrator(store="memory:") as orchestrator:
            orchestrator.register_agent(agent)
            workflow = WorkflowDefinition([TaskDefinition("r", "analyst", "report")], output="${r}")
            run = await orchestrator.start_workflow(workflow)
            print(await run.result())
        refused = await agent.invoke_tool("table_describe", {"path": "../secret.csv", "delimeter": ","})
        print(refused.text())


if __name__ == "__main__":
    asyncio.run(main())
