// An SMSC of the npm package smpp (node-smpp): the second witness, for alphabets, divisions, TLS and SMPP 5.0.
//
// Texts are encoded and decoded by the package alone; what is here joins parts, answers and reports. Its only argument
// is a JSON object {port, cert, key, version, alphabet}; then each line of standard input is a command and each line of
// standard output an event, both JSON. A command {do: "inbound", number, from, to, text, encoding, split, order} ends with
// {event: "answered", number, statuses}. The end of standard input ends the process.

'use strict';

const fs = require('fs');
const readline = require('readline');
const smpp = require('smpp');

const options = JSON.parse(process.argv[2] || '{}');
const sessions = new Set();
let nextId = 4_000_000_001;
let reference = 0x0141;

// What data_coding 0 means to this SMSC: ASCII is the package's name for GSM 03.38.
smpp.encodings.default = options.alphabet === 'latin1' ? 'LATIN1' : 'ASCII';

function tell(event) {
  process.stdout.write(JSON.stringify(event) + '\n');
}

function submitted(session, pdu) {
  const id = (nextId++).toString();
  const place = (pdu.short_message && pdu.short_message.udh || []).map((element) => element.toString('hex'));
  const body = pdu.message_payload !== undefined ? pdu.message_payload : pdu.short_message;
  tell({
    event: 'submit', id, source: pdu.source_addr, destination: pdu.destination_addr, esm_class: pdu.esm_class,
    data_coding: pdu.data_coding, text: body.message, udh: place, payload: pdu.message_payload !== undefined,
    sar: pdu.sar_total_segments === undefined ? null
      : [pdu.sar_msg_ref_num, pdu.sar_total_segments, pdu.sar_segment_seqnum],
    length: pdu.command_length, service_type: pdu.service_type, priority: pdu.priority_flag,
  });
  session.send(pdu.response({ message_id: id }));
  if (pdu.registered_delivery & 1) {
    const now = new Date().toISOString().replace(/\D/g, '').slice(2, 12);
    session.deliver_sm({
      source_addr: pdu.destination_addr, source_addr_ton: 1, source_addr_npi: 1,
      destination_addr: pdu.source_addr, dest_addr_ton: pdu.source_addr_ton, dest_addr_npi: pdu.source_addr_npi,
      esm_class: 4, data_coding: 0, receipted_message_id: id, message_state: 2,
      short_message: Buffer.from(`id:${id} sub:001 dlvrd:001 submit date:${now} done date:${now} stat:DELIVRD err:000 text:`),
    });
  }
}

// The pieces of a text, each at most `limit` octets in this encoding.
function pieces(text, encoding, limit) {
  const found = [''];
  let used = 0;
  for (const character of text) {
    const octets = smpp.encodings[encoding].encode(character).length;
    if (used + octets > limit) {
      found.push('');
      used = 0;
    }
    found[found.length - 1] += character;
    used += octets;
  }
  return found;
}

function inbound(command) {
  const session = [...sessions].pop();
  const encoding = command.encoding;
  const packed = encoding === 'ASCII';
  const room = { udh: packed ? 153 : 134, udh16: packed ? 152 : 132, sar: packed ? 160 : 140 }[command.split] || Infinity;
  const parts = pieces(command.text, encoding, room);
  const shared = ++reference;
  const order = command.order || parts.map((_, index) => index + 1);
  const statuses = [];
  for (const index of order) {
    const message = parts[index - 1];
    const pdu = {
      source_addr: command.from.replace('+', ''), source_addr_ton: 1, source_addr_npi: 1,
      destination_addr: command.to, dest_addr_ton: 3, dest_addr_npi: 0,
      data_coding: command.data_coding !== undefined ? command.data_coding : smpp.consts.ENCODING[encoding],
    };
    if (packed) {
      pdu.data_coding = 0;
    }
    if (command.split === 'payload') {
      pdu.message_payload = { message };
      pdu.short_message = '';
    } else if (command.split === 'udh') {
      pdu.short_message = { message, udh: Buffer.from([5, 0, 3, shared & 0xff, parts.length, index]) };
    } else if (command.split === 'udh16') {
      pdu.short_message = { message, udh: Buffer.from([6, 8, 4, shared >> 8, shared & 0xff, parts.length, index]) };
    } else {
      pdu.short_message = { message };
      if (command.split === 'sar') {
        pdu.sar_msg_ref_num = shared;
        pdu.sar_total_segments = parts.length;
        pdu.sar_segment_seqnum = index;
      }
    }
    session.deliver_sm(pdu, (answer) => {
      statuses.push(answer.command_status);
      if (statuses.length === order.length) {
        tell({ event: 'answered', number: command.number, statuses });
      }
    });
  }
}

const settings = options.cert ? { cert: fs.readFileSync(options.cert), key: fs.readFileSync(options.key) } : {};
const server = smpp.createServer(settings, (session) => {
  session.on('error', (error) => tell({ event: 'problem', text: error.message }));
  session.on('close', () => {
    if (sessions.delete(session)) {
      tell({ event: 'unbound' });
    }
  });
  session.on('pdu', (pdu) => {
    if (pdu.command.startsWith('bind_') && !pdu.isResponse()) {
      tell({ event: 'bind', kind: pdu.command, system_id: pdu.system_id, version: pdu.interface_version });
      session.send(pdu.response({ system_id: 'NODE', sc_interface_version: options.version || 0x34 }));
      sessions.add(session);
    } else if (pdu.command === 'submit_sm') {
      submitted(session, pdu);
    } else if (pdu.command === 'enquire_link') {
      session.send(pdu.response());
    } else if (pdu.command === 'unbind') {
      session.send(pdu.response());
      session.close();
    } else if (pdu.command === 'generic_nack') {
      tell({ event: 'problem', text: 'generic_nack' });
    }
  });
});
server.on('error', (error) => tell({ event: 'problem', text: error.message }));
server.on('tlsClientError', (error) => tell({ event: 'refused', text: error.message }));
server.listen(options.port || 0, '127.0.0.1', () => tell({ event: 'ready', port: server.address().port }));

const lines = readline.createInterface({ input: process.stdin });
lines.on('line', (line) => inbound(JSON.parse(line)));
lines.on('close', () => process.exit(0));
