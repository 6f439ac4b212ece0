"""The switch that keeps tests from spending money."""

from __future__ import annotations

import pytest

from agenticflow.agents.model.permission import Permission
from agenticflow.errors import ModelCallsForbidden


def test_real_calls_are_allowed_until_they_are_forbidden() -> None:
    switch = Permission()
    switch.demand("openai:gpt", "https://api.example.invalid")
    switch.is_forbidden = True
    with pytest.raises(ModelCallsForbidden, match="'openai:gpt' would have been asked") as caught:
        switch.demand("openai:gpt", "https://api.example.invalid")
    assert "ScriptedModel" in caught.value.hint


def test_some_addresses_are_let_through_meanwhile() -> None:
    switch = Permission()
    switch.is_forbidden = True
    with switch.except_at("http://127.0.0.1:1"), switch.except_at("http://127.0.0.1:2"):
        switch.demand("openai:gpt", "http://127.0.0.1:2/v1")
        with switch.only_at("http://127.0.0.1:3"), pytest.raises(ModelCallsForbidden):
            switch.demand("openai:gpt", "http://127.0.0.1:2/v1")
        switch.demand("openai:gpt", "http://127.0.0.1:1/v1")
    with pytest.raises(ModelCallsForbidden):
        switch.demand("openai:gpt", "http://127.0.0.1:2/v1")
