-- Copy the next numbered entries of a log, with their ids: a bounded step, since Redis answers nobody else meanwhile.
-- KEYS: log, copy. ARGV: the sequence after which to go on, the most entries, the most bytes.
-- Returns {entries copied, the last one's id}.
local log, copy = KEYS[1], KEYS[2]
local from, limit, room = '(0-' .. ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local copied, bytes, last = 0, 0, ''
while copied < limit and bytes < room do
  local part = redis.call('XRANGE', log, from, '0-18446744073709551615', 'COUNT', 16)
  for _, entry in ipairs(part) do
    redis.call('XADD', copy, entry[1], unpack(entry[2]))
    for _, text in ipairs(entry[2]) do bytes = bytes + #text end
    copied, last = copied + 1, entry[1]
  end
  if #part < 16 then break end
  from = '(' .. last
end
-- One that is left behind goes by itself.
if copied > 0 then redis.call('EXPIRE', copy, 3600) end
return {copied, last}
