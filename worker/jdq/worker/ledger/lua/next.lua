-- NEXT. ARGV: job, worker, queue, token, lease_ms
-- Returns {'chunk', chunk, attempt, kind, spec} | {'ended'} | {'elsewhere'} | {'waiting'} | {'full'} | {'none'}
local id, worker = ARGV[1], ARGV[2]
if ended(id) then return {'ended'} end
if redis.call('HGET', key(id), 'queue') ~= ARGV[3] then return {'elsewhere'} end
if redis.call('EXISTS', key(id, 'after')) == 1 then return {'waiting'} end
if redis.call('ZCARD', key(id, 'leases')) >= number(id, 'at_once') then return {'full'} end
for _, ripe in ipairs(redis.call('ZRANGEBYSCORE', key(id, 'delayed'), '-inf', now)) do
  redis.call('ZREM', key(id, 'delayed'), ripe)
  redis.call('ZADD', key(id, 'returned'), ripe, ripe)
end
local chunk = redis.call('ZPOPMIN', key(id, 'returned'))[1]
if not chunk then
  if number(id, 'next') >= number(id, 'chunks_total') then return {'none'} end
  chunk = redis.call('HINCRBY', key(id), 'next', 1) - 1
end
local attempt = redis.call('HINCRBY', key(id, 'attempts'), chunk, 1)
redis.call('ZADD', key(id, 'leases'), now + ARGV[5], chunk)
redis.call('HSET', key(id, 'holders'), chunk, cjson.encode({token = ARGV[4], worker = worker, since = now}))
redis.call('HSET', key(id), 'state', 'running', 'repair_at', now + 10000, 'repair_wait', 10000)
redis.call('HSETNX', key(id), 'started', now)
redis.call('HSET', 'jdq:workers:busy', worker, id)
local job = redis.call('HMGET', key(id), 'kind', 'spec')
return {'chunk', tonumber(chunk), attempt, job[1], job[2]}
