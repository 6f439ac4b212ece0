"""Files of one folder: what can be read and written, and that nothing leads out of it."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.core.tools import Caller, ToolCall, ToolResult
from agenticflow.errors import (
    AgenticFlowError,
    BoundExceeded,
    ConfigurationError,
    InvalidInput,
    PermanentError,
    TemporaryError,
)
from agenticflow.tools import ToolPipeline, ToolRegistry
from agenticflow.tools.builtin import Root, file_tools, rooted

SECRET = "nobody may read this"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a secret beside it, and links that lead there."""
    (tmp_path / "secret.txt").write_text(SECRET)
    root = tmp_path / "place"
    (root / "notes" / "old").mkdir(parents=True)
    (root / "notes" / "today.txt").write_text("one\ntwo\nthree\n")
    (root / "notes" / "old" / "first.txt").write_text("ñandú")
    (root / "readme.md").write_text("hello")
    (root / "out").symlink_to(tmp_path)
    (root / "secret").symlink_to(tmp_path / "secret.txt")
    (root / "inside").symlink_to(root / "readme.md")
    return root


async def call(folder: Path, name: str, *, caller: Caller | None = None, **params: object) -> ToolResult:
    tools = ToolRegistry.of(file_tools(folder, writable=True, max_bytes=100))
    pipeline = ToolPipeline()
    if caller is not None:
        return await pipeline.invoke(ToolCall(name, params), caller, tools)
    return await pipeline.invoke(ToolCall(name, params), tools=tools)


def problem(result: ToolResult) -> str:
    assert result.error is not None, result
    return f"{result.error.code}: {result.error.message}"


async def test_a_file_is_read_whole_or_by_lines(folder: Path) -> None:
    assert (await call(folder, "file_read", path="notes/today.txt")).value == "one\ntwo\nthree\n"
    assert (await call(folder, "file_read", path="./notes//today.txt", first_line=2, max_lines=1)).value == "two\n"
    assert (await call(folder, "file_read", path="notes/today.txt", first_line=3)).value == "three\n"
    assert (await call(folder, "file_read", path="notes/today.txt", first_line=9)).value == ""
    assert "at least 1" in problem(await call(folder, "file_read", path="notes/today.txt", first_line=0))
    assert "at least 1" in problem(await call(folder, "file_read", path="notes/today.txt", max_lines=0))


async def test_reading_needs_the_permission(folder: Path) -> None:
    stranger = Caller(principal="eve", permissions=frozenset({"file:write"}))
    refused = await call(folder, "file_read", caller=stranger, path="readme.md")
    assert problem(refused) == "security: the call of 'file_read' was refused: 'eve' lacks file:read"
    reader = Caller(principal="ada", permissions=frozenset({"file:read"}))
    assert (await call(folder, "file_read", caller=reader, path="readme.md")).value == "hello"
    assert problem(await call(folder, "file_write", caller=reader, path="x", text="")).startswith("security")


async def test_encodings_are_utf8_and_ascii(folder: Path) -> None:
    path = "notes/old/first.txt"
    assert (await call(folder, "file_read", path=path)).value == "ñandú"
    refused = await call(folder, "file_read", path=path, encoding="ascii")
    assert problem(refused) == f"invalid_input: {path!r} is no text in ascii: byte 0xc3 at position 0"
    assert problem(await call(folder, "file_read", path=path, encoding="latin-1")).startswith("invalid_input")
    (folder / "bytes").write_bytes(b"\xff\xfe")
    assert "is no text in utf-8" in problem(await call(folder, "file_read", path="bytes"))
    assert "'ñ' has no form in ascii" in problem(await call(folder, "file_write", path="n", text="ñ", encoding="ascii"))
    assert (await call(folder, "file_write", path="n", text="n", encoding="ascii")).value == {
        "name": "n",
        "size_bytes": 1,
    }


async def test_what_is_too_large_is_read_in_parts(folder: Path) -> None:
    (folder / "large.txt").write_text("x" * 99 + "\n" + "y" * 150)
    refused = await call(folder, "file_read", path="large.txt")
    assert problem(refused) == "bound_exceeded: 'large.txt' has 250 bytes, above the limit of 100"
    assert (await call(folder, "file_read", path="large.txt", max_lines=1)).value == "x" * 99 + "\n"
    assert "these lines of 'large.txt'" in problem(await call(folder, "file_read", path="large.txt", first_line=2))
    assert "above the limit of 100" in problem(await call(folder, "file_write", path="n", text="x" * 101))


ATTACKS = [
    "../secret.txt",
    "notes/../../secret.txt",
    "notes/../readme.md",
    "/etc/passwd",
    "//etc/passwd",
    "out/secret.txt",
    "out/place/readme.md",
    "secret",
    "inside",
    "./../secret.txt",
    "notes/./../../secret.txt",
    "..",
    ".",
    "",
    "notes",
    "notes/today.txt/x",
    "a\0b",
    "x" * 5_000,
    "pipe",
    "socket",
]


@pytest.mark.parametrize("path", ATTACKS)
async def test_nothing_leads_out_of_the_folder(folder: Path, path: str) -> None:
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(folder)  # the name of a socket is short
        try:
            listening.bind("socket")
        finally:
            os.chdir(here)
        parts: list[dict[str, Any]] = [{}, {"first_line": 1, "max_lines": 1}]
        for params in parts:
            refused = await call(folder, "file_read", path=path, **params)
            assert problem(refused).split(":")[0] in ("invalid_input", "permanent")
    written = await call(folder, "file_write", path=path, text="overwritten", overwrite=False)
    assert problem(written)
    assert (folder.parent / "secret.txt").read_text() == SECRET
    assert (folder / "readme.md").read_text() == "hello"


@given(
    st.lists(
        st.sampled_from(["..", ".", "", "/", "out", "secret", "inside", "notes", "readme.md", "~", "\\"]), max_size=6
    )
)
def test_no_mixture_of_names_leads_out(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    tmp_path = tmp_path_factory.mktemp("attack")
    (tmp_path / "secret.txt").write_text(SECRET)
    root = tmp_path / "place"
    (root / "notes").mkdir(parents=True)
    (root / "readme.md").write_text("hello")
    (root / "out").symlink_to(tmp_path)
    (root / "secret").symlink_to("../secret.txt")
    place = Root(root)
    name = "/".join(parts)
    try:
        data = place.read(name, 1_000)
    except (InvalidInput, PermanentError):
        data = b""
    assert data in (b"", b"hello")
    try:
        place.write(f"{name}/new", b"x", overwrite=True)
    except (InvalidInput, PermanentError):
        assert sorted(os.listdir(tmp_path)) == ["place", "secret.txt"]
    assert (tmp_path / "secret.txt").read_text() == SECRET
    assert sorted(os.listdir(tmp_path)) == ["place", "secret.txt"]


async def test_a_missing_file_suggests_one_that_is_there(folder: Path) -> None:
    result = await call(folder, "file_read", path="notes/tody.txt")
    assert problem(result) == "permanent: there is no 'notes/tody.txt'"
    assert result.error is not None
    assert result.error.hint == "did you mean notes/today.txt?"
    assert "there is no" in problem(await call(folder, "file_read", path="zzz/x"))


async def test_a_folder_is_listed_links_are_shown_and_not_followed(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    listed = (await call(folder, "file_list")).value
    assert isinstance(listed, list)
    assert [(one["name"], one["kind"]) for one in listed] == [
        ("inside", "link"),
        ("notes", "folder"),
        ("out", "link"),
        ("pipe", "other"),
        ("readme.md", "file"),
        ("secret", "link"),
    ]
    assert (await call(folder, "file_list", path="notes/old")).value == [
        {"name": "first.txt", "kind": "file", "size_bytes": 7}
    ]
    assert problem(await call(folder, "file_list", path="out")).startswith("invalid_input")
    assert problem(await call(folder, "file_list", path="readme.md")).startswith("invalid_input")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.md", ["readme.md"]),
        ("**/*.txt", ["notes/today.txt", "notes/old/first.txt"]),
        ("notes/*", ["notes/today.txt"]),
        ("notes/**", ["notes/today.txt", "notes/old/first.txt"]),
        ("./notes/old/f????.txt", ["notes/old/first.txt"]),
        ("**/secret.txt", []),
        ("../*", []),
    ],
)
async def test_files_are_found_by_pattern(folder: Path, pattern: str, names: list[str]) -> None:
    assert (await call(folder, "file_glob", pattern=pattern)).value == names


async def test_searches_and_listings_are_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "more than 3 times" in problem(await call(folder, "file_glob", pattern="**/**/**/**/x"))
    monkeypatch.setattr(rooted, "MAX_VISITED", 5)
    assert "more than 5 entries" in problem(await call(folder, "file_glob", pattern="*"))
    monkeypatch.setattr(rooted, "MAX_ENTRIES", 2)
    assert "has more than 2 entries" in problem(await call(folder, "file_list"))
    monkeypatch.setattr("agenticflow.tools.builtin.files.MAX_ENTRIES", 1)
    monkeypatch.setattr(rooted, "MAX_VISITED", 500)
    assert "more than 1 files match" in problem(await call(folder, "file_glob", pattern="**"))


async def test_a_file_is_written_whole_and_folders_are_made(folder: Path) -> None:
    assert (await call(folder, "file_write", path="a/b/c.txt", text="ñ")).value == {
        "name": "a/b/c.txt",
        "size_bytes": 2,
    }
    assert (folder / "a/b/c.txt").read_text() == "ñ"
    assert (await call(folder, "file_write", path="a/b/c.txt", text="ñ")).is_success(), "the same content is no news"
    refused = await call(folder, "file_write", path="a/b/c.txt", text="other")
    assert problem(refused) == "invalid_input: there is a file 'a/b/c.txt' already"
    assert problem(await call(folder, "file_write", path="a/b/c.txt", text="")).endswith("already")
    assert (await call(folder, "file_write", path="a/b/c.txt", text="other", overwrite=True)).is_success()
    assert (folder / "a/b/c.txt").read_text() == "other"
    assert os.listdir(folder / "a/b") == ["c.txt"], "nothing is left beside it"


async def test_writing_over_a_link_replaces_the_link_not_what_it_leads_to(folder: Path) -> None:
    assert (await call(folder, "file_write", path="secret", text="mine", overwrite=True)).is_success()
    assert (folder.parent / "secret.txt").read_text() == SECRET
    assert (folder / "secret").read_text() == "mine"
    assert problem(await call(folder, "file_write", path="notes", text="x", overwrite=True)).startswith("permanent")


def test_only_what_is_allowed_is_there(folder: Path) -> None:
    assert [one.name for one in file_tools(folder)] == ["file_read", "file_list", "file_glob"]
    with pytest.raises(ConfigurationError, match="is no folder"):
        file_tools(folder / "readme.md")


def test_errors_of_the_machine_are_said_in_our_words(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Root(folder)

    def failing(number: int) -> Any:
        def fail(*args: object, **kwargs: object) -> int:
            raise OSError(number, os.strerror(number))

        return fail

    kinds: list[tuple[int, type[AgenticFlowError]]] = [(28, TemporaryError), (13, PermanentError)]
    for number, kind in kinds:
        monkeypatch.setattr("agenticflow.tools.builtin.rooted.os.fsync", failing(number))
        with pytest.raises(kind):
            place.write("new", b"x", overwrite=True)
        assert "new" not in os.listdir(folder)
    monkeypatch.undo()
    place.path.rename(folder.parent / "moved")
    with pytest.raises(PermanentError, match="the folder of these tools cannot be opened"):
        place.read("readme.md", 10)
    with pytest.raises(BoundExceeded):
        Root(folder.parent / "moved").read("readme.md", 2)
