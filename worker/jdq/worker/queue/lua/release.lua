-- RELEASE. ARGV: job, chunk, token, how ('drain' | 'fault'), reason, delay_ms, max_attempts
-- A drained chunk goes back at once and its attempt does not count; a fault counts and waits.
-- Returns {'released' | 'lost', tickets}
local id, chunk = ARGV[1], ARGV[2]
local holder = held(id, chunk, ARGV[3])
if not holder then return {'lost', {}} end
local attempt = tonumber(redis.call('HGET', key(id, 'attempts'), chunk) or 0)
note(id, {what = ARGV[4], chunk = tonumber(chunk), attempt = attempt, worker = holder['worker'], reason = ARGV[5]})
if ARGV[4] == 'drain' then
  redis.call('HINCRBY', key(id, 'attempts'), chunk, -1)
  return {'released', hand_back(id, chunk, ARGV[5], attempt + 1, 0)}
end
return {'released', hand_back(id, chunk, ARGV[5], tonumber(ARGV[7]), tonumber(ARGV[6]))}
