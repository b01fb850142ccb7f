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

local function whole(value)
  return type(value) == 'number' and value == math.floor(value) and math.abs(value) < 2 ^ 53
end

-- Refuses an argument before the first write: Redis does not undo what a script wrote before it failed.
local function check(valid, what)
  if not valid then error('refused: ' .. what, 0) end
end

-- Adds to a total that only monitoring reads, of the installation or in another hash: whatever is there stops no work.
local function count(name, by, hash)
  redis.pcall('HINCRBY', hash or 'jdq:totals', name, by)
end

-- Adds the time since then to a total of the job's kind, and one to how often that was done.
local function count_time(name, id, since)
  local kind = tostring(redis.call('HGET', key(id), 'kind'))
  count(name .. ':' .. kind, 1)
  count(name .. '_ms:' .. kind, math.max(0, now - since))
end

-- What went wrong with a chunk so far: attempts that ended badly, `fault`, `expired` and `death` by cause, the step that the
-- furthest of them reached, the workers that leave the chunk to others (until when, or always if it is true), and since when
-- it is pending.
local function troubles(id, chunk)
  local text = redis.call('HGET', key(id, 'troubles'), chunk)
  return text and cjson.decode(text) or {attempts = 0, fault = 0, expired = 0, death = 0, workers = {}, rows = {}}
end

local function log_event(id, event)
  event['at'] = now
  redis.call('RPUSH', key(id, 'log'), cjson.encode(event))
  redis.call('LTRIM', key(id, 'log'), -limits.log_length, -1)
end

-- Logs and counts why an attempt at a chunk ended.
local function log_attempt(id, chunk, what, worker, reason)
  count('attempts:' .. what, 1)
  local attempt = troubles(id, chunk).attempts + 1
  log_event(id, {what = what, chunk = tonumber(chunk), attempt = attempt, worker = worker, reason = reason})
end

-- Chunks that a worker could take now: returned ones, and those that nobody has had yet.
local function pending(id)
  local due = redis.call('ZCOUNT', key(id, 'delayed'), '-inf', now)
  return redis.call('ZCARD', key(id, 'returned')) + due + number(id, 'chunks_total') - number(id, 'next')
end

-- Names of the queue's live workers, busy or idle. Found once per call: a job may release thousands of others. A heartbeat
-- from the future was sent before the clock was set back.
local live_workers = {}
local function workers_of(queue)
  if live_workers[queue] then return live_workers[queue] end
  local names, queues = {}, redis.call('HGETALL', 'jdq:workers:queue')
  for i = 1, #queues, 2 do
    if queues[i + 1] == queue then
      local seen = tonumber(redis.call('ZSCORE', 'jdq:workers:seen', queues[i]) or 0)
      if math.abs(now - seen) <= limits.worker_timeout_ms then names[#names + 1] = queues[i] end
    end
  end
  live_workers[queue] = names
  return names
end

local function mark_idle(worker)
  redis.call('HDEL', 'jdq:workers:busy', worker)
  redis.call('HSET', 'jdq:workers:idle', worker, now)
end

-- Whether a live worker may still take what is pending since then: it is busy, or has not been idle beside it for long.
local function may_take(worker, since)
  if redis.call('HEXISTS', 'jdq:workers:busy', worker) == 1 then return true end
  local idle_since = tonumber(redis.call('HGET', 'jdq:workers:idle', worker) or 0)
  return math.abs(now - math.max(since, idle_since)) <= limits.avoid_beside_idle_ms
end

-- Whether the worker must leave the chunk to another one of its queue, because it failed it.
local function must_avoid(id, chunk, worker, queue)
  local trouble = troubles(id, chunk)
  local avoids = trouble.workers[worker]
  if not avoids or (avoids ~= true and now >= avoids) then return false end
  for _, name in ipairs(workers_of(queue)) do
    if not trouble.workers[name] and may_take(name, trouble.pending_since or 0) then return true end
  end
  return false
end

-- The ready and running jobs of one queue and priority.
local function open_key(id)
  local job = redis.call('HMGET', key(id), 'queue', 'priority')
  return 'jdq:open:' .. job[1] .. ':' .. job[2]
end

-- Of the jobs with pending or delayed chunks: the key that names their owners, this job's owner, and the key that has this
-- owner's jobs, oldest first. A job that an earlier version opened is listed by the next reclaim; until then its own tickets
-- lead to it.
local function pending_keys(id)
  local job = redis.call('HMGET', key(id), 'queue', 'priority', 'owner')
  local owners, owner = 'jdq:pending:' .. job[1] .. ':' .. job[2], job[3] or limits.nobody
  return owners, owner, owners .. ':' .. owner
end

local function list_pending(id)
  local owners, owner, jobs = pending_keys(id)
  redis.call('SADD', owners, owner)
  redis.call('ZADD', jobs, number(id, 'created'), id)
end

local function unlist(owners, owner, id)
  local jobs = owners .. ':' .. owner
  redis.call('ZREM', jobs, id)
  if redis.call('EXISTS', jobs) == 0 then redis.call('SREM', owners, owner) end
end

local function unlist_pending(id)
  local owners, owner = pending_keys(id)
  unlist(owners, owner, id)
end

-- The device time of a queue that an owner has had lately, in milliseconds: what is an hour old counts half.
local function device_time(queue, owner)
  local ms, at = string.match(redis.call('HGET', 'jdq:usage:' .. queue, owner) or '', '^([%d.]+) (%d+)$')
  if not ms then return 0 end
  return tonumber(ms) * 0.5 ^ (math.max(0, now - tonumber(at)) / limits.usage_halves_ms)
end

-- Adds to the device time of a job's owner; a negative number takes back what was charged too much.
local function charge(id, ms)
  local job = redis.call('HMGET', key(id), 'queue', 'owner')
  local owner = job[2] or limits.nobody
  local had = math.max(0, device_time(job[1], owner) + ms)
  redis.call('HSET', 'jdq:usage:' .. job[1], owner, string.format('%.3f %d', had, now))
end

-- Corrects what was charged for a leased chunk to the time that it took: `ms`, or for how long it was held. Returns the time.
local function settle(id, chunk, ms)
  local sound, holder = pcall(cjson.decode, redis.call('HGET', key(id, 'holders'), chunk) or '')
  if not sound or type(holder) ~= 'table' or not holder.charged then return 0 end
  local took = ms or math.max(0, now - holder.since)
  charge(id, took - holder.charged)
  count('used_ms', math.floor(took), key(id))
  return took
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
  list_pending(id)
  wait_for_taker(id, limits.ticket_wait_ms)
  local workers = #workers_of(redis.call('HGET', key(id), 'queue'))
  return ticket_order(id, math.min(pending(id), math.max(1, workers)))
end

local function close(id)
  redis.call('SREM', 'jdq:open', id)
  redis.call('SREM', open_key(id), id)
  unlist_pending(id)
end

-- The leased and delayed chunks of an ended job become pending again, so that a retry resumes where the job ended.
local function return_all(id)
  for _, part in ipairs({'leases', 'delayed'}) do
    for _, chunk in ipairs(redis.call('ZRANGE', key(id, part), 0, -1)) do
      redis.call('ZADD', key(id, 'returned'), chunk, chunk)
      settle(id, chunk)
    end
  end
  redis.call('UNLINK', key(id, 'delayed'), key(id, 'leases'), key(id, 'holders'), key(id, 'live'),
    key(id, 'troubles'), key(id, 'after'))
end

-- Returns the time that the chunk took: `ms`, or for how long it was held.
local function drop_lease(id, chunk, ms)
  local took = settle(id, chunk, ms)
  redis.call('ZREM', key(id, 'leases'), chunk)
  redis.call('HDEL', key(id, 'holders'), chunk)
  redis.call('HDEL', key(id, 'live'), chunk)
  return took
end

-- Makes a job wait for another.
local function wait_for_job(id, other)
  redis.call('SADD', key(other, 'dependents'), id)
  redis.call('SADD', key(id, 'after'), other)
end

local finish

local function dependency_failed(job, how)
  return cjson.encode({type = 'DependencyFailed',
    message = 'job ' .. job .. ', which it waited for, ' .. how .. '\n  try: jdq status ' .. job})
end

-- Lists a job among those that have ended, those that a worker has yet to save in the store, and those whose end somebody
-- wants to know.
local function list_ended(id)
  redis.call('ZADD', 'jdq:ended', now, id)
  redis.call('ZADD', 'jdq:unsaved', now, id)
  if redis.pcall('HEXISTS', key(id), 'notify') == 1 then redis.call('RPUSH', 'jdq:notices', id) end
end

-- Ends a job whose entries cannot be worked with, and the jobs that wait for it: no worker meets it again.
local function end_broken(id, reason)
  redis.call('SREM', 'jdq:open', id)
  for _, queue in ipairs(limits.queues) do
    for _, priority in ipairs(limits.priorities) do
      redis.call('SREM', 'jdq:open:' .. queue .. ':' .. priority, id)
      local owners = 'jdq:pending:' .. queue .. ':' .. priority
      for _, owner in ipairs(redis.call('SMEMBERS', owners)) do unlist(owners, owner, id) end
    end
  end
  redis.pcall('HSET', key(id), 'state', 'failed', 'ended', now, 'error',
    cjson.encode({type = 'BrokenJob', message = 'its entries in Redis cannot be used: ' .. tostring(reason)}))
  list_ended(id)
  local dependents = redis.pcall('SMEMBERS', key(id, 'dependents'))
  redis.call('UNLINK', key(id, 'dependents'))
  for _, other in ipairs(dependents) do finish(other, 'failed', dependency_failed(id, 'failed')) end
end

-- Calls work(id); an error of one job's entries ends that job and concerns no other. Returns what work returns, or nil.
local function protected(id, work, ...)
  local sound, answer = pcall(work, id, ...)
  if sound then return answer end
  end_broken(id, type(answer) == 'table' and answer.err or answer)
  return nil
end

-- Ends one job. Returns the jobs that end with it, and the tickets of those that it releases.
local function end_one(job, how, why)
  local ends, tickets = {}, {}
  redis.call('HSET', key(job), 'state', how, 'ended', now)
  list_ended(job)
  if why then redis.call('HSET', key(job), 'error', why) end
  count('ended:' .. tostring(redis.call('HGET', key(job), 'kind')) .. ':' .. how, 1)
  if how == 'succeeded' then count_time('run', job, number(job, 'started')) end
  close(job)
  return_all(job)
  for _, other in ipairs(redis.call('SMEMBERS', key(job, 'dependents'))) do
    protected(other, function()
      if redis.call('SREM', key(other, 'after'), job) == 0 then return end
      if how ~= 'succeeded' then
        ends[#ends + 1] = {other, 'failed', dependency_failed(job, how)}
      elseif redis.call('SCARD', key(other, 'after')) == 0 then
        tickets[#tickets + 1] = open(other)
      end
    end)
  end
  redis.call('UNLINK', key(job, 'dependents'))
  return {ends, tickets}
end

-- Ends a job once, and every job that waited for it: released if it succeeded, failed with it otherwise.
-- Returns the tickets that released jobs need.
function finish(id, state, error)
  local tickets = {}
  local ends = {{id, state, error}}
  while #ends > 0 do
    local job, how, why = unpack(table.remove(ends))
    local also, released = unpack(protected(job, end_one, how, why) or {{}, {}})
    for _, other in ipairs(also) do ends[#ends + 1] = other end
    for _, ticket in ipairs(released) do tickets[#tickets + 1] = ticket end
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

-- redis-py repeats a call whose reply was lost: the repetition, which has the same token, gets the first call's reply.
-- One reply per worker and script is enough, because a worker takes and commits one chunk after another.
local function earlier_reply(script)
  local text = redis.call('HGET', 'jdq:workers:replies', args.worker .. ' ' .. script)
  local earlier = text and cjson.decode(text)
  return earlier and earlier.token == args.token and earlier.reply or nil
end

local function keep_reply(script, reply)
  redis.call('HSET', 'jdq:workers:replies', args.worker .. ' ' .. script, cjson.encode({token = args.token, reply = reply}))
  return reply
end

-- How far the attempt at a leased chunk is, as its worker last reported.
local function live_of(id, chunk)
  local text = redis.call('HGET', key(id, 'live'), chunk)
  local live = text and cjson.decode(text)
  return type(live) == 'table' and live or {}
end

-- A text that killed its worker twice, each time while nothing else ran, is left out from then on.
local function accuse(trouble, row)
  if trouble.row ~= row then
    trouble.row = row
  else
    trouble.death = 0
    trouble.rows[#trouble.rows + 1] = row
  end
end

-- Counts an attempt that ended badly, by its cause. One that got further than all before it starts the counts of lost
-- leases and deaths again.
local function add_trouble(id, chunk, cause, worker, delay_ms)
  local trouble, live = troubles(id, chunk), live_of(id, chunk)
  trouble.attempts, trouble.pending_since = trouble.attempts + 1, now + delay_ms
  if type(live.step) == 'number' and live.step > (trouble.step or 0) then
    trouble.step, trouble.expired, trouble.death = live.step, 0, 0
  end
  trouble[cause] = trouble[cause] + 1
  trouble.halved = trouble.halved or live.texts_alone ~= nil
  if cause == 'death' and type(live.row) == 'number' then accuse(trouble, live.row) end
  if trouble.workers[worker] ~= true then
    trouble.workers[worker] = cause == 'fault' or now + limits.avoid_after_death_ms
  end
  redis.call('HSET', key(id, 'troubles'), chunk, cjson.encode(trouble))
  return trouble, cause == 'death' and trouble.halved and limits.max_halvings or limits['max_' .. cause]
end

local ENDED_BY = {fault = ' failed ', expired = ' lost its worker ', death = ' killed its worker '}

-- Ends an attempt: the chunk becomes pending again, after a delay if given, or its job fails after too many attempts.
-- `what` is drain, fault, expired or death; a death counts as one only if nothing else ran beside it.
-- Returns the tickets to send.
local function end_attempt(id, chunk, what, worker, reason, delay_ms, alone)
  log_attempt(id, chunk, what, worker, reason)
  local cause = (what == 'death' and not alone) and 'expired' or what
  local trouble, most
  if what ~= 'drain' then trouble, most = add_trouble(id, chunk, cause, worker, delay_ms) end
  drop_lease(id, chunk)
  if trouble and trouble[cause] >= most then
    redis.call('ZADD', key(id, 'returned'), chunk, chunk)
    return finish(id, 'failed', cjson.encode({
      type = 'GaveUp',
      message = 'chunk ' .. chunk .. ENDED_BY[cause] .. trouble[cause] .. ' times; the last time: ' .. reason}))
  end
  list_pending(id)
  if delay_ms > 0 then
    redis.call('ZADD', key(id, 'delayed'), now + delay_ms, chunk)
    return {}
  end
  redis.call('ZADD', key(id, 'returned'), chunk, chunk)
  return {ticket_order(id, 1)}
end

-- A worker whose attempts at different chunks fail, one after another and none succeeds, is quarantined.
local function blame(worker, reason)
  if redis.call('HINCRBY', 'jdq:workers:faults', worker, 1) < limits.sick_after then return end
  redis.call('HSETNX', 'jdq:workers:sick', worker, cjson.encode({since = now, reason = reason}))
end

-- Whether the worker gets no chunk: it is quarantined or drained.
local function out_of_service(worker)
  return redis.call('HEXISTS', 'jdq:workers:sick', worker) == 1
    or redis.call('HEXISTS', 'jdq:workers:drained', worker) == 1
end

-- What live workers other than args.worker do: how many work for each owner on this queue, and on his fine-tunes. Found once
-- per call, and only where quotas are set.
local others_at
local function others_work(queue)
  if others_at then return others_at end
  others_at = {devices = {}, fine_tunes = {}}
  local busy = redis.call('HGETALL', 'jdq:workers:busy')
  for i = 1, #busy, 2 do
    local seen = tonumber(redis.call('ZSCORE', 'jdq:workers:seen', busy[i]) or 0)
    local job = redis.call('HMGET', key(busy[i + 1]), 'queue', 'owner', 'kind')
    if busy[i] ~= args.worker and job[1] == queue and math.abs(now - seen) <= limits.worker_timeout_ms then
      local owner = job[2] or limits.nobody
      others_at.devices[owner] = (others_at.devices[owner] or 0) + 1
      if job[3] == 'fine-tune' then others_at.fine_tunes[owner] = (others_at.fine_tunes[owner] or 0) + 1 end
    end
  end
  return others_at
end

local QUOTAS = {devices = 'devices', fine_tunes = 'fine-tunes'}

-- That an owner has all that args.quotas allow, as a text; nil if there is room.
local function at_quota(name, owner, queue)
  local quotas = args.quotas and args.quotas[name] or {}
  local most = quotas[owner] or quotas['*']
  local has = most and others_work(queue)[name][owner] or 0
  return most and has >= most and (owner .. ' has ' .. has .. ' of ' .. most .. ' ' .. QUOTAS[name]) or nil
end

-- Why the worker may not work on the job; nil if it may.
local function held_back(id)
  local job = redis.call('HMGET', key(id), 'queue', 'owner', 'kind')
  local owner = job[2] or limits.nobody
  return at_quota('devices', owner, job[1]) or (job[3] == 'fine-tune' and at_quota('fine_tunes', owner, job[1]) or nil)
end

-- Whether the worker may take one of the job's pending chunks.
local function takeable(id, worker)
  if out_of_service(worker) or pending(id) <= 0 or held_back(id) then return false end
  if number(id, 'chunks_total') > number(id, 'next') then return true end
  local queue = redis.call('HGET', key(id), 'queue')
  for _, part in ipairs({'returned', 'delayed'}) do
    for _, chunk in ipairs(redis.call('ZRANGE', key(id, part), 0, 99)) do
      if not must_avoid(id, chunk, worker, queue) then return true end
    end
  end
  return false
end
