"""What the surveyor finds, what it leaves out, and what it refuses."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from agenticflow.demos.audit import AuditInputError, Survey, analyze_package, survey
from agenticflow.demos.audit.survey import GROUP_MAX_BYTES, GROUP_MAX_FILES, default_root

WriteTree = Callable[[Mapping[str, str | bytes]], Path]


def contents(found: Survey) -> dict[str, list[str]]:
    return {package["name"]: package["files"] for package in found["packages"]}


def test_packages_are_whole_and_loose_modules_share_a_group(write_tree: WriteTree) -> None:
    root = write_tree(
        {
            "alpha/__init__.py": "",
            "alpha/inner/__init__.py": "",
            "alpha/inner/deep.py": "x = 1\n",
            "alpha/data/no_init.py": "",
            "one.py": "",
            "_two.py": "",
            "three.txt": "",
        }
    )
    found = survey(str(root))
    assert contents(found) == {
        "one.._two": ["_two.py", "one.py"],
        "alpha": ["alpha/__init__.py", "alpha/data/no_init.py", "alpha/inner/__init__.py", "alpha/inner/deep.py"],
    }
    assert (found["file_count"], found["bytes"]) == (6, 6)


def test_a_source_directory_is_opened_up(write_tree: WriteTree) -> None:
    root = write_tree({"src/app/__init__.py": "", "src/app/a.py": "", "scripts/run.py": "", "setup.py": ""})
    found = survey(str(root))
    assert set(contents(found)) == {"setup.py", "scripts/run.py", "src/app"}
    [app] = [package for package in found["packages"] if package["name"] == "src/app"]
    assert (app["kind"], app["base"], app["prefix"]) == ("package", "src", "")


def test_the_subpackages_of_a_package_are_surveyed_under_its_name(write_tree: WriteTree) -> None:
    root = write_tree(
        {
            "app/__init__.py": "",
            "app/main.py": "from app.core import a\n",
            "app/core/__init__.py": "",
            "app/core/a.py": "from . import b\n",
            "app/core/b.py": "from app.core import a\n",
        }
    )
    found = survey(str(root / "app"))
    assert set(contents(found)) == {"__init__..main", "core"}
    [core] = [package for package in found["packages"] if package["name"] == "core"]
    report = analyze_package(found["root"], core)
    assert core["prefix"] == "app"
    assert [cycle["modules"] for cycle in report["cycles"]] == [["app.core.a", "app.core.b"]]


def test_groups_of_loose_modules_are_bounded_and_complete(write_tree: WriteTree) -> None:
    names = [f"m{number:03}.py" for number in range(2 * GROUP_MAX_FILES)]
    root = write_tree(dict.fromkeys(names, "") | {"m000.py": "#" * GROUP_MAX_BYTES, "m001.py": "#" * 10})
    found = survey(str(root))
    groups = found["packages"]
    assert sorted(file for group in groups for file in group["files"]) == names
    assert all(len(group["files"]) <= GROUP_MAX_FILES for group in groups)
    assert groups[0]["files"] == ["m000.py"]
    assert len({group["name"] for group in groups}) == len(groups)


def test_tests_are_left_out_unless_asked_for(write_tree: WriteTree) -> None:
    root = write_tree({"app/__init__.py": "", "app/tests/test_a.py": "", "test/test_b.py": ""})
    found = survey(str(root))
    assert contents(found) == {"app": ["app/__init__.py"]}
    assert found["skipped_counts"] == {"tests": 2}
    assert survey(str(root), include_tests=True)["file_count"] == 3


def test_what_is_not_the_code_base_is_left_out(write_tree: WriteTree) -> None:
    root = write_tree(
        {
            "a.py": "",
            "site-packages/other.py": "",
            "env/pyvenv.cfg": "",
            "env/lib/x.py": "",
            ".hidden/x.py": "",
            "__pycache__/x.py": "",
        }
    )
    found = survey(str(root))
    assert contents(found) == {"a.py": ["a.py"]}
    assert found["skipped"] == [
        {"path": "env", "reason": "virtual environment"},
        {"path": "site-packages", "reason": "third-party code"},
    ]


def test_symbolic_links_are_never_followed(write_tree: WriteTree, tmp_path: Path) -> None:
    secret = tmp_path / "secret.py"
    secret.write_text("x = 1\n")
    root = write_tree({"pkg/__init__.py": ""})
    (root / "pkg" / "loop").symlink_to(root)
    (root / "pkg" / "link.py").symlink_to(secret)
    (root / "pkg" / "broken.py").symlink_to("nowhere")
    found = survey(str(root))
    assert contents(found) == {"pkg": ["pkg/__init__.py"]}
    assert found["skipped_counts"] == {"symbolic link": 3}


def test_pipes_and_undecodable_names_are_left_out(write_tree: WriteTree) -> None:
    root = write_tree({"a.py": ""})
    os.mkfifo(root / "pipe.py")
    Path(os.fsdecode(os.fsencode(root) + b"/\xff.py")).touch()
    found = survey(str(root))
    assert contents(found) == {"a.py": ["a.py"]}
    assert found["skipped"] == [
        {"path": "pipe.py", "reason": "not a regular file"},
        {"path": "\\udcff.py", "reason": "name is not valid UTF-8"},
    ]
    json.dumps(found, ensure_ascii=False).encode()


def test_a_directory_called_like_a_group_gets_a_name_of_its_own(write_tree: WriteTree) -> None:
    root = write_tree({"a.py": "", "b.py": "", "a..b/__init__.py": ""})
    assert set(contents(survey(str(root)))) == {"a..b", "a..b #2"}


@pytest.mark.parametrize(
    ("path", "complaint"),
    [("", "is not a path"), ("no\0pe", "is not a path"), ("{root}/gone", "no directory"), ("{root}/a.py", "is a file")],
)
def test_a_wrong_path_says_what_to_do(write_tree: WriteTree, path: str, complaint: str) -> None:
    root = write_tree({"a.py": ""})
    with pytest.raises(ValueError, match=complaint) as caught:
        survey(path.format(root=root))
    assert isinstance(caught.value, AuditInputError)
    assert caught.value.hint


def test_a_directory_without_code_says_what_was_left_out(write_tree: WriteTree) -> None:
    root = write_tree({"readme.txt": "", "tests/test_a.py": ""})
    with pytest.raises(ValueError, match="1 left out: tests"):
        survey(str(root))


def test_the_standard_library_is_many_hundreds_of_files_in_fair_shares() -> None:
    found = survey(default_root())
    assert found["file_count"] > 500
    assert found["file_count"] == sum(len(package["files"]) for package in found["packages"])
    assert found["packages"] == survey(default_root())["packages"]
    assert {"json", "asyncio", "email"} <= set(contents(found))
    # one value of a workflow; larger ones still travel, but beside the event
    assert len(json.dumps(found)) < 64 * 1024
