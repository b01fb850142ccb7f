-- The store has these ended jobs, as they ended at args.jobs[id], with the log lines up to then. Returns how many of them
-- have not been retried since.
local saved = 0
for id, ended_at in pairs(args.jobs) do
  if tonumber(redis.call('ZSCORE', 'jdq:unsaved', id) or 0) == ended_at then
    redis.call('ZREM', 'jdq:unsaved', id)
    redis.call('UNLINK', key(id, 'lines'))
    saved = saved + 1
  end
end
return saved
