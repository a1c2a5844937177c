"""The unit, run by a real systemd: its restrictions hold, secrets come in as credentials, a hang ends in a restart.

Each case is given a machine to throw away on which the package has just been installed.
"""

from __future__ import annotations

import re

from harness import check, equal, wait_for
from machine import Machine
from package import main_process, serving

DROP_INS = "/etc/systemd/system/relais.service.d"


def drop_in(machine: Machine, name: str, text: str) -> None:
    machine.run("mkdir", "--parents", DROP_INS)
    machine.write(f"{DROP_INS}/{name}.conf", text)
    machine.run("systemctl", "daemon-reload")


def restart(machine: Machine) -> None:
    machine.run("systemctl", "restart", "relais")
    wait_for("the service is ready", lambda: serving(machine))


def service_can_do_what_it_must_and_nothing_else(machine: Machine) -> None:
    restart(machine)
    process = main_process(machine)
    status = dict(re.findall(r"(?m)^(\w+):\s+(.*)$", machine.read(f"/proc/{process}/status")))
    equal((status["CapEff"], status["CapBnd"], status["NoNewPrivs"], status["Seccomp"]), ("0" * 16, "0" * 16, "1", "2"), "privileges")
    # Looked for as the service's user, in its view of the disk. /run/lock is everybody's, in memory.
    view = ["nsenter", f"--target={process}", "--mount", "--", "setpriv", "--reuid=relais", "--regid=relais", "--init-groups"]
    found = machine.run(*view, "find", "/etc", "/home", "/opt", "/root", "/run", "/srv", "/tmp", "/usr/bin", "/usr/local", "/var",
                        "(", "-type", "d", "-o", "-type", "f", ")", "-writable", "-print", fails=True).stdout.split()
    found = {path for path in found if not path.startswith("/var/lib/private/relais/")}
    equal(found, {"/run/lock", "/tmp", "/var/tmp", "/var/lib/private/relais"}, "what the service can write")
    equal(machine.run("stat", "-c", "%A %U", "/var/lib/private/relais").stdout.strip(), "drwx------ relais", "its own folder")
    verified = machine.run("systemd-analyze", "verify", "relais.service", fails=True)
    equal([line for line in verified.stderr.splitlines() if "relais" in line], [], "systemd-analyze verify")


def service_that_hangs_or_dies_is_started_again(machine: Machine) -> None:
    drop_in(machine, "watchdog", "[Service]\nWatchdogSec=2s\n")
    restart(machine)
    for number, what in ((19, "stopped, so that the watchdog must find out"), (9, "killed")):
        old = main_process(machine)
        machine.run("kill", f"-{number}", old)
        wait_for(f"a new process after the old one was {what}",
                 lambda: main_process(machine) not in ("0", old) and serving(machine), 60)


def secret_comes_in_as_a_credential_that_root_alone_can_read(machine: Machine) -> None:
    machine.run("install", "-m", "0600", "/dev/null", "/etc/relais/carrier.password")
    machine.write("/etc/relais/carrier.password", "hush6Crd\n")
    machine.run("install", "-D", "-m", "0644", "/usr/share/relais/systemd/credentials.conf", f"{DROP_INS}/credentials.conf")
    machine.run("systemctl", "daemon-reload")
    shipped = machine.read("/etc/relais/relais.toml")
    machine.write("/etc/relais/relais.toml", shipped.replace(
        'password = "secret"', 'password_file = "/run/credentials/relais.service/carrier.password"'))
    restart(machine)
    started = machine.run("systemctl", "show", "--property=InvocationID", "--value", "relais").stdout.strip()
    log = machine.run("journalctl", "--no-pager", f"_SYSTEMD_INVOCATION_ID={started}").stdout
    check("chmod" not in log, f"the service complains of the credential's mode:\n{log}")
    check(machine.run("cat", "/etc/relais/carrier.password", user="relais", fails=True).returncode, "the user relais can read the secret")
    machine.write("/etc/relais/relais.toml", shipped)


def egress_ends_where_the_drop_in_says(machine: Machine) -> None:
    """The carrier is at another address of this machine: allowed with the drop-in's line for it, and not without."""
    machine.run("ip", "address", "add", "192.0.2.7/32", "dev", "lo")
    shipped = machine.read("/etc/relais/relais.toml")
    machine.write("/etc/relais/relais.toml", shipped.replace('"127.0.0.1"', '"192.0.2.7"').replace('"secret"', '"hush7Egr"'))
    machine.start("simulator", "relais", "sim", "smsc", "--listen", "192.0.2.7:2775")
    egress = machine.read("/usr/share/relais/systemd/egress.conf")
    for allowed, text in ((False, egress), (True, egress.replace("#IPAddressAllow=192.0.2.53", "IPAddressAllow=192.0.2.7"))):
        drop_in(machine, "egress", text)
        restart(machine)
        wait_for(f"the carrier is {'reached' if allowed else 'out of reach'}", lambda: tried(machine, allowed))
    machine.write("/etc/relais/relais.toml", shipped)


def tried(machine: Machine, bound: bool) -> bool:
    """Whether the channel is up, or has been tried and is down, as is asked."""
    metrics = machine.run("curl", "--silent", "http://127.0.0.1:8775/metrics").stdout
    up = 'relais_channel_up{channel="carrier#1"} 1' in metrics
    doctor = machine.run("relais", "doctor", "--lang", "en", fails=True).stdout
    return up if bound else not up and "carrier" in doctor


CASES = [
    service_can_do_what_it_must_and_nothing_else,
    service_that_hangs_or_dies_is_started_again,
    secret_comes_in_as_a_credential_that_root_alone_can_read,
    egress_ends_where_the_drop_in_says,
]
