-- Renews the leases that a worker holds, and stores how far each chunk is.
-- Returns a verdict for each lease: 'ok', 'drain' (release the chunk and stop), 'cancelled' or 'lost'.
local drain = redis.call('SISMEMBER', 'jdq:workers:drain', args.worker) == 1

-- Work that takes longer than what it was charged is charged while it goes on.
local function charge_longer(id, chunk, holder)
  local more = now - holder.since - (holder.charged or math.huge)
  if more <= 0 then return end
  charge(id, more)
  holder.charged = holder.charged + more
  redis.call('HSET', key(id, 'holders'), chunk, cjson.encode(holder))
end

local function renew(id, lease)
  local holder = holder_of(lease)
  if not holder then return redis.call('HGET', key(id), 'state') == 'cancelled' and 'cancelled' or 'lost' end
  redis.call('ZADD', key(id, 'leases'), 'XX', now + args.lease_ms, lease.chunk)
  charge_longer(id, lease.chunk, holder)
  if lease.live then redis.call('HSET', key(id, 'live'), lease.chunk, lease.live) end
  return drain and 'drain' or 'ok'
end
local verdicts = {}
for i, lease in ipairs(args.leases) do verdicts[i] = protected(lease.job, renew, lease) or 'lost' end
return verdicts
