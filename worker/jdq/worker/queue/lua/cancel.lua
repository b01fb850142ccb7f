-- Ends a job, and logs who did so if it is not its owner. Returns 'cancelled' | 'ended' | 'unknown'
if redis.call('EXISTS', key(args.job)) == 0 then return 'unknown' end
if redis.call('HGET', key(args.job), 'request') == args.token then return 'cancelled' end
if ended(args.job) then return 'ended' end
redis.call('HSET', key(args.job), 'request', args.token)
if args.by and args.by ~= redis.call('HGET', key(args.job), 'owner') then
  log_event(args.job, {what = 'cancel', worker = args.by, reason = 'cancelled by ' .. args.by})
end
finish(args.job, 'cancelled')
return 'cancelled'
