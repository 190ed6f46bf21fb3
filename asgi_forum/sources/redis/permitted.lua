#!lua flags=no-writes
-- Ask which commands the user may not run: those that reading needs, and those that publishing and trimming need beside them.
-- Such a script writes nothing: what would write is refused whatever the user may, but what the user may not is said first.
-- KEYS: log, meta, ids, ages. Returns {{command, answer} ...} for reading, and the same for writing.
local log, meta, ids, ages = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local reading = {
  {'EXISTS', log},
  {'HGET', meta, 'epoch'},
  {'HMGET', meta, 'epoch'},
  {'XINFO', 'STREAM', log, name = 'xinfo|stream'},
  {'XLEN', log},
  {'XRANGE', log, '0-1', '0-1'},
  {'XREAD', 'COUNT', 1, 'STREAMS', log, '$'},
  {'XREVRANGE', log, '0-1', '0-1'},
}
local writing = {
  {'EXPIRE', ids, 1},
  {'HSET', meta, 'epoch', ''},
  {'TIME'},
  {'UNLINK', ids},
  {'XADD', log, '0-*', 'event', ''},
  {'XTRIM', log, 'MAXLEN', 0},
  {'ZADD', ages, 0, ''},
  {'ZRANGE', ages, 0, 0},
  {'ZREMRANGEBYSCORE', ages, 0, 0},
}
local function refusals(commands)
  local found = {}
  for _, command in ipairs(commands) do
    local answer = redis.pcall(unpack(command))
    if type(answer) == 'table' and answer.err then found[#found + 1] = {command.name or string.lower(command[1]), answer.err} end
  end
  return found
end
return {refusals(reading), refusals(writing)}
