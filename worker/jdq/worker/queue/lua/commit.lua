-- Counts a chunk, adds its counts to the job's, and adds the follow-up chunks; the last commit ends the job.
-- Returns {'done' | 'last' | 'lost', tickets}
local id, following = args.job, args.follow_up
local earlier = earlier_reply('commit')
if earlier then return earlier end
local holder = holder_of(args)
if not holder then return {'lost', {}} end

for name, value in pairs(args.counts) do
  check(whole(value), 'the count ' .. name .. ' is ' .. tostring(value) .. ', not a whole number')
  check(whole(number(id, 'count:' .. name)), 'the job has no whole number in count:' .. name)
end
if following then
  check(whole(following.chunks) and following.chunks > 0, tostring(following.chunks) .. ' follow-up chunks')
end
for _, field in ipairs({'chunks_done', 'chunks_total', 'next'}) do
  check(whole(number(id, field)), 'the job has no whole number in ' .. field)
end

local tokens, device_ms = args.counts.tokens, args.counts.device_ms
redis.call('HSET', key(id), 'chunk_ms', drop_lease(id, args.chunk, device_ms ~= 0 and device_ms or nil))
redis.call('HDEL', key(id, 'troubles'), args.chunk)
redis.call('HDEL', 'jdq:workers:faults', args.worker)
if tokens and device_ms and device_ms > 0 then
  redis.call('HSET', 'jdq:workers:speed', args.worker, math.floor(1000 * tokens / device_ms))
end
for name, value in pairs(args.counts) do redis.call('HINCRBY', key(id), 'count:' .. name, value) end
for _, name in ipairs(limits.totals) do count(name, args.counts[name] or 0) end
count(args.worker, args.counts.computed or 0, 'jdq:workers:texts')
count(args.worker, tokens or 0, 'jdq:workers:tokens')
count_time('chunk', id, holder.since or now)
if args.result then redis.call('HSET', key(id), 'result', args.result) end
local done = redis.call('HINCRBY', key(id), 'chunks_done', 1)

local function follow_up(chunks, queue, closing, yields)
  close(id)
  redis.call('HDEL', key(id), 'chunk_ms') -- other chunks take another time
  redis.call('HINCRBY', key(id), 'chunks_total', chunks)
  redis.call('HSET', key(id), 'queue', queue, 'closing', closing, 'yields', yields and 1 or 0)
  return {'done', {open(id)}}
end

local function after_commit()
  if following then return follow_up(following.chunks, following.queue, following.closing or '', following.yields) end
  if done < number(id, 'chunks_total') then return {'done', {}} end
  local closing = redis.call('HGET', key(id), 'closing')
  if closing and closing ~= '' then return follow_up(1, closing, '') end
  return {'last', finish(id, 'succeeded')}
end
return keep_reply('commit', after_commit())
