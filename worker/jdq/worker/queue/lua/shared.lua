-- What every script of the ledger shares. Time is the server's, in milliseconds: no two hosts need agree on a clock.
-- The keys are listed in docs/queue.md. A script may touch the keys of several jobs, so the ledger needs one server.

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local now = now_ms()
local SEEN_MS = 15000      -- a worker that has not been seen for this long counts as gone
local LOG_LENGTH = 500     -- attempts and their reasons that a job keeps

local function key(id, part)
  return part and ('jdq:job:' .. id .. ':' .. part) or ('jdq:job:' .. id)
end

local function number(id, field)
  return tonumber(redis.call('HGET', key(id), field) or 0) or 0
end

local function note(id, event)
  event['at'] = now
  redis.call('RPUSH', key(id, 'log'), cjson.encode(event))
  redis.call('LTRIM', key(id, 'log'), -LOG_LENGTH, -1)
end

-- Chunks that a worker could take now: those handed back, and those that nobody has had yet.
local function pending(id)
  local ripe = redis.call('ZCOUNT', key(id, 'delayed'), '-inf', now)
  return redis.call('ZCARD', key(id, 'returned')) + ripe + number(id, 'chunks_total') - number(id, 'next')
end

-- Names of the queue's live workers, busy or idle.
local function workers_of(queue)
  local names = {}
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', 'jdq:workers:seen', now - SEEN_MS, '+inf')) do
    if redis.call('HGET', 'jdq:workers:queue', name) == queue then names[#names + 1] = name end
  end
  return names
end

-- How many tickets a job that has just become ready needs: one for each worker that could help, at least one.
local function tickets_for(id)
  local free = number(id, 'at_once') - redis.call('ZCARD', key(id, 'leases'))
  local workers = math.max(1, #workers_of(redis.call('HGET', key(id), 'queue')))
  return math.max(0, math.min(pending(id), free, workers))
end

-- The ready and running jobs of one queue and priority.
local function open_key(id)
  local job = redis.call('HMGET', key(id), 'queue', 'priority')
  return 'jdq:open:' .. job[1] .. ':' .. job[2]
end

-- Opens a job for workers; what to send: job, queue, how many tickets, their priority.
local function ready_ticket(id)
  redis.call('SADD', 'jdq:open', id)
  redis.call('SADD', open_key(id), id)
  redis.call('HSET', key(id), 'repair_at', now + 10000, 'repair_wait', 10000)
  local job = redis.call('HMGET', key(id), 'queue', 'priority')
  return {id, job[1], tickets_for(id), job[2]}
end

local function close(id)
  redis.call('SREM', 'jdq:open', id)
  redis.call('SREM', open_key(id), id)
end

-- What an ended job had in hand goes back to its pending chunks, so that a retry takes up where it stopped.
local function put_down(id)
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

-- Ends a job once, and everything that waited for it: released when it succeeded, failed with it otherwise.
-- Returns the tickets that released jobs need.
local function finish(id, state, error)
  local tickets = {}
  local ends = {{id, state, error}}
  while #ends > 0 do
    local job, how, why = unpack(table.remove(ends))
    redis.call('HSET', key(job), 'state', how, 'ended', now)
    if why then redis.call('HSET', key(job), 'error', why) end
    close(job)
    put_down(job)
    for _, other in ipairs(redis.call('SMEMBERS', key(job, 'dependents'))) do
      if redis.call('SREM', key(other, 'after'), job) == 1 then
        if how ~= 'succeeded' then
          ends[#ends + 1] = {other, 'failed', cjson.encode({
            type = 'DependencyFailed',
            message = 'job ' .. job .. ', which it waited for, ' .. how .. '\n  try: jdq status ' .. job})}
        elseif redis.call('SCARD', key(other, 'after')) == 0 then
          tickets[#tickets + 1] = ready_ticket(other)
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

-- The holder of a chunk when the token is still its own, else nil: the fence that a worker that lost its lease meets.
local function held(id, chunk, token)
  local holder = redis.call('HGET', key(id, 'holders'), chunk)
  if not holder then return nil end
  holder = cjson.decode(holder)
  if holder['token'] ~= token then return nil end
  return holder
end

-- Hands a chunk back, later if asked, or fails its job when it has been tried too often. Returns finish's tickets.
local function hand_back(id, chunk, reason, max_attempts, delay_ms)
  local attempt = tonumber(redis.call('HGET', key(id, 'attempts'), chunk) or 0)
  drop_lease(id, chunk)
  if attempt >= max_attempts then
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
