// Several times the usual rate, suddenly: are requests lost, and is it over when it is over?
//
//   k6 run -e TARGET=http://my-gateway -e RATE=300 -e SPIKE=5 loadtest/k6/spike.js
//
// A third of DURATION at RATE, a third at SPIKE times RATE, a third at RATE. Thresholds: failed requests
// under 0.1 % throughout; p99 under SPIKE_P99_MS in the spike, and under P99_MS before it and after it
// (leaving out the first tenth of DURATION after it, in which a queue may drain).

import { elapsedSeconds, enough, get, number, settings, virtualUsers } from './lib.js';
export { handleSummary } from './lib.js';

const rate = number('RATE', 300);
const height = number('SPIKE', 5);
const seconds = number('DURATION', 30);
const third = seconds / 3;
const p99 = [`p(99)<${number('P99_MS', 100)}`];

export const options = settings(
  { spike: spike() },
  {
    http_req_failed: ['rate<0.001'],
    'http_req_duration{phase:before}': p99,
    'http_req_duration{phase:spike}': [`p(99)<${number('SPIKE_P99_MS', 500)}`],
    'http_req_duration{phase:after}': p99,
    'http_reqs{phase:spike}': enough(rate * height * third),
    'http_reqs{phase:after}': enough(rate * (third - seconds / 10)),
    http_reqs: enough(rate * (2 + height) * third),
  },
);

export default function () {
  get({}, { phase: phase(elapsedSeconds()) });
}

function phase(elapsed) {
  if (elapsed < third) return 'before';
  if (elapsed < 2 * third) return 'spike';
  return elapsed < 2 * third + seconds / 10 ? 'draining' : 'after';
}

// A stage of no length is a step.
function spike() {
  const hold = `${Math.round(third * 1000)}ms`;
  const stages = [
    { target: rate, duration: hold },
    { target: rate * height, duration: '0s' },
    { target: rate * height, duration: hold },
    { target: rate, duration: '0s' },
    { target: rate, duration: hold },
  ];
  const executor = 'ramping-arrival-rate';
  return { executor, startRate: rate, timeUnit: '1s', stages, gracefulStop: '10s', ...virtualUsers() };
}
