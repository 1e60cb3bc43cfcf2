// A constant rate while the gateway's configuration is changed again and again: does anybody notice?
//
//   k6 run -e TARGET=http://my-gateway -e RATE=500 -e DURATION=30 loadtest/k6/reload.js
//
// Somebody else changes the configuration: `scenarios` rewrites the file every 200 ms. If every version
// sets a response field to its number, name the field in VERSION_HEADER. Thresholds: no failed request,
// p99 under P99_MS, the rate was kept; with VERSION_HEADER also that every answer bears a version, that
// versions rise and that no user sees an older one after a newer one.

import { Counter, Rate } from 'k6/metrics';
import { arrivals, enough, field, get, number, settings, text } from './lib.js';
export { handleSummary } from './lib.js';

const rate = number('RATE', 500);
const seconds = number('DURATION', 30);
const header = text('VERSION_HEADER', '');
const rose = new Counter('version_rose');
const ordered = new Rate('version_in_order');
let seen = 0;

const versions = header ? { version_rose: ['count>0'], version_in_order: ['rate==1'] } : {};

export const options = settings(
  { reload: arrivals(rate, seconds) },
  {
    http_req_failed: ['rate==0'],
    http_req_duration: [`p(99)<${number('P99_MS', 100)}`],
    http_reqs: enough(rate * seconds),
    ...versions,
  },
);

export default function () {
  const response = get();
  if (header) {
    look(Number(field(response, header)));
  }
}

// A field that is missing or no number is neither above nor equal to what was seen: not in order.
function look(version) {
  ordered.add(version >= seen);
  rose.add(version > seen && seen > 0 ? 1 : 0);
  seen = Math.max(seen, version || 0);
}
