"""Other tasks in the middle of a run: what may be touched, what comes of it, and what is refused with every mistake at once."""

from __future__ import annotations

from typing import Any

import pytest

from agenticflow.core import codec
from agenticflow.core.values import store_form
from agenticflow.errors import DefinitionError, InvalidInput
from agenticflow.orchestration import commands as c
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.chain import carry_over
from agenticflow.orchestration.comparison import compare_runs
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.interventions.difference import differences
from agenticflow.orchestration.interventions.modification import (
    applied,
    decode_modifications,
    encode_modifications,
    modifications_of,
)
from agenticflow.resilience.retry import RetryPolicy
from tests.scenarios.runs import START, Run, once, task

NO_RETRY = RetryPolicy(max_attempts=1)


def add(task_id: str, *after: str, **options: Any) -> dict[str, object]:
    return {"add": task(task_id, *after, **options)}


def replace(task_id: str, *after: str, **options: Any) -> dict[str, object]:
    return {"replace": task(task_id, *after, **options)}


def remove(task_id: str) -> dict[str, object]:
    return {"remove": task_id}


def mistakes(run: Run, *given: dict[str, object]) -> list[str]:
    """Every mistake of a modification that is refused; nothing of it is recorded."""
    before = run.scenario.version
    with pytest.raises(DefinitionError) as refusal:
        run.scenario.decider.decide(run.state, run.modification(*given))
    assert run.scenario.version == before
    return list(refusal.value.problems)


# --- what comes of it ---------------------------------------------------------------------------------------------------


def test_an_added_task_whose_dependencies_are_met_starts_at_once_and_others_wait() -> None:
    run = Run(task("a"), task("b", "a"))
    run.succeed("a", value=1)
    facts = run.modify(
        add("now", "a", params={"x": "${a}"}), add("root"), add("later", "b", "now"), reason="the customer asked"
    )
    assert [fact.event_type for fact in facts] == ["workflow_modified", "task_scheduled", "task_scheduled"]
    [fact] = run.facts(f.WorkflowModified)
    assert (fact.modified_by, fact.reason) == ("ada", "the customer asked")
    assert run.in_work == ["b", "now", "root"]
    assert run.params("now") == {"x": 1}
    run.succeed("now", "root", "b")
    assert run.in_work == ["later"]
    run.succeed("later")
    assert run.output == {"root": None, "later": None}


def test_a_step_is_put_between_two_others() -> None:
    run = Run(task("a"), task("b", "a"), task("end", "b"))
    run.modify(add("check", "a"), replace("b", "check", params={"checked": "${check}"}))
    run.succeed("a")
    assert run.in_work == ["check"]
    run.succeed("check", value="fine")
    assert run.params("b") == {"checked": "fine"}


def test_removed_tasks_never_run_and_a_run_with_nothing_left_ends() -> None:
    run = Run(task("a"), task("b", "a"), task("end", "b"))
    run.modify(remove("b"), replace("end", "a"))
    run.succeed("a")
    assert run.in_work == ["end"]
    run = Run(task("a"), task("b", "a"))
    run.pause()
    run.succeed("a")
    run.modify(remove("b"))
    assert run.status == "COMPLETED"


def test_what_a_pause_holds_back_has_not_started() -> None:
    run = Run(task("a"), task("b", "a"), task("d", "a"))
    run.pause()
    run.succeed("a")
    run.modify(replace("b", "a", params={"x": 2}), remove("d"), add("e", "a"))
    assert run.statuses == {"a": "COMPLETED", "b": "READY", "e": "READY"}
    run.resume()
    assert run.in_work == ["b", "e"]
    assert run.params("b") == {"x": 2}


def test_what_is_replaced_is_other_work() -> None:
    run = Run(task("a"), task("b", "a"), task("d", "a"))
    run.modify(replace("b", "a"), remove("d"))
    run.modify(add("d", "a"))
    run.succeed("a")
    assert {key: effect.generation for key, effect in run.dispatched.items()} == {"b": 1, "d": 1}
    run.fail_for_good("b")
    run.succeed("d", value=1)
    again = Run(
        *run.state.laid_out.definition.tasks,
        run_no=2,
        carried=carry_over(run.state),
    )
    assert again.state.generation_of("b") == 1


def test_what_was_kept_of_the_run_before_does_not_stand_for_what_is_replaced() -> None:
    first = Run(task("a"), task("each", "a", for_each=[1, 2]))
    first.succeed("a", value=1)
    first.succeed("each[0]", value=1)
    first.fail_for_good("each[1]")
    second = Run(task("a"), task("each", "a", for_each=[1, 2]), run_no=2, carried=carry_over(first.state, "a"))
    assert "each[0]" not in second.state.kept
    third = Run(task("a"), task("each", "a", for_each=[1, 2]), run_no=3, carried=carry_over(first.state))
    third.state.is_paused = False
    assert third.in_work == ["each[1]"]
    held = Run(task("x"), task("each", "x", for_each=[1, 2]), run_no=2, carried=carry_over(first.state))
    assert "each[0]" in held.state.kept
    held.modify(replace("each", "x", for_each=[5, 6]))
    held.succeed("x")
    assert held.in_work == ["each[0]", "each[1]"]


def test_failures_and_skips_so_far_count_as_they_do_from_the_beginning() -> None:
    run = Run(
        task("ok"),
        task("bad", retry_policy=NO_RETRY),
        task("meh", retry_policy=NO_RETRY, on_failure="skip"),
        task("off", when="false"),
        task("beside"),
    )
    run.fail("bad")
    run.fail("meh")
    run.succeed("ok")
    run.modify(
        add("after_bad", "bad"),
        add("after_meh", "meh"),
        add("after_off", "off"),
        add("after_ok_and_off", "ok", "off"),
        add("settled", "bad", "ok", join="settled"),
        add("one_of", "bad", "ok", join="any"),
        add("two_of", "bad", "ok", join=2),
        add("two_skipped", "off", "ok", join=2),
        add("two_open", "beside", "ok", join=2),
    )
    statuses = run.statuses
    assert "after_bad" not in statuses
    assert "two_of" not in statuses
    assert "two_open" not in statuses
    assert (statuses["after_meh"], statuses["after_off"], statuses["two_skipped"]) == ("SKIPPED", "SKIPPED", "SKIPPED")
    assert run.in_work == ["beside", "after_ok_and_off", "settled", "one_of"]


def test_a_failure_somebody_may_stand_in_for_is_not_told_yet() -> None:
    run = Run(task("a", fallback="instead", retry_policy=NO_RETRY), task("instead"))
    run.fail("a")
    run.modify(add("end", "a"), add("notice", "a", join="settled"))
    assert run.in_work == ["instead"]
    run.succeed("instead", value="saved")
    assert run.in_work == ["end", "notice"]


def test_a_choice_that_was_made_stays_made_where_tasks_move() -> None:
    run = Run(
        TaskDefinition.choice("route", {"x": "true", "y": None}),
        task("hold"),
        task("gone", "hold"),
        task("x", "route", "hold"),
        task("y", "route", "hold"),
    )
    run.modify(remove("gone"), replace("y", "route", "hold", params={"z": 1}))
    run.succeed("hold")
    assert run.statuses["y"] == "SKIPPED"
    assert run.in_work == ["x"]


def test_priorities_that_come_later_order_what_waits() -> None:
    run = Run(task("a"), task("b"), task("d"), max_parallel=1)
    assert run.in_work == ["a"]
    run.modify(replace("d", priority=5))
    run.succeed("a")
    assert run.in_work == ["d"]
    run = Run(task("a"), task("b", "a"), task("d", "a"))
    run.pause()
    run.succeed("a")
    run.modify(add("first", "a", priority=5))
    run.resume()
    assert list(run.dispatched) == ["first", "b", "d"]


def test_waits_maps_loops_and_questions_go_on_in_the_middle_of_it() -> None:
    run = Run(
        TaskDefinition.timer("t", 60),
        TaskDefinition.wait_for("s", "go"),
        TaskDefinition.ask("q", "May I?"),
        task("each", for_each=[1, 2], max_parallel=1),
        task("loop", repeat_until="${loop} > 1"),
        task("gone", "t"),
        task("retried", retry_policy=RetryPolicy(2, 30.0, jitter=False)),
        task("end", "t", "s", "q", "each", "loop", "retried"),
    )
    run.fail("retried")
    run.modify(remove("gone"), add("more", "each"))
    run.crash()
    run.wait(60)
    run.signal("go", 1)
    run.approve("q")
    run.succeed("each[0]", "each[1]", value=1)
    run.succeed("loop[0]", value=2)
    run.succeed("retried")
    assert run.in_work == ["more", "end"]


def test_the_next_run_and_a_look_at_both_have_the_definition_there_is_now() -> None:
    run = Run(task("a"), task("b", "a"))
    before = Run(task("a"), task("b", "a"))
    run.modify(add("d", "a"))
    assert [task.task_id for task in run.state.laid_out.definition.tasks] == ["a", "b", "d"]
    assert [str(one) for one in compare_runs(before.state, run.state)][1:] == [
        "task 'd': task: - → agent:work after 'a'"
    ]
    assert run.state.fingerprint == before.state.fingerprint, "it is still the workflow that was started under this id"


def test_a_large_modification_is_a_reference() -> None:
    run = Run(task("a"), task("b", "a"))
    given = [add("large", "a", params={"text": "x" * 100_000})]
    stored, blobs = store_form(encode_modifications(modifications_of(given)))
    assert blobs
    command = c.Modify(
        now=START,
        modifications=stored,
        requested_by="ada",
        definition=run.state.laid_out.content_hash,
        blobs=blobs,
    )
    run.ask(command)
    run.succeed("a")
    assert run.in_work == ["b", "large"]


# --- refusals -----------------------------------------------------------------------------------------------------------


def test_every_mistake_is_told_at_once() -> None:
    run = Run(task("a"), task("b", "a"), task("d", "b"), task("e", "d", params={"x": "${b}"}))
    run.succeed("a", value=1)
    assert mistakes(
        run,
        replace("a"),
        remove("b"),
        add("d"),
        remove("dd"),
        add("loose", "nowhere"),
        add("x", "y"),
        add("y", "x"),
        add("uses", params={"x": "${e}"}),
    ) == [
        "task 'a' has started, it is COMPLETED, and stays as it is",
        "task 'b' has started, it is SCHEDULED, and stays as it is",
        "there is a task 'd' already; replace it, or give the other another id",
        "there is no task 'dd'; did you mean 'd'?",
        "task 'loose' depends on 'nowhere', which does not exist",
        "tasks wait for each other: x -> y -> x",
        "task 'uses' uses ${e} but does not depend on 'e'; add it to dependencies",
    ]


def test_what_depends_on_a_removed_task_has_to_go_or_change_with_it() -> None:
    run = Run(task("a"), task("b", "a"), task("d", "b"))
    assert mistakes(run, remove("b")) == ["task 'd' depends on 'b', which does not exist"]
    assert mistakes(run, remove("b"), remove("b")) == [
        "2 modifications touch task 'b'; make one of them",
        "task 'd' depends on 'b', which does not exist",
    ]


def test_references_have_to_lead_somewhere_with_this_input() -> None:
    run = Run(task("a"), task("b", "a"), input={"user": "ada"}, output="${b}")
    assert mistakes(run, add("d", "a", params={"x": "${user}", "y": "${nobody}"})) == [
        "task 'd' uses ${nobody}, but 'nobody' is neither a task nor a key of the input"
    ]
    assert mistakes(run, remove("b")) == ["the output uses ${b}, but 'b' is neither a task nor a key of the input"]
    assert mistakes(run, add("user", "a")) == [
        "'user' is a task id and a key of the input: references could mean either"
    ]


def test_nothing_becomes_or_ceases_to_be_a_fallback_in_the_middle() -> None:
    run = Run(task("a"), task("b", "a", fallback="instead"), task("instead"), task("other"))
    assert mistakes(run, replace("b", "a")) == [
        "task 'instead' is the fallback of 'b' and would start at once without it; remove or replace it too"
    ]
    assert mistakes(run, add("d", "a", fallback="other")) == [
        "task 'd' falls back to 'other', which has its own turn already"
    ]
    run.modify(replace("b", "a"), remove("instead"), add("d", "a", fallback="new"), add("new"))
    assert run.in_work == ["a", "other"]
    run = Run(task("a", fallback="instead", retry_policy=NO_RETRY), task("instead"), task("beside"), max_parallel=1)
    run.pause()
    run.fail("a")
    assert mistakes(run, remove("instead")) == [
        "task 'instead' has started, it is READY, and stays as it is",
    ]


def test_a_run_without_tasks_is_none() -> None:
    run = Run(task("a"), task("b"), max_parallel=1)
    run.modify(remove("b"))
    held = Run(task("a"), max_parallel=1)
    held.pause()
    assert mistakes(held, remove("a")) == ["task 'a' has started, it is SCHEDULED, and stays as it is"]


def test_whoever_has_seen_something_else_is_refused() -> None:
    run = Run(task("a"), task("b", "a"))
    seen = run.modification(add("d", "a"))
    old = run.modification(add("d", "a"), expected_version=run.scenario.version)
    run.modify(add("e", "a"))
    run.refused(seen, "somebody has modified workflow 'w' meanwhile")
    run.refused(old, "is at version 3, not at the expected 2")
    run.ask(run.modification(add("d", "a"), expected_version=run.scenario.version))
    run.abort()
    run.refused(run.modification(add("x")), "takes no modification")


@pytest.mark.parametrize("given", [None, [], "add", {"add": 1}, 5])
def test_what_is_no_list_of_modifications_is_told(given: object) -> None:
    with pytest.raises(InvalidInput, match=r"write .*add"):
        modifications_of(given)


def test_every_task_that_is_described_wrongly_is_told() -> None:
    with pytest.raises(DefinitionError) as refusal:
        modifications_of(
            [
                {"add": {"task_id": "a"}},
                {"remove": 5},
                {"delete": "a"},
                {"add": 1, "remove": 2},
                {"add": {"task_id": "a", "agent_id": 7}},
                {"add": task("fine")},
                5,
            ]
        )
    assert [problem[:50] for problem in refusal.value.problems] == [
        "modification 1: task 'a' has no agent (write TaskD",
        "modification 2: it removes 5 (name the task by its",
        "modification 3: {'delete': 'a'} is none (write [{\"",
        "modification 4: {'add': 1, 'remove': 2} is none (w",
        "modification 5: Expected `str`, got `int` - at `$.",
        'modification 7: 5 is none (write [{"add": task}, {',
    ]
    with pytest.raises(InvalidInput, match="1,001 modifications pass the limit of 1,000"):
        modifications_of([{"remove": "a"}] * 1_001)


def test_a_misspelt_key_of_plain_data_is_told_at_every_level_with_the_key_that_is_near() -> None:
    inner = {"name": "inner", "tasks": [{"task_id": "i", "agnt_id": "w"}]}
    plain: dict[str, object] = {
        "task_id": "z",
        "agent_id": "w",
        "params": {"anything": {"is": "fine"}},
        "dependecies": ["a"],
        "retry_policy": {"max_atempts": 2},
        "compensation": {"agent_id": "w", "parms": {"params": 1}},
        "choices": [{"then": "a"}, {"then": "b", "whn": "${a} > 1"}],
        "limits": [{"key": "k", "zzz": 1}],
        "workflow": inner,
    }
    with pytest.raises(DefinitionError) as refusal:
        modifications_of([{"add": plain}, {"remove": "a"}])
    assert list(refusal.value.problems) == [
        (
            "modification 1: there is no key 'dependecies'; did you mean 'dependencies'?"
            "; there is no key 'retry_policy.max_atempts'; did you mean 'max_attempts'?"
            "; there is no key 'compensation.parms'; did you mean 'params'?"
            "; there is no key 'choices[1].whn'; did you mean 'when'?"
            "; there is no key 'limits[0].zzz'; there are key, max_concurrent, rate, per_seconds"
            "; there is no key 'workflow.tasks[0].agnt_id'; did you mean 'agent_id'?"
        )
    ]
    right = {
        "task_id": "z",
        "agent_id": "w",
        "dependencies": ["a"],
        "compensation": "undo",
        "params": {"x": [{"y": 1}]},
    }
    (added,) = modifications_of([{"replace": right}])
    assert added.task == TaskDefinition("z", "w", params={"x": [{"y": 1}]}, dependencies=["a"], compensation="undo")


def test_what_cannot_be_read_back_is_refused_before_it_is_sent() -> None:
    given = modifications_of([{"add": task("a", params={1: 2})}])
    with pytest.raises(DefinitionError, match="could not be read back"):
        encode_modifications(given)


def test_modifications_are_the_same_bytes_however_they_are_written_and_come_back() -> None:
    given = [add("a", "x", "y", params={"b": {1, 2}, "a": 1}), {"replace": once("b", "x")}, remove("d")]
    plain = [
        {
            "add": {
                "task_id": "a",
                "agent_id": "agent",
                "task_type": "work",
                "dependencies": ["x", "y"],
                "params": {"a": 1, "b": [1, 2]},
            }
        },
        {
            "replace": {
                "task_id": "b",
                "agent_id": "agent",
                "task_type": "work",
                "dependencies": ["x"],
                "effect": "at_most_once",
            }
        },
        {"remove": "d"},
    ]
    data = encode_modifications(modifications_of(given))
    assert data == encode_modifications(modifications_of(plain))
    assert codec.decode(data) == plain
    assert encode_modifications(decode_modifications(data)) == data
    assert encode_modifications(modifications_of([remove("d")])) == codec.encode([{"remove": "d"}])


# --- in words -----------------------------------------------------------------------------------------------------------


def test_what_changes_is_told_line_by_line() -> None:
    definition = WorkflowDefinition([task("a"), task("b", "a", params={"x": 1}), task("gone", "a")])
    found = modifications_of(
        [
            {"add": TaskDefinition("d", "team", "step", {"p": 1}, {"a"}, when="${a} > 1")},
            {"replace": task("b", "a", params={"x": 2}, retry_policy=NO_RETRY)},
            {"add": TaskDefinition.timer("t", 5)},
            remove("gone"),
        ]
    )
    assert [str(one) for one in differences(definition, found)] == [
        "task 'd': task: - → team:step after 'a' params={'p': 1} when='${a} > 1'",
        "task 'b': params: {'x': 1} → {'x': 2}",
        "task 'b': retry_policy: None → {'max_attempts': 1}",
        "task 't': task: - → delay_seconds=5",
        "task 'gone': task: agent:work after 'a' → -",
    ]
    assert [one.task_id for one in applied(definition, found).tasks] == ["a", "b", "d", "t"]
    long = modifications_of([{"replace": task("b", "a", params={"x": "y" * 500})}])
    assert differences(definition, long)[0].right.endswith("…")
    assert len(differences(definition, long)[0].right) == 201


def test_a_modification_with_nothing_new_changes_nothing() -> None:
    run = Run(task("a"), task("b", "a"))
    run.modify(replace("b", "a"))
    assert differences(run.state.laid_out.definition, modifications_of([replace("b", "a")])) == []
    assert len(run.facts(f.WorkflowModified)) == 1
