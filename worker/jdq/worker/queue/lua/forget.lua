-- Removes ended jobs and all their keys; the others stay, and those that a worker has not left yet. With args.archive, only
-- what the store has by now is removed, and the jobs stay in the history. Returns the ids of those that are gone from Redis.
local PARTS = {'returned', 'delayed', 'leases', 'holders', 'live', 'troubles', 'after', 'dependents', 'log', 'lines'}
local busy = {}
for _, id in ipairs(redis.call('HVALS', 'jdq:workers:busy')) do busy[id] = true end

local function forget(id)
  if redis.call('EXISTS', key(id)) == 0 then return redis.call('ZREM', 'jdq:archived', id) == 1 end
  if busy[id] or not ended(id) then return false end
  if args.archive then
    if redis.call('ZSCORE', 'jdq:unsaved', id) then return false end
    redis.call('ZADD', 'jdq:archived', number(id, 'created'), id)
  end
  for _, list in ipairs({'jdq:jobs', 'jdq:ended', 'jdq:unsaved'}) do redis.call('ZREM', list, id) end
  redis.call('UNLINK', key(id))
  for _, part in ipairs(PARTS) do redis.call('UNLINK', key(id, part)) end
  return true
end

local removed = {}
for _, id in ipairs(args.jobs) do
  if forget(id) then
    removed[#removed + 1] = id
    if not args.archive then redis.call('HDEL', 'jdq:owners', id) end
  end
end
return removed
