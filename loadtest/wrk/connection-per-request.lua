-- A connection for every request.
--
--   wrk -t 1 -c 32 -d 10 --latency -s loadtest/wrk/connection-per-request.lua http://my-gateway/path
--
-- Expected: the status EXPECT_STATUS (200), EXPECT_BODY, if that is set, somewhere in the body, and that
-- the answer says that the connection ends.

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here .. "?.lua;" .. package.path
local expect = require("expect")

local status = expect.number("EXPECT_STATUS", 200)
local wanted = expect.setting("EXPECT_BODY", "")

wrk.headers["Connection"] = "close"

function response(code, headers, body)
  local closes = (expect.field(headers, "Connection") or ""):lower() == "close"
  local fine = code == status and closes and body:find(wanted, 1, true) ~= nil
  expect.check(fine, "status " .. code .. (closes and "" or ", connection kept open"), body)
end

function done(summary, latency, requests)
  expect.report(summary, latency)
end
