"""What is killed: a workflow as a flow, whose second task is a flow of two tasks. Takes the folder that it works in.

The first life dies in the middle of the second task, when its first task has stored its result. What is done stands in ``done.txt``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from prefect import flow, task

from agenticflow import Orchestrator, TaskDefinition, WorkflowDefinition, worker
from agenticflow.integrations.frameworks.prefect import ONCE_PER_EFFECT, prefect_flow, prefect_worker

FOLDER = Path(sys.argv[1])


def did(what: str) -> None:
    with (FOLDER / "done.txt").open("a") as done:
        done.write(f"{what}\n")


@task(cache_policy=ONCE_PER_EFFECT, result_serializer="json")
def buy(item: str) -> str:
    did(f"buy {item}")
    return f"{item} bought"


@task(cache_policy=ONCE_PER_EFFECT, result_serializer="json")
def pack(bought: str) -> str:
    if not (FOLDER / "died.txt").exists():
        (FOLDER / "died.txt").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    did(f"pack {bought}")
    return f"{bought} and packed"


@worker("choose")
async def choose() -> str:
    did("choose")
    return "lamp"


@prefect_worker("shop")
@flow
async def shop(item: str) -> str:
    return str(pack(buy(item)))


def engine() -> Orchestrator:
    opened = Orchestrator(store=f"sqlite:///{FOLDER}/state.db")
    opened.register_worker(choose)
    opened.register_worker(shop)
    return opened


errand = WorkflowDefinition(
    [
        TaskDefinition("choose", "choose"),
        TaskDefinition("shop", "shop", params={"item": "${choose}"}, dependencies=["choose"]),
    ],
    name="errand",
    output="${shop}",
)

if __name__ == "__main__":
    print(asyncio.run(prefect_flow(errand, engine)(workflow_id="errand-1")))
