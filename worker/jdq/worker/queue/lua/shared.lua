-- What every script of the ledger shares. `limits`, defined before it, has the constants of queue/limits.py; `args` is
-- the script's one argument, a struct of queue/scripts.py. Time is the server's, in milliseconds, so hosts need not
-- agree on a clock. The keys are listed in docs/explanation/queue.md. A script may touch the keys of several jobs, so the ledger
-- needs a single server.

local args = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function key(id, part)
  return part and ('jdq:job:' .. id .. ':' .. part) or ('jdq:job:' .. id)
end

local function number(id, field)
  return tonumber(redis.call('HGET', key(id), field) or 0) or 0
end

local function attempts(id, chunk)
  return tonumber(redis.call('HGET', key(id, 'attempts'), chunk) or 0)
end

local function log_event(id, event)
  event['at'] = now
  redis.call('RPUSH', key(id, 'log'), cjson.encode(event))
  redis.call('LTRIM', key(id, 'log'), -limits.log_length, -1)
end

-- Logs why an attempt at a chunk ended.
local function log_attempt(id, chunk, what, worker, reason)
  log_event(id, {what = what, chunk = tonumber(chunk), attempt = attempts(id, chunk), worker = worker, reason = reason})
end

-- Chunks that a worker could take now: returned ones, and those that nobody has had yet.
local function pending(id)
  local due = redis.call('ZCOUNT', key(id, 'delayed'), '-inf', now)
  return redis.call('ZCARD', key(id, 'returned')) + due + number(id, 'chunks_total') - number(id, 'next')
end

-- Names of the queue's live workers, busy or idle.
local function workers_of(queue)
  local names = {}
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', 'jdq:workers:seen', now - limits.worker_timeout_ms, '+inf')) do
    if redis.call('HGET', 'jdq:workers:queue', name) == queue then names[#names + 1] = name end
  end
  return names
end

-- The ready and running jobs of one queue and priority.
local function open_key(id)
  local job = redis.call('HMGET', key(id), 'queue', 'priority')
  return 'jdq:open:' .. job[1] .. ':' .. job[2]
end

-- A reply that orders tickets, in the order of TicketOrder's fields.
local function ticket_order(id, count)
  local job = redis.call('HMGET', key(id), 'queue', 'priority')
  return {id, job[1], count, job[2]}
end

-- The job lacks tickets when nobody has taken a chunk of it after `wait`.
local function wait_for_taker(id, wait)
  redis.call('HSET', key(id), 'repair_at', now + wait, 'repair_wait', wait)
end

-- Opens a job for workers. Returns its tickets: one for each worker that could help, at least one.
local function open(id)
  redis.call('SADD', 'jdq:open', id)
  redis.call('SADD', open_key(id), id)
  wait_for_taker(id, limits.ticket_wait_ms)
  local workers = #workers_of(redis.call('HGET', key(id), 'queue'))
  return ticket_order(id, math.min(pending(id), math.max(1, workers)))
end

local function close(id)
  redis.call('SREM', 'jdq:open', id)
  redis.call('SREM', open_key(id), id)
end

-- The leased and delayed chunks of an ended job become pending again, so that a retry resumes where the job ended.
local function return_all(id)
  for _, part in ipairs({'leases', 'delayed'}) do
    for _, chunk in ipairs(redis.call('ZRANGE', key(id, part), 0, -1)) do
      redis.call('ZADD', key(id, 'returned'), chunk, chunk)
    end
  end
  redis.call('UNLINK', key(id, 'delayed'), key(id, 'leases'), key(id, 'holders'), key(id, 'live'),
    key(id, 'attempts'), key(id, 'after'))
end

local function drop_lease(id, chunk)
  redis.call('ZREM', key(id, 'leases'), chunk)
  redis.call('HDEL', key(id, 'holders'), chunk)
  redis.call('HDEL', key(id, 'live'), chunk)
end

-- Makes a job wait for another.
local function wait_for_job(id, other)
  redis.call('SADD', key(other, 'dependents'), id)
  redis.call('SADD', key(id, 'after'), other)
end

-- Ends a job once, and every job that waited for it: released if it succeeded, failed with it otherwise.
-- Returns the tickets that released jobs need.
local function finish(id, state, error)
  local tickets = {}
  local ends = {{id, state, error}}
  while #ends > 0 do
    local job, how, why = unpack(table.remove(ends))
    redis.call('HSET', key(job), 'state', how, 'ended', now)
    if why then redis.call('HSET', key(job), 'error', why) end
    close(job)
    return_all(job)
    for _, other in ipairs(redis.call('SMEMBERS', key(job, 'dependents'))) do
      if redis.call('SREM', key(other, 'after'), job) == 1 then
        if how ~= 'succeeded' then
          ends[#ends + 1] = {other, 'failed', cjson.encode({
            type = 'DependencyFailed',
            message = 'job ' .. job .. ', which it waited for, ' .. how .. '\n  try: jdq status ' .. job})}
        elseif redis.call('SCARD', key(other, 'after')) == 0 then
          tickets[#tickets + 1] = open(other)
        end
      end
    end
    redis.call('UNLINK', key(job, 'dependents'))
  end
  return tickets
end

local function ended(id)
  local state = redis.call('HGET', key(id), 'state')
  return state ~= 'queued' and state ~= 'running'
end

-- The holder of a chunk if the fencing token is still its own, else nil: a worker that lost its lease can do nothing.
local function holder_of(held)
  local holder = redis.call('HGET', key(held.job, 'holders'), held.chunk)
  if not holder then return nil end
  holder = cjson.decode(holder)
  if holder['token'] ~= held.token then return nil end
  return holder
end

-- Makes a leased chunk pending again, after a delay if given, or fails its job after too many attempts.
-- Returns finish's tickets.
local function return_chunk(id, chunk, reason, delay_ms)
  local attempt = attempts(id, chunk)
  drop_lease(id, chunk)
  if attempt >= limits.max_attempts then
    redis.call('ZADD', key(id, 'returned'), chunk, chunk)
    return finish(id, 'failed', cjson.encode({
      type = 'GaveUp',
      message = 'chunk ' .. chunk .. ' failed ' .. attempt .. ' times; the last time: ' .. reason}))
  end
  if delay_ms > 0 then
    redis.call('ZADD', key(id, 'delayed'), now + delay_ms, chunk)
  else
    redis.call('ZADD', key(id, 'returned'), chunk, chunk)
  end
  return {}
end
