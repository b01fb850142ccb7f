-- The states of the ledger, explored inside the server: the scripts, their callers and the invariants, without a round trip.
-- `sources`, defined before it, has the scripts by name, on the test's clock. ARGV: what to do, with what.
-- A violated invariant is an error. See explore.py.

local LEASE_MS, RECLAIM_MS, HOUR_MS = 60000, 10000, 3600000
-- A low fine-tune, which makes room for an urgent job; one that waits for it; and one that another owner submits later.
local JOB, DEPENDENT, OTHER, CHUNKS = 'j', 'd', 'o', 2 -- chunks of the follow-up
local LOW, HIGH, OWNER = 7, 3, {j = 'alice', d = 'alice', o = 'bob'}
local ENDED = {succeeded = true, failed = true, cancelled = true}

-- What the database does not hold: what workers know, and what has happened.
-- clock: the scripts'. held: by worker, {job, chunk, token}. lost: by worker, {job, token} of a next whose reply was lost.
-- committed: by 'job/chunk', how often a commit was counted. released, ends: how often the dependent got a ticket from the
-- end of the job, and a commit ended the job. tokens: how many were made. room_until: when a fine-tune that makes room is late.
local world, workers, submits

local function check(holds, what)
  if not holds then error('violated: ' .. what, 0) end
end

-- The keys of the ledger that have changed since a state was restored, and the values of those that have not since they were
-- read: an action changes a few of twenty.
local changed, values_of = {}, {}
local moved -- whether the clock was set, or what a worker knows
local READS = {}
for command in string.gmatch('EXISTS HEXISTS HGET HGETALL HKEYS HLEN HMGET HVALS LLEN SCARD SISMEMBER SMEMBERS ZCARD ZCOUNT ZRANGE '
  .. 'ZRANGEBYSCORE ZSCORE TYPE DUMP KEYS GET', '%S+') do READS[command] = true end

-- No script asks for these: they are neither saved nor restored. How much owners have had is set before each action.
local USAGE, UNREAD = 'jdq:usage:cpu', {}
for name in string.gmatch('jdq:usage:cpu jdq:totals jdq:workers:texts jdq:workers:tokens jdq:job:j:log jdq:job:d:log jdq:job:o:log',
  '%S+') do UNREAD[name] = true end

local function recorded(work)
  return function(command, ...)
    if not READS[command] then
      for _, name in ipairs(command == 'UNLINK' and {...} or {(...)}) do
        if string.sub(name, 1, 4) == 'jdq:' and not UNREAD[name] then changed[name], values_of[name] = true, nil end
      end
    end
    return work(command, ...)
  end
end
local redis = {call = recorded(redis.call), pcall = recorded(redis.pcall), sha1hex = redis.sha1hex}

-- The scripts as functions of ARGV and redis. Their first line, the constants, is run once: it takes a quarter of a short call.
local compiled = {}
local function call(name, args)
  if not compiled[name] then
    local constants, body = string.match(sources[name], '^([^\n]*)\n(.*)$')
    compiled[name] = assert(loadstring(constants .. ' return function(ARGV, redis) ' .. body .. '\nend', '@' .. name))()
  end
  return compiled[name]({cjson.encode(args)}, redis)
end

local function key(job, part)
  return 'jdq:job:' .. job .. (part and ':' .. part or '')
end

local function get(job, field)
  return redis.call('HGET', key(job), field) or nil
end

local function token()
  world.tokens = world.tokens + 1
  return 'token-' .. world.tokens
end

local function set_clock(milliseconds)
  world.clock, moved = milliseconds, true
  redis.call('SET', 'test:clock', string.format('%d', milliseconds))
end

-- The database as a value

local function save()
  local dump = {}
  for _, name in ipairs(redis.call('KEYS', 'jdq:*')) do
    if not UNREAD[name] then dump[name] = redis.call('DUMP', name) end
  end
  return dump, cmsgpack.pack(world)
end

local function restore(dump, packed)
  for name in pairs(changed) do
    redis.call('UNLINK', name)
    if dump[name] then redis.call('RESTORE', name, 0, dump[name]) end
  end
  world = cmsgpack.unpack(packed)
  set_clock(world.clock)
  changed, moved = {}, false
end

-- The same after another state than the one that was restored last.
local function restore_all(dump, packed)
  for _, name in ipairs(redis.call('KEYS', 'jdq:*')) do changed[name] = true end
  for name in pairs(dump) do changed[name] = true end
  restore(dump, packed)
end

local function holder(held)
  local text = redis.call('HGET', key(held.job, 'holders'), held.chunk)
  return text and cjson.decode(text).token
end

local function holds(held)
  return holder(held) == held.token
end

-- Left out: what no script reads, what is the same in all states, what an old token's reply was, and what decides only how
-- many tickets a job gets and when, for here any worker may ask for a chunk at any time.
local IGNORED = {}
for field in string.gmatch('since process repair_at repair_wait charged chunk_ms owner yields used_ms kind spec priority '
  .. 'wanted_after created started ended request error', '%S+') do IGNORED[field] = true end
-- Which workers are busy matters only to chunks that failed and to urgent jobs, since when others are idle only to the former.
local BUSY, IDLE, SEEN, RECLAIM = 'jdq:workers:busy', 'jdq:workers:idle', 'jdq:workers:seen', 'jdq:reclaim'
local NO_STATE = {['jdq:workers'] = true, ['jdq:jobs'] = true, ['jdq:workers:replies'] = true, [BUSY] = true, [IDLE] = true}
for name in pairs(UNREAD) do NO_STATE[name] = true end
for name in string.gmatch('jdq:ended jdq:unsaved jdq:pending:cpu:7 jdq:pending:cpu:7:alice jdq:pending:cpu:7:bob jdq:pending:cpu:3 '
  .. 'jdq:pending:cpu:3:bob', '%S+') do NO_STATE[name] = true end
local OF_WORKERS = {holders = true, troubles = true, queue = true, seen = true, faults = true, sick = true}

-- Whether a worker that was seen then is dead for good: 70 s out of a whole hour, it stays so when the clock is set by hours.
local function is_dead(seen)
  return (world.clock - seen) % HOUR_MS >= 70000
end

-- Time from now. What is over for 70 s is so for good, unless the clock is set; two hours from now is as far as three.
local function from_now(time)
  local hours = math.floor((time - world.clock) / HOUR_MS + 0.5)
  if math.abs(hours) > 1 then return hours > 0 and 'later' or 'earlier' end
  return hours .. ' h ' .. math.max(-70000, time - world.clock - hours * HOUR_MS)
end

local function sorted(parts)
  table.sort(parts)
  return table.concat(parts, ' ')
end

-- A value of the database as text: times relative, tokens and workers by the names that `names` gives them.
local function canonical(value, names)
  if type(value) == 'table' then
    local parts = {}
    for field, inner in pairs(value) do
      if not IGNORED[field] then parts[#parts + 1] = canonical(field, names) .. '=' .. canonical(inner, names) end
    end
    return '{' .. sorted(parts) .. '}'
  end
  local text = tostring(value)
  if names[text] then return names[text] end
  if #text < 6 then return text end
  if string.sub(text, 1, 1) == '{' then return canonical(cjson.decode(text), names) end
  if string.sub(text, 1, 6) == 'token-' then return 'old' end
  return #text == 13 and tonumber(text) and from_now(tonumber(text)) or text
end

-- When somebody last looked at the leases, and until when owners have grace, if it is longer than that. Grace that was over then
-- is so for good: it counts at the next look only if that comes soon, and not before this one. Otherwise there is new grace.
local function read_reclaim(name)
  local at, grace_until = unpack(redis.call('HMGET', name, 'at', 'grace_until'))
  return (tonumber(grace_until) or 0) > tonumber(at) and {'at', at, 'grace_until', grace_until} or {'at', at}
end

local kinds = {[IDLE] = 'hash'}
local function read(name)
  if name == RECLAIM then return read_reclaim(name), 2 end
  if name == BUSY then return redis.call('HKEYS', name), 1 end
  kinds[name] = kinds[name] or redis.call('TYPE', name).ok
  if kinds[name] == 'set' then return redis.call('SMEMBERS', name), 1 end
  return kinds[name] == 'hash' and redis.call('HGETALL', name) or redis.call('ZRANGE', name, 0, -1, 'WITHSCORES'), 2
end

local function values_now(name)
  if not values_of[name] then
    local values, step = read(name)
    values_of[name] = {name = name, step = step, all = values, raw = name .. ' ' .. table.concat(values, ' ')}
  end
  return values_of[name]
end

-- As most keys stay as they are from one state to the next, their texts are kept. known: all that they depend on.
local kept = {}
local function as_text(values, names, known)
  kept[known] = kept[known] or {}
  local text = kept[known][values.raw]
  if text then return text end
  local parts = {values.name}
  for i = 1, #values.all, values.step do
    if not IGNORED[values.all[i]] then
      local part, value = canonical(values.all[i], names), values.all[i + 1]
      if values.name == SEEN and is_dead(value) then value = 'dead' end
      parts[#parts + 1] = values.step == 1 and part or part .. '=' .. canonical(value, names)
    end
  end
  text = sorted(parts)
  kept[known][values.raw] = text
  return text
end

local function with_names(names, of_workers)
  local parts, known = {}, {world.clock}
  for _, worker in ipairs(workers) do
    local held, lost = world.held[worker], world.lost[worker]
    if held then names[held.token] = 'held by ' .. names[worker] end
    if lost then names[lost.token] = 'lost by ' .. names[worker] end
    local knows = held and held.job .. held.chunk .. tostring(holds(held)) or lost and 'lost ' .. lost.job or ''
    parts[#parts + 1] = names[worker] .. ' knows ' .. knows
    known[#known + 1] = names[worker] .. knows .. (held or lost or {token = ''}).token
  end
  known = table.concat(known, ' ')
  for _, values in ipairs(of_workers) do parts[#parts + 1] = as_text(values, names, known) end
  return sorted(parts)
end

local function is_open(job, priority)
  return redis.call('SISMEMBER', 'jdq:open:cpu:' .. priority, job) == 1
end

-- Equal for states that no action can tell apart: two that are the same but for the names of the first two workers are one.
local function digest()
  local common, of_workers, troubled = {}, {}, false
  for _, name in ipairs(redis.call('KEYS', 'jdq:*')) do
    local part = string.match(name, '([^:]*)$')
    if OF_WORKERS[part] then
      of_workers[#of_workers + 1] = values_now(name)
      troubled = troubled or part == 'troubles'
    elseif not NO_STATE[name] then
      common[#common + 1] = as_text(values_now(name), {}, world.clock)
    end
  end
  if troubled then of_workers[#of_workers + 1] = values_now(IDLE) end
  if troubled or is_open(OTHER, HIGH) or submits and not get(OTHER, 'state') then of_workers[#of_workers + 1] = values_now(BUSY) end
  local one, other, names = {}, {}, {unpack(workers)}
  names[1], names[2] = names[2], names[1]
  for number, worker in ipairs(workers) do one[worker], other[worker] = worker, names[number] end
  one, other = with_names(one, of_workers), with_names(other, of_workers)
  local counts = canonical(world.committed, {}) .. world.ends .. world.released
  return redis.sha1hex(sorted(common) .. counts .. (one < other and one or other))
end

-- Actions, by name

local act = {}

local function process_of(worker)
  for number, name in ipairs(workers) do
    if name == worker then return number end
  end
end

local function hold(worker, leased, with)
  world.held[worker], moved = {job = leased[1], chunk = leased[2], token = with}, true
end

local function ask_next(worker, job, with)
  local leased = call('next', {job = job, worker = worker, process = process_of(worker), queue = 'cpu', token = with,
    lease_ms = LEASE_MS})[1]
  if leased and leased[1] == OTHER then world.room_until = 0 end
  return leased
end

function act.heartbeat(worker)
  call('heartbeat', {worker = worker, description = '{}', queue = 'cpu'})
end

-- Whether an open job has a chunk for any worker; nil if it has only some that failed, which some workers must avoid.
local function has_chunk(job)
  if tonumber(get(job, 'next')) < tonumber(get(job, 'chunks_total')) then return true end
  local returned, failed = redis.call('ZRANGE', key(job, 'returned'), 0, -1), false
  for _, chunk in ipairs(returned) do
    if redis.call('HEXISTS', key(job, 'troubles'), chunk) == 0 then return true end
    failed = true
  end
  if failed or redis.call('EXISTS', key(job, 'delayed')) == 1 then return nil end
  return false
end

-- The job whose chunk a worker must get that asks for one of `job`; nil if none, or if chunks that failed decide.
local function first_of(job, poorer)
  local order = {{OTHER, HIGH}}
  if poorer == OWNER[OTHER] then order[2] = {OTHER, LOW} end
  if poorer == OWNER[JOB] then order[2], order[3] = {JOB, LOW}, {DEPENDENT, LOW} end
  order[#order + 1] = {job, LOW}
  for _, each in ipairs(order) do
    if is_open(unpack(each)) then
      local has = has_chunk(each[1])
      if has ~= false then return has and each[1] end
    end
  end
end

local function is_sick(worker)
  return redis.call('HEXISTS', 'jdq:workers:sick', worker) == 1
end

local function take(worker, job)
  local with = token()
  local leased = ask_next(worker, job, with)
  if not leased then return call('mark_idle', {worker = worker, job = job}) end
  hold(worker, leased, with)
end

function act.next(worker, job, poorer)
  local first = not is_sick(worker) and first_of(job, poorer)
  take(worker, job)
  local held = world.held[worker]
  check(not first or held and held.job == first, 'an urgent job, then the owner who had less, goes first')
end

act['next, reply lost:'] = function(worker, job)
  local with = token()
  if ask_next(worker, job, with) then world.lost[worker] = {job = job, token = with} end
end

act['next again'] = function(worker)
  local lost = world.lost[worker]
  world.lost[worker] = nil
  local leased = ask_next(worker, lost.job, lost.token)
  check(leased, 'a repeated next gets its chunk')
  hold(worker, leased, lost.token)
end

local function forget(worker)
  local held = world.held[worker]
  moved = true
  world.held[worker], world.lost[worker] = nil, nil
  return held
end

function act.commit(worker)
  local held = forget(worker)
  local held_it = holds(held)
  local args = {job = held.job, chunk = held.chunk, token = held.token, worker = worker, counts = {n = 1}}
  if held.job == JOB and held.chunk == 0 then args.follow_up = {chunks = CHUNKS, queue = 'cpu'} end
  local reply = call('commit', args)
  local again = call('commit', args) -- redis-py does so when the reply is lost
  check(cjson.encode(reply) == cjson.encode(again), 'a repeated commit gets the same reply')
  check((reply[1] == 'lost') ~= held_it, 'only the present holder commits')
  if not held_it then return end
  local name = held.job .. '/' .. held.chunk
  world.committed[name] = (world.committed[name] or 0) + 1
  if held.job ~= JOB then return end
  if reply[1] == 'last' then world.ends = world.ends + 1 end
  for _, order in ipairs(reply[2]) do
    if order[1] == DEPENDENT then world.released = world.released + 1 end
  end
end

local function release(worker, what, delay_ms)
  local held = forget(worker)
  call('release', {job = held.job, chunk = held.chunk, token = held.token, what = what, reason = 'r', delay_ms = delay_ms})
end

function act.drain(worker) release(worker, 'drain', 0) end
function act.fault(worker) release(worker, 'fault', 1000) end

function act.fail(worker)
  local held = forget(worker)
  local held_it, before = holds(held), get(held.job, 'state')
  call('fail', {job = held.job, chunk = held.chunk, token = held.token, error = '{"type":"E","message":"m"}'})
  check(get(held.job, 'state') == (held_it and 'failed' or before), 'only the present holder fails a job')
end

-- Whether a fine-tune must make room; nil if chunks that failed decide.
local function must_make_room(held)
  if held.job == OTHER or not is_open(OTHER, HIGH) or world.clock < world.room_until then return false end
  for _, worker in ipairs(workers) do
    local seen = tonumber(redis.call('ZSCORE', SEEN, worker) or 0)
    if math.abs(world.clock - seen) <= 15000 and redis.call('HEXISTS', BUSY, worker) == 0 then return false end
  end
  return has_chunk(OTHER)
end

function act.renew(worker)
  local held = world.held[worker]
  local room = not is_sick(worker) and must_make_room(held)
  local verdict = call('renew', {worker = worker, lease_ms = LEASE_MS, leases = {held}})[1]
  check((verdict == 'ok' or verdict == 'preempt') == holds(held), 'a renewal tells the truth')
  check(room == nil or not holds(held) or (verdict == 'preempt') == room, 'a low fine-tune makes room for an urgent job')
  if verdict == 'preempt' then world.room_until = world.clock + 60000 end
  if not holds(held) then forget(worker) end
end

-- The main process sees its child die, and reports it.
function act.kill(worker)
  forget(worker)
  call('end_process', {worker = worker, what = 'death', reason = 'killed', process = process_of(worker)})
end

-- The machine is gone: nobody reports it.
act.vanish = forget

local function reclaim()
  return call('reclaim', {lease_ms = LEASE_MS, reclaim_ms = RECLAIM_MS})[2]
end
act.reclaim = reclaim

function act.clock(direction)
  set_clock(world.clock + (direction == 'back' and -HOUR_MS or HOUR_MS))
end

-- 70 s pass while somebody looks at the leases every 10 s.
function act.watch()
  for _ = 1, 7 do
    set_clock(world.clock + RECLAIM_MS)
    reclaim()
  end
end

local function create(job, priority, after)
  call('create', {job = job, kind = 'fine-tune', spec = '{}', queue = 'cpu', priority = priority, owner = OWNER[job],
    after = cjson.decode(after)})
end
function act.submit(priority) create(OTHER, tonumber(priority), '[]') end
function act.cancel(job) call('cancel', {job = job, token = token()}) end
function act.retry() call('retry', {job = JOB, token = token()}) end

local OF_HOLDER = {'commit', 'drain', 'fault', 'fail', 'renew', 'kill', 'vanish'}
local OF_ALL = {{'clock', 'forward'}, {'clock', 'back'}, {'reclaim'}, {'watch'}, {'cancel', JOB}, {'retry'}}

-- Every action that is possible in this state: its name and arguments.
local function actions()
  local possible = {unpack(OF_ALL)}
  local function add(...) possible[#possible + 1] = {...} end
  local other, rival = is_open(OTHER, HIGH) or is_open(OTHER, LOW), is_open(OTHER, LOW)
  if other then
    add('cancel', OTHER)
  elseif submits and not get(OTHER, 'state') then
    add('submit', tostring(LOW))
    add('submit', tostring(HIGH))
  end
  for _, worker in ipairs(workers) do
    if is_sick(worker) or redis.call('ZSCORE', SEEN, worker) ~= string.format('%d', world.clock) then add('heartbeat', worker) end
    if world.held[worker] then
      for _, name in ipairs(OF_HOLDER) do add(name, worker) end
    elseif world.lost[worker] then
      add('next again', worker)
      add('vanish', worker)
    else
      add('next', worker, JOB)
      add('next', worker, DEPENDENT)
      if other then add('next', worker, OTHER) end
      if rival then
        add('next', worker, JOB, OWNER[OTHER])
        add('next', worker, OTHER, OWNER[JOB])
      end
      add('next, reply lost:', worker, JOB)
    end
  end
  return possible
end

-- Invariants

local function check_job(job)
  local total, done, fresh = tonumber(get(job, 'chunks_total')), tonumber(get(job, 'chunks_done')), tonumber(get(job, 'next'))
  local places, somewhere, leases = {}, 0, redis.call('ZRANGE', key(job, 'leases'), 0, -1)
  local function place(chunk)
    check(not places[chunk], job .. ': a chunk is in one place')
    places[chunk] = true
    somewhere = somewhere + 1
  end
  for _, part in ipairs({'leases', 'returned', 'delayed'}) do
    for _, chunk in ipairs(redis.call('ZRANGE', key(job, part), 0, -1)) do place(chunk) end
  end
  local committed = 0
  for chunk = 0, total - 1 do
    if world.committed[job .. '/' .. chunk] then
      committed = committed + 1
      place(tostring(chunk))
    end
  end
  for chunk = 0, fresh - 1 do check(places[tostring(chunk)], job .. ': each chunk is somewhere') end
  check(somewhere == fresh and fresh <= total, job .. ': no chunk that is not its own')
  check(#leases == redis.call('HLEN', key(job, 'holders')), job .. ': each lease has a holder, and each holder a lease')
  for _, chunk in ipairs(leases) do check(holder({job = job, chunk = chunk}), job .. ': the holder is the lease\'s') end
  check(done == committed and tonumber(get(job, 'count:n') or 0) == done, job .. ': the counts are those of the commits')
  local state, waits = get(job, 'state'), redis.call('EXISTS', key(job, 'after')) == 1
  check((state == 'succeeded') == (done == total), job .. ': succeeded is all committed')
  local open = ENDED[state] == nil and not waits
  check((redis.call('SISMEMBER', 'jdq:open', job) == 1) == open, job .. ': open is ready and not ended')
  local priority = get(job, 'priority')
  check(is_open(job, priority) == open, job .. ': open by queue is open')
  check(not ENDED[state] or #leases == 0, job .. ': an ended job has no lease')
  for _, list in ipairs({'jdq:ended', 'jdq:unsaved'}) do
    check((redis.call('ZSCORE', list, job) ~= false) == (ENDED[state] == true), job .. ': listed as ended is ended')
  end
  local owners = 'jdq:pending:cpu:' .. priority
  local listed = redis.call('ZSCORE', owners .. ':' .. OWNER[job], job) ~= false
  check(listed == (open and total - committed > #leases), job .. ': listed is open with a chunk that nobody has')
  check(not listed or redis.call('SISMEMBER', owners, OWNER[job]) == 1, job .. ': its owner is listed')
end

local function check_all()
  for _, times in pairs(world.committed) do check(times == 1, 'a chunk counts once') end
  check(world.ends <= 1, 'a job ends once')
  check(world.released <= 1, 'a dependent is started once')
  check_job(JOB)
  check_job(DEPENDENT)
  if get(OTHER, 'state') then check_job(OTHER) end
end

local function follow_ticket(worker, job)
  forget(worker)
  take(worker, job)
  while world.held[worker] do
    act.commit(worker)
    take(worker, job)
  end
  redis.call('HDEL', 'jdq:workers:busy', worker)
end

-- By reclaims and the tickets that they order, all jobs end: workers know nothing and do nothing but follow tickets, and
-- those in quarantine recover. States from which that is known are not followed again.
local function check_liveness()
  local passed = {}
  for _ = 1, 60 do
    for _, worker in ipairs(workers) do
      forget(worker)
      redis.call('HSET', 'jdq:workers:queue', worker, 'cpu')
      redis.call('ZADD', 'jdq:workers:seen', string.format('%d', world.clock), worker)
    end
    redis.call('UNLINK', 'jdq:workers:busy', 'jdq:workers:sick', 'jdq:workers:faults')
    local state = digest()
    if redis.call('SCARD', 'jdq:open') == 0 or redis.call('SISMEMBER', 'explore:live', state) == 1 then
      if #passed > 0 then redis.call('SADD', 'explore:live', unpack(passed)) end
      return
    end
    passed[#passed + 1] = state
    set_clock(world.clock + RECLAIM_MS)
    for _, order in ipairs(reclaim()) do
      for number = 1, math.min(order[3], #workers) do follow_ticket(workers[number], order[1]) end
    end
    check_all()
  end
  check(false, 'all jobs end')
end

-- What explore.py asks for

local function attempt(path, work, ...)
  local sound, problem = pcall(work, ...)
  if not sound then error((type(problem) == 'table' and problem.err or problem) .. '; after: ' .. path, 0) end
end

-- What an owner has had, less what his leased chunks are charged beyond the time that they took until now.
local function balance(owner)
  local had = tonumber(string.match(redis.call('HGET', USAGE, owner), '%S+'))
  for job, its_owner in pairs(OWNER) do
    for _, text in ipairs(its_owner == owner and redis.call('HVALS', key(job, 'holders')) or {}) do
      local holder = cjson.decode(text)
      had = had - holder.charged + math.max(0, world.clock - holder.since)
    end
  end
  return had
end

local ENOUGH_MS = 1e9 -- never negative
local function perform(action)
  local at, before = ' ' .. string.format('%d', world.clock), {}
  for _, owner in ipairs({OWNER[JOB], OWNER[OTHER]}) do
    redis.call('HSET', USAGE, owner, (action[4] == owner and ENOUGH_MS or 2 * ENOUGH_MS) .. at)
    before[owner] = balance(owner)
  end
  act[action[1]](action[2], action[3], action[4])
  check_all()
  for owner, had in pairs(before) do
    check(action[1] == 'clock' or action[1] == 'watch' or math.abs(balance(owner) - had) < 1, 'owners are charged what their chunks took')
  end
end

-- Takes so many states from one level's list, and adds those that one action leads to, and that are new, to the next one's.
local function expand(level, most)
  for _ = 1, most do
    local packed = redis.call('LPOP', 'explore:' .. level)
    if not packed then break end
    local dump, before, path = unpack(cmsgpack.unpack(packed))
    restore_all(dump, before)
    for _, action in ipairs(actions()) do
      restore(dump, before)
      local to = path .. (path == '' and '' or ' | ') .. table.concat(action, ' ')
      attempt(to, perform, action)
      if (moved or next(changed)) and redis.call('SADD', 'explore:seen', digest()) == 1 then
        local reached, after = save()
        redis.call('RPUSH', 'explore:' .. level + 1, cmsgpack.pack({reached, after, to}))
        attempt(to, check_liveness)
      end
    end
  end
  return {redis.call('SCARD', 'explore:seen'), redis.call('LLEN', 'explore:' .. level)}
end

workers, submits = unpack(cjson.decode(ARGV[2]))
if ARGV[1] == 'start' then
  world = {held = {}, lost = {}, committed = {}, released = 0, ends = 0, tokens = 0, room_until = 0}
  set_clock(1700000000000)
  redis.call('HSET', 'jdq:reclaim', 'at', string.format('%d', world.clock))
  create(JOB, LOW, '[]')
  create(DEPENDENT, LOW, cjson.encode({JOB}))
  for _, worker in ipairs(workers) do act.heartbeat(worker) end
  local dump, after = save()
  redis.call('RPUSH', 'explore:0', cmsgpack.pack({dump, after, ''}))
  redis.call('SADD', 'explore:seen', digest())
elseif ARGV[1] == 'expand' then
  return expand(ARGV[3], tonumber(ARGV[4]))
else
  world = cmsgpack.unpack(redis.call('GET', 'explore:world'))
  if ARGV[1] == 'live' then
    check_liveness()
  else
    perform(cjson.decode(ARGV[3]))
  end
end
redis.call('SET', 'explore:world', cmsgpack.pack(world))
return cjson.encode(actions())
