-- Leases a chunk of the queue: the lowest pending one of a more urgent job, or of an equally urgent one whose owner has had
-- less device time lately, divided by the owner's share, or of the job itself; before a trial of a search, one of the owner's
-- other jobs. Returns {Leased}, or {} when there is none to take.
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

-- What an attempt is charged in advance, so that workers who ask at the same time do not all work for the same owner: what
-- the last chunk took.
local function charge_ahead(id)
  local last = number(id, 'chunk_ms')
  local ms = last > 0 and last or limits.first_charge_ms
  charge(id, ms)
  return ms
end

-- Whether the job's owner has reached a quota: then the job says so.
local function is_held_back(id)
  local reason = held_back(id)
  if reason then redis.call('HSET', key(id), 'held_back', reason) end
  return reason
end

local function lease(id)
  local chunk = ready(id) and not is_held_back(id) and pop(id)
  if not chunk then return nil end
  redis.call('HDEL', key(id), 'held_back', 'room_until')
  local limit = number(id, 'time_limit_ms')
  if limit > 0 then redis.call('HSETNX', key(id), 'limit_at', now + limit) end
  local more = pending(id) > 0
  if not more and redis.call('EXISTS', key(id, 'delayed')) == 0 then unlist_pending(id) end
  local trouble = troubles(id, chunk)
  redis.call('ZADD', key(id, 'leases'), now + args.lease_ms, chunk)
  redis.call('HSET', key(id, 'holders'), chunk,
    cjson.encode({token = args.token, worker = args.worker, process = args.process, since = now, charged = charge_ahead(id)}))
  redis.call('HSET', key(id), 'state', 'running')
  if redis.call('HSETNX', key(id), 'started', now) == 1 then count_time('wait', id, number(id, 'created')) end
  wait_for_taker(id, limits.ticket_wait_ms)
  redis.call('HSET', 'jdq:workers:busy', args.worker, id)
  local spec = redis.call('HGET', key(id), 'spec')
  return {id, tonumber(chunk), trouble.attempts + 1, spec, trouble.death, trouble.rows, more and 1 or 0}
end

local shares = args.shares or {}
local function had(owner)
  return device_time(args.queue, owner) / (shares[owner] or shares['*'] or 1)
end

-- The owners of this priority's pending jobs who have had less than that, the one with the least first.
local function owners_below(owners, most)
  local below, of = {}, {}
  for _, owner in ipairs(redis.call('SMEMBERS', owners)) do
    of[owner] = had(owner)
    if of[owner] < most and not at_quota('devices', owner, args.queue) then below[#below + 1] = owner end
  end
  table.sort(below, function(a, b) return of[a] < of[b] end)
  return below
end

-- Whether the job lets the owner's other jobs go first: the trials of a search do.
local function yields(id)
  return redis.call('HGET', key(id), 'yields') == '1'
end

local function take_one(jobs, yielding)
  for _, id in ipairs(redis.call('ZRANGE', jobs, 0, 99)) do
    local leased = yields(id) == yielding and protected(id, lease)
    if leased then return leased end
  end
end

local function take_below(priority, most)
  local owners = 'jdq:pending:' .. args.queue .. ':' .. priority
  for _, owner in ipairs(owners_below(owners, most)) do
    local jobs = owners .. ':' .. owner
    local leased = take_one(jobs, false) or take_one(jobs, true)
    if leased then return leased end
  end
end

local function take()
  local priority = number(args.job, 'priority')
  for _, urgent in ipairs(limits.priorities) do
    local leased = urgent < priority and take_below(urgent, math.huge)
    if leased then return leased end
  end
  local owner = redis.call('HGET', key(args.job), 'owner') or limits.nobody
  local leased = take_below(priority, had(owner))
  if not leased and yields(args.job) then
    leased = take_one('jdq:pending:' .. args.queue .. ':' .. priority .. ':' .. owner, false)
  end
  return leased or lease(args.job)
end

local leased = protected(args.job, take)
return leased and keep_reply('next', {leased}) or {}
