-- Leases one of the GPUs that the worker can see, or renews its lease of one.
-- A UUID is unique in the world, so workers in containers of one host need not know that it is one host.
-- Returns {UUID}, or {} when all are taken.
local function lease(uuid)
  redis.call('SET', 'jdq:gpu:' .. uuid, args.worker, 'PX', limits.gpu_lease_ms)
  return {uuid}
end
for _, uuid in ipairs(args.uuids) do
  if redis.call('GET', 'jdq:gpu:' .. uuid) == args.worker then return lease(uuid) end
end
for _, uuid in ipairs(args.uuids) do
  if redis.call('EXISTS', 'jdq:gpu:' .. uuid) == 0 then return lease(uuid) end
end
return {}
