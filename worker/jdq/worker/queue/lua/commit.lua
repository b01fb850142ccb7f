-- Counts a chunk, adds its counts to the job's, and adds the follow-up chunks; the last commit ends the job.
-- Returns {'done' | 'last' | 'lost', tickets}
local id = args.job
if not holder_of(args) then return {'lost', {}} end
drop_lease(id, args.chunk)
redis.call('HDEL', key(id, 'attempts'), args.chunk)
for name, value in pairs(args.counts) do redis.call('HINCRBY', key(id), 'count:' .. name, value) end
if args.result then redis.call('HSET', key(id), 'result', args.result) end
local done = redis.call('HINCRBY', key(id), 'chunks_done', 1)

local function follow_up(chunks, queue, closing)
  close(id)
  redis.call('HINCRBY', key(id), 'chunks_total', chunks)
  redis.call('HSET', key(id), 'queue', queue, 'closing', closing)
  return {'done', {open(id)}}
end

local following = args.follow_up
if following then return follow_up(following.chunks, following.queue, following.closing or '') end
if done < number(id, 'chunks_total') then return {'done', {}} end
local closing = redis.call('HGET', key(id), 'closing')
if closing and closing ~= '' then return follow_up(1, closing, '') end
return {'last', finish(id, 'succeeded')}
