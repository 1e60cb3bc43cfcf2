-- One path again and again over connections that stay open.
--
--   wrk -t 1 -c 32 -d 10 --latency -s loadtest/wrk/one-path.lua http://my-gateway/path
--
-- Expected: the status EXPECT_STATUS (200), and EXPECT_BODY, if that is set, somewhere in the body.

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here .. "?.lua;" .. package.path
local expect = require("expect")

local status = expect.number("EXPECT_STATUS", 200)
local wanted = expect.setting("EXPECT_BODY", "")

function response(code, headers, body)
  local fine = code == status and body:find(wanted, 1, true) ~= nil
  expect.check(fine, "status " .. code, body)
end

function done(summary, latency, requests)
  expect.report(summary, latency)
end
