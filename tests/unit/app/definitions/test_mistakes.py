"""Every mistake in a file at once: where it stands, what it is, and what was probably meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agenticflow.app.definitions import Performers, load_workflow, load_workflows, needed_input, unused_input
from agenticflow.errors import DefinitionError
from agenticflow.orchestration import Approval, Escalation, TaskDefinition, WorkflowDefinition

Write = Callable[[str, str], str]

CREW = """
from agenticflow import Agent, TaskContext, worker

sums = Agent("sums", {"adding", "dividing"})
words = Agent("words", {"reading"})


@sums.task("add")
async def add(left: int, right: int = 0) -> int:
    return left + right


@words.task("read")
async def read(text: str, context: TaskContext) -> str:
    return text


@words.task("anything")
async def anything(params: dict) -> dict:
    return params


@worker("shout")
async def shout(text: str) -> str:
    return text.upper()
"""


def mistakes(target: str, performers: Performers = Performers.IF_NAMED, **options: object) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        load_workflow(target, performers, **options)
    return list(caught.value.problems)


@pytest.fixture
def crew(write: Write) -> Callable[[str], str]:
    """Write a file whose handlers are the crew."""
    write("file_crew.py", CREW)
    return lambda tasks: write("f.yaml", f"handlers: file_crew\ntasks:\n{tasks}")


def test_mistakes_of_all_kinds_are_told_at_once_in_the_order_of_their_lines(crew: Callable[[str], str]) -> None:
    told = mistakes(
        crew(
            """\
  - task_id: one
    agent_id: sumz
    task_type: add
    params: {left: 1}
  - task_id: two
    agent_id: sums
    task_type: add
    params:
      left: many
      rihgt: 2
    dependencies: [one]
  - task_id: three
    agent_id: sums
    task_type: add
    timeout_seconds: 5m
    dependencies: [nowhere]
  - task_id: four
    agent_id: sums
    task_type: add
    params: {left: "${five}"}
    dependencies: [three]
  - task_id: five
    agent_id: shout
    params: {text: x}
"""
        )
    )
    assert told == [
        "f.yaml line 4: task 'one' is for 'sumz', and no agent or worker of that name is there; did you mean 'sums'?",
        (
            "f.yaml line 11: task 'two': the parameter 'left' of the handler 'sums.add' does not take 'many': "
            "Expected `int`, got `str` (it is declared as int)"
        ),
        "f.yaml line 12: task 'two': the handler 'sums.add' takes no 'rihgt' (did you mean 'right'?)",
        "f.yaml line 17: timeout_seconds: expected float | null, got str; write 300",
        "f.yaml line 18: task 'three' depends on 'nowhere', which does not exist",
        "f.yaml line 22: task 'four' uses ${five} but does not depend on 'five'; add it to dependencies",
    ]


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("agent_id: sums, task_type: ad", "'sums' has no handler for that; did you mean 'add'?"),
        ("capabilities: [ading]", "needs the capability 'ading', which no agent here has; did you mean 'adding'?"),
        ("capabilities: [adding, reading]", "needs 'adding' and 'reading', and no agent here has them all"),
        (
            "capabilities: [adding], task_type: ad",
            "no agent with 'adding' has a handler for that; did you mean 'add'?",
        ),
        (
            "agent_id: sums, task_type: add, capabilities: [readin]",
            "needs the capability 'readin', which 'sums' has not",
        ),
        ("agent_id: shout, capabilities: [loud]", "needs the capability 'loud', which 'shout' has not"),
        (
            "agent_id: sums, task_type: add, on_failure: reassign, reassign_to: [word]",
            "is reassigned to 'word', and no agent or worker of that name is there; did you mean 'words'?",
        ),
        (
            "agent_id: shout, params: {text: x}, compensation: hush",
            "is compensated by 'hush', and no agent or worker of that name is there",
        ),
        (
            "agent_id: shout, params: {text: x}, compensation: {agent_id: sums, task_type: add, params: {lft: 1}}",
            "takes no 'lft' (did you mean 'left'?)",
        ),
        (
            "agent_id: shout, params: {text: x}, compensation: {worker: sums, retry_policy: {max_attempts: 2}}",
            "a compensation has no 'worker'; did you mean 'agent_id'?",
        ),
        ("workflow: othr", "runs the workflow 'othr', which is not there"),
        ("capabilities: [adding], task_type: add, params: {left: x}", "does not take 'x'"),
    ],
)
def test_who_cannot_perform_a_task_is_told(crew: Callable[[str], str], task: str, words: str) -> None:
    [told] = mistakes(crew(f"  - {{task_id: a, {task}}}\n"))
    assert told.startswith("f.yaml line 3: ")
    assert words in told


def test_what_handlers_take_is_left_alone(crew: Callable[[str], str]) -> None:
    tasks = """\
  - {task_id: a, agent_id: words, task_type: anything, params: {what: ever}}
  - {task_id: b, agent_id: words, task_type: read, params: {text: "${a.what}"}, dependencies: [a]}
  - {task_id: text, capabilities: [reading], task_type: read}
  - {task_id: c, agent_id: shout, dependencies: [text]}
  - {task_id: d, agent_id: sums, task_type: add, params: {left: "${number}"}}
"""
    loaded = load_workflow(crew(tasks))
    assert needed_input(loaded.definition, loaded.performers) == {"number": ["d"], "text": ["text"]}


def test_with_the_input_known_what_nothing_fills_is_told(crew: Callable[[str], str]) -> None:
    path = crew("  - {task_id: a, agent_id: words, task_type: read}\n")
    assert load_workflow(path, given={"text": "x"}).definition.tasks[0].task_id == "a"
    [told] = mistakes(path, given={"txt": "x"})
    assert "nothing fills the parameter 'text' of the handler 'words.read'" in told


def test_a_file_that_runs_here_has_to_say_who_performs_it(write: Write) -> None:
    path = write("f.yaml", "tasks: [{task_id: a, agent_id: b}]")
    assert load_workflow(path).performers == ()
    with pytest.raises(DefinitionError, match=r"no agent or worker.*name the module that has them") as caught:
        load_workflow(path, Performers.DEMANDED)
    assert "line 1" in caught.value.problems[0]


def test_what_runs_elsewhere_needs_no_handlers_here(write: Write) -> None:
    path = write("f.yaml", "handlers: nowhere_at_all\ntasks: [{task_id: a, agent_id: b}]")
    assert load_workflow(path, Performers.IGNORED).definition.tasks


def test_a_missing_module_does_not_hide_other_mistakes(write: Write) -> None:
    told = mistakes(write("f.yaml", "handlers: nowhere_at_all\ntasks:\n- {task_id: a, agnt: b}"))
    assert [one.split(": ")[0] for one in told] == ["f.yaml line 1", "f.yaml line 3"]


# --- inside sub-workflows -------------------------------------------------------------------------------------------------


def test_mistakes_in_a_sub_workflow_have_their_own_lines(crew: Callable[[str], str]) -> None:
    told = mistakes(
        crew(
            """\
  - task_id: outer
    params: {n: 1}
    workflow:
      name: inner
      tasks:
        - task_id: x
          agent_id: sums
          task_type: add
          params: {left: "${n}"}
          depends_on: [y]
        - task_id: y
          agent_id: sumz
          dependencies: [z]
        - task_id: deep
          workflow:
            tasks:
              - {task_id: w, agent_id: shout, params: {text: 5}}
"""
        )
    )
    assert told == [
        "f.yaml line 12: a task has no 'depends_on'; did you mean 'dependencies'?",
        (
            "f.yaml line 14: in the sub-workflow of task 'outer': task 'y' is for 'sumz', and no agent or worker of that "
            "name is there; did you mean 'sums'?"
        ),
        "f.yaml line 15: in the sub-workflow of task 'outer': task 'y' depends on 'z', which does not exist",
        (
            "f.yaml line 19: in the sub-workflow of task 'outer': in the sub-workflow of task 'deep': task 'w': the "
            "parameter 'text' of the handler 'shout' does not take 5: Expected `str`, got `int` (it is declared as str)"
        ),
    ]


def test_what_a_sub_workflow_refers_to_is_in_its_params_or_defaults(crew: Callable[[str], str]) -> None:
    tasks = """\
  - task_id: outer
    params: {n: 1}
    workflow:
      context: {m: 2}
      tasks:
        - {task_id: x, agent_id: sums, task_type: add, params: {left: "${n}", right: "${m}"}}
        - {task_id: y, agent_id: sums, task_type: add, params: {left: "${nn}"}}
"""
    [told] = mistakes(crew(tasks))
    assert told.startswith("f.yaml line 9: in the sub-workflow of task 'outer': task 'y' uses ${nn}")
    assert "did you mean 'n'" in told


def test_a_sub_workflow_of_the_wrong_kind(write: Write) -> None:
    assert "workflow: expected" in mistakes(write("f.yaml", "tasks:\n- {task_id: a, workflow: [b]}"))[0].lower()
    told = mistakes(write("f.yaml", "tasks:\n- task_id: a\n  workflow:\n    name: b\n    steps: []"))
    assert told == [
        "f.yaml line 3: `tasks` must be a list of tasks, not nothing",
        "f.yaml line 5: a workflow has no 'steps'; did you mean 'tasks'?",
    ]


# --- the whole ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "- {task_id: a, agent_id: x, dependencies: [b]}\n- {task_id: b, agent_id: x, dependencies: [a]}",
            "line 2: tasks wait for each other: a -> b -> a",
        ),
        ("- {task_id: input, agent_id: x}", "line 2: 'input' cannot be a task id"),
        (
            "- {task_id: a, agent_id: x}\n- {task_id: b, agent_id: x, when: '1 > 2', dependencies: [a]}",
            "line 3: task 'b' can never run: its condition '1 > 2' never holds",
        ),
        (
            "- task_id: t\n  delay_seconds: 5\n  fallback: f\n- {task_id: f, agent_id: x}",
            "line 5: task 'f' can never run: it is the fallback of the timer 't', which never fails",
        ),
        ("- task_id: a\n  agent_id: x\n  when: ${b} >", "line 4: when of task 'a': the condition '${b} >' is not"),
        ("- task_id: a\n  agent_id: x\n  params:\n    k: ${b", "line 5: params of task 'a': '${b' has a reference"),
        ("- task_id: a\n  agent_id: x\n  cancels: b", "line 4: cancels is a list; write [b]"),
        ("- task_id: a\n  choices: {b: 1 > 2}", "line 3: choices is a list; write [{then: b, when: '1 > 2'}]"),
        ("- task_id: a\n  choices: x", "line 3: choices is a list; write [{then: task, when:"),
        ("- task_id: a\n  agent_id: x\n  limits: {key: k}", "line 4: limits is a list; write a `-` before it"),
        (
            "- task_id: a\n  agent_id: x\n  limits: 5",
            "line 4: limits is a list; write [{key: api, max_concurrent: 10}]",
        ),
        ("- task_id: a\n  agent_id: x\n  dependencies: 5", "line 4: dependencies is a list; write [task_id]"),
        ("- task_id: a\n  choices:\n  - {goto: b}", "line 4: a choice has no 'goto'; did you mean 'then'?"),
        ("- task_id: a\n  agent_id: x\n  limits: [{name: k}]", "line 4: a limit has no 'name'; did you mean 'key'?"),
        (
            "- task_id: a\n  agent_id: x\n  on_failure: ignore",
            "line 4: on_failure: invalid enum value 'ignore'; did you mean 'skip'?",
        ),
        (
            "- task_id: a\n  agent_id: x\n  on_failure: zzz",
            "line 4: on_failure: invalid enum value 'zzz'; use fail, skip, reassign",
        ),
        ("- task_id: a\n  agent_id: x\n  join: first", "line 4: join: invalid enum value 'first'; did you mean 'any'?"),
        ("- task_id: a\n  delay_seconds: soon", "line 3: delay_seconds: expected float | null, got str; give seconds"),
        ("- task_id: a\n  delay_seconds: 250ms", "; write 0.25"),
        ("- task_id: a\n  agent_id: x\n  qqqq: 1", "line 4: a task has no 'qqqq'; there are task_id, agent_id"),
        ("- task_id: a\n  agent_id: x\n  foreach: ${b}", "line 4: a task has no 'foreach'; did you mean 'for_each'?"),
        ("- task_id: a\n  agent_id: x\n  rate_limit: 5", "did you mean 'limits'?"),
        ("- task_id: a\n  agent_id: x\n  mutex: 5", "did you mean 'locks'?"),
        ("- task_id: 1a\n  agent_id: x\n  mutex: 5", "did you mean 'locks'?"),
    ],
)
def test_a_mistake_points_at_its_line(write: Write, text: str, words: str) -> None:
    assert words in "\n".join(mistakes(write("f.yaml", f"tasks:\n{text}")))


def test_a_workflow_level_mistake_does_not_hide_those_of_tasks(write: Write) -> None:
    told = mistakes(write("f.yaml", "name: ''\ntimeout: 5\ntasks:\n- {task_id: a, agent_id: x, needs: [b]}"))
    assert [one.split(": ")[0] for one in told] == ["f.yaml line 1", "f.yaml line 2", "f.yaml line 4", "f.yaml line 4"]


def test_a_key_that_is_only_misspelt_does_not_hide_what_else_is_wrong(crew: Callable[[str], str]) -> None:
    told = mistakes(
        crew(
            """\
  - id: one
    agent: sumz
    type: add
    with: {lft: 1}
    needs: [two]
    retry: 3
  - {task_id: two, agent_id: sums, task_type: add, params: {left: 1}, timeout: 5m}
"""
        )
    )
    assert told == [
        "f.yaml line 3: a task has no 'id'; did you mean 'task_id'?",
        "f.yaml line 3: retry_policy is a number, no mapping; write {max_attempts: 3}",
        "f.yaml line 4: a task has no 'agent'; did you mean 'agent_id'?",
        "f.yaml line 5: a task has no 'type'; did you mean 'task_type'?",
        "f.yaml line 6: a task has no 'with'; did you mean 'params'?",
        "f.yaml line 7: a task has no 'needs'; did you mean 'dependencies'?",
        "f.yaml line 8: a task has no 'retry'; did you mean 'retry_policy'?",
        "f.yaml line 9: a task has no 'timeout'; did you mean 'timeout_seconds'?",
    ]
    [_, wrong] = mistakes(crew("  - {task_id: a, agent: sumz, task_type: add, params: {left: 1}}\n"))
    assert "did you mean 'sums'" in wrong


def test_every_workflow_of_a_file_is_checked(write: Write) -> None:
    text = "workflows:\n- name: one\n  tasks:\n  - {task_id: a, agnt: b}\n- name: two\n  tasks: []\n"
    with pytest.raises(DefinitionError) as caught:
        load_workflows(write("f.yaml", text))
    assert [one.split(":")[0] for one in caught.value.problems] == ["f.yaml", "f.yaml line 4"]
    text = "workflows:\n- {name: one, tasks: [{task_id: a, workflow: two}]}\n- {name: two, tasks: [{task_id: b, agent_id: x}]}"
    path = write("g.yaml", text)
    assert [one.definition.name for one in load_workflows(path)] == ["one", "two"]
    assert [one.definition.name for one in load_workflows(f"{path}:two")] == ["two"]
    assert [other.name for other in load_workflow(f"{path}:one").others] == ["two"]
    with pytest.raises(DefinitionError, match=r"line 3: two workflows are called 'one'"):
        load_workflows(write("h.yaml", text.replace("name: two", "name: one")))


def test_a_loaded_file_is_made_known_to_an_orchestrator(write: Write) -> None:
    write("file_crew.py", CREW)
    text = (
        "handlers: [file_crew]\nworkflows:\n- {name: one, tasks: [{task_id: a, workflow: two}]}\n"
        "- {name: two, tasks: [{task_id: b, agent_id: shout, params: {text: x}}]}"
    )

    class Known:
        def __init__(self) -> None:
            self.names: list[str] = []

        def register_agent(self, agent: object) -> None:
            self.names.append(repr(agent))

        register_worker = register_workflow = register_agent

    known = Known()
    load_workflow(write("f.yaml", text) + ":one").register_with(known)  # type: ignore[arg-type]  # a stand-in that only counts
    assert len(known.names) == 5, "three agents and workers, and both workflows: one may name itself"


# --- Python -------------------------------------------------------------------------------------------------------------


def test_mistakes_in_python_have_lines_too(write: Write) -> None:
    flow = (
        CREW
        + """
from agenticflow import TaskDefinition as T, WorkflowDefinition

good = WorkflowDefinition([T("a", "shout", params={"text": "x"}), T("sub", workflow="bad")], name="good")
bad = WorkflowDefinition(
    [
        T("first", "shout", params={"text": "x"}),
        T(task_id="second", agent_id="shot"),
        T("third", "shout", params={"text": 5}, dependencies=["first"]),
    ],
    name="bad",
)
cyclic = WorkflowDefinition([T("c", "shout", dependencies=["c"])], name="cyclic")
"""
    )
    path = write("mistaken_flow.py", flow)
    assert load_workflow(f"{path}:good").others[0].name == "bad"
    with pytest.raises(DefinitionError) as caught:
        load_workflows(path)
    start = flow[: flow.index('T("first"')].count("\n") + 1
    told = [one.split(": ")[0] for one in caught.value.problems]
    assert told == [
        f"mistaken_flow.py line {start + 1}",
        f"mistaken_flow.py line {start + 2}",
        "mistaken_flow.py",
    ]
    assert len(load_workflows(f"{path}:good")) == 1
    with pytest.raises(DefinitionError, match="has no workflow at its top level"):
        load_workflows(write("nothing_flow.py", "x = 1\n"))
    assert Path(path).exists()


def test_an_approval_in_a_file_is_checked_with_all_its_terms(write: Write) -> None:
    tasks = """
tasks:
  - task_id: a
    approval:
      question: "Go?"
      approvers: [ada]
      quorum: 2
  - task_id: b
    approval:
      question: "Go?"
      assignees: [ada]
      escalation:
        - {after: 60, to: [bob]}
  - task_id: c
    approval: {question: "Go?", deadline_seconds: 1h}
  - task_id: d
    approval: {question: "Go?", deadline_seconds: 60, on_deadline: explode}
  - task_id: e
    approval: {question: "Go?", response_schema: {type: money}}
  - task_id: f
    approval: {assignees: [ada]}
  - task_id: g
    approval: {question: "Go, ${nobody.name}?"}
    dependencies: [a]
"""
    told = mistakes(write("approvals.yaml", tasks))
    for line, words in (
        (6, "an approval has no 'approvers'; did you mean 'assignees'?"),
        (13, "an escalation has no 'after'; did you mean 'after_seconds'?"),
        (15, "approval: expected"),
        (17, "explode"),
        (19, "response_schema: type is 'money', not one of"),
        (21, "missing required field question"),
    ):
        assert any(f"line {line}: " in problem and words in problem for problem in told), (line, told)


def test_an_approval_in_a_file_is_what_python_writes(write: Write) -> None:
    tasks = """
tasks:
  - task_id: a
    approval:
      question: "Pay ${n}?"
      assignees: [ada]
      deadline_seconds: 60
      on_deadline: approve
      default: {sum: 1}
      escalation: [{after_seconds: 30, to: [bob]}]
      response_schema: {type: object}
context: {n: 3}
"""
    asks = Approval(
        "Pay ${n}?",
        assignees=["ada"],
        deadline_seconds=60,
        on_deadline="approve",
        default={"sum": 1},
        escalation=[Escalation(30, ["bob"])],
        response_schema={"type": "object"},
    )
    written = load_workflow(write("same.yaml", tasks), Performers.IGNORED).definition
    assert (
        written.content_hash
        == WorkflowDefinition([TaskDefinition.ask("a", asks)], context={"n": 3}, name=written.name).content_hash
    )


def test_a_task_that_is_wrong_in_itself_hides_no_mistake_of_its_place(write: Write) -> None:
    text = "tasks:\n- {task_id: a, agent_id: b}\n- task_id: c\n  dependencies: [x]\n"
    with pytest.raises(DefinitionError) as caught:
        load_workflow(write("f.yaml", text))
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["f.yaml line 3", "f.yaml line 4"]
    assert "agent_id" in caught.value.problems[0]
    assert "task 'c' depends on 'x', which does not exist" in caught.value.problems[1]


def test_a_key_of_the_input_that_nothing_takes_is_told(crew: Callable[[str], str]) -> None:
    tasks = """\
  - {task_id: a, agent_id: sums, task_type: add, params: {left: "${number}"}}
  - {task_id: b, agent_id: sums, task_type: add, params: {left: "${input.first}", right: 1}}
"""
    loaded = load_workflow(crew(tasks))

    def told(**given: object) -> list[str]:
        return unused_input(loaded.definition, loaded.performers, given)

    assert told(number=1, first=2, right=3) == []
    [problem] = told(number=1, first=2, nummber=3)
    assert problem.startswith("nothing takes 'nummber' of the input")
    assert "did you mean 'number'" in problem
    assert unused_input(loaded.definition, [], {"nummber": 3}) == [], "who does not know the handlers cannot tell"
    assert unused_input(loaded.definition, loaded.performers, None) == []


@pytest.mark.parametrize(
    "tasks",
    [
        "  - {task_id: a, agent_id: words, task_type: read, params: {text: x}}\n",
        '  - {task_id: a, agent_id: sums, task_type: add, params: {left: "${input}", right: 1}}\n',
    ],
    ids=["a handler takes its context", "a task takes the whole input"],
)
def test_what_takes_the_whole_input_may_take_any_key(crew: Callable[[str], str], tasks: str) -> None:
    loaded = load_workflow(crew(tasks))
    assert unused_input(loaded.definition, loaded.performers, {"anything": 1}) == []


def test_what_undoes_a_task_takes_keys_of_the_input_too(crew: Callable[[str], str]) -> None:
    undo = "{agent_id: sums, task_type: add, params: {left: 1}}"
    task = f"{{task_id: a, agent_id: sums, task_type: add, params: {{left: 1}}, compensation: {undo}}}"
    tasks = f"  - {{task_id: nap, delay_seconds: 1}}\n  - {task}\n"
    loaded = load_workflow(crew(tasks))
    assert unused_input(loaded.definition, loaded.performers, {"right": 1}) == []
    assert len(unused_input(loaded.definition, loaded.performers, {"other": 1})) == 1


def test_of_several_values_of_a_task_and_of_the_workflow_each_is_told(write: Write) -> None:
    text = """\
name: w
max_parallel: -3
timeout_seconds: forever
priority: high
context: 5
tasks:
  - {task_id: a, agent_id: x, timeout_seconds: soon, priority: high, join: some, enough: 2, for_each: 5, locks: no}
  - {task_id: b, delay_seconds: soon, when: 5}
  - {task_id: c, agent_id: x, signal: s, priority: high}
  - {task_id: d, agent_id: [x], effect: maybe}
"""
    assert mistakes(write("w.yaml", text)) == [
        "w.yaml line 2: max_parallel of workflow 'w' is -3 (give a whole number above 0)",
        "w.yaml line 3: timeout_seconds: expected float | null, got str; give seconds",
        "w.yaml line 4: priority: expected int, got str",
        "w.yaml line 5: context: expected object | null, got int",
        "w.yaml line 7: locks is a list; write [lock]",
        "w.yaml line 7: timeout_seconds: expected float | null, got str; give seconds",
        "w.yaml line 7: priority: expected int, got str",
        "w.yaml line 7: join: invalid enum value 'some'; use all, any, settled, or how many have to complete",
        "w.yaml line 7: for_each: expected str | array | null, got int; put it in quotes",
        "w.yaml line 8: delay_seconds: expected float | null, got str; give seconds",
        "w.yaml line 8: when: expected str | null, got int; put it in quotes",
        "w.yaml line 9: priority: expected int, got str",
        "w.yaml line 9: task 'c' waits (signal) and cannot have an agent, a type or params",
        "w.yaml line 10: agent_id: expected str, got array",
        "w.yaml line 10: effect: invalid enum value 'maybe'; use pure, idempotent, at_most_once",
    ]


def test_a_task_without_a_name_it_could_have_hides_no_mistake_of_others(write: Write) -> None:
    text = """\
name: w
tasks:
  - {task_id: "a b", agent_id: x}
  - {task_id: c, agent_id: x, dependencies: [a b, e]}
  - {task_id: d, agent_id: x, dependencies: [c]}
  - {task_id: c, agent_id: x, dependencies: [d]}
"""
    assert [words.partition(" (")[0] for words in mistakes(write("w.yaml", text))] == [
        "w.yaml line 3: 'a b' is no task id",
        "w.yaml line 4: task 'c' depends on 'e', which does not exist",
        "w.yaml line 4: tasks wait for each other: c -> d -> c",
        "w.yaml line 6: two tasks are called 'c'",
    ]
    assert mistakes(write("n.yaml", "tasks:\n  - 5\n  - {task_id: c, agent_id: x, dependencies: [a]}\n")) == [
        "n.yaml line 2: a task is a mapping with task_id and agent_id, not a number"
    ], "what it depends on may be the one that has no name"
