"""Each source over the ones before, every value with its place, every mistake at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from agenticflow.config import EngineSettings, LogSettings, Settings, check_file, load_settings
from agenticflow.config.loading import Loaded, Setting
from agenticflow.errors import ConfigurationError


def stands(loaded: Loaded, key: str) -> Setting:
    return next(setting for setting in loaded.table if setting.key == key)


def problems(flags: dict[str, tuple[object, str]] | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(flags)
    assert caught.value.hint
    return list(caught.value.problems)


def test_without_any_source_there_are_the_defaults() -> None:
    loaded = load_settings()
    assert loaded.settings == Settings()
    assert loaded.file is None
    assert {setting.place for setting in loaded.table} == {"default"}


def test_each_source_goes_over_the_ones_before(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Defaults, profile, file, environment, command line."""
    (folder / "agenticflow.toml").write_text(
        'profile = "production"\n[log]\nformat = "text"\n[engine]\nmax_threads = 4\nmax_concurrency = 10\n'
    )
    monkeypatch.setenv("AGENTICFLOW_ENGINE__MAX_THREADS", "8")
    loaded = load_settings({"log.level": ("debug", "--debug"), "store": (None, "--store")})
    assert loaded.file == Path("agenticflow.toml")
    assert loaded.settings.profile == "production"
    assert loaded.settings.engine == EngineSettings(max_threads=8, max_concurrency=10)
    assert loaded.settings.log == LogSettings(level="debug", format="text")
    assert loaded.settings.metrics.enabled
    assert [(s.place, s.over) for s in (stands(loaded, "log.level"), stands(loaded, "engine.max_threads"))] == [
        ("--debug", ("profile production: info", "default: error")),
        ("AGENTICFLOW_ENGINE__MAX_THREADS", ("agenticflow.toml line 5: 4", "default: 32")),
    ]
    assert stands(loaded, "log.format").over == ("profile production: json", "default: text")
    assert stands(loaded, "metrics.enabled").place == "profile production"
    assert stands(loaded, "store").place == "default"


def test_the_profile_itself_comes_from_the_last_source_that_names_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "agenticflow.toml").write_text('profile = "production"\n')
    monkeypatch.setenv("AGENTICFLOW_PROFILE", "testing")
    loaded = load_settings()
    assert (loaded.settings.profile, loaded.settings.store) == ("testing", "memory:")
    assert stands(loaded, "store").place == "profile testing"


def test_texts_of_the_environment_become_what_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("ENGINE__MAX_THREADS", "8"),
        ("ENGINE__DRAIN_SECONDS", "0.5"),
        ("METRICS__ENABLED", "true"),
        ("STORE", "8"),
    ):
        monkeypatch.setenv(f"AGENTICFLOW_{name}", value)
    loaded = load_settings()
    assert loaded.settings.engine == EngineSettings(max_threads=8, drain_seconds=0.5)
    assert loaded.settings.metrics.enabled is True
    assert loaded.settings.store == "8"
    assert stands(loaded, "engine.max_threads").value == 8


def test_every_mistake_is_told_at_once_with_its_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "agenticflow.toml").write_text(
        'profile = "producton"\nstore = ""\nengine = 5\n[log]\nlevel = 3\nlevle = "info"\nmax_bytes = "12000"\n'
        "[metrics.enabled]\nreally = true\n[other]\nmax_threads = 3\n"
    )
    monkeypatch.setenv("AGENTICFLOW_METRICS__ENABLED", "perhaps")
    monkeypatch.setenv("AGENTICFLOW_STORRE", "memory:")
    assert problems({"log.format": ("jsn", "--format")}) == [
        (
            "agenticflow.toml line 1: profile is 'producton', and development, testing, staging or production is expected"
            " (did you mean production?)"
        ),
        "agenticflow.toml line 2: store is '', and a text that is not empty is expected",
        "agenticflow.toml line 3: engine is a table with max_concurrency, max_threads, drain_seconds, max_lost_processes, not a value",
        "agenticflow.toml line 5: log.level is 3, and debug, info, warning, error or critical is expected",
        "agenticflow.toml line 6: log.levle is no setting (did you mean log.level?)",
        "agenticflow.toml line 7: log.max_bytes is '12000', and a whole number from 1,000 to 1,000,000,000 is expected",
        "agenticflow.toml line 9: metrics.enabled.really is no setting (did you mean metrics.enabled?)",
        "agenticflow.toml line 11: other.max_threads is no setting (did you mean engine.max_threads?)",
        "AGENTICFLOW_METRICS__ENABLED is 'perhaps', and true or false is expected",
        "AGENTICFLOW_STORRE is no setting (did you mean AGENTICFLOW_STORE?)",
        "--format: log.format is 'jsn', and text or json is expected (did you mean json?)",
    ]


def test_one_mistake_is_the_message() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({"engine.max_threads": (0, "--threads")})
    assert caught.value.message == "--threads: engine.max_threads is 0, and a whole number from 1 to 1,000 is expected"


def test_a_word_in_capitals_is_no_riddle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTICFLOW_LOG__LEVEL", "INFO")
    assert problems() == [
        "AGENTICFLOW_LOG__LEVEL is 'INFO', and debug, info, warning, error or critical is expected (did you mean info?)"
    ]


def test_an_empty_table_says_nothing(folder: Path) -> None:
    (folder / "agenticflow.yaml").write_text("engine:\nlog: {}\n")
    assert load_settings().settings == Settings()


def test_a_file_that_cannot_be_read_is_the_problem(folder: Path) -> None:
    (folder / "agenticflow.toml").write_text("store = \n")
    assert [problem.split(":")[0] for problem in problems()] == ["agenticflow.toml is no TOML"]


def test_what_is_referred_to_is_used_and_never_shown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB", "sqlite:///s3cret.db")
    (folder / "threads").write_text("7\n")
    (folder / "agenticflow.toml").write_text('store = "env:DB"\n[engine]\nmax_threads = "file:threads"\n')
    loaded = load_settings()
    assert loaded.settings.store == "sqlite:///s3cret.db"
    assert loaded.settings.engine.max_threads == 7
    assert [stands(loaded, key).value for key in ("store", "engine.max_threads")] == ["env:DB", "file:threads"]
    assert "s3cret" not in repr(loaded.table)


def test_a_wrong_value_that_is_referred_to_is_not_shown_either(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEVEL", "s3cret")
    (folder / "agenticflow.toml").write_text('store = "env:GONE"\n[log]\nlevel = "env:LEVEL"\n')
    assert problems() == [
        "agenticflow.toml line 1: store refers to env:GONE, and that variable is not set",
        "agenticflow.toml line 3: log.level is 'env:LEVEL', and debug, info, warning, error or critical is expected",
    ]


def test_a_password_in_an_address_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTICFLOW_STORE", "postgres://ada:s3cret@db/orders")
    loaded = load_settings()
    assert loaded.settings.store == "postgres://ada:s3cret@db/orders"
    assert stands(loaded, "store").value == "postgres://ada:[hidden]@db/orders"


def test_one_file_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTICFLOW_NONSENSE", "1")
    path = folder / "agenticflow.toml"
    path.write_text("[engine]\nmax_threads = 8\n")
    assert check_file(path) == []
    path.write_text("[engine]\nmax_thread = 8\n")
    assert check_file(path) == [
        "agenticflow.toml line 2: engine.max_thread is no setting (did you mean engine.max_threads?)"
    ]
    path.write_text("[engine\n")
    assert len(check_file(path)) == 1
