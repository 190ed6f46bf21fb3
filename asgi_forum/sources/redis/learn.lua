-- Take note of the ids of entries that other producers have appended, so that publishing does not repeat them.
-- KEYS: log, meta, ids:0, ids:1. ARGV: epoch, seconds to remember ids, up to which sequence, then event_id and record of each.
local log, meta = KEYS[1], KEYS[2]
local epoch, remember, upto = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local state = redis.call('HMGET', meta, 'epoch', 'appended', 'young', 'turned', 'remember')
if state[1] ~= epoch or tonumber(state[2] or '0') >= upto then return 0 end
local young = tonumber(state[3] or '0')
remember = math.max(remember, tonumber(state[5] or '0'))
if not state[4] then redis.call('HSET', meta, 'young', 0, 'turned', redis.call('TIME')[1]) end

local function stale(record)
  -- Whether it is of a log that is gone: another entry has its number.
  local sequence, hash = string.match(record, '^(%d+):%x*:(%x*):')
  local entry = redis.call('XRANGE', log, '0-' .. sequence, '0-' .. sequence)[1]
  return entry and hash ~= string.sub(redis.sha1hex(entry[2][2]), 1, 8)
end

for index = 4, #ARGV, 2 do
  -- The first entry with an id is the one that counts.
  local found = redis.call('HGET', KEYS[3 + young], ARGV[index]) or redis.call('HGET', KEYS[4 - young], ARGV[index])
  if not found or stale(found) then redis.call('HSET', KEYS[3 + young], ARGV[index], ARGV[index + 1]) end
end
redis.call('EXPIRE', KEYS[3 + young], math.ceil(remember * 2) + 60)
redis.call('HSET', meta, 'appended', string.format('%d', upto))
return 1
