"""An environment per peer: built with uv from hash-pinned requirements, once, and again when the pins change.

Environments lie under ``.venvs`` in the project and hold nothing of ours, so no peer decides which versions we run with
and we do not decide theirs. A stamp inside says which pins and which interpreter it was built from; it is written last, so a
build that was interrupted is built again.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["EnvironmentNotBuilt", "interpreter"]

ROOT = Path(__file__).resolve().parents[1]
BUILD_SECONDS = 300


class EnvironmentNotBuilt(Exception):
    """A peer's environment could not be built. The message says which command failed and how; the other peers go on."""


def interpreter(pins: str) -> tuple[Path, bool]:
    """Return the interpreter of the environment of ``requirements/<pins>.txt`` and whether it was built just now."""
    requirements = ROOT / "requirements" / f"{pins}.txt"
    if not requirements.is_file():
        raise EnvironmentNotBuilt(f"{requirements.relative_to(ROOT)} is missing")
    home = ROOT / ".venvs" / pins
    python = home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    stamp = home / "built-from"
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    if python.exists() and stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python, False
    uv = _uv()
    _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home)])
    # compiled now: where PYTHONDONTWRITEBYTECODE is set, as in many containers, every process would compile all that it imports
    install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), "--require-hashes"]
    _run([*install, "-r", str(requirements)])
    stamp.write_text(wanted, encoding="utf-8")
    return python, True


def _uv() -> str:
    """Return the uv on the path, or the one that ``make install`` put beside the project's environment."""
    for name in ("uv", str(ROOT / ".venv-uv" / "bin" / "uv")):
        found = shutil.which(name)
        # a version manager's shim is there but may not work
        if found and subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0:
            return found
    raise EnvironmentNotBuilt("there is no uv to build it with; `make install` brings one")


def _run(command: list[str]) -> None:
    words = " ".join(Path(word).name if word.startswith("/") else word for word in command)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise EnvironmentNotBuilt(f"`{words}` took more than {BUILD_SECONDS} s") from None
    if done.returncode != 0:
        raise EnvironmentNotBuilt(f"`{words}` failed: {' '.join(done.stderr.split())[-400:]}")
