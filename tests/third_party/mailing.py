"""E-mails of the gateway against a mail server that is not ours: aiosmtpd, over STARTTLS and with a login.

What arrived is read by Python's own e-mail parser. A message has an e-mail as its first step and the SMS behind it, so
that each case shows whether the SMS left as well: it must not, unless the mail certainly has not.
"""

from __future__ import annotations

import asyncio
import contextlib
import email
import email.policy
import logging
import ssl
import subprocess
import threading
import time

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from harness import check, equal, free_port, texts, wait_for

TO = "+33612345678"
# A line that is a dot alone, a long one, and one that looks like a header.
TEXT = "Le cours de 18 h est annulé 😀\n.\n..\nFrom: nobody\n" + "très " * 60
SUBJECT = "Cours annulé : à bientôt l'été « prochain », et pour de bon cette fois-ci, promis juré"
USER, PASSWORD = "relais", "pass-word-of-the-mail-server"
STEPS = [{"channel": "email", "to": "zoe@example.org", "subject": SUBJECT}, {"channel": "sms"}]


class Mailbox:
    """Takes mails, but for what a case wants: `rcpt` and `data` answer in its place, once for each entry."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, list[str], bytes]] = []
        self.rcpt: list[str] = []
        self.data: list[str] = []
        self.tries = 0
        self.goes_on = threading.Event()
        self.goes_on.set()

    async def handle_RCPT(self, server, session, envelope, address, options):
        self.tries += 1
        if self.rcpt:
            return self.rcpt.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server, session, envelope):
        equal(session.authenticated, True, "authenticated")
        self.mails.append((envelope.mail_from, list(envelope.rcpt_tos), envelope.content))
        if self.data and self.data[0] == "close":
            self.data.pop(0)
            server.transport.abort()
            return "451 never read"
        while not self.goes_on.is_set():
            await asyncio.sleep(0.05)
        return self.data.pop(0) if self.data else "250 2.0.0 taken"


def _certificate(folder):
    files = folder / "mail.pem", folder / "mail.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
                    "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE", "-out", files[0], "-keyout",
                    files[1]], check=True, capture_output=True)
    return files


def _authenticate(_server, _session, _envelope, _mechanism, data):
    known = isinstance(data, LoginPassword) and data == LoginPassword(USER.encode(), PASSWORD.encode())
    return AuthResult(success=known)


class Server:
    """A running aiosmtpd that wants TLS and a login."""

    def __init__(self, bench) -> None:
        self.mailbox, self.port = Mailbox(), free_port()
        self.certificate, key = _certificate(bench.folder)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(self.certificate, key)
        password = bench.folder / "mail.password"
        password.write_text(f"{PASSWORD}\n")
        password.chmod(0o600)
        self.settings = f"""
[email]
host = "localhost"
port = {self.port}
ca_file = "{self.certificate}"
user = "{USER}"
password_file = "{password}"
from = "Club d'été <club@example.org>"
response_timeout = "5s"
"""
        self.controller = None

    def start(self) -> Server:
        self.controller = Controller(self.mailbox, hostname="localhost", port=self.port, tls_context=self.context,
                                     require_starttls=True, auth_required=True, auth_require_tls=True,
                                     authenticator=_authenticate, enable_SMTPUTF8=False)
        self.controller.start()
        return self

    def stop(self) -> None:
        if self.controller:
            self.controller.stop(no_assert=True)
            self.controller = None


@contextlib.contextmanager
def _mailing(bench, started: bool = True):
    server = Server(bench)
    try:
        if started:
            server.start()
        with bench.running(more=server.settings) as (smsc, daemon):
            yield server, smsc, daemon
    finally:
        server.mailbox.goes_on.set()
        server.stop()


def _ends(daemon, identity: str, status: str, delivered_by: str | None) -> dict:
    message = daemon.wait_status(identity, status)
    equal(message.get("delivered_by"), delivered_by, "delivered_by")
    return message


def _no_sms(smsc) -> None:
    time.sleep(1)
    equal(smsc.stats()["submits"], 0, "SMS besides the mail")


def mail_arrives_whole_over_starttls_and_no_sms_leaves(bench) -> None:
    with _mailing(bench) as (server, smsc, daemon):
        identity = daemon.send(TO, TEXT, fallback=STEPS)["id"]
        message = _ends(daemon, identity, "delivered", "email")
        equal([step["status"] for step in message["steps"]], ["succeeded", "needless"], "steps")
        ((mail_from, to, content),) = server.mailbox.mails
        equal((mail_from, to), ("club@example.org", ["zoe@example.org"]), "envelope")
        check(content.isascii(), "the mail is ASCII on the wire")
        mail = email.message_from_bytes(content, policy=email.policy.default)
        equal(mail["Subject"], SUBJECT, "Subject")
        equal(str(mail["From"]), "Club d'été <club@example.org>", "From")
        equal(mail["To"], "zoe@example.org", "To")
        equal(mail["Message-ID"], f"<{identity}.0@example.org>", "Message-ID")
        equal(mail["Auto-Submitted"], "auto-generated", "Auto-Submitted")
        check(mail["Date"].datetime, "Date")
        equal(mail.get_content_type(), "text/plain", "type")
        equal(mail.get_content().replace("\r\n", "\n").rstrip("\n"), TEXT.rstrip("\n"), "text")
        equal(mail.defects, [], "defects")
        _no_sms(smsc)


def mailbox_that_does_not_exist_is_left_for_the_sms(bench) -> None:
    with _mailing(bench) as (server, smsc, daemon):
        server.mailbox.rcpt = ["550 5.1.1 no such member"]
        identity = daemon.send(TO, "Pas de boîte", fallback=STEPS)["id"]
        message = _ends(daemon, identity, "delivered", "sms")
        equal(message["steps"][0]["outcome"], "undeliverable", "the mail's end")
        equal((server.mailbox.mails, smsc.stats()["submits"]), ([], 1), "mails, SMS")


def mail_refused_after_its_text_is_left_for_the_sms(bench) -> None:
    with _mailing(bench) as (server, smsc, daemon):
        server.mailbox.data = ["554 5.7.1 looks like spam"]
        identity = daemon.send(TO, "Refusé", fallback=STEPS)["id"]
        _ends(daemon, identity, "delivered", "sms")
        equal(smsc.stats()["submits"], 1, "SMS")


def mail_refused_for_now_is_handed_in_again_until_it_is_taken(bench) -> None:
    with _mailing(bench) as (server, smsc, daemon):
        server.mailbox.rcpt = ["450 4.7.1 greylisted, come again"]
        identity = daemon.send(TO, "Liste grise", fallback=STEPS)["id"]
        _ends(daemon, identity, "delivered", "email")
        equal((len(server.mailbox.mails), server.mailbox.tries), (1, 2), "mails and tries")
        _no_sms(smsc)


def mail_whose_answer_is_lost_is_neither_sent_again_nor_followed_by_an_sms(bench) -> None:
    with _mailing(bench) as (server, smsc, daemon):
        server.mailbox.data = ["close"]
        identity = daemon.send(TO, "Réponse perdue", fallback=STEPS)["id"]
        message = _ends(daemon, identity, "failed", None)
        equal((message["reason"], message["steps"][0]["status"]), ("in_doubt", "in_doubt"), "reason")
        # A server that takes the text and says nothing within the time-out.
        server.mailbox.goes_on.clear()
        identity = daemon.send(TO, "Pas de réponse", fallback=STEPS)["id"]
        message = _ends(daemon, identity, "failed", None)
        server.mailbox.goes_on.set()
        equal(len(server.mailbox.mails), 2, "mails")
        _no_sms(smsc)


def mail_waits_for_a_server_that_is_not_there(bench) -> None:
    with _mailing(bench, started=False) as (server, smsc, daemon):
        identity = daemon.send(TO, "Serveur absent", fallback=STEPS)["id"]
        channel = lambda: next(it for it in daemon.get("/v1/channels")["data"] if it["name"] == "email")
        wait_for("the mail server counts as down", lambda: channel()["status"] == "down")
        equal(daemon.get(f"/v1/messages/{identity}")["status"], "pending", "status meanwhile")
        server.start()
        _ends(daemon, identity, "delivered", "email")
        equal(len(server.mailbox.mails), 1, "mails")
        _no_sms(smsc)


def gateway_killed_with_a_mail_in_hand_does_not_follow_it_by_an_sms(bench) -> None:
    with _mailing(bench) as (server, smsc, daemon):
        server.mailbox.goes_on.clear()
        identity = daemon.send(TO, "Tué en route", fallback=STEPS)["id"]
        wait_for("the text is with the server", lambda: server.mailbox.mails)
        daemon.kill()
        server.mailbox.goes_on.set()
        daemon.start()
        message = _ends(daemon, identity, "failed", None)
        equal(message["steps"][0]["status"], "in_doubt", "the mail's end")
        equal(len(server.mailbox.mails), 1, "mails")
        _no_sms(smsc)


def credit_that_runs_low_is_told_by_mail_once(bench) -> None:
    with _mailing(bench) as (server, _smsc, daemon):
        settings = {"credit": {"price": "0.2177", "thresholds": ["4.70"], "email": ["tresor@example.org"]}}
        status, answer = daemon.call("PUT", "/v1/admin/tenants/default", settings)
        check(status in (200, 201), f"settings: {status} {answer}")
        status, answer = daemon.call("POST", "/v1/admin/tenants/default/credit", {"amount": "4.79", "note": "essai"})
        check(status in (200, 201), f"credit: {status} {answer}")
        for n in range(3):
            daemon.wait_status(daemon.send(f"+3361234567{n}", "Crédit")["id"], "delivered")
        mails = wait_for("the mail about the credit", lambda: server.mailbox.mails)
        time.sleep(1)
        equal([to for _, to, _ in mails], [["tresor@example.org"]], "to whom")
        mail = email.message_from_bytes(mails[0][2], policy=email.policy.default)
        check("4,57 €" in mail["Subject"], mail["Subject"])
        check("4,57 €" in mail.get_content(), mail.get_content())


# Words of the server's own deprecated properties.
logging.getLogger("mail").setLevel(logging.CRITICAL)
texts.add(TEXT)

CASES = [
    mail_arrives_whole_over_starttls_and_no_sms_leaves,
    mailbox_that_does_not_exist_is_left_for_the_sms,
    mail_refused_after_its_text_is_left_for_the_sms,
    mail_refused_for_now_is_handed_in_again_until_it_is_taken,
    mail_whose_answer_is_lost_is_neither_sent_again_nor_followed_by_an_sms,
    mail_waits_for_a_server_that_is_not_there,
    gateway_killed_with_a_mail_in_hand_does_not_follow_it_by_an_sms,
    credit_that_runs_low_is_told_by_mail_once,
]
