"""The unit and the property list, for paths that nobody should have."""

from __future__ import annotations

import plistlib
import subprocess
import sys
from pathlib import Path

import pytest

from percyd.errors import UsageError
from percyd.life.service import Service

ODD = "a b $HOME %h \"q\" 's' \\n\\ ü\n;\t#"


def service(program: str = "/usr/bin/percyd", clone: str = "/home/u/shop") -> Service:
    environment = {"PATH": '/b in:/%h:"$HOME"', "PERCYD_STATE_DIR": "/s"}
    return Service("shop-0123", (program,), Path(clone), environment, grace_s=45)


def test_the_unit_lets_percyd_end_its_programs_in_time() -> None:
    rows = service().systemd().splitlines()
    assert "ExecStart=/usr/bin/percyd -C /home/u/shop serve" in rows
    assert {"Type=notify", "KillMode=mixed", "TimeoutStopSec=75"} <= set(rows)
    assert r'Environment="PATH=/b in:/%%h:\"$HOME\""' in rows


def test_no_path_means_anything_but_itself_to_systemd() -> None:
    rows = service("/opt/$x y/percyd", f"/home/{ODD}").systemd().splitlines()
    (command,) = (row for row in rows if row.startswith("ExecStart="))
    shown = r"""a b $$HOME %%h \"q\" 's' \\n\\ ü\n;\t#"""
    assert command == f'ExecStart="/opt/$x y/percyd" -C "/home/{shown}" serve'
    assert not any(ODD[:5] in r for r in rows if not r.startswith(("Exec", "Desc")))


@pytest.mark.skipif(sys.platform != "linux", reason="systemd is for Linux")
@pytest.mark.parametrize("folder", ["plain", "a b $HOME %h", ODD.replace("\n", "")])
def test_systemd_takes_the_unit(tmp_path: Path, folder: str) -> None:
    program = tmp_path / folder / "percyd"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    made = service(str(program), str(tmp_path / ODD))
    unit = tmp_path / made.unit_name
    unit.write_text(made.systemd())
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", str(unit)],
        env={"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path), "PATH": "/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_launchd_gets_every_word_as_it_is() -> None:
    text = service(clone=f"/home/{ODD}<&>").launchd()
    read = plistlib.loads(text.encode())
    assert read["ProgramArguments"] == [
        *("/usr/bin/percyd", "-C", f"/home/{ODD}<&>", "serve")
    ]
    assert read["EnvironmentVariables"]["PATH"] == '/b in:/%h:"$HOME"'
    assert read["ExitTimeOut"] == 75


def test_what_xml_cannot_say_is_refused() -> None:
    with pytest.raises(UsageError, match="launchd"):
        service(clone="/home/\x01").launchd()
