"""percyd as its users have it: built, and installed into an environment of its own."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

PROJECT = Path(__file__).parents[2]


def install(folder: Path) -> Path:
    """Build the wheel and install it into a new environment; its ``percyd`` command.

    What percyd depends on is taken from the environment of the tests, by a path of its
    own: percyd itself cannot be found there, however the tests have it installed.
    """
    wheels, venv = folder / "wheels", folder / "venv"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    _run(*pip, "wheel", "-q", "--no-deps", "--wheel-dir", str(wheels), str(PROJECT))
    _run(sys.executable, "-m", "venv", "--without-pip", str(venv))
    (wheel,) = wheels.glob("percyd-*.whl")
    python = venv / "bin/python"
    _run(*pip, "--python", str(python), "install", "-q", "--no-deps", str(wheel))
    (site,) = venv.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = _run(str(python), "-I", "-c", "import percyd; print(percyd.__file__)")
    assert where.startswith(str(venv)), where
    return venv / "bin/percyd"


def _run(*argv: str) -> str:
    done = subprocess.run(argv, text=True, capture_output=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout.strip()
