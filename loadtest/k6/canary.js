// Requests split between two upstreams: is the observed share the configured one?
//
//   k6 run -e TARGET=http://my-gateway -e CANARY=canary -e SPLITS=10 loadtest/k6/canary.js
//
// The answers' field ORIGIN_HEADER says who answered; the share of those by CANARY is compared with the
// configured one, in percent. With several SPLITS, such as `10,50`, the configuration is changed while
// this runs, and the field named SPLIT_HEADER must say under which split an answer was given: `scenarios`
// does both. Thresholds: no failed request; under every split enough answers for the bound to hold, and a
// share within four standard deviations of a binomial with so many draws (a right split fails one run in
// 16,000).

import { Counter, Rate } from 'k6/metrics';
import { arrivals, enough, field, get, good, number, settings, text } from './lib.js';
export { handleSummary } from './lib.js';

const rate = number('RATE', 500);
const seconds = number('DURATION', 30);
const canary = text('CANARY', 'canary');
const originHeader = text('ORIGIN_HEADER', 'x-origin');
const splitHeader = text('SPLIT_HEADER', '');
const splits = text('SPLITS', '10').split(',').map(Number);
if (splits.some((split) => !(split > 0 && split < 100)) || (splits.length > 1 && !splitHeader)) {
  throw new Error('SPLITS are percentages between 0 and 100; several of them need SPLIT_HEADER');
}
const share = new Rate('canary_share');
const answers = new Counter('split_answers');
const known = new Rate('split_known');

// An edit at half-time leaves each split a half, give or take how soon it is noticed.
const draws = Math.max(1, Math.floor((rate * seconds * 0.6) / splits.length));

export const options = settings({ canary: arrivals(rate, seconds) }, thresholds());

function thresholds() {
  const all = {
    http_req_failed: ['rate==0'],
    http_reqs: enough(rate * seconds),
    split_known: ['rate==1'],
  };
  for (const split of splits) {
    const expected = split / 100;
    const slack = 4 * Math.sqrt((expected * (1 - expected)) / draws);
    all[`split_answers{split:${split}}`] = [`count>=${draws}`];
    all[`canary_share{split:${split}}`] = bounds(expected, slack);
  }
  return all;
}

function bounds(expected, slack) {
  const high = [`rate<=${(expected + slack).toFixed(4)}`];
  return expected > slack ? [`rate>=${(expected - slack).toFixed(4)}`, ...high] : high;
}

export default function () {
  const response = get();
  const split = splitHeader ? field(response, splitHeader) : String(splits[0]);
  const origin = field(response, originHeader);
  known.add(good(response) && origin !== undefined && splits.includes(Number(split)));
  share.add(origin === canary, { split });
  answers.add(1, { split });
}
