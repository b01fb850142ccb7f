-- A process that worked for a worker is gone: its chunks become pending again immediately. Without args.process, all of
-- the worker's are. Returns {chunks returned, tickets}
local held = {}
local function find(id)
  local holders = redis.call('HGETALL', key(id, 'holders'))
  for i = 1, #holders, 2 do
    local holder = cjson.decode(holders[i + 1])
    if holder.worker == args.worker and (not args.process or holder.process == args.process) then
      held[#held + 1] = {id, holders[i]}
    end
  end
end
for _, id in ipairs(redis.call('SMEMBERS', 'jdq:open')) do protected(id, find) end
mark_idle(args.worker)

local tickets, fresh = {}, false
local function give_back(id, chunk)
  if ended(id) then return {} end
  fresh = fresh or troubles(id, chunk).attempts == 0
  return end_attempt(id, chunk, args.what, args.worker, args.reason, 0, #held == 1)
end
for _, leased in ipairs(held) do
  for _, ticket in ipairs(protected(leased[1], give_back, leased[2]) or {}) do tickets[#tickets + 1] = ticket end
end
if fresh and args.what == 'death' then blame(args.worker, args.reason) end
return {#held, tickets}
