-- A worker's time on a job is over. Returns the tickets that the job needs when it left chunks that it could take.
local id = args.job
mark_idle(args.worker)
if ended(id) or redis.call('EXISTS', key(id, 'after')) == 1 or not takeable(id, args.worker) then return {} end
return {ticket_order(id, 1)}
