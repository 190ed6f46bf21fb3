-- Take away the entries that can't be numbered on from, where the server lets the last id go back; else change nothing.
-- KEYS: log, meta, a key of no use otherwise.
-- Returns {'fine'}; {'copy'}: the log has to be copied; {'done', entries removed, their ids (1000 at most), entries kept, last sequence}.
local log, meta, probe = KEYS[1], KEYS[2], KEYS[3]
local TOP = '0-18446744073709551615'
local function sequence_of(id) return tonumber(string.match(id, '^0%-(%d+)$')) end

if redis.call('EXISTS', log) == 0 then return {'fine'} end
local last, deleted = '0-0', '0-0'
local info = redis.call('XINFO', 'STREAM', log)
for index = 1, #info, 2 do
  if info[index] == 'last-generated-id' then last = info[index + 1] end
  if info[index] == 'max-deleted-entry-id' then deleted = info[index + 1] end
end
if sequence_of(last) then return {'fine'} end

-- Redis 7.0 lets the last id go back, Valkey 8 and 9 don't: tried where it does no harm.
redis.call('XADD', probe, '0-1', 'event', '')
redis.call('XADD', probe, '1-0', 'event', '')
redis.call('XDEL', probe, '1-0')
local tried = redis.pcall('XSETID', probe, '0-1')
redis.call('DEL', probe)
if type(tried) == 'table' and tried.err then return {'copy'} end

-- No number is given out twice: not one of an entry that is gone either.
local tip = redis.call('XREVRANGE', log, TOP, '0-1', 'COUNT', 1)[1]
local upto = math.max(
  tip and sequence_of(tip[1]) or 0, tonumber(redis.call('HGET', meta, 'appended') or '0'), sequence_of(deleted) or 0
)
local count, ids = 0, {}
local part = redis.call('XRANGE', log, '1-0', '+', 'COUNT', 100)
while #part > 0 do
  for _, entry in ipairs(part) do
    count = count + redis.call('XDEL', log, entry[1])
    if count <= 1000 then ids[count] = entry[1] end
  end
  part = redis.call('XRANGE', log, '1-0', '+', 'COUNT', 100)
end
local kept = redis.call('XLEN', log)
if upto == 0 then
  redis.call('DEL', log)
else
  -- What was deleted last has to have a number again too: it is what says so of the next one that is deleted.
  local gone = sequence_of(deleted) or 0
  redis.call('XSETID', log, string.format('0-%d', upto), 'MAXDELETEDID', string.format('0-%d', gone > 0 and gone or upto))
end
return {'done', count, ids, kept, upto}
