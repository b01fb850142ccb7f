-- Removes ended jobs and all their keys; the others stay, and those that a worker has not left yet. Returns the removed ids.
local PARTS = {'returned', 'delayed', 'leases', 'holders', 'live', 'troubles', 'after', 'dependents', 'log', 'lines'}
local busy = {}
for _, id in ipairs(redis.call('HVALS', 'jdq:workers:busy')) do busy[id] = true end

local function forget(id)
  if busy[id] or not ended(id) or redis.call('ZREM', 'jdq:jobs', id) == 0 then return false end
  redis.call('UNLINK', key(id))
  for _, part in ipairs(PARTS) do redis.call('UNLINK', key(id, part)) end
  return true
end

local removed = {}
for _, id in ipairs(args.jobs) do
  if forget(id) then removed[#removed + 1] = id end
end
return removed
