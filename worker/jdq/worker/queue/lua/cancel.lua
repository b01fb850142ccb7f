-- ARGV: job. Returns 'cancelled' | 'ended' | 'unknown'
local id = ARGV[1]
if redis.call('EXISTS', key(id)) == 0 then return 'unknown' end
if ended(id) then return 'ended' end
finish(id, 'cancelled')
return 'cancelled'
