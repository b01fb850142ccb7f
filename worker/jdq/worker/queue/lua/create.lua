-- ARGV: job, kind, spec, queue, priority, at_once, after (JSON list of jobs)
-- Returns {'created', tickets} | {'exists'} | {'unknown', job} | {'failed', job}
local id, after = ARGV[1], cjson.decode(ARGV[7])
if redis.call('EXISTS', key(id)) == 1 then return {'exists'} end
for _, other in ipairs(after) do
  local state = redis.call('HGET', key(other), 'state')
  if not state then return {'unknown', other} end
  if state == 'failed' or state == 'cancelled' then return {'failed', other} end
end
redis.call('HSET', key(id), 'kind', ARGV[2], 'spec', ARGV[3], 'state', 'queued', 'queue', ARGV[4], 'priority', ARGV[5],
  'at_once', ARGV[6], 'created', now, 'next', 0, 'chunks_total', 1, 'chunks_done', 0,
  'wanted_after', ARGV[7])
redis.call('ZADD', 'jdq:jobs', now, id)
for _, other in ipairs(after) do
  if redis.call('HGET', key(other), 'state') ~= 'succeeded' then
    redis.call('SADD', key(other, 'dependents'), id)
    redis.call('SADD', key(id, 'after'), other)
  end
end
if redis.call('SCARD', key(id, 'after')) > 0 then return {'created', {}} end
return {'created', {ready_ticket(id)}}
