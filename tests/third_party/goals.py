"""Single promises: durability before the 202, idempotency, what is final, latency."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import re
import shutil
import signal
import statistics
import threading
import time

from harness import ADMIN_KEY, Daemon, check, equal, free_port, spawn, tail, texts, wait_for

TO = "+33612345678"


def _posts_under_strace(bench, durability: str) -> tuple[int, int]:
    """(posts answered 202, how many of them have a completed sync between request and answer), by strace.

    No carrier listens, so that nothing but the posts has a reason to sync.
    """
    daemon = Daemon(bench.binary, bench.folder, free_port(), durability=durability).start()
    trace, log = bench.folder / f"strace-{durability}", bench.folder / "strace.log"
    calls = "trace=fdatasync,fsync,sync_file_range,read,readv,recvfrom,write,writev,sendto,sendmsg"
    strace = spawn(["strace", "-f", "-s", "48", "-e", calls, "-o", trace, "-p", daemon.process.pid], log)
    try:
        wait_for("strace is attached", lambda: "attached" in log.read_text(errors="replace"),
                 alive=lambda: check(strace.poll() is None, f"strace ended:\n{tail(log)}"))
        for number in range(20):
            daemon.send(TO, f"Durable {number}")
        # Detaching writes the last calls.
        strace.send_signal(signal.SIGINT)
        strace.wait(10)
    finally:
        daemon.stop()
    asked = answered = synced = 0
    whole = False
    for line in trace.read_text(errors="replace").splitlines():
        if '"POST /v1/messages ' in line:
            asked, whole = asked + 1, False
        elif re.search(r"\b(fdatasync|fsync)\b.*\) += 0", line):
            whole = True
        elif '"HTTP/1.1 202' in line:
            check(asked == answered + 1, "the trace has an answer without a request")
            answered, synced, whole = answered + 1, synced + whole, False
    return answered, synced


def every_202_comes_after_a_sync(bench) -> None:
    check(shutil.which("strace"), "strace is not installed")
    answered, synced = _posts_under_strace(bench, "power")
    print(f"       durability power: {synced} of {answered} answers have a sync before them", flush=True)
    equal((answered, synced), (20, 20), "answers, and those after a sync")


def durability_process_answers_without_a_sync(bench) -> None:
    """Also proves that the case above does not take somebody else's sync for the answer's."""
    answered, synced = _posts_under_strace(bench, "process")
    print(f"       durability process: {synced} of {answered} answers have a sync before them", flush=True)
    equal(answered, 20, "answers")
    check(synced <= 2, f"{synced} of {answered} answers have a sync before them that nobody asked for")


def one_idempotency_key_is_one_message_even_over_kill_9(bench) -> None:
    with bench.running("--delay-ms", 20) as (smsc, daemon):
        gate = threading.Barrier(50)

        def post(_: int) -> tuple[int, object]:
            gate.wait(30)
            return daemon.post(TO, "Une seule fois", key="commande-4711")

        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(post, range(50)))
        equal({status for status, _ in answers} - {200, 202}, set(), "statuses of 50 posts at once")
        ids = {answer["id"] for _, answer in answers}
        equal(len(ids), 1, "ids of 50 posts at once")
        daemon.kill()
        daemon.start()
        status, answer = daemon.post(TO, "Une seule fois", key="commande-4711")
        check(status in (200, 202), f"the same key after kill -9: {status}")
        equal({answer["id"]}, ids, "the id of the same key after kill -9")
        status, answer = daemon.post(TO, "Un autre texte", key="commande-4711")
        equal(status, 409, "the same key with another body")
        check(answer.get("code"), "the refusal has no code")
        other = daemon.post(TO, "Une autre commande", key="commande-4712")[1]["id"]
        for identity in (*ids, other):
            daemon.wait_status(identity, "delivered")
        equal(len(daemon.listed("/v1/messages")), 2, "messages in the store")
        # A kill may repeat the one that was under way, and nothing else.
        check(smsc.stats()["submits"] <= 3, f"{smsc.stats()['submits']} submissions of 2 messages and one kill")


def keys_at_once_over_kill_9_make_one_message_each(bench) -> None:
    """Clients that repeat a post until it is answered, as they should, while the gateway is killed under them."""
    with bench.running() as (smsc, daemon):
        def post_until_answered(number: int) -> set[str]:
            seen, until = set(), time.monotonic() + 30
            for _ in range(4):
                while True:
                    check(time.monotonic() < until, "a repeated post is not answered")
                    try:
                        status, answer = daemon.post(f"+3361299{number:04d}", f"Relance {number}", key=f"relance-{number}")
                    except (OSError, http.client.HTTPException):
                        time.sleep(0.02)
                        continue
                    check(status in (200, 202), f"a repeated post: {status} {answer}")
                    seen.add(answer["id"])
                    break
            return seen

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            posts = [pool.submit(post_until_answered, n) for n in range(200)]
            for _ in range(3):
                time.sleep(0.15)
                daemon.kill()
                daemon.start()
            answers = [post.result(60) for post in posts]
        equal([len(seen) for seen in answers if len(seen) != 1], [], "keys with several ids")
        equal(len(daemon.listed("/v1/messages")), 200, "messages of 200 keys")


def final_is_final_and_a_late_delivery_corrects(bench) -> None:
    """A receipt is acknowledged only after it is stored, so that the status can be read without waiting."""
    with bench.running("--receipts-by-hand", log_level="debug") as (smsc, daemon):
        def sent(text: str) -> tuple[str, list[str]]:
            identity = daemon.send(TO, text)["id"]
            daemon.wait_status(identity, "sent")
            parts = daemon.message(identity)["parts"]
            return identity, [s["message_id"] for s in smsc.ledger()["submits"][-parts:]]

        def after(identity: str, reference: str, stat: str, status: str, why: str) -> dict:
            smsc.receipt(reference, stat)
            found = daemon.message(identity)
            equal(found["status"], status, why)
            return found

        identity, (reference,) = sent("Livré reste livré")
        after(identity, reference, "ENROUTE", "sent", "ENROUTE alone")
        done = after(identity, reference, "DELIVRD", "delivered", "DELIVRD")
        for stat in ("ENROUTE", "ACCEPTD", "UNDELIV", "EXPIRED", "REJECTD", "UNKNOWN", "DELIVRD"):
            again = after(identity, reference, stat, "delivered", f"{stat} after DELIVRD")
            equal(again["delivered_at"], done["delivered_at"], f"delivered_at at {stat} after DELIVRD")
        for stat, status in (("EXPIRED", "expired"), ("UNDELIV", "failed"), ("REJECTD", "failed"), ("DELETED", "failed")):
            identity, (reference,) = sent(f"Corrigé après {stat}")
            after(identity, reference, stat, status, stat)
            for late in ("ENROUTE", "ACCEPTD", "UNKNOWN"):
                after(identity, reference, late, status, f"{late} after {stat}")
            corrected = after(identity, reference, "DELIVRD", "delivered", f"DELIVRD after {stat}")
            check(corrected["delivered_at"], f"delivered_at after {stat} and DELIVRD")
        identity, (reference,) = sent("Échec ne redevient pas expiré")
        after(identity, reference, "UNDELIV", "failed", "UNDELIV")
        after(identity, reference, "EXPIRED", "failed", "EXPIRED after UNDELIV")


def message_of_n_parts_is_delivered_only_by_n_receipts(bench) -> None:
    with bench.running("--receipts-by-hand") as (smsc, daemon):
        text = "".join(f"{n:03d} une partie de plusieurs. " for n in range(20))
        identity = daemon.send(TO, text)["id"]
        daemon.wait_status(identity, "sent")
        references = [s["message_id"] for s in smsc.ledger()["submits"]]
        check(len(references) >= 3, "the sample is not long enough")
        for reference in reversed(references[1:]):
            smsc.receipt(reference, "DELIVRD")
            smsc.receipt(reference, "DELIVRD")  # Twice the same one is not two.
            equal(daemon.message(identity)["status"], "sent", "status before the last receipt")
        daemon.kill()
        daemon.start()
        smsc.wait_bound()
        smsc.receipt(references[0], "DELIVRD")
        equal(daemon.message(identity)["status"], "delivered", "status after the last receipt")
        other = daemon.send(TO, text)["id"]
        daemon.wait_status(other, "sent")
        for number, submit in enumerate(smsc.ledger()["submits"][len(references):]):
            smsc.receipt(submit["message_id"], "UNDELIV" if number == 1 else "DELIVRD")
        equal(daemon.message(other)["status"], "failed", "status with one part of several undelivered")


def latency_from_post_to_submission_is_printed(bench) -> None:
    """Never judged here: the machine is shared. The goal is a median of 5 ms and 15 ms at the 95th percentile."""
    with bench.running() as (smsc, daemon):
        link = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=10)
        fields = {"Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": "application/json"}
        began = {}
        for number in range(100):
            to = f"3361277{number:04d}"
            texts.add(f"Latence {number}")
            body = json.dumps({"to": f"+{to}", "text": f"Latence {number}", "class": "transactional"})
            began[to] = time.time()
            link.request("POST", "/v1/messages", body, fields)
            answer = link.getresponse()
            answer.read()
            equal(answer.status, 202, "POST /v1/messages")
            time.sleep(0.02)
        wait_for("100 submissions", lambda: smsc.stats()["submits"] == 100)
        took = sorted((s["at"] - began[s["destination_addr"]]) * 1000 for s in smsc.ledger()["submits"])
        print(f"       POST to submit_sm, idle: median {statistics.median(took):.1f} ms, p95 {took[94]:.1f} ms, "
              f"most {took[-1]:.1f} ms", flush=True)


CASES = [
    every_202_comes_after_a_sync,
    durability_process_answers_without_a_sync,
    one_idempotency_key_is_one_message_even_over_kill_9,
    keys_at_once_over_kill_9_make_one_message_each,
    final_is_final_and_a_late_delivery_corrects,
    message_of_n_parts_is_delivered_only_by_n_receipts,
    latency_from_post_to_submission_is_printed,
]
