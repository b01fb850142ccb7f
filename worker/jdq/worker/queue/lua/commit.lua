-- COMMIT. ARGV: job, chunk, token, counts (JSON object), more_chunks, more_queue, more_at_once, facts (JSON object),
-- closing_queue. counts are added to the job's counters; facts are set. more_chunks new chunks follow on more_queue,
-- and after all of them, where closing_queue is not empty, one last chunk on that queue.
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
local function follow(chunks, queue, at_once, closing)
  close(id)
  redis.call('HINCRBY', key(id), 'chunks_total', chunks)
  redis.call('HSET', key(id), 'queue', queue, 'at_once', at_once, 'closing', closing)
  return {'done', {ready_ticket(id)}}
end
if more > 0 then return follow(more, ARGV[6], ARGV[7], ARGV[9]) end
if done < number(id, 'chunks_total') then return {'done', {}} end
local closing = redis.call('HGET', key(id), 'closing')
if closing and closing ~= '' then return follow(1, closing, 1, '') end
return {'last', finish(id, 'succeeded')}
