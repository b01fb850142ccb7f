-- Reclaims the chunks of workers that stopped sending heartbeats, and finds the jobs that lack tickets. One worker at a
-- time does this. Returns {chunks reclaimed, tickets}
local watched = redis.call('HMGET', 'jdq:reclaim', 'at', 'grace_until')
local since = now - (tonumber(watched[1]) or -math.huge)
if since >= 0 and since < args.reclaim_ms * 0.8 then return {0, {}} end
redis.call('HSET', 'jdq:reclaim', 'at', now)

-- If nobody watched (the machine slept, the server was away, its clock was set), owners could not renew their leases either:
-- they get one lease time to do so. Half a lease is safe, because a lease is renewed three times.
local grace_until = tonumber(watched[2]) or 0
local unwatched = since < 0 or since > args.lease_ms / 2
if unwatched then
  grace_until = now + args.lease_ms
  redis.call('HSET', 'jdq:reclaim', 'grace_until', grace_until)
end

-- A dead worker leaves the list. Its last replies stay longer: a worker that was only unreachable may still need them.
local function unseen_for(milliseconds)
  return redis.call('ZRANGEBYSCORE', 'jdq:workers:seen', '-inf', now - milliseconds)
end
for _, name in ipairs(now >= grace_until and unseen_for(limits.worker_listed_ms) or {}) do
  for _, hash in ipairs(limits.worker_hashes) do redis.call('HDEL', hash, name) end
end
for _, name in ipairs(unseen_for(limits.worker_forgotten_ms)) do
  redis.call('ZREM', 'jdq:workers:seen', name)
  redis.call('HDEL', 'jdq:workers:replies', name .. ' next', name .. ' commit')
end

-- Idle workers for which no repair ticket waits: one that is seen but takes none must not collect one at every reclaim.
local reclaimed, tickets, idle, waiting = 0, {}, {}, {}
local open_jobs = redis.call('SCARD', 'jdq:open')
for _, queue in ipairs(limits.queues) do
  waiting[queue] = redis.call('LLEN', queue)
  idle[queue] = -waiting[queue]
  for _, name in ipairs(workers_of(queue)) do
    if redis.call('HEXISTS', 'jdq:workers:busy', name) == 0 then idle[queue] = idle[queue] + 1 end
  end
  idle[queue] = math.max(0, idle[queue])
end

local function reclaim_expired(id)
  for _, chunk in ipairs(redis.call('ZRANGEBYSCORE', key(id, 'leases'), '-inf', now)) do
    local worker = cjson.decode(redis.call('HGET', key(id, 'holders'), chunk)).worker
    local reason = 'worker ' .. worker .. ' stopped sending heartbeats'
    reclaimed = reclaimed + 1
    end_attempt(id, chunk, 'expired', worker, reason, 0)
    if ended(id) then return end
  end
end

-- No lease and no delay lasts for longer than this: the clock has been set back since it began.
local longest = math.max(2 * args.lease_ms, limits.max_delay_ms)
local function bring_near(id)
  for _, part in ipairs({'leases', 'delayed'}) do
    for _, chunk in ipairs(redis.call('ZRANGEBYSCORE', key(id, part), now + longest + 1, '+inf')) do
      redis.call('ZADD', key(id, part), now + args.lease_ms, chunk)
    end
  end
end

-- How many tickets the job lacks: a ticket is lost with the worker that took it. An idle worker beside pending chunks
-- shows it immediately; if all workers are busy with other jobs, a job from which nobody took a chunk for a while gets
-- one ticket, at intervals that double; no more of them wait than there are jobs. A chunk that was returned may be one that some of the idle workers must avoid.
local function lacking(id)
  local queue = redis.call('HGET', key(id), 'queue')
  local free = pending(id)
  if free <= 0 then return 0 end
  local returned = free > number(id, 'chunks_total') - number(id, 'next')
  local wanted = returned and idle[queue] or free
  local count = math.min(wanted, idle[queue])
  idle[queue] = idle[queue] - count
  local left, wait = number(id, 'repair_at') - now, number(id, 'repair_wait')
  if count == 0 and waiting[queue] < open_jobs and (left <= 0 or left > wait) then
    waiting[queue] = waiting[queue] + 1
    wait_for_taker(id, math.min(wait * 2, limits.ticket_wait_max_ms))
    return 1
  end
  return count
end

local function end_over_limit(id)
  local at = number(id, 'limit_at')
  if at == 0 or now < at then return end
  local hours = string.format('%.4g', number(id, 'time_limit_ms') / 3600000)
  finish(id, 'failed', cjson.encode({type = 'TimeLimit',
    message = 'it ran for longer than its time limit of ' .. hours .. ' h\n  try: jdq retry ' .. id}))
end

local function watch(id)
  end_over_limit(id)
  bring_near(id)
  if now >= grace_until then reclaim_expired(id) end
  if not ended(id) and pending(id) > 0 then list_pending(id) end
  local count = ended(id) and 0 or lacking(id)
  if count > 0 then tickets[#tickets + 1] = ticket_order(id, count) end
end

for _, id in ipairs(redis.call('SMEMBERS', 'jdq:open')) do protected(id, watch) end
return {reclaimed, tickets}
