"""The runner of the documentation notices what it is there to notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import anchors, blocks, links
from tests.docs.test_pages import run


def run_text(text: str, folder: Path) -> tuple[int, str]:
    page = folder / "page.md"
    page.write_text(text, encoding="utf-8")
    (folder / "empty").mkdir()
    result = run(["-m", "tests.docs.run_page", page], folder / "empty")
    return result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("```python\nx = 1\n```\nthen\n```python\nassert x == 1\n```\n", id="one namespace"),
        pytest.param(
            "```python\nimport asyncio\nawait asyncio.sleep(0)\nx = 1\n```\n```python\nassert x\n```\n", id="await"
        ),
        pytest.param(
            "```python\nimport asyncio\nlock = asyncio.Lock()\nawait lock.acquire()\n```\n```python\nlock.release()\n"
            "await lock.acquire()\n```\n",
            id="one event loop",
        ),
        pytest.param(
            "```python\nimport asyncio\nasync def main(): pass\n"
            "if __name__ == '__main__':\n    asyncio.run(main())\n```\n",
            id="a loop of its own",
        ),
        pytest.param(
            "```python\nfrom dataclasses import dataclass\nfrom typing import get_type_hints\n@dataclass\nclass A:\n"
            "    x: 'int'\nassert get_type_hints(A) == {'x': int}\n```\n",
            id="dataclasses and hints",
        ),
        pytest.param(
            "```python\nimport inspect\ndef f():\n    return 1\nassert 'return 1' in inspect.getsource(f)\n```\n",
            id="source",
        ),
        pytest.param('```python title="a.py"\nx = 1\n```\n```console\n$ python a.py\n```\n', id="a file to run"),
        pytest.param("<!-- setup:\nx = 1\n-->\n```python\nassert x\n```\n", id="hidden setup"),
        pytest.param("```console\n$ python -c 'raise SystemExit(3)'  # exit 3\n```\n", id="an expected exit code"),
        pytest.param("```console\n$ make check\n$ git clone somewhere\n```\n", id="not run, but checked"),
        pytest.param("```text\nnot python\n```\n", id="text"),
    ],
)
def test_a_good_page(text: str, tmp_path: Path) -> None:
    code, output = run_text(text, tmp_path)
    assert code == 0, output


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("one\n\n```python\nx = 1\n\nraise ValueError('no')\n```\n", "page.md line 4", id="an error"),
        pytest.param("```python\nexit(2)\n```\n", "ended with 2", id="an exit"),
        pytest.param("```console\n$ python -c 'raise SystemExit(3)'\n```\n", "ended with 3", id="an exit code"),
        pytest.param("```console\n$ make nonsense\n```\n", "no target 'nonsense'", id="no such target"),
        pytest.param("```console\n$ nonsense\n```\n", "neither runs nor", id="an unknown program"),
        pytest.param("```python\nx = 1\n", "has no end", id="an open fence"),
    ],
)
def test_a_bad_page(text: str, says: str, tmp_path: Path) -> None:
    code, output = run_text(text, tmp_path)
    assert code != 0
    assert says in output


def test_parts_of_a_page() -> None:
    text = "# One `two`: three!\n[a](b.md#c) `[no](no)` ![i](i.png)\n```python\n# [no](no)\n# heading\n```\n"
    assert links(text) == ["b.md#c"]
    assert anchors(text) == {"one-two-three"}
    assert [(block.language, block.line) for block in blocks(text)] == [("python", 4)]
