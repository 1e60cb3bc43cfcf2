// Many WebSocket connections through the gateway: are they prompt, and does any of them break?
//
//   k6 run -e TARGET=ws://my-gateway/echo -e VUS=100 -e DURATION=30 loadtest/k6/websocket.js
//
// Behind the gateway stands an echo. Each of VUS connections sends MESSAGES texts a second and closes
// after DURATION; round trips are counted in whole milliseconds. While this runs `scenarios` rewrites the
// gateway's file every 200 ms. Thresholds: every connection is made, none is closed before it closes
// itself, every text comes back unchanged, and the round trip's p99 is under P99_MS.

import ws from 'k6/ws';
import { Counter, Rate, Trend } from 'k6/metrics';
import { number, settings, target, text } from './lib.js';
export { handleSummary } from './lib.js';

const connections = number('VUS', 100);
const seconds = number('DURATION', 30);
const perSecond = number('MESSAGES', 5);
const host = text('HOST_HEADER', '');
// The last texts leave a second before the end, so that every one of them can be expected back.
const talkSeconds = Math.max(seconds - 1, seconds / 2);
const opened = new Rate('ws_opened');
const stayed = new Rate('ws_stayed_open');
const echoed = new Rate('ws_echoed');
const trip = new Trend('ws_round_trip', true);
const texts = new Counter('ws_texts');

export const options = settings(
  {
    websocket: {
      executor: 'per-vu-iterations',
      vus: connections,
      iterations: 1,
      maxDuration: `${seconds + 20}s`,
    },
  },
  {
    ws_opened: ['rate==1'],
    ws_stayed_open: ['rate==1'],
    ws_echoed: ['rate==1'],
    ws_round_trip: [`p(99)<${number('P99_MS', 100)}`],
    ws_texts: [`count>=${Math.floor(connections * talkSeconds * perSecond * 0.7)}`],
  },
);

export default function () {
  const state = { waiting: {}, sent: 0, done: false };
  const address = target.replace(/^http/, 'ws');
  const params = { headers: host ? { Host: host } : {} };
  const response = ws.connect(address, params, (socket) => converse(socket, state));
  opened.add(Boolean(response) && response.status === 101);
  stayed.add(state.done);
  for (let unanswered = Object.keys(state.waiting).length; unanswered > 0; unanswered -= 1) {
    echoed.add(false);
  }
}

function converse(socket, state) {
  const until = Date.now() + talkSeconds * 1000;
  socket.on('open', () => {
    socket.setInterval(() => Date.now() < until && say(socket, state), 1000 / perSecond);
    socket.setTimeout(() => {
      state.done = true;
      socket.close();
    }, seconds * 1000);
  });
  socket.on('message', (message) => hear(message, state));
}

function say(socket, state) {
  state.sent += 1;
  const message = `${__VU}:${state.sent}`;
  state.waiting[message] = Date.now();
  texts.add(1);
  socket.send(message);
}

function hear(message, state) {
  const sentAt = state.waiting[message];
  echoed.add(sentAt !== undefined);
  if (sentAt !== undefined) {
    trip.add(Date.now() - sentAt);
    delete state.waiting[message];
  }
}
