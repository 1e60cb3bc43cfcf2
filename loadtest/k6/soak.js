// A moderate rate for a long time: does anything creep?
//
//   k6 run -e TARGET=http://my-gateway -e RATE=300 -e DURATION=600 loadtest/k6/soak.js
//
// Thresholds: failed requests under 0.01 %, p99 under P99_MS both early (10 to 40 % of DURATION) and late
// (the last 30 %), and the rate was kept. How late compares with early, and what became of the gateway's
// memory and descriptors, is judged by `scenarios`, which can see the process.

import { arrivals, elapsedSeconds, enough, get, number, settings } from './lib.js';
export { handleSummary } from './lib.js';

const rate = number('RATE', 300);
const seconds = number('DURATION', 600);
const p99 = [`p(99)<${number('P99_MS', 100)}`];

export const options = settings(
  { soak: arrivals(rate, seconds) },
  {
    http_req_failed: ['rate<0.0001'],
    'http_req_duration{part:early}': p99,
    'http_req_duration{part:late}': p99,
    'http_reqs{part:early}': enough(rate * seconds * 0.3),
    'http_reqs{part:late}': enough(rate * seconds * 0.3),
    http_reqs: enough(rate * seconds),
  },
);

export default function () {
  get({}, { part: part(elapsedSeconds() / seconds) });
}

function part(share) {
  if (share < 0.1) return 'warm-up';
  if (share < 0.4) return 'early';
  return share < 0.7 ? 'middle' : 'late';
}
