"""Files and environment become entries that know their place."""

from __future__ import annotations

from pathlib import Path

import pytest

from agenticflow.config.sources import MAX_FILE_BYTES, Entry, find_file, from_environment, read_file, referred
from agenticflow.errors import ConfigurationError

TOML = """\
# settings
store = "memory:"
[engine]
max_threads = 8   # few
"drain_seconds" = 2.5
[log]
"""


def test_toml(folder: Path) -> None:
    (folder / "agenticflow.toml").write_text(TOML, encoding="utf-8-sig")
    assert find_file(folder) == folder / "agenticflow.toml"
    assert read_file(folder / "agenticflow.toml") == [
        Entry("store", "memory:", "agenticflow.toml line 2"),
        Entry("engine.max_threads", 8, "agenticflow.toml line 4"),
        Entry("engine.drain_seconds", 2.5, "agenticflow.toml line 5"),
        Entry("log", {}, "agenticflow.toml line 6"),
    ]


def test_the_table_of_pyproject(folder: Path) -> None:
    path = folder / "pyproject.toml"
    path.write_text('[project]\nname = "x"\n[tool.agenticflow-x]\na = 1\n')
    assert find_file(folder) is None, "a project without our table has no settings"
    path.write_text('[project]\nstore = "x"\n[tool.agenticflow]\nstore = "memory:"\nengine = {max_threads = 3}\n')
    assert find_file(folder) == path
    assert read_file(path) == [
        Entry("store", "memory:", "pyproject.toml line 4"),
        Entry("engine.max_threads", 3, "pyproject.toml line 5"),
    ]


def test_keys_with_dots_and_tables_of_tables(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[tool.agenticflow.engine]\nmax_threads = 3\n[tool]\nother.x = 1\n")
    assert read_file(folder / "pyproject.toml") == [Entry("engine.max_threads", 3, "pyproject.toml line 2")]
    (folder / "agenticflow.toml").write_text("engine.max_threads = 3\n")
    assert read_file(folder / "agenticflow.toml") == [Entry("engine.max_threads", 3, "agenticflow.toml line 1")]


def test_yaml(folder: Path) -> None:
    path = folder / "agenticflow.yaml"
    path.write_text('store: "memory:"\nengine:\n  max_threads: 8\nlog:\n')
    assert read_file(path) == [
        Entry("store", "memory:", "agenticflow.yaml line 1"),
        Entry("engine.max_threads", 8, "agenticflow.yaml line 3"),
        Entry("log", None, "agenticflow.yaml line 4"),
    ]
    path.write_text("")
    assert read_file(path) == []


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.toml", b"store = \n", "a.toml is no TOML: Invalid value"),
        ("a.toml", b"\xff\xfe", "is not a text in UTF-8"),
        ("a.yaml", b"a: 1\nb: [\n", "a.yaml line 3:"),
        ("a.yaml", b"- 1\n", "a.yaml holds no settings"),
        ("a.yaml", b"!!python/object:os.system {}", "a.yaml line 1:"),
        ("a.yaml", b"a: 2001-99-99\n", "a.yaml is no YAML: month must be in 1..12"),
        ("a.yaml", b"[" * 100_000, "a.yaml is no YAML"),
        ("a.toml", b"#" * (MAX_FILE_BYTES + 1), "is larger than 1,048,576 bytes"),
    ],
    ids=["toml", "not utf-8", "yaml", "a list", "yaml with code", "no date", "too deep", "too large"],
)
def test_what_cannot_be_read_is_told_with_its_place(folder: Path, name: str, text: bytes, words: str) -> None:
    path = folder / name
    path.write_bytes(text)
    with pytest.raises(ConfigurationError) as caught:
        read_file(path)
    assert words in str(caught.value)


def test_of_several_files_nobody_knows_which_one_counts(folder: Path) -> None:
    (folder / "agenticflow.toml").write_text("")
    (folder / "pyproject.toml").write_text("[tool.agenticflow]\n")
    with pytest.raises(ConfigurationError, match=r"several settings files: agenticflow.toml, pyproject.toml"):
        find_file(folder)


def test_a_file_named_in_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "agenticflow.toml").write_text("")
    (folder / "other.yaml").write_text("")
    monkeypatch.setenv("AGENTICFLOW_CONFIG", "other.yaml")
    assert find_file(folder) == Path("other.yaml")
    monkeypatch.setenv("AGENTICFLOW_CONFIG", "gone.yaml")
    with pytest.raises(ConfigurationError, match=r"names 'gone.yaml', and there is no such file"):
        find_file(folder)


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTICFLOW_ENGINE__MAX_THREADS", "8")
    monkeypatch.setenv("AGENTICFLOW_STORE", "")
    monkeypatch.setenv("AGENTICFLOW_DEBUG", "1")
    monkeypatch.setenv("AGENTICFLOWER", "1")
    assert from_environment() == [
        Entry("engine.max_threads", "8", "AGENTICFLOW_ENGINE__MAX_THREADS", is_text=True),
    ]


def test_references(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB", "s3cret")
    (folder / "secret.txt").write_text("s3cret\n")
    assert referred("env:DB") == "s3cret"
    assert referred(f"file:{folder}/secret.txt") == "s3cret"
    (folder / "binary").write_bytes(b"\xff")
    for reference, words in (
        ("env:GONE", "refers to env:GONE, and that variable is not set"),
        ("file:gone.txt", "'gone.txt' cannot be read"),
        (f"file:{folder}/binary", "no text in UTF-8"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            referred(reference)
