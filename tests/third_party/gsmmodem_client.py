"""python-gsmmodem-new as a client: sends messages, waits for their reports and for what comes in.

    python gsmmodem_client.py LINK OUT '[["+336…", "text"], …]'

OUT gets, as JSON, `reports` (recipient, TP-MR, TP-ST of each message of one part) and `texts` (sender and text of
each part that came in, in order of arrival). Its caller bounds its time.
"""

import json
import pathlib
import sys
import threading

from gsmmodem.modem import GsmModem

# Characters of a message that is one part in any alphabet, and parts that come in.
ONE_PART = 70
PARTS = 4


def main() -> None:
    link, out, messages = sys.argv[1], pathlib.Path(sys.argv[2]), json.loads(sys.argv[3])
    texts, whole = [], threading.Event()

    def received(sms) -> None:
        texts.append([sms.number, sms.text])
        if len(texts) == PARTS:
            whole.set()

    modem = GsmModem(link, 115200, smsReceivedCallbackFunc=received)
    modem.connect()
    reports = []
    for to, text in messages:
        short = len(text) <= ONE_PART
        modem.requestDelivery = short
        sent = modem.sendSms(to, text, waitForDeliveryReport=short, deliveryTimeout=20)
        if short:
            reports.append([sent.report.number, sent.report.reference, sent.report.deliveryStatus])
    whole.wait(30)
    modem.close()
    out.write_text(json.dumps({"reports": reports, "texts": texts}))


if __name__ == "__main__":
    main()
