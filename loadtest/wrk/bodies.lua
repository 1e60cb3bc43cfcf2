-- Bodies of several sizes, up and down in turns.
--
--   wrk -t 1 -c 16 -d 10 --latency -s loadtest/wrk/bodies.lua http://my-gateway
--   SIZES=1024,65536 DIRECTIONS=down wrk ...
--
-- Behind the gateway stands an origin that answers `GET /bytes/N` with N bytes and `POST /upload` with
-- `received N` in the body and the request's field x-size again: `wrk-load origin --address IP:PORT` is
-- one. Expected: status 200; down, as many bytes as the field x-size says, which is one of SIZES; up, that
-- the origin received as many bytes as were sent.

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here .. "?.lua;" .. package.path
local expect = require("expect")

local directions = expect.setting("DIRECTIONS", "up,down")
local requests, sizes = {}, {}
local turn = 0

local function add(size)
  sizes[size] = true
  if directions:find("down") then
    table.insert(requests, wrk.format("GET", "/bytes/" .. size))
  end
  if directions:find("up") then
    local headers = { ["x-size"] = tostring(size), ["Content-Type"] = "application/octet-stream" }
    table.insert(requests, wrk.format("POST", "/upload", headers, ("u"):rep(size)))
  end
end

function init(args)
  for size in expect.setting("SIZES", "1024,65536,1048576"):gmatch("%d+") do add(tonumber(size)) end
  if #requests == 0 then error("no SIZES, or DIRECTIONS is neither up nor down") end
  turn = number
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function response(code, headers, body)
  local size = tonumber(expect.field(headers, "x-size") or "")
  local received = tonumber(body:match("^received (%d+)\n$"))
  local fine = code == 200 and sizes[size] ~= nil and (received or #body) == size
  local what = "status %d, %d bytes for a size of %s"
  expect.check(fine, what:format(code, received or #body, tostring(size)), body)
end

function done(summary, latency, requests)
  expect.report(summary, latency)
end
