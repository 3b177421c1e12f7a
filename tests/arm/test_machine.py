"""The emulated machines themselves: apt sources in both forms, versions of qemu."""

from pathlib import Path

import machine
import pytest

LIST = """
# deb http://old.example/debian buster main
deb-src http://source.example/debian bookworm main
deb http://security.example/debian-security bookworm-security main
deb [arch=amd64 signed-by=/usr/share/keyrings/x.gpg] http://one.example/debian/ bookworm main contrib # mine
deb https://other.example/apt stable tools
"""
DEB822 = """\
Types: deb deb-src
# A comment
URIs: http://two.example/debian
 http://three.example/debian/
Suites: trixie trixie-updates
Components: main non-free-firmware
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: trixie
Components: main

Types: deb
URIs: http://security.example/debian-security
Suites: trixie-security
Components: main
"""


def test_mirrors_are_read_from_both_forms_of_apt_sources(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    assert machine.mirrors(tmp_path) == []
    (tmp_path / "sources.list").write_text(LIST)
    assert machine.mirrors(tmp_path) == ["http://one.example/debian"]
    (tmp_path / "sources.list.d" / "debian.sources").write_text(DEB822)
    found = [f"http://{name}.example/debian" for name in ("one", "two", "three")]
    assert machine.mirrors(tmp_path) == found


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("qemu-aarch64 version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright", (7, 2)),
        ("qemu-arm version 10.0.2 (Debian 1:10.0.2+ds-2)", (10, 0)),
        ("", ()),
    ],
)
def test_the_version_of_qemu_is_read(said: str, version: tuple[int, ...]) -> None:
    assert machine.version_of(said) == version


def fake_qemu(folder: Path, version: str, options: str) -> None:
    program = folder / machine.ARM64.emulator
    program.write_text(f"#!/bin/sh\n[ \"$1\" = -h ] && echo '{options}' || echo 'qemu-aarch64 version {version}'\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("version", "options", "in_ci"),
    [("10.0.2", "-plugin", pytest.skip.Exception), ("7.2.0", "-cpu", pytest.fail.Exception)],
)
def test_without_plugins_the_costs_are_skipped_with_the_reason_but_fail_in_ci_if_they_can_be_installed(
    version: str, options: str, in_ci: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_qemu(tmp_path, version, options)
    for name in ("mmdebstrap", "gcc"):
        (tmp_path / name).symlink_to("/bin/true")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    machine.emulator.cache_clear()
    try:
        for name in ("CI", "EDGEREC_SERVERS"):
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(pytest.skip.Exception, match=r"cannot load the counter.*apt-get install .*qemu-user"):
            machine.check_plugins(machine.ARM64)
        monkeypatch.setenv("EDGEREC_SERVERS", "1")
        with pytest.raises(in_ci, match="cannot load the counter"):
            machine.check_plugins(machine.ARM64)
    finally:
        machine.emulator.cache_clear()


@pytest.mark.parametrize("version", ["6.2.0", ""])
def test_an_old_or_absent_qemu_is_named(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mmdebstrap").symlink_to("/bin/true")
    if version:
        fake_qemu(tmp_path, version, "-plugin")
    monkeypatch.setenv("PATH", f"{tmp_path}")
    monkeypatch.setenv("EDGEREC_SERVERS", "1")
    machine.emulator.cache_clear()
    with pytest.raises(
        pytest.fail.Exception, match=r"6\.2; 7 or later is needed" if version else "no qemu-aarch64 here"
    ):
        machine.emulator(machine.ARM64)
    machine.emulator.cache_clear()


def test_what_was_interrupted_is_made_again_and_what_is_outdated_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "STORE", tmp_path)
    with pytest.raises(KeyboardInterrupt), machine.made_once("thing", 1) as (_, part):
        assert part
        (part / "half").write_text("")
        raise KeyboardInterrupt
    for turn in range(2):
        with machine.made_once("thing", 1) as (first, part):
            assert (part is None) == (turn == 1)
            if part:
                assert not list(part.iterdir())
    with machine.made_once("thing", 2) as (second, part):
        assert part
    assert (first.exists(), second.exists()) == (False, True)
