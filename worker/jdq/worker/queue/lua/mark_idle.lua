-- A worker's time on a job is over. Returns the ticket of the job, if it left chunks that it could take, or of another job of
-- the owner that a quota has held back: such jobs have lost their tickets, and now there is room.
local id = args.job
mark_idle(args.worker)
if redis.call('EXISTS', key(id)) == 0 then return {} end

local function can_go_on(job)
  return not ended(job) and redis.call('EXISTS', key(job, 'after')) == 0 and takeable(job, args.worker)
end

if can_go_on(id) then return {ticket_order(id, 1)} end
local _, _, jobs = pending_keys(id)
for _, other in ipairs(redis.call('ZRANGE', jobs, 0, 99)) do
  if redis.call('HEXISTS', key(other), 'held_back') == 1 and can_go_on(other) then return {ticket_order(other, 1)} end
end
return {}
