-- One consistent look at a log: its identity, both ends and a page, in one step.
-- KEYS: log, meta. ARGV: 'after' or 'before', a sequence, the most entries, the most bytes.
-- Returns {epoch, secret, appended, last id, first id, end entry, anchor entry, entries, whether the page reaches the log's end}.
local log, meta = KEYS[1], KEYS[2]
local back, at, limit, room = ARGV[1] == 'before', ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local TOP = '0-18446744073709551615'

local identity = redis.call('HMGET', meta, 'epoch', 'secret', 'appended')
local last, first = '0-0', '0-0'
if redis.call('EXISTS', log) == 1 then
  local info = redis.call('XINFO', 'STREAM', log)
  for index = 1, #info, 2 do
    if info[index] == 'last-generated-id' then last = info[index + 1] end
    if info[index] == 'recorded-first-entry-id' then first = info[index + 1] end
  end
end

local entries, bytes, whole = {}, 0, limit > 0
local from, count = (back and '0-' or '(0-') .. at, 16
while #entries < limit do
  count = math.min(count, limit - #entries)
  local part = back and redis.call('XREVRANGE', log, from, '0-1', 'COUNT', count)
    or redis.call('XRANGE', log, from, TOP, 'COUNT', count)
  for _, entry in ipairs(part) do
    entries[#entries + 1] = entry
    for _, text in ipairs(entry[2]) do bytes = bytes + #text end
  end
  if #part < count then break end
  whole = #entries < limit and bytes < room
  if bytes >= room then break end
  from = '(' .. part[#part][1]
  -- A page of large entries is built in small steps: Redis answers nobody else meanwhile.
  count = math.max(1, math.min(1000, math.floor((room - bytes) * #entries / math.max(bytes, 1))))
end

local anchor = at
if back and #entries > 0 then
  -- Doubles are exact up to 2^53, and so is %d; a log does not get so far.
  anchor = string.format('%d', tonumber(string.sub(entries[#entries][1], 3)) - 1)
end
local there = redis.call('XRANGE', log, '0-' .. anchor, '0-' .. anchor)
local newest = redis.call('XREVRANGE', log, TOP, '0-1', 'COUNT', 1)
return {identity[1] or '', identity[2] or '', identity[3] or '0', last, first, newest[1] or {}, there[1] or {}, entries, whole and 1 or 0}
