-- Append a batch, all or none, each event_id once. All that may fail is asked before the first write: scripts do not roll back.
-- KEYS: log, meta, ids:0, ids:1 (two generations of known ids, which take turns).
-- ARGV: epoch, seconds to remember ids, entries to retain, whether to go on though others' entries were not looked at,
--   whether to write though there is nothing new (a WAIT behind it waits for what this connection wrote), then for each event:
--   event_id, token, mask of the fields given, trace of all fields, the event's JSON.
-- A known id's record is "SEQUENCE:TOKEN:HASH:" and the trace: 3 bytes a field, 6 of the payload. TOKEN tells a repeat of the
-- same call, HASH (of the entry) a record of a log that is gone.
-- Returns {'ok', {{sequence, duplicate, the first one's entry where there is one} ...}}; or without having written anything
--   {'identity', epoch, secret}: the log has another identity; {'unnumbered', id}: entries can't be numbered on;
--   {'behind', last, appended}: the log is not the one that was appended to; {'foreign', upto, entries}: others' entries, whose
--   ids are not known yet; {'conflict', index, fields}.
local log, meta = KEYS[1], KEYS[2]
local epoch, remember, retain, force, touch = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1', ARGV[5] == '1'
local FIRST, WIDTH, FIELDS = 6, 5, 12
local batch = (#ARGV - FIRST + 1) / WIDTH

local state = redis.call('HMGET', meta, 'epoch', 'secret', 'appended', 'young', 'turned', 'remember')
if state[1] ~= epoch then return {'identity', state[1] or '', state[2] or ''} end
local appended, young = tonumber(state[3] or '0'), tonumber(state[4] or '0')

local function sequence_of(id) return tonumber(string.match(id, '^0%-(%d+)$')) end

-- Not that of the newest entry: where it was deleted, its number is used up all the same.
local last_id = '0-0'
if redis.call('EXISTS', log) == 1 then
  local info = redis.call('XINFO', 'STREAM', log)
  for index = 1, #info, 2 do
    if info[index] == 'last-generated-id' then last_id = info[index + 1] end
  end
end
local last = sequence_of(last_id)
if not last then return {'unnumbered', last_id} end
if last < appended then return {'behind', last, appended} end
if last > appended and not force then
  -- The newest thousand: what came before them was too long ago, or too much, to be looked at here.
  local from = math.max(appended, last - 1000)
  local entries, bytes, room = {}, 0, 4194304
  local part = redis.call('XRANGE', log, string.format('(0-%d', from), string.format('0-%d', last), 'COUNT', 64)
  while #part > 0 do
    for _, entry in ipairs(part) do
      entries[#entries + 1] = entry
      for _, text in ipairs(entry[2]) do bytes = bytes + #text end
    end
    if bytes >= room then
      last_id = part[#part][1]
      break
    end
    part = redis.call('XRANGE', log, '(' .. part[#part][1], string.format('0-%d', last), 'COUNT', 64)
  end
  return {'foreign', sequence_of(last_id), entries}
end

-- Which ids are known?
local ids = {}
for index = 1, batch do ids[index] = ARGV[FIRST + (index - 1) * WIDTH] end
local now = redis.call('HMGET', KEYS[3 + young], unpack(ids))
local before = redis.call('HMGET', KEYS[4 - young], unpack(ids))

local function known(record)
  -- A record of this log, or nothing: after a restore or a deletion it may be of one that is gone.
  if not record then return nil end
  local sequence, token, hash, at = string.match(record, '^(%d+):(%x*):(%x*):()')
  if tonumber(sequence) > last then return nil end
  local entry = redis.call('XRANGE', log, '0-' .. sequence, '0-' .. sequence)[1]
  if entry and hash ~= string.sub(redis.sha1hex(entry[2][2]), 1, 8) then return nil end
  return {tonumber(sequence), token, string.sub(record, at), entry or {}}
end

local answers, here, fresh = {}, {}, 0
for index = 1, batch do
  local base = FIRST + (index - 1) * WIDTH
  local id, token, mask, trace = ids[index], ARGV[base + 1], ARGV[base + 2], ARGV[base + 3]
  local found = known(now[index] or before[index]) or here[id]
  if found then
    local fields = {}
    for field = 1, FIELDS do
      if string.sub(mask, field, field) == '1' then
        local from, to = field * 3 - 2, field == FIELDS and -1 or field * 3
        if string.sub(found[3], from, to) ~= string.sub(trace, from, to) then fields[#fields + 1] = field end
      end
    end
    if #fields > 0 then return {'conflict', index, fields} end
    answers[index] = {found[1], (found.index or found[2] ~= token) and 1 or 0, found[4] or {}}
    if found.index then answers[index][4] = found.index end
  else
    fresh = fresh + 1
    here[id] = {last + fresh, token, trace, {}, index = index}
    answers[index] = {last + fresh, 0, {}}
  end
end

-- From here on it writes: the entries last. Where the user may not do one of these (or Redis is full, which it says at the first
-- write only), none is appended, and a record of an entry that never came is no record of this log.
if fresh > 0 then
  local time = tonumber(redis.call('TIME')[1])
  local turned, longest = tonumber(state[5] or '0'), tonumber(state[6] or '0')
  local longer = remember > longest
  remember = math.max(remember, longest)
  -- A clock that was ahead of this one by so much was wrong.
  local turning = math.abs(time - turned) >= remember
  if turning then young, turned = 1 - young, time end
  local latest = KEYS[3 + young]
  if longer then redis.call('HSET', meta, 'remember', remember) end
  if turning then
    redis.call('HSET', meta, 'young', young, 'turned', turned)
    redis.call('UNLINK', latest)
  end
  local records, bodies = {}, {}
  for index = 1, batch do
    local base = FIRST + (index - 1) * WIDTH
    local own = here[ids[index]]
    if own and own.index == index then
      bodies[#bodies + 1] = ARGV[base + 4]
      records[#records + 1] = ids[index]
      records[#records + 1] = string.format('%d:%s:%s:', own[1], own[2], string.sub(redis.sha1hex(ARGV[base + 4]), 1, 8)) .. own[3]
    end
  end
  redis.call('HSET', latest, unpack(records))
  -- Nothing is written into it after the next turn, when it has half of this left.
  if turning or longer then redis.call('EXPIRE', latest, math.ceil(remember * 2) + 60) end
  for _, body in ipairs(bodies) do redis.call('XADD', log, '0-*', 'event', body) end
  redis.call('HSET', meta, 'appended', string.format('%d', last + fresh))
  -- Trimming need not be exact: what is kept a little too long does no harm.
  if (last + fresh) % 64 < fresh then
    redis.pcall('XTRIM', log, 'MAXLEN', '~', retain)
    local length = redis.pcall('XLEN', log)
    if type(length) == 'number' and length > retain + 200 then
      -- The server's stream nodes are so large (or without bound) that trimming by nodes keeps too much.
      redis.pcall('XTRIM', log, 'MAXLEN', retain)
    end
  end
elseif touch then
  redis.call('HSET', meta, 'young', young)
end
return {'ok', answers}
