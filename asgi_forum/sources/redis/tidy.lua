-- Retention, once an interval for all processes together: by length, and by the age since arrival.
-- KEYS: log, meta, ages (marks: at a time, how far the log had come). ARGV: interval, entries to retain, seconds to retain (0: ever).
-- Returns how many entries were trimmed; -1 where it was not time yet.
local log, meta, ages = KEYS[1], KEYS[2], KEYS[3]
local interval, retain, seconds = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1e6
-- A clock that was ahead of this one by more than an interval was wrong.
if math.abs(now - tonumber(redis.call('HGET', meta, 'tidied') or '0')) < interval then return -1 end
if redis.call('EXISTS', log) == 0 then return 0 end
-- First of all it trims: a server that is full takes nothing else.
local trimmed = redis.call('XTRIM', log, 'MAXLEN', '~', retain)
if redis.call('XLEN', log) > retain + 300 then trimmed = trimmed + redis.call('XTRIM', log, 'MAXLEN', retain) end
if seconds > 0 then
  local limit = string.format('(%.3f', now - seconds)
  local old = redis.call('ZRANGE', ages, limit, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, 1)[1]
  if old then
    trimmed = trimmed + redis.call('XTRIM', log, 'MINID', string.format('0-%d', tonumber(old) + 1))
    redis.call('ZREMRANGEBYSCORE', ages, '-inf', limit)
  end
  redis.call('ZREMRANGEBYSCORE', ages, string.format('(%.3f', now + interval), '+inf')
end
redis.call('HSET', meta, 'tidied', string.format('%.3f', now))
if seconds > 0 then
  local tip = redis.call('XREVRANGE', log, '0-18446744073709551615', '0-1', 'COUNT', 1)[1]
  -- The first mark at a sequence counts: in a log that is quiet, later ones would keep its newest entries young for ever.
  if tip then redis.call('ZADD', ages, 'NX', string.format('%.3f', now), string.sub(tip[1], 3)) end
  redis.call('EXPIRE', ages, math.ceil(seconds * 2) + 3600)
end
return trimmed
