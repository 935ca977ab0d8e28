// Visitors for k6 (https://k6.io): half of them hold a WebSocket, the others poll. Run it against a server of your own:
//
//   k6 run -e URL=http://127.0.0.1:8080 -e QUEUE=SLUG_OR_ID Config/k6/stanchion.js
//
// VISITORS of each kind at once (10) for SECONDS (30). Somebody who joins stays for STAY seconds (5) and leaves again.
// From one address a server takes 20 joins a second (--joins-per-address); loopback does not count.

import { check, sleep } from 'k6';
import http from 'k6/http';
import ws from 'k6/ws';

const URL = __ENV.URL || 'http://127.0.0.1:8080';
const QUEUE = __ENV.QUEUE || 'demo';
const VISITORS = Number(__ENV.VISITORS || 10);
const SECONDS = Number(__ENV.SECONDS || 30);
const STAY = Number(__ENV.STAY || 5);

const people = { executor: 'constant-vus', vus: VISITORS, duration: `${SECONDS}s`, gracefulStop: `${STAY + 5}s` };

export const options = {
  scenarios: {
    polling: { ...people, exec: 'poll' },
    connected: { ...people, exec: 'connect' },
  },
  // The targets of docs/performance.md.
  thresholds: {
    checks: ['rate>0.999'],
    'http_req_duration{scenario:polling}': ['p(95)<2000', 'p(99)<5000'],
    ws_connecting: ['p(95)<2000'],
  },
};

/** Joins over REST, asks for the position once a second, and leaves. */
export function poll() {
  const json = { headers: { 'Content-Type': 'application/json' } };
  const joined = http.post(`${URL}/v1/queues/${QUEUE}/join`, JSON.stringify({ displayName: 'k6' }), { ...json, tags: { name: 'join' } });
  if (!check(joined, { 'joined over REST': (answer) => answer.status === 201 })) { sleep(1); return; }
  const token = joined.json('token');
  const mine = { headers: { ...json.headers, Authorization: `Bearer ${token}` } };
  for (let second = 0; second < STAY; second += 1) {
    sleep(1);
    const place = http.get(`${URL}/v1/queues/${QUEUE}/position`, { ...mine, tags: { name: 'position' } });
    check(place, { 'has a place': (answer) => answer.status === 200 && ['waiting', 'admitted'].includes(answer.json('status')) });
    if (place.json('status') === 'admitted') break;
  }
  const left = http.post(`${URL}/v1/queues/${QUEUE}/leave`, '{}', { ...mine, tags: { name: 'leave' } });
  check(left, { 'left over REST': (answer) => answer.status === 204 });
}

/** Holds a place over /v1/live (docs/protocol.md), and leaves. */
export function connect() {
  const heard = new Set();
  const answer = ws.connect(`${URL.replace(/^http/, 'ws')}/v1/live`, {}, (socket) => {
    socket.on('open', () => socket.send(JSON.stringify({ type: 'join', queue: QUEUE })));
    socket.on('message', (text) => {
      const frame = JSON.parse(text);
      heard.add(frame.type);
      if (frame.type === 'joined') socket.setTimeout(() => socket.send(JSON.stringify({ type: 'leave' })), 1000 * STAY);
      if (frame.type === 'admitted') socket.send(JSON.stringify({ type: 'leave' }));
    });
    // The server closes after a leave; where it does not, this says so.
    socket.setTimeout(() => socket.close(), 1000 * (STAY + 4));
  });
  check(answer, { 'WebSocket opened': (one) => one && one.status === 101 });
  check(heard, { 'joined over WebSocket': (types) => types.has('joined') });
}
