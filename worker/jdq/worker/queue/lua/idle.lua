-- A worker's turn is over. ARGV: worker, job. Returns the ticket that the job needs when chunks are left.
local id = ARGV[2]
redis.call('HDEL', 'jdq:workers:busy', ARGV[1])
if ended(id) or redis.call('EXISTS', key(id, 'after')) == 1 then return {} end
if pending(id) <= 0 or redis.call('ZCARD', key(id, 'leases')) >= number(id, 'at_once') then return {} end
return {{id, redis.call('HGET', key(id), 'queue'), 1, redis.call('HGET', key(id), 'priority')}}
