// Requests balanced by user: does a user keep the endpoint, and who moves when an endpoint is lost?
//
//   k6 run -e TARGET=http://my-gateway -e USER_HEADER=x-user loadtest/k6/consistent.js
//
// The gateway hashes on the field USER_HEADER; the answers' field ORIGIN_HEADER says which endpoint it
// was. An endpoint named in LOST is ended by somebody else while this runs: `scenarios` does. Each virtual
// user of k6 speaks for USERS users of its own and remembers where they went. Thresholds: every answer
// names its endpoint, nobody moves who was not on LOST, nobody comes back to LOST, failed requests under
// 0.5 %; with LOST also that somebody did leave it.

import { Counter, Rate } from 'k6/metrics';
import { arrivals, enough, field, get, good, number, settings, text, virtualUsers } from './lib.js';
export { handleSummary } from './lib.js';

const rate = number('RATE', 500);
const seconds = number('DURATION', 30);
// So few that each is seen several times, even in a short run.
const visits = (rate * seconds) / virtualUsers().preAllocatedVUs;
const users = number('USERS', Math.max(1, Math.min(20, Math.floor(visits / 4))));
const userHeader = text('USER_HEADER', 'x-user');
const originHeader = text('ORIGIN_HEADER', 'x-origin');
const lost = text('LOST', '');
const stayed = new Rate('user_stayed');
const left = new Counter('users_left_the_lost');
const named = new Rate('endpoint_named');
const known = new Counter('answers_to_known_users');
const endpoints = {};
let turn = 0;

export const options = settings(
  { consistent: arrivals(rate, seconds) },
  {
    http_req_failed: ['rate<0.005'],
    http_reqs: enough(rate * seconds),
    user_stayed: ['rate==1'],
    endpoint_named: ['rate==1'],
    answers_to_known_users: [`count>=${Math.floor((rate * seconds) / 4)}`],
    ...(lost ? { users_left_the_lost: ['count>0'] } : {}),
  },
);

export default function () {
  turn = (turn + 1) % users;
  const user = `user-${__VU}-${turn}`;
  const response = get({ [userHeader]: user });
  if (good(response)) {
    look(user, field(response, originHeader));
  }
}

function look(user, endpoint) {
  const before = endpoints[user];
  named.add(endpoint !== undefined);
  endpoints[user] = endpoint;
  if (before === undefined) return;
  known.add(1);
  left.add(before === lost && endpoint !== lost ? 1 : 0);
  stayed.add(endpoint === before || before === lost);
}
