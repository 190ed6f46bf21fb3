-- Give the log another identity, if it still has the one that was found wrong: compare and set. Returns the identity it has now.
-- KEYS: meta, then what else is known of the log. ARGV: the epoch found ('' for none), the new epoch, the new secret, whether the log
-- is known to be another one (its key was deleted): what was known of the former one is forgotten. An epoch without a secret is none.
local epoch, secret = unpack(redis.call('HMGET', KEYS[1], 'epoch', 'secret'))
if not (epoch and secret) or epoch == ARGV[1] then
  if ARGV[4] == '1' then
    redis.call('UNLINK', unpack(KEYS, 2))
    redis.call('HSET', KEYS[1], 'turned', 0) -- the next publish begins with ids anew, and says how long these are kept
  end
  -- What was appended to the former log says nothing about this one.
  redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'secret', ARGV[3], 'appended', 0)
end
return redis.call('HMGET', KEYS[1], 'epoch', 'secret')
