-- Takes tokens out of a bucket by the generic cell rate algorithm (ITU-T I.371).
-- KEYS[1] holds the time at which the bucket is full again, in microseconds of this server's clock.
-- ARGV: the microseconds in which one token is added, the tokens in a full bucket, the tokens wanted.
-- Answers the tokens granted, the tokens left, and the microseconds until there is one more.
local interval, burst, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local window = interval * burst
local full = tonumber(redis.call('GET', KEYS[1]) or '0') or 0
-- A bucket lacks no more than it holds, whatever the clock or another limit has made of it.
full = math.min(math.max(full, now), now + window)
-- Sums of fractions fall short of whole numbers by a little.
local free = math.floor((now + window - full) / interval + 0.001)
local granted = math.min(wanted, free)
if granted > 0 then
  full = full + granted * interval
  redis.call('SET', KEYS[1], string.format('%.3f', full), 'PX', math.ceil((full - now) / 1000))
end
local left = free - granted
return { granted, left, math.max(0, math.ceil(full + (left + 1) * interval - window - now)) }
