-- NEXT. ARGV: job, worker, queue, token, lease_ms
-- Leases the job's lowest pending chunk, or that of a more urgent job of the same queue: a high-priority job does not
-- wait for the end of another one's turn. Returns {job, chunk, attempt, spec}, or nil when there is none to take.
local worker, queue = ARGV[2], ARGV[3]

local function ready(id)
  local job = redis.call('HMGET', key(id), 'state', 'queue')
  if (job[1] ~= 'queued' and job[1] ~= 'running') or job[2] ~= queue then return false end
  if redis.call('EXISTS', key(id, 'after')) == 1 then return false end
  return redis.call('ZCARD', key(id, 'leases')) < number(id, 'at_once')
end

local function pop(id)
  for _, ripe in ipairs(redis.call('ZRANGEBYSCORE', key(id, 'delayed'), '-inf', now)) do
    redis.call('ZREM', key(id, 'delayed'), ripe)
    redis.call('ZADD', key(id, 'returned'), ripe, ripe)
  end
  local returned = redis.call('ZPOPMIN', key(id, 'returned'))[1]
  if returned then return returned end
  if number(id, 'next') >= number(id, 'chunks_total') then return nil end
  return redis.call('HINCRBY', key(id), 'next', 1) - 1
end

local function lease(id)
  local chunk = ready(id) and pop(id)
  if not chunk then return nil end
  local attempt = redis.call('HINCRBY', key(id, 'attempts'), chunk, 1)
  redis.call('ZADD', key(id, 'leases'), now + ARGV[5], chunk)
  redis.call('HSET', key(id, 'holders'), chunk, cjson.encode({token = ARGV[4], worker = worker, since = now}))
  redis.call('HSET', key(id), 'state', 'running', 'repair_at', now + 10000, 'repair_wait', 10000)
  redis.call('HSETNX', key(id), 'started', now)
  redis.call('HSET', 'jdq:workers:busy', worker, id)
  return {id, tonumber(chunk), attempt, redis.call('HGET', key(id), 'spec')}
end

local priority = redis.call('HGET', key(ARGV[1]), 'priority')
for _, urgent in ipairs({'3', '5'}) do
  if priority and urgent < priority then
    for _, id in ipairs(redis.call('SMEMBERS', 'jdq:open:' .. queue .. ':' .. urgent)) do
      local leased = lease(id)
      if leased then return leased end
    end
  end
end
return lease(ARGV[1])
