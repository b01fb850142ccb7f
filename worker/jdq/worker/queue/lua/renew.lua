-- Renews the leases that a worker holds, and stores how far each chunk is.
-- Returns a verdict for each lease: 'ok', 'drain' (release the chunk and stop), 'cancelled' or 'lost'.
local drain = redis.call('SISMEMBER', 'jdq:workers:drain', args.worker) == 1
local function renew(id, lease)
  if not holder_of(lease) then return redis.call('HGET', key(id), 'state') == 'cancelled' and 'cancelled' or 'lost' end
  redis.call('ZADD', key(id, 'leases'), 'XX', now + args.lease_ms, lease.chunk)
  if lease.live then redis.call('HSET', key(id, 'live'), lease.chunk, lease.live) end
  return drain and 'drain' or 'ok'
end
local verdicts = {}
for i, lease in ipairs(args.leases) do verdicts[i] = protected(lease.job, renew, lease) or 'lost' end
return verdicts
