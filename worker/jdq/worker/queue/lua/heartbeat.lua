-- A worker's heartbeat. It counts among its queue's workers only while it takes work.
redis.call('HSET', 'jdq:workers', args.worker, args.description)
redis.call('HSET', 'jdq:workers:queue', args.worker, args.queue or '')
redis.call('ZADD', 'jdq:workers:seen', now, args.worker)
return now
