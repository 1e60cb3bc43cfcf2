-- Several requests in one write, before the first of them is answered.
--
--   DEPTH=8 wrk -t 1 -c 16 -d 10 --latency -s loadtest/wrk/pipelined.lua http://my-gateway
--
-- The requests of a write ask for /p1 to /pDEPTH, and the origin's body names the path it was asked for (as
-- that of `sallyport origin` does). Expected: status 200 for each, and as many answers to each path as to
-- the first, but for those that the end of the run cut off (at most one write a connection,
-- and CONNECTIONS, if that is set, says how many there are). No latencies are reported: wrk corrects them as
-- if each request had been written by itself, and what it then calls a percentile is none.

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here .. "?.lua;" .. package.path
local expect = require("expect")

local depth = expect.number("DEPTH", 8)
local batch

for index = 1, depth do _G["p" .. index] = 0 end

function init(args)
  local writes = {}
  for index = 1, depth do writes[index] = wrk.format("GET", "/p" .. index) end
  batch = table.concat(writes)
end

function request()
  return batch
end

function response(code, headers, body)
  local index = tonumber(body:match("%u+ /p(%d+)"))
  local fine = code == 200 and index ~= nil and index <= depth
  if fine then _G["p" .. index] = _G["p" .. index] + 1 end
  expect.check(fine, "status " .. code .. ", path " .. tostring(index), body)
end

-- Within a connection answers come in order: no path can have more answers than the one before it, nor
-- lack more than one for each connection.
local function miscounted(threads)
  local connections = expect.number("CONNECTIONS", 1000)
  local function sum(index)
    local all = 0
    for _, thread in ipairs(threads) do all = all + thread:get("p" .. index) end
    return all
  end
  for index = 2, depth do
    local missing = sum(index - 1) - sum(index)
    if missing < 0 or missing > connections then
      return string.format("/p%d has %d answers, /p%d has %d", index - 1, sum(index - 1), index, sum(index))
    end
  end
end

function done(summary, latency, requests)
  expect.report(summary, nil, miscounted)
end
