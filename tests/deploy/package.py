"""What the Debian package promises: it installs, serves, upgrades, and goes without a trace when it is purged.

Installed by apt and run by systemd under the restrictions of its unit, on a machine to throw away.
"""

from __future__ import annotations

import pathlib
import re
import subprocess

from harness import check, equal, wait_for
from machine import Machine

EDITED = "# The carrier calls us on Tuesdays.\n"
SECRET = "hush4Tst"


def contents(deb: pathlib.Path) -> dict[str, tuple[str, str]]:
    """Path → (mode and kind, owner) of everything in the package."""
    listed = subprocess.run(["dpkg-deb", "--contents", deb], check=True, capture_output=True, text=True).stdout
    rows = (line.split(maxsplit=5) for line in listed.splitlines())
    return {path.removeprefix("."): (mode, owner) for mode, owner, _size, _day, _time, path in rows}


def package_holds_what_it_should_with_the_right_modes(deb: pathlib.Path, _folder: pathlib.Path) -> None:
    held = contents(deb)
    equal({owner for _, owner in held.values()}, {"0/0"}, "owners")
    modes = {"/usr/bin/relais": "-rwxr-xr-x", "/etc/relais/relais.toml": "-rw-r-----"}
    for path, (mode, _) in held.items():
        expected = "drwxr-xr-x" if path.endswith("/") else modes.get(path, "-rw-r--r--")
        equal(mode, expected, f"mode of {path}")
    for path in ("/usr/bin/relais", "/etc/relais/relais.toml", "/usr/lib/systemd/system/relais.service", "/usr/share/man/man1/relais.1.gz",
                 "/usr/share/bash-completion/completions/relais", "/usr/share/zsh/vendor-completions/_relais",
                 "/usr/share/fish/vendor_completions.d/relais.fish", "/usr/share/relais/prometheus/relais.rules.yml",
                 "/usr/share/relais/grafana/relais.json", "/usr/share/relais/systemd/modems.conf",
                 "/usr/share/relais/udev/99-gsm-modem.rules", "/usr/share/doc/relais/relais.toml", "/usr/share/doc/relais/copyright"):
        check(path in held, f"{path} is not in the package")


def lintian_has_nothing_to_say(deb: pathlib.Path, _folder: pathlib.Path) -> None:
    said = subprocess.run(["lintian", "--allow-root", "--fail-on=error,warning", deb], capture_output=True, text=True)
    equal((said.returncode, said.stdout), (0, ""), "lintian")


def again_as(deb: pathlib.Path, folder: pathlib.Path, version: str) -> pathlib.Path:
    """The same package under another version, with one line more in the configuration that it ships."""
    root, made = folder / f"relais_{version}", folder / f"relais_{version}.deb"
    subprocess.run(["dpkg-deb", "--raw-extract", deb, root], check=True)
    control = root / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^Version: .*$", f"Version: {version}", control.read_text()))
    with (root / "etc/relais/relais.toml").open("a") as shipped:
        shipped.write("# A line of the newer version.\n")
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", "-Znone", root, made], check=True, capture_output=True)
    return made


def install(machine: Machine, deb: pathlib.Path) -> None:
    """As the README says it, with what apt asks for in a script."""
    machine.take_in(deb, "/var/cache/package.deb")
    machine.run("apt-get", "install", "--yes", "--quiet", "-o", "Dpkg::Options::=--force-confold", "/var/cache/package.deb")


def serving(machine: Machine) -> bool:
    return machine.run("curl", "--silent", "--fail", "http://127.0.0.1:8775/readyz", fails=True).returncode == 0


def status_of(machine: Machine, identity: str) -> str:
    return machine.run("relais", "status", identity, "--json").stdout


def package_installs_serves_upgrades_and_is_purged_without_a_trace(deb: pathlib.Path, folder: pathlib.Path) -> None:
    machine = Machine(folder / "machine.log")
    try:
        before = left_overs(machine)
        install(machine, deb)
        wait_for("the service of a fresh installation is ready", lambda: serving(machine))
        equal(machine.run("systemctl", "is-active", "relais").stdout.strip(), "active", "the service")
        equal(machine.run("systemctl", "is-enabled", "relais").stdout.strip(), "enabled", "the service")
        equal(machine.run("stat", "-c", "%A %U:%G", "/etc/relais", "/etc/relais/relais.toml").stdout.split("\n")[:2],
              ["drwxr-x--- root:relais", "-rw-r----- root:relais"], "who may read the configuration")
        check(machine.run("cat", "/etc/relais/relais.toml", user="nobody", fails=True).returncode, "nobody can read the configuration")
        equal(machine.run("stat", "-c", "%U", f"/proc/{main_process(machine)}").stdout.strip(), "relais", "the user of the service")

        shipped = machine.read("/etc/relais/relais.toml")
        machine.write("/etc/relais/relais.toml", shipped.replace("#include", "include"))
        check("Guadeloupe" in machine.run("relais", "check", user="relais").stdout, "the operators that are included do not show")
        machine.write("/etc/relais/relais.toml", shipped)

        # Its example configuration delivers by the simulator that comes with it.
        simulator = machine.start("simulator", "relais", "sim", "smsc")
        sent = machine.run("relais", "send", "+33612345678", "Bonjour", "--wait", "--lang", "fr").stdout
        check("Livré" in sent, f"relais send --wait says {sent!r}")
        machine.run("sh", "-c", 'kill "$1"', "sh", inner_process(machine, "relais sim smsc"))
        simulator.wait(10)
        waiting = machine.run("relais", "send", "+33612345679", "Plus tard", "--json").stdout.split('"id":')[1].split('"')[1]
        machine.write("/etc/relais/relais.toml", machine.read("/etc/relais/relais.toml") + EDITED)

        old = main_process(machine)
        install(machine, again_as(deb, folder, "9.0.0-1"))
        wait_for("the service is ready after the upgrade", lambda: serving(machine) and main_process(machine) != old)
        check(EDITED in machine.read("/etc/relais/relais.toml"), "the edited configuration was replaced")
        equal(machine.run("stat", "-c", "%A %U:%G", "/etc/relais/relais.toml").stdout.strip(), "-rw-r----- root:relais",
              "who may read the configuration after the upgrade")
        check('"pending"' in status_of(machine, waiting), "the waiting message did not survive the upgrade")

        machine.run("systemctl", "disable", "--now", "relais")
        install(machine, again_as(deb, folder, "9.0.1-1"))
        equal(machine.run("systemctl", "is-enabled", "relais", fails=True).stdout.strip(), "disabled", "a disabled service after an upgrade")
        machine.run("systemctl", "enable", "--now", "relais")

        machine.run("apt-get", "remove", "--yes", "--quiet", "relais")
        check(machine.run("systemctl", "is-active", "relais", fails=True).returncode, "the service outlived its package")
        check(EDITED in machine.read("/etc/relais/relais.toml"), "removing took the configuration")
        check(machine.has("/var/lib/relais/store"), "removing took the messages")
        install(machine, deb)
        wait_for("the service is ready again", lambda: serving(machine))
        check('"pending"' in status_of(machine, waiting), "the waiting message did not survive a removal")

        machine.run("apt-get", "purge", "--yes", "--quiet", "relais")
        equal(left_overs(machine), before, "what is left after a purge")
        check(machine.run("getent", "passwd", "relais", fails=True).returncode, "the user relais is left after a purge")
    finally:
        machine.stop()


def left_overs(machine: Machine) -> list[str]:
    """Everything there whose path speaks of relais, outside the repository and the journal."""
    found = machine.run("find", "/etc", "/var", "/usr", "/run", "/opt", "/srv", "-xdev", "-iname", "*relais*",
                        "-not", "-path", "/var/lib/dpkg/*", fails=True).stdout
    return sorted(found.splitlines())


def main_process(machine: Machine) -> str:
    return machine.run("systemctl", "show", "--property=MainPID", "--value", "relais").stdout.strip()


def inner_process(machine: Machine, command: str) -> str:
    return machine.run("pgrep", "--full", "--oldest", f"^{command}$").stdout.strip()


CASES = [
    package_holds_what_it_should_with_the_right_modes,
    lintian_has_nothing_to_say,
    package_installs_serves_upgrades_and_is_purged_without_a_trace,
]
