-- Leases a GPU, or extends the lease. ARGV: worker, lease_ms, then the UUIDs of the GPUs that the worker can see.
-- A UUID is unique in the world, so workers in containers of one host need not know that it is one host.
-- Returns the UUID that is the worker's now, or nil when all are taken.
local function take(uuid)
  redis.call('SET', 'jdq:gpu:' .. uuid, ARGV[1], 'PX', ARGV[2])
  return uuid
end
for i = 3, #ARGV do
  if redis.call('GET', 'jdq:gpu:' .. ARGV[i]) == ARGV[1] then return take(ARGV[i]) end
end
for i = 3, #ARGV do
  if redis.call('EXISTS', 'jdq:gpu:' .. ARGV[i]) == 0 then return take(ARGV[i]) end
end
return nil
