-- BEAT. ARGV: worker, lease_ms, then job, chunk, token, live (JSON or '') for each lease that the worker holds.
-- Returns one verdict a lease: 'ok', 'drain' (hand back and stop), 'cancelled' or 'lost'.
local verdicts = {}
local drain = redis.call('SISMEMBER', 'jdq:workers:drain', ARGV[1]) == 1
for i = 3, #ARGV, 4 do
  local id, chunk = ARGV[i], ARGV[i + 1]
  if held(id, chunk, ARGV[i + 2]) then
    redis.call('ZADD', key(id, 'leases'), 'XX', now + ARGV[2], chunk)
    if ARGV[i + 3] ~= '' then redis.call('HSET', key(id, 'live'), chunk, ARGV[i + 3]) end
    verdicts[#verdicts + 1] = drain and 'drain' or 'ok'
  else
    verdicts[#verdicts + 1] = redis.call('HGET', key(id), 'state') == 'cancelled' and 'cancelled' or 'lost'
  end
end
return verdicts
