-- Fails the whole job: an error of the user's that another try would meet again. ARGV: job, chunk, token, error (JSON)
-- Returns {'failed' | 'lost', tickets}
local id, chunk = ARGV[1], ARGV[2]
local holder = held(id, chunk, ARGV[3])
if not holder then return {'lost', {}} end
note(id, {what = 'error', chunk = tonumber(chunk), worker = holder['worker'],
  attempt = tonumber(redis.call('HGET', key(id, 'attempts'), chunk) or 0), reason = cjson.decode(ARGV[4])['message']})
return {'failed', finish(id, 'failed', ARGV[4])}
