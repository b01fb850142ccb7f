-- COMMIT. ARGV: job, chunk, token, counts (JSON object), more_chunks, more_queue, more_at_once, facts (JSON object)
-- counts are added to the job's counters; facts are set. more_chunks new chunks follow on more_queue.
-- Returns {'done' | 'last' | 'lost', tickets}
local id, chunk = ARGV[1], ARGV[2]
local holder = held(id, chunk, ARGV[3])
if not holder then return {'lost', {}} end
drop_lease(id, chunk)
redis.call('HDEL', key(id, 'attempts'), chunk)
for name, value in pairs(cjson.decode(ARGV[4])) do redis.call('HINCRBY', key(id), 'count:' .. name, value) end
for name, value in pairs(cjson.decode(ARGV[8])) do redis.call('HSET', key(id), name, value) end
local done = redis.call('HINCRBY', key(id), 'chunks_done', 1)
local more = tonumber(ARGV[5])
if more > 0 then
  redis.call('HINCRBY', key(id), 'chunks_total', more)
  redis.call('HSET', key(id), 'queue', ARGV[6], 'at_once', ARGV[7])
  return {'done', {ready_ticket(id)}}
end
if done == number(id, 'chunks_total') then return {'last', finish(id, 'succeeded')} end
return {'done', {}}
