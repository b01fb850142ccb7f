-- Counts the jobs of args.jobs and their chunks by kind, state and queue, and changes nothing. Returns {groups, as in OpenJobs;
-- the jobs with progress of chunks in flight; the jobs that wait for one of args.jobs}.
local by_name, groups, live, dependents = {}, {}, {}, {}

local function add(job, jobs, pending, leased, delayed)
  local name = table.concat(job, ' ', 1, 3)
  local group = by_name[name]
  if not group then
    group = {job[1], job[2], job[3], 0, 0, 0, 0}
    by_name[name], groups[#groups + 1] = group, group
  end
  for i, number in ipairs({jobs, pending, leased, delayed}) do group[3 + i] = group[3 + i] + number end
end

local function survey(id)
  local job = redis.call('HMGET', key(id), 'kind', 'state', 'queue', 'chunks_total', 'chunks_done')
  if job[2] ~= 'queued' and job[2] ~= 'running' then return end
  local leased, delayed = 0, 0
  if job[2] == 'running' then -- the others have no chunks in flight
    leased, delayed = redis.call('HLEN', key(id, 'holders')), redis.call('ZCARD', key(id, 'delayed'))
    if redis.call('EXISTS', key(id, 'live')) == 1 then live[#live + 1] = id end
  end
  add(job, 1, math.max(0, job[4] - job[5] - leased - delayed), leased, delayed)
  for _, other in ipairs(redis.call('SMEMBERS', key(id, 'dependents'))) do dependents[#dependents + 1] = other end
end

-- One bad entry must not hide the others.
for _, id in ipairs(args.jobs) do pcall(survey, id) end
return {groups, live, dependents}
