-- The same job again, after it failed or was cancelled: committed chunks stay committed.
-- Returns {'retried', tickets} | {'running'} | {'succeeded'} | {'unknown'} | {'failed', {}, job}: a job it waits for failed
local id = args.job
local state = redis.call('HGET', key(id), 'state')
if not state then return {'unknown'} end
local function tickets() return redis.call('EXISTS', key(id, 'after')) == 1 and {} or {open(id)} end
if redis.call('HGET', key(id), 'request') == args.token then return {'retried', ended(id) and {} or tickets()} end
if state == 'succeeded' then return {'succeeded'} end
if not ended(id) then return {'running'} end
local waits = {}
for _, other in ipairs(cjson.decode(redis.call('HGET', key(id), 'wanted_after') or '[]')) do
  local theirs = redis.call('HGET', key(other), 'state')
  if theirs == 'failed' or theirs == 'cancelled' then return {'failed', {}, other} end
  if theirs == 'queued' or theirs == 'running' then waits[#waits + 1] = other end
end
for _, other in ipairs(waits) do wait_for_job(id, other) end
redis.call('HSET', key(id), 'state', 'queued', 'request', args.token)
redis.call('HDEL', key(id), 'error', 'ended', 'held_back', 'limit_at')
for _, list in ipairs({'jdq:ended', 'jdq:unsaved'}) do redis.call('ZREM', list, id) end
log_event(id, {what = 'retry', reason = 'submitted again by the user'})
return {'retried', tickets()}
