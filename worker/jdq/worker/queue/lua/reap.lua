-- REAP. ARGV: lease_ms, reap_ms, max_attempts
-- Takes back the chunks of workers that fell silent, and finds the jobs that lack tickets.
-- Returns {chunks taken back, tickets}
if not redis.call('SET', 'jdq:reaping', '1', 'NX', 'PX', math.max(1, math.floor(ARGV[2] * 0.8))) then return {0, {}} end

-- After a restart of the server every lease looks expired; their owners get one lease's time to beat first.
local uptime = tonumber(string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(%d+)'))
local just_started = uptime * 1000 < tonumber(ARGV[1])

-- A worker that has been gone for a day is forgotten.
for _, name in ipairs(redis.call('ZRANGEBYSCORE', 'jdq:workers:seen', '-inf', now - 86400000)) do
  redis.call('ZREM', 'jdq:workers:seen', name)
  for _, hash in ipairs({'jdq:workers', 'jdq:workers:queue', 'jdq:workers:busy'}) do redis.call('HDEL', hash, name) end
end

local taken, tickets, idle = 0, {}, {}
for _, queue in ipairs({'gpu', 'cpu'}) do
  idle[queue] = 0
  for _, name in ipairs(workers_of(queue)) do
    if redis.call('HEXISTS', 'jdq:workers:busy', name) == 0 then idle[queue] = idle[queue] + 1 end
  end
end

local function take_back_expired(id)
  for _, chunk in ipairs(redis.call('ZRANGEBYSCORE', key(id, 'leases'), '-inf', now)) do
    local holder = cjson.decode(redis.call('HGET', key(id, 'holders'), chunk))
    local reason = 'worker ' .. holder['worker'] .. ' fell silent'
    note(id, {what = 'expired', chunk = tonumber(chunk), worker = holder['worker'], reason = reason,
      attempt = tonumber(redis.call('HGET', key(id, 'attempts'), chunk) or 0)})
    taken = taken + 1
    for _, ticket in ipairs(hand_back(id, chunk, reason, tonumber(ARGV[3]), 0)) do tickets[#tickets + 1] = ticket end
    if ended(id) then return end
  end
end

-- A ticket is lost with the worker that popped it. An idle worker beside pending chunks shows it at once; where all
-- are busy with other jobs, a job that nobody took from for a while gets one, at intervals that double.
local function lacking(id)
  local queue = redis.call('HGET', key(id), 'queue')
  local free = math.min(pending(id), number(id, 'at_once') - redis.call('ZCARD', key(id, 'leases')))
  if free <= 0 then return 0, queue end
  local count = math.min(free, idle[queue])
  idle[queue] = idle[queue] - count
  if count == 0 and now >= number(id, 'repair_at') then
    local wait = math.min(number(id, 'repair_wait') * 2, 600000)
    redis.call('HSET', key(id), 'repair_at', now + wait, 'repair_wait', wait)
    count = 1
  end
  return count, queue
end

for _, id in ipairs(redis.call('SMEMBERS', 'jdq:open')) do
  if not just_started then take_back_expired(id) end
  if not ended(id) then
    local count, queue = lacking(id)
    if count > 0 then tickets[#tickets + 1] = {id, queue, count, redis.call('HGET', key(id), 'priority')} end
  end
end
return {taken, tickets}
