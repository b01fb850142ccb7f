-- Adds a job of one chunk, which waits for the jobs in args.after. A repeated call finds the job and its tickets.
-- Returns {'created', tickets} | {'unknown' | 'failed', {}, job}
local id = args.job
local function tickets()
  return (ended(id) or redis.call('EXISTS', key(id, 'after')) == 1) and {} or {open(id)}
end
if redis.call('EXISTS', key(id)) == 1 then return {'created', tickets()} end
local waits = {}
for _, other in ipairs(args.after) do
  local state = redis.call('HGET', key(other), 'state')
  if not state then return {'unknown', {}, other} end
  if state == 'failed' or state == 'cancelled' then return {'failed', {}, other} end
  if state ~= 'succeeded' then waits[#waits + 1] = other end
end
redis.call('HSET', key(id), 'kind', args.kind, 'spec', args.spec, 'state', 'queued', 'queue', args.queue,
  'priority', args.priority, 'owner', args.owner, 'created', now, 'next', 0, 'chunks_total', 1, 'chunks_done', 0)
for _, name in ipairs({'time_limit_ms', 'notify'}) do
  if args[name] then redis.call('HSET', key(id), name, args[name]) end
end
if #args.after > 0 then redis.call('HSET', key(id), 'wanted_after', cjson.encode(args.after)) end
redis.call('ZADD', 'jdq:jobs', now, id)
redis.call('HSET', 'jdq:owners', id, args.owner)
for _, other in ipairs(waits) do wait_for_job(id, other) end
return {'created', tickets()}
