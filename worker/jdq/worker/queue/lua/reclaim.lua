-- Reclaims the chunks of workers that stopped sending heartbeats, and finds the jobs that lack tickets. One worker at a
-- time does this. Returns {chunks reclaimed, tickets}
local lock_ms = math.max(1, math.floor(args.reclaim_ms * 0.8))
if not redis.call('SET', 'jdq:reaping', '1', 'NX', 'PX', lock_ms) then return {0, {}} end

-- After a restart of the server every lease looks expired; its owner gets one lease time to renew it first.
local uptime = tonumber(string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(%d+)'))
local just_started = uptime * 1000 < args.lease_ms

local forgotten = redis.call('ZRANGEBYSCORE', 'jdq:workers:seen', '-inf', now - limits.worker_forgotten_ms)
for _, name in ipairs(forgotten) do
  redis.call('ZREM', 'jdq:workers:seen', name)
  for _, hash in ipairs({'jdq:workers', 'jdq:workers:queue', 'jdq:workers:busy'}) do redis.call('HDEL', hash, name) end
end

local reclaimed, tickets, idle = 0, {}, {}
for _, queue in ipairs(limits.queues) do
  idle[queue] = 0
  for _, name in ipairs(workers_of(queue)) do
    if redis.call('HEXISTS', 'jdq:workers:busy', name) == 0 then idle[queue] = idle[queue] + 1 end
  end
end

local function reclaim_expired(id)
  for _, chunk in ipairs(redis.call('ZRANGEBYSCORE', key(id, 'leases'), '-inf', now)) do
    local worker = cjson.decode(redis.call('HGET', key(id, 'holders'), chunk))['worker']
    local reason = 'worker ' .. worker .. ' stopped sending heartbeats'
    log_attempt(id, chunk, 'expired', worker, reason)
    reclaimed = reclaimed + 1
    for _, ticket in ipairs(return_chunk(id, chunk, reason, 0)) do tickets[#tickets + 1] = ticket end
    if ended(id) then return end
  end
end

-- How many tickets the job lacks: a ticket is lost with the worker that took it. An idle worker beside pending chunks
-- shows it immediately; if all workers are busy with other jobs, a job from which nobody took a chunk for a while gets
-- one ticket, at intervals that double.
local function lacking(id)
  local queue = redis.call('HGET', key(id), 'queue')
  local free = pending(id)
  if free <= 0 then return 0 end
  local count = math.min(free, idle[queue])
  idle[queue] = idle[queue] - count
  if count == 0 and now >= number(id, 'repair_at') then
    wait_for_taker(id, math.min(number(id, 'repair_wait') * 2, limits.ticket_wait_max_ms))
    return 1
  end
  return count
end

for _, id in ipairs(redis.call('SMEMBERS', 'jdq:open')) do
  if not just_started then reclaim_expired(id) end
  if not ended(id) then
    local count = lacking(id)
    if count > 0 then tickets[#tickets + 1] = ticket_order(id, count) end
  end
end
return {reclaimed, tickets}
