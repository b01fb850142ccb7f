-- The same job again, after it failed or was cancelled: committed chunks stay committed. ARGV: job
-- Returns {'retried', tickets} | {'running'} | {'succeeded'} | {'unknown'} | {'failed', job}: one it waits for has failed
local id = ARGV[1]
local state = redis.call('HGET', key(id), 'state')
if not state then return {'unknown'} end
if state == 'succeeded' then return {'succeeded'} end
if not ended(id) then return {'running'} end
local waits = {}
for _, other in ipairs(cjson.decode(redis.call('HGET', key(id), 'wanted_after') or '[]')) do
  local theirs = redis.call('HGET', key(other), 'state')
  if theirs == 'failed' or theirs == 'cancelled' then return {'failed', other} end
  if theirs == 'queued' or theirs == 'running' then waits[#waits + 1] = other end
end
for _, other in ipairs(waits) do
  redis.call('SADD', key(other, 'dependents'), id)
  redis.call('SADD', key(id, 'after'), other)
end
redis.call('HSET', key(id), 'state', 'queued')
redis.call('HDEL', key(id), 'error', 'ended')
note(id, {what = 'retry', reason = 'submitted again by the user'})
if #waits > 0 then return {'retried', {}} end
return {'retried', {ready_ticket(id)}}
