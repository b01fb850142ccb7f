-- Renews the leases that a worker holds, and stores how far each chunk is.
-- Returns a verdict for each lease: 'ok', 'drain' (release the chunk and stop), 'preempt' (release it and go on with an urgent
-- job), 'cancelled' or 'lost'.
local drain = redis.call('SISMEMBER', 'jdq:workers:drain', args.worker) == 1

-- Work that takes longer than what it was charged is charged while it goes on.
local function charge_longer(id, chunk, holder)
  local more = now - holder.since - (holder.charged or math.huge)
  if more <= 0 then return end
  charge(id, more)
  holder.charged = holder.charged + more
  redis.call('HSET', key(id, 'holders'), chunk, cjson.encode(holder))
end

-- An urgent job of the queue that has a chunk for this worker while no worker is idle, and for which no other makes room now.
local function urgent_job(queue)
  for _, name in ipairs(workers_of(queue)) do
    if redis.call('HEXISTS', 'jdq:workers:busy', name) == 0 then return nil end
  end
  local owners = 'jdq:pending:' .. queue .. ':' .. limits.priorities[1]
  for _, owner in ipairs(redis.call('SMEMBERS', owners)) do
    for _, id in ipairs(redis.call('ZRANGE', owners .. ':' .. owner, 0, 99)) do
      if not ended(id) and now >= number(id, 'room_until') and takeable(id, args.worker) then return id end
    end
  end
end

-- Whether a fine-tune of low priority, which would hold its device for hours, leaves it to an urgent job.
local function makes_room(id)
  local job = redis.call('HMGET', key(id), 'kind', 'priority', 'queue')
  if job[1] ~= 'fine-tune' or tonumber(job[2]) ~= limits.priorities[#limits.priorities] then return false end
  local urgent = urgent_job(job[3])
  if urgent then redis.call('HSET', key(urgent), 'room_until', now + limits.room_ms) end
  return urgent ~= nil
end

local function renew(id, lease)
  local holder = holder_of(lease)
  if not holder then return redis.call('HGET', key(id), 'state') == 'cancelled' and 'cancelled' or 'lost' end
  redis.call('ZADD', key(id, 'leases'), 'XX', now + args.lease_ms, lease.chunk)
  charge_longer(id, lease.chunk, holder)
  if lease.live then redis.call('HSET', key(id, 'live'), lease.chunk, lease.live) end
  return drain and 'drain' or makes_room(id) and 'preempt' or 'ok'
end
local verdicts = {}
for i, lease in ipairs(args.leases) do verdicts[i] = protected(lease.job, renew, lease) or 'lost' end
return verdicts
