// More and more requests a second until answers are late or wrong: how far does it get?
//
//   k6 run -e TARGET=http://my-gateway -e RATE=500 -e STEPS=10 -e FLOOR=1000 loadtest/k6/ramp.js
//
// RATE is the first step and what each adds; DURATION is shared by all STEPS. The first fifth of a
// step is the way up to it and is not judged. A step is kept if p99 is under P99_MS, failed requests are
// under 1 % and 95 % of the requests were made. The summary names the last step that was kept and the
// first that was not. Thresholds: every step up to FLOOR requests a second is kept.

import { elapsedSeconds, get, number, settings, summary, virtualUsers } from './lib.js';

const rate = number('RATE', 500);
const steps = number('STEPS', 10);
const stepSeconds = number('DURATION', 60) / steps;
const climbSeconds = stepSeconds / 5;
const p99 = number('P99_MS', 100);
const rates = Array.from({ length: steps }, (_, index) => rate * (index + 1));
const floor = number('FLOOR', Math.min(1000, rates[rates.length - 1]));
if (floor < rates[0]) {
  throw new Error(`FLOOR must be at least the first step, ${rates[0]}`);
}

export const options = settings({ ramp: ramp() }, thresholds());

export default function () {
  const elapsed = elapsedSeconds();
  const index = Math.min(Math.floor(elapsed / stepSeconds), steps - 1);
  const climbing = elapsed - index * stepSeconds < climbSeconds;
  get({}, { step: climbing ? 'climb' : String(rates[index]) });
}

function ramp() {
  const milliseconds = (seconds) => `${Math.round(seconds * 1000)}ms`;
  const stages = rates.flatMap((target) => [
    { target, duration: milliseconds(climbSeconds) },
    { target, duration: milliseconds(stepSeconds - climbSeconds) },
  ]);
  const executor = 'ramping-arrival-rate';
  return { executor, startRate: 0, timeUnit: '1s', stages, gracefulStop: '10s', ...virtualUsers() };
}

function planned(step) {
  return step * (stepSeconds - climbSeconds);
}

// k6 keeps figures of a step only if a threshold asks for them. Above the floor the thresholds are
// therefore ones that always hold: they judge nothing, they only keep the figures.
function thresholds() {
  const all = {};
  for (const step of rates) {
    const judged = step <= floor;
    all[`http_req_duration{step:${step}}`] = [judged ? `p(99)<${p99}` : 'max>=0'];
    all[`http_req_failed{step:${step}}`] = [judged ? 'rate<0.01' : 'rate>=0'];
    all[`http_reqs{step:${step}}`] = [judged ? `count>=${Math.floor(planned(step) * 0.95)}` : 'count>=0'];
  }
  return all;
}

function kept(data, step) {
  const values = (name) => data.metrics[`${name}{step:${step}}`].values;
  const found = {
    p99: values('http_req_duration')['p(99)'],
    failed: values('http_req_failed').rate,
    made: values('http_reqs').count / planned(step),
  };
  return { ...found, ok: found.p99 < p99 && found.failed < 0.01 && found.made >= 0.95 };
}

export function handleSummary(data) {
  const found = rates.map((step) => ({ step, ...kept(data, step) }));
  const broken = found.findIndex(({ ok }) => !ok);
  const line = ({ step, p99: ms, failed, made }) =>
    `${step}/s: p99 ${ms.toFixed(1)} ms, ${(failed * 100).toFixed(2)} % failed, ${(made * 100).toFixed(0)} % of the requests made`;
  const last = broken < 0 ? found[found.length - 1] : found[broken - 1];
  data.ramp = { kept: last ? last.step : 0, broke: broken < 0 ? null : found[broken].step, steps: found };
  const kepts = last ? `kept ${line(last)}` : 'kept no step';
  const broke = broken < 0 ? 'no step broke: ask for more with RATE or STEPS' : `broke at ${line(found[broken])}`;
  return summary(data, `\n  ${kepts}\n  ${broke}\n`);
}
