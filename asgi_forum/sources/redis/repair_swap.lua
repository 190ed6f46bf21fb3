-- Put a copy of a log's numbered entries in its place, if it still is one. KEYS: log, meta, copy.
-- Returns {'fine'}: there is nothing to repair any more; {'changed'}: other entries are there than were copied;
--   {'done', entries left out, their ids (1000 at most), entries kept, last sequence}. The copy is gone in each case.
local log, meta, copy = KEYS[1], KEYS[2], KEYS[3]
local TOP = '0-18446744073709551615'
local function sequence_of(id) return tonumber(string.match(id, '^0%-(%d+)$')) end
local function gone(...)
  redis.call('UNLINK', copy)
  return {...}
end

if redis.call('EXISTS', log) == 0 then return gone('fine') end
local last, deleted = '0-0', '0-0'
local info = redis.call('XINFO', 'STREAM', log)
for index = 1, #info, 2 do
  if info[index] == 'last-generated-id' then last = info[index + 1] end
  if info[index] == 'max-deleted-entry-id' then deleted = info[index + 1] end
end
if sequence_of(last) then return gone('fine') end

local count, ids, from = 0, {}, '1-0'
local part = redis.call('XRANGE', log, from, '+', 'COUNT', 100)
while #part > 0 do
  for _, entry in ipairs(part) do
    count = count + 1
    if count <= 1000 then ids[count] = entry[1] end
  end
  part = redis.call('XRANGE', log, '(' .. part[#part][1], '+', 'COUNT', 100)
end

local kept = redis.call('XLEN', log) - count
local tip = redis.call('XREVRANGE', log, TOP, '0-1', 'COUNT', 1)[1]
-- No number is given out twice: not one of an entry that is gone either.
local upto = math.max(
  tip and sequence_of(tip[1]) or 0, tonumber(redis.call('HGET', meta, 'appended') or '0'), sequence_of(deleted) or 0
)
if kept > 0 then
  -- What was trimmed since it was copied goes from the copy too.
  redis.call('XTRIM', copy, 'MINID', redis.call('XRANGE', log, '0-1', TOP, 'COUNT', 1)[1][1])
  local end_of_copy = redis.call('XREVRANGE', copy, '+', '-', 'COUNT', 1)[1]
  if redis.call('XLEN', copy) ~= kept or end_of_copy[1] ~= tip[1] or end_of_copy[2][2] ~= tip[2][2] then
    return gone('changed')
  end
elseif upto > 0 then
  redis.call('UNLINK', copy)
  redis.call('XADD', copy, string.format('0-%d', upto), 'event', '')
  redis.call('XDEL', copy, string.format('0-%d', upto))
else
  redis.call('UNLINK', log)
  return gone('done', count, ids, 0, 0)
end
redis.call('XSETID', copy, string.format('0-%d', upto))

-- Other programs may read the log in groups; these go on where they were.
for _, group in ipairs(redis.call('XINFO', 'GROUPS', log)) do
  local name, at
  for index = 1, #group, 2 do
    if group[index] == 'name' then name = group[index + 1] end
    if group[index] == 'last-delivered-id' then at = group[index + 1] end
  end
  redis.call('XGROUP', 'CREATE', copy, name, sequence_of(at) and at or string.format('0-%d', upto))
end
redis.call('PERSIST', copy)
redis.call('UNLINK', log)
redis.call('RENAME', copy, log)
return {'done', count, ids, kept, upto}
