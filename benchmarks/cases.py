"""What is measured, against whom, and how good is good: the table behind ``run.py``. Data only, nothing runs here.

The floors and goals are those of the issue that asked for the benchmark. A floor given as a multiple is taken of the
peer's figure of the same run, never of a published one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["BARE", "CASES", "CONTESTANTS", "OURS", "Bar", "Case", "Contestant", "Metric"]


@dataclass(frozen=True)
class Bar:
    """A bar to clear: a value, or a multiple of the best of some contestants' figures in the same run."""

    value: float
    of: tuple[str, ...] = ()


@dataclass(frozen=True)
class Metric:
    """One figure of a case, by its key in the JSON line of a script. Without a floor it is shown and not judged."""

    key: str
    unit: str
    floor: Bar | None
    goal: Bar | None
    higher_is_better: bool = True


@dataclass(frozen=True)
class Case:
    """The same work for everybody. ``size`` in words is in ``title``; ``quick`` is the size of a quick look."""

    name: str
    title: str
    size: int
    quick: int
    metrics: tuple[Metric, ...]
    limit_seconds: float = 120
    ours_alone: bool = False
    """It compares ours with itself, so nobody else takes part."""
    turns: int | None = None
    """How often it is run at most: it takes long, or takes its own medians."""
    against: tuple[str, ...] = ()
    """The only others that take part; left out means everybody that does not lack it."""


@dataclass(frozen=True)
class Contestant:
    """A script that speaks the protocol, and the environment it runs in.

    ``pins`` is the file under ``requirements`` that its environment is built from; without one it runs in the project's.
    ``sizes`` has smaller sizes where its cost grows faster than the work, ``lacks`` the reason why it has no such case.
    """

    name: str
    script: str
    pins: str | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    lacks: dict[str, str] = field(default_factory=dict)


OURS = "ours"
BARE = "bare"

_STEPS = "steps/s"
_TASKS = "tasks/s"
_WORKFLOWS = "workflows/s"
_ROUND_TRIPS = "round trips/s"
_DELIVERIES = "deliveries/s"
_READS = "reads/s"
_ADDITIONS = "additions/s"
_TURNS = "turns/s"
_SDK = ("openai-agents",)
_AGENTS = ("openai-agents", "pydantic-ai", "agent-framework-core")

CASES = (
    Case(
        "chain_durable",
        "a chain of 1,000 steps, each on the disk before the next",
        1_000,
        200,
        (Metric("per_second", _STEPS, Bar(2, ("langgraph",)), Bar(2 / 3, (BARE,))),),
    ),
    Case(
        "chain_memory",
        "a chain of 1,000 steps, in memory, events still recorded",
        1_000,
        300,
        (Metric("per_second", _STEPS, Bar(10_000), Bar(40_000)),),
    ),
    Case(
        "fanout_memory",
        "10,000 tasks at once and a join of their results, in memory",
        10_000,
        2_000,
        (Metric("per_second", _TASKS, Bar(2, ("autogen-core",)), Bar(30_000)),),
    ),
    Case(
        "fanout_durable",
        "10,000 tasks at once and a join of their results, on the disk",
        10_000,
        2_000,
        (Metric("per_second", _TASKS, Bar(4, ("langgraph",)), Bar(20_000)),),
    ),
    Case(
        "workflows_durable",
        "1,000 workflows of 5 steps, started together, on the disk",
        1_000,
        100,
        (Metric("per_second", _WORKFLOWS, Bar(10, ("langgraph", "dbos")), Bar(4_000)),),
    ),
    Case(
        "workflows_memory",
        "1,000 workflows of 5 steps, started together, in memory",
        1_000,
        300,
        (Metric("per_second", _WORKFLOWS, Bar(1, ("autogen-core",)), Bar(6_000)),),
    ),
    Case(
        "start_latency_durable",
        "from the call that starts a workflow to its first handler's first line, on the disk, 200 times",
        200,
        50,
        (Metric("p50_ms", "ms p50", Bar(1.5), Bar(0.5), higher_is_better=False),),
    ),
    Case(
        "start_latency_memory",
        "from the call that starts a workflow to its first handler's first line, in memory, 200 times",
        200,
        50,
        (Metric("p50_ms", "ms p50", Bar(0.3), Bar(0.1), higher_is_better=False),),
    ),
    Case(
        "messages_ping_pong",
        "two agents that answer each other over the bus, 20,000 round trips, nothing recorded",
        20_000,
        4_000,
        (Metric("per_second", _ROUND_TRIPS, Bar(2, ("autogen-core",)), Bar(50_000)),),
    ),
    Case(
        "messages_fan_out",
        "one publisher to 1,000 subscribers, 100,000 deliveries, nothing recorded",
        100_000,
        20_000,
        (Metric("per_second", _DELIVERIES, Bar(2, ("autogen-core",)), Bar(200_000)),),
    ),
    Case(
        "idle_agents",
        "10,000 agents, made and registered, doing nothing",
        10_000,
        2_000,
        (
            Metric("bytes_per_agent", "bytes each", Bar(5 * 1024), Bar(1024), higher_is_better=False),
            Metric("us_to_create", "µs each", Bar(30), Bar(10), higher_is_better=False),
        ),
    ),
    Case(
        "import_cost",
        "importing it in a fresh process, over the bare interpreter, median of 10",
        10,
        3,
        (
            Metric("import_ms", "ms", Bar(250), Bar(120), higher_is_better=False),
            Metric("usable_ms", "ms, names used", None, None, higher_is_better=False),
        ),
    ),
    Case(
        "scaling",
        "cost of a step with 10,000 tasks over that with 100, and late in a run over early; the worst of them",
        10_000,
        3_000,
        (Metric("ratio", "times", Bar(1.3), None, higher_is_better=False),),
    ),
    Case(
        "agent_memory",
        "1,000 runs of an agent, two turns and one call of a tool each, in memory; ours records every event",
        1_000,
        100,
        (
            Metric("per_second", _TURNS, Bar(2_000), Bar(5_000)),
            Metric("processor_per_second", "turns/processor s", None, None),
        ),
        against=_AGENTS,
    ),
    Case(
        "agent_long",
        "one run of 200 turns, a call of a tool in each but the last, in memory; growth: its last 50 turns over its first 50",
        200,
        60,
        (
            Metric("per_second", _TURNS, Bar(1_000), Bar(3_000)),
            Metric("growth", "times", Bar(1.3), Bar(1.1), higher_is_better=False),
            Metric("processor_per_second", "turns/processor s", None, None),
        ),
        against=_AGENTS,
    ),
    Case(
        "agent_durable",
        "1,000 runs of an agent, two turns and one call of a tool each, 100 at once, on the disk",
        1_000,
        100,
        (
            Metric("per_second", _TURNS, Bar(1_000), Bar(2_500)),
            Metric("processor_per_second", "turns/processor s", None, None),
        ),
        against=_SDK,
    ),
    *(
        Case(
            f"session_{name}_{where}",
            f"{words}, {'on the disk' if where == 'durable' else 'in memory'}",
            size,
            size // 5,
            # one conversation on the disk waits for one sync each time, with everybody: shown, not judged
            (Metric("per_second", unit, Bar(floor, _SDK) if floor else None, None),),
            against=_SDK,
        )
        for name, words, size, unit, floors in (
            ("add", "a conversation of 1,000 messages, added one after the other", 1_000, _ADDITIONS, (None, 3)),
            ("read", "the last 50 items of a conversation of 500, read 1,000 times", 1_000, _READS, (3, 3)),
            ("many", "1,000 messages to 50 conversations of one file that go on at once", 1_000, _ADDITIONS, (3, 3)),
            (
                "turns",
                "a conversation of 200 turns: all that was said is read, a prompt and an answer added",
                200,
                _TURNS,
                (None, 3),
            ),
            ("talks", "50 conversations of 40 such turns at once", 2_000, _TURNS, (3, 3)),
        )
        for where, floor in zip(("durable", "memory"), floors, strict=True)
    ),
    *(
        Case(
            name,
            f"what {words} costs beyond the step in it, in plain steps of a chain, 1,000 times",
            1_000,
            200,
            (
                Metric("memory_extra", "steps, memory", Bar(2), Bar(1), higher_is_better=False),
                Metric("durable_extra", "steps, disk", Bar(2), Bar(1), higher_is_better=False),
            ),
            ours_alone=True,
        )
        for name, words in (
            ("loop", "an iteration of a loop"),
            ("condition", "a condition"),
            ("sub_workflow", "a sub-workflow"),
            ("lock", "a lock"),
        )
    ),
    Case(
        "step_as_code",
        "processor time of a step of a workflow as code, in steps of the same as data, 300 in a run; medians of 9 runs",
        300,
        100,
        (
            Metric("chain_ratio", "times, chain, memory", Bar(1.5), Bar(1.25), higher_is_better=False),
            Metric("fan_ratio", "times, fan-out, memory", Bar(1.5), Bar(1.25), higher_is_better=False),
            Metric("durable_chain_ratio", "times, chain, disk", Bar(1.5), Bar(1.25), higher_is_better=False),
        ),
        ours_alone=True,
    ),
    Case(
        "critical_path",
        "1,000 tasks after each other as real modules import each other, over the longest chain or all work shared out",
        1_000,
        300,
        (
            Metric("memory_ratio", "times, memory", Bar(1.1), Bar(1.05), higher_is_better=False),
            Metric("durable_ratio", "times, disk", Bar(1.1), Bar(1.05), higher_is_better=False),
        ),
        ours_alone=True,
    ),
    Case(
        "liveness",
        "the look whether any of 10,000 open runs is stuck, their states in memory; median of 7",
        10_000,
        1_000,
        (
            Metric("memory_ms", "ms, memory", Bar(100), Bar(50), higher_is_better=False),
            Metric("durable_ms", "ms, disk", Bar(100), Bar(50), higher_is_better=False),
        ),
        ours_alone=True,
    ),
    Case(
        "inbox",
        "the first page of 50 of 10,000 open approvals; median of 7",
        10_000,
        1_000,
        (
            Metric("memory_ms", "ms, memory", Bar(50), Bar(10), higher_is_better=False),
            Metric("durable_ms", "ms, disk", Bar(50), Bar(10), higher_is_better=False),
            Metric("memory_person_ms", "ms, memory, of one person", Bar(50), Bar(20), higher_is_better=False),
            Metric("durable_person_ms", "ms, disk, of one person", Bar(50), Bar(20), higher_is_better=False),
            Metric(
                "opened_ms", "ms, disk, and opening the store beside its owner", Bar(50), None, higher_is_better=False
            ),
        ),
        ours_alone=True,
    ),
    Case(
        "breaker",
        "a call behind a closed circuit breaker, beyond the call itself; the best of 50 slices",
        100_000,
        20_000,
        (
            Metric("async_with_us", "us, async with", Bar(3), Bar(2), higher_is_better=False),
            Metric("new_us", "us, made on the spot", Bar(3), Bar(2), higher_is_better=False),
            Metric("decorated_us", "us, decorated", Bar(3), Bar(2), higher_is_better=False),
            Metric("plain_us", "us, plain function", Bar(3), Bar(2), higher_is_better=False),
        ),
        ours_alone=True,
    ),
    Case(
        "planning",
        "a model's answer of twelve steps with slips, parsed, repaired, assigned, validated and optimised; median; model time aside",
        200,
        50,
        (
            Metric("judged_ms", "ms, an answer", Bar(20), Bar(5), higher_is_better=False),
            Metric("planned_ms", "ms, request to first task", Bar(2_000), Bar(100), higher_is_better=False),
        ),
        ours_alone=True,
    ),
    Case(
        "pause",
        "until a pause holds with 1,000 open runs that all want to go on: answered, and the last handler begun; p99 of 200",
        1_000,
        200,
        (
            Metric("memory_p99_ms", "ms p99, memory", Bar(1_000), Bar(100), higher_is_better=False),
            Metric("durable_p99_ms", "ms p99, disk", Bar(1_000), Bar(500), higher_is_better=False),
            Metric("memory_all_p99_ms", "ms p99, memory, 800 at once", Bar(1_000), None, higher_is_better=False),
            Metric("durable_all_p99_ms", "ms p99, disk, 800 at once", Bar(1_000), None, higher_is_better=False),
        ),
        ours_alone=True,
        turns=1,
    ),
    Case(
        "timers",
        "100,000 pending timers, a thousand in a run: what one holds in memory, and how late the latest rings",
        100_000,
        10_000,
        (
            Metric("bytes_each", "bytes each", Bar(1_024), Bar(512), higher_is_better=False),
            Metric("memory_late_ms", "ms, the latest, memory", Bar(1_000), Bar(500), higher_is_better=False),
            Metric("durable_late_ms", "ms, the latest, disk", Bar(1_000), Bar(500), higher_is_better=False),
        ),
        ours_alone=True,
        turns=1,
    ),
    Case(
        "replay",
        "a run of 10,000 events folded by a fresh process: from its beginning, and from its snapshot; median of 5",
        10_000,
        2_000,
        (
            Metric("cold_ms", "ms, cold", Bar(500), Bar(250), higher_is_better=False),
            Metric("snapshot_ms", "ms, from the snapshot", Bar(50), None, higher_is_better=False),
            Metric("tail_ms", "ms, snapshot and 5,000 more", None, None, higher_is_better=False),
        ),
        ours_alone=True,
        turns=1,
    ),
    Case(
        "simulation",
        "schedules of faults of a workflow of 20 tasks, played and checked by one core",
        600,
        100,
        (Metric("per_second", "schedules/s and core", Bar(30), Bar(100)),),
        ours_alone=True,
        turns=1,
    ),
    Case(
        "tools",
        "a call of a tool through the whole path, beyond the function itself; the best of 50 slices",
        5_000,
        1_000,
        (
            Metric("async_us", "us, async", Bar(50), Bar(30), higher_is_better=False),
            Metric("guarded_us", "us, async, with rate limit and breaker", Bar(75), Bar(50), higher_is_better=False),
            Metric("thread_us", "us, plain, beyond a thread", Bar(75), Bar(50), higher_is_better=False),
            Metric("refused_us", "us, with params that do not fit", Bar(100), None, higher_is_better=False),
        ),
        ours_alone=True,
    ),
)

_OWN_MEASURE = "it compares ours with itself"
_ALWAYS_DATABASE = "has no mode without its database"
_NOTHING_ON_DISK = "keeps nothing on the disk"
_NO_MESSAGES = "has no messages between agents"
_IN_MEMORY_ONLY = dict.fromkeys(
    ("chain_durable", "fanout_durable", "workflows_durable", "start_latency_durable"), _NOTHING_ON_DISK
)

CONTESTANTS = (
    Contestant(OURS, "ours.py"),
    Contestant(
        "langgraph",
        "peers/langgraph_.py",
        "bench-langgraph",
        # it slows down with the number of tasks in one superstep
        sizes={"fanout_durable": 1_000, "fanout_memory": 1_000},
        lacks={
            "messages_ping_pong": _NO_MESSAGES,
            "messages_fan_out": _NO_MESSAGES,
            "idle_agents": "has no object per idle agent: one compiled graph serves all threads",
            "scaling": _OWN_MEASURE,
        },
    ),
    Contestant(
        "dbos",
        "peers/dbos_.py",
        "bench-dbos",
        lacks={
            "chain_memory": _ALWAYS_DATABASE,
            "fanout_memory": _ALWAYS_DATABASE,
            "workflows_memory": _ALWAYS_DATABASE,
            "start_latency_memory": _ALWAYS_DATABASE,
            "messages_ping_pong": _NO_MESSAGES,
            "messages_fan_out": _NO_MESSAGES,
            "idle_agents": "has no agents",
            "scaling": _OWN_MEASURE,
        },
    ),
    Contestant(
        "pydantic-graph",
        "peers/pydantic_graph_.py",
        "bench-pydantic-graph",
        lacks={
            "chain_durable": _NOTHING_ON_DISK,
            "fanout_durable": _NOTHING_ON_DISK,
            "workflows_durable": _NOTHING_ON_DISK,
            "start_latency_durable": _NOTHING_ON_DISK,
            "messages_ping_pong": _NO_MESSAGES,
            "messages_fan_out": _NO_MESSAGES,
            "idle_agents": "has no agents",
            "scaling": _OWN_MEASURE,
        },
    ),
    Contestant(
        "autogen-core",
        "peers/autogen_core_.py",
        "bench-autogen-core",
        lacks={
            "chain_durable": _NOTHING_ON_DISK,
            "fanout_durable": _NOTHING_ON_DISK,
            "workflows_durable": _NOTHING_ON_DISK,
            "start_latency_durable": _NOTHING_ON_DISK,
            "scaling": _OWN_MEASURE,
        },
    ),
    Contestant(
        "llama-index-workflows",
        "peers/llama_index_workflows_.py",
        "bench-llama-index-workflows",
        # the cost of a task grows with their number
        sizes={"fanout_memory": 500},
        lacks=_IN_MEMORY_ONLY
        | {
            "messages_ping_pong": _NO_MESSAGES,
            "messages_fan_out": _NO_MESSAGES,
            "idle_agents": "has no agents",
            "scaling": _OWN_MEASURE,
        },
    ),
    Contestant(
        "pydantic-ai",
        "peers/pydantic_ai_.py",
        "bench-pydantic-ai",
        lacks=dict.fromkeys(
            (case.name for case in CASES if not case.against and not case.ours_alone and case.name != "import_cost"),
            "runs agents' turns; its graphs are measured as pydantic-graph",
        ),
    ),
    Contestant(
        "agent-framework-core",
        "peers/agent_framework_.py",
        "bench-agent-framework",
        lacks=dict.fromkeys(_IN_MEMORY_ONLY, "writes checkpoints to files without a sync to the disk")
        | {
            "messages_ping_pong": _NO_MESSAGES,
            "messages_fan_out": _NO_MESSAGES,
            "idle_agents": "its agents are clients of a model",
            "scaling": _OWN_MEASURE,
        },
    ),
    Contestant(
        "openai-agents",
        "peers/openai_agents_.py",
        "bench-openai-agents",
        lacks=dict.fromkeys(
            (case.name for case in CASES if not case.against and not case.ours_alone and case.name != "import_cost"),
            "runs agents' turns; of what is measured here it has agents and sessions",
        ),
    ),
    Contestant(BARE, "peers/bare_.py", lacks={"scaling": _OWN_MEASURE}),
)
