-- Many hosts and paths, drawn from the table that the gateway is configured with.
--
--   TABLE=routes.txt SEED=1 wrk -t 1 -c 32 -d 10 --latency -s loadtest/wrk/table.lua http://my-gateway
--
-- A line of TABLE is `HOST PATH` or `HOST PATH ROUTE`. Draws are random and repeatable by SEED. Expected:
-- the status EXPECT_STATUS (200); where the lines name routes also that the origin's body says which
-- request it got (a first line `... PATH` and a line `host: HOST`, as `sallyport origin` answers) and
-- that the answer's field ROUTE_HEADER (x-route) names that request's route.

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here .. "?.lua;" .. package.path
local expect = require("expect")

local status = expect.number("EXPECT_STATUS", 200)
local route_header = expect.setting("ROUTE_HEADER", "x-route")
local requests, routes = {}, {}

local function read(file)
  for line in io.lines(file) do
    local host, path, route = line:match("^(%S+)%s+(%S+)%s*(%S*)$")
    if not host then error("not HOST PATH [ROUTE]: " .. line) end
    table.insert(requests, wrk.format("GET", path, { Host = host }))
    if route ~= "" then routes[host .. " " .. path] = route end
  end
  if #requests == 0 then error(file .. " has no lines") end
end

function init(args)
  local file = expect.setting("TABLE", nil) or error("TABLE must name a file")
  read(file)
  math.randomseed(expect.number("SEED", 1) * 1000 + number)
end

function request()
  return requests[math.random(#requests)]
end

local function expected_route(body)
  local path = body:match("%u+ (/%S*)")
  local host = body:match("\nhost: (%S+)")
  return path and host and routes[host .. " " .. path]
end

function response(code, headers, body)
  local fine, what = code == status, "status " .. code
  if fine and next(routes) then
    local route, wanted = expect.field(headers, route_header), expected_route(body)
    fine = wanted ~= nil and route == wanted
    what = "route " .. tostring(route) .. ", not " .. tostring(wanted)
  end
  expect.check(fine, what, body)
end

function done(summary, latency, requests)
  expect.report(summary, latency)
end
