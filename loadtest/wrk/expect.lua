-- What the scripts share: counting answers, saying what was unexpected, and the report.
--
-- wrk gives every thread a Lua state of its own and reads its globals at the end, so the counters are
-- globals. A script calls expect.check(fine, what) once for every answer. At the end the figures are
-- printed for people and, on a line that begins with RESULT, as JSON; wrk ends with 1 if any answer was
-- not as expected, if any connection failed, or if nothing was answered.

local expect = {}
local threads = {}

answers = 0
unexpected = 0
bytes = 0
first = ""

function setup(thread)
  table.insert(threads, thread)
  thread:set("number", #threads)
end

-- A setting from the environment.
function expect.setting(name, fallback)
  local value = os.getenv(name)
  if value == nil or value == "" then return fallback end
  return value
end

-- The same as a number above zero.
function expect.number(name, fallback)
  local value = tonumber(expect.setting(name, fallback))
  if value == nil or value <= 0 then error(name .. " must be a number above zero") end
  return value
end

-- A field of an answer; names are compared as HTTP compares them.
function expect.field(headers, name)
  if headers[name] then return headers[name] end
  local wanted = name:lower()
  for key, value in pairs(headers) do
    if key:lower() == wanted then return value end
  end
  return nil
end

-- Counts an answer; `what` says what was wrong with it if it is not fine.
function expect.check(fine, what, body)
  answers = answers + 1
  bytes = bytes + #body
  if not fine then
    unexpected = unexpected + 1
    if first == "" then first = what end
  end
end

local function quoted(text)
  return '"' .. text:gsub('[%c"\\]', function(c) return string.format("\\u%04x", c:byte()) end) .. '"'
end

local function total(name)
  local sum = 0
  for _, thread in ipairs(threads) do sum = sum + thread:get(name) end
  return sum
end

local function first_of_all()
  for _, thread in ipairs(threads) do
    if thread:get("first") ~= "" then return thread:get("first") end
  end
  return ""
end

-- Times are wrk's, in microseconds; a script whose times wrk gets wrong passes nil for them. `more(threads)`
-- may name what only the whole can show.
function expect.report(summary, latency, more)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout
  local counted, wrong, seconds = total("answers"), total("unexpected"), summary.duration / 1e6
  local reason = first_of_all()
  local extra = more and more(threads)
  if extra then
    wrong = wrong + 1
    reason = reason == "" and extra or reason
  end
  local p = function(share) return latency and string.format("%.1f", latency:percentile(share)) or "null" end
  print(string.format("%.0f requests/s, %.2f MB/s, us: p50 %s, p90 %s, p99 %s, p99.9 %s",
    counted / seconds, total("bytes") / seconds / 1e6, p(50), p(90), p(99), p(99.9)))
  print(string.format("%d answers, %d unexpected, %d errors of connections%s", counted, wrong, failed,
    reason == "" and "" or "; first: " .. reason))
  print("RESULT " .. string.format(
    '{"answers":%d,"unexpected":%d,"first_unexpected":%s,"body_bytes":%d,"duration_s":%.6f,' ..
    '"p50_us":%s,"p90_us":%s,"p99_us":%s,"p999_us":%s,"errors":{"connect":%d,"read":%d,' ..
    '"write":%d,"timeout":%d,"status":%d}}',
    counted, wrong, quoted(reason), total("bytes"), seconds, p(50), p(90), p(99), p(99.9),
    errors.connect, errors.read, errors.write, errors.timeout, errors.status))
  io.stdout:flush()
  if wrong > 0 or failed > 0 or counted == 0 then os.exit(1) end
end

return expect
