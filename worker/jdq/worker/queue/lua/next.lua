-- Leases the job's lowest pending chunk, or that of a more urgent job of the same queue: a high-priority job does not
-- wait for the end of another one's time slice. Returns {Leased}, or {} when there is none to take.
local earlier = earlier_reply('next')
if earlier then return earlier end
if out_of_service(args.worker) then return {} end

local function ready(id)
  local job = redis.call('HMGET', key(id), 'state', 'queue')
  if (job[1] ~= 'queued' and job[1] ~= 'running') or job[2] ~= args.queue then return false end
  return redis.call('EXISTS', key(id, 'after')) == 0
end

local function pop(id)
  for _, due in ipairs(redis.call('ZRANGEBYSCORE', key(id, 'delayed'), '-inf', now)) do
    redis.call('ZREM', key(id, 'delayed'), due)
    redis.call('ZADD', key(id, 'returned'), due, due)
  end
  for _, chunk in ipairs(redis.call('ZRANGE', key(id, 'returned'), 0, 99)) do
    if not must_avoid(id, chunk, args.worker, args.queue) then
      redis.call('ZREM', key(id, 'returned'), chunk)
      return chunk
    end
  end
  if number(id, 'next') >= number(id, 'chunks_total') then return nil end
  return redis.call('HINCRBY', key(id), 'next', 1) - 1
end

local function lease(id)
  local chunk = ready(id) and pop(id)
  if not chunk then return nil end
  local trouble = troubles(id, chunk)
  redis.call('ZADD', key(id, 'leases'), now + args.lease_ms, chunk)
  redis.call('HSET', key(id, 'holders'), chunk,
    cjson.encode({token = args.token, worker = args.worker, process = args.process, since = now}))
  redis.call('HSET', key(id), 'state', 'running')
  if redis.call('HSETNX', key(id), 'started', now) == 1 then count_time('wait', id, number(id, 'created')) end
  wait_for_taker(id, limits.ticket_wait_ms)
  redis.call('HSET', 'jdq:workers:busy', args.worker, id)
  local spec = redis.call('HGET', key(id), 'spec')
  return {id, tonumber(chunk), trouble.attempts + 1, spec, trouble.death, trouble.rows}
end

local function take()
  local priority = number(args.job, 'priority')
  for _, urgent in ipairs(limits.priorities) do
    if urgent < priority then
      for _, id in ipairs(redis.call('SMEMBERS', 'jdq:open:' .. args.queue .. ':' .. urgent)) do
        local leased = protected(id, lease)
        if leased then return leased end
      end
    end
  end
  return lease(args.job)
end

local leased = protected(args.job, take)
return leased and keep_reply('next', {leased}) or {}
