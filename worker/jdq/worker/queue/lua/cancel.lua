-- Ends a job. Returns 'cancelled' | 'ended' | 'unknown'
if redis.call('EXISTS', key(args.job)) == 0 then return 'unknown' end
if ended(args.job) then return 'ended' end
finish(args.job, 'cancelled')
return 'cancelled'
