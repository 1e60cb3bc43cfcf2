// A constant number of requests a second: does the gateway answer all of them, and how soon?
//
//   k6 run -e TARGET=http://my-gateway -e RATE=500 -e DURATION=30 loadtest/k6/steady.js
//
// Thresholds: failed requests under 0.1 %, p99 under P99_MS, and the rate was kept.

import { arrivals, enough, get, number, settings } from './lib.js';
export { handleSummary } from './lib.js';

const rate = number('RATE', 500);
const seconds = number('DURATION', 30);

export const options = settings(
  { steady: arrivals(rate, seconds) },
  {
    http_req_failed: ['rate<0.001'],
    http_req_duration: [`p(99)<${number('P99_MS', 100)}`],
    http_reqs: enough(rate * seconds),
  },
);

export default function () {
  get();
}
