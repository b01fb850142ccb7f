-- Ends a job. Returns 'cancelled' | 'ended' | 'unknown'
if redis.call('EXISTS', key(args.job)) == 0 then return 'unknown' end
if redis.call('HGET', key(args.job), 'request') == args.token then return 'cancelled' end
if ended(args.job) then return 'ended' end
redis.call('HSET', key(args.job), 'request', args.token)
finish(args.job, 'cancelled')
return 'cancelled'
