-- Renews the leases that a worker holds, and stores how far each chunk is.
-- Returns a verdict for each lease: 'ok', 'drain' (release the chunk and stop), 'cancelled' or 'lost'.
local verdicts = {}
local drain = redis.call('SISMEMBER', 'jdq:workers:drain', args.worker) == 1
for i, lease in ipairs(args.leases) do
  if holder_of(lease) then
    redis.call('ZADD', key(lease.job, 'leases'), 'XX', now + args.lease_ms, lease.chunk)
    if lease.live then redis.call('HSET', key(lease.job, 'live'), lease.chunk, lease.live) end
    verdicts[i] = drain and 'drain' or 'ok'
  else
    verdicts[i] = redis.call('HGET', key(lease.job), 'state') == 'cancelled' and 'cancelled' or 'lost'
  end
end
return verdicts
