// What the scenarios share: settings from the environment, one request, and the summary.
//
// Every setting is an environment variable, given as `k6 run -e NAME=value`. A setting that is no
// number where one is needed ends the run before it begins.

import http from 'k6/http';
import exec from 'k6/execution';

export function text(name, fallback) {
  const value = __ENV[name];
  return value === undefined || value === '' ? fallback : value;
}

export function number(name, fallback) {
  const value = Number(text(name, fallback));
  if (!Number.isFinite(value) || value <= 0) {
    throw new Error(`${name} must be a number above zero, not ${__ENV[name]}`);
  }
  return value;
}

export const target = text('TARGET', 'http://127.0.0.1:8080').replace(/\/$/, '');
const path = text('REQUEST_PATH', '/');
const host = text('HOST_HEADER', '');
const status = number('EXPECT_STATUS', 200);

// One GET. Redirects are not followed: they would count as more requests than were offered.
export function get(headers, tags) {
  const all = host ? { Host: host, ...headers } : headers || {};
  return http.get(target + path, { headers: all, tags, redirects: 0 });
}

export function good(response) {
  return response.status === status;
}

// A field of the answer, or nothing; names are compared as HTTP compares them.
export function field(response, name) {
  const wanted = name.toLowerCase();
  const found = Object.keys(response.headers).find((key) => key.toLowerCase() === wanted);
  return found && response.headers[found];
}

export function elapsedSeconds() {
  return (Date.now() - exec.scenario.startTime) / 1000;
}

// What every scenario sets: no more tags than are used, since each costs k6 time on every request.
export function settings(scenarios, thresholds) {
  return {
    scenarios,
    thresholds,
    discardResponseBodies: true,
    summaryTrendStats: ['min', 'med', 'p(90)', 'p(99)', 'p(99.9)', 'max'],
    systemTags: ['scenario', 'status', 'error_code', 'expected_response'],
  };
}

export function virtualUsers() {
  const preAllocatedVUs = number('VUS', 50);
  return { preAllocatedVUs, maxVUs: preAllocatedVUs * 10 };
}

// A constant number of new requests a second, however slow the answers are.
export function arrivals(rate, seconds) {
  return {
    executor: 'constant-arrival-rate',
    rate,
    timeUnit: '1s',
    duration: `${seconds}s`,
    gracefulStop: '10s',
    ...virtualUsers(),
  };
}

// Fewer requests than this mean that the offered rate was not kept, by the gateway or by k6.
export function enough(planned) {
  return [`count>=${Math.floor(planned * 0.95)}`];
}

export function handleSummary(data) {
  return summary(data, '');
}

// Prints every threshold with what was found, and writes all of it to SUMMARY if that is set.
export function summary(data, more) {
  const lines = [];
  for (const name of Object.keys(data.metrics).sort()) {
    const { thresholds, values } = data.metrics[name];
    for (const rule of Object.keys(thresholds || {}).filter(judges)) {
      lines.push(`  ${thresholds[rule].ok ? 'ok    ' : 'FAILED'}  ${name}: ${rule}  (${shown(values)})`);
    }
  }
  const outputs = { stdout: `\n${lines.join('\n')}\n${more}` };
  if (__ENV.SUMMARY) {
    outputs[__ENV.SUMMARY] = JSON.stringify(data);
  }
  return outputs;
}

// Some thresholds always hold: they are there because k6 keeps the figures of a tag only for thresholds.
function judges(rule) {
  return !rule.endsWith('>=0');
}

function shown(values) {
  const digits = (value) => (Number.isInteger(value) ? value : value.toFixed(3));
  return Object.keys(values).map((key) => `${key} ${digits(values[key])}`).join(', ');
}
