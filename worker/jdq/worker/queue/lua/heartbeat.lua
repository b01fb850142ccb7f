-- A worker's heartbeat. It counts among its queue's workers only while it takes work.
-- Returns why it is quarantined, or an empty text.
redis.call('HSET', 'jdq:workers', args.worker, args.description)
local sick = redis.call('HGET', 'jdq:workers:sick', args.worker)
redis.call('HSET', 'jdq:workers:queue', args.worker, (not out_of_service(args.worker) and args.queue) or '')
redis.call('ZADD', 'jdq:workers:seen', now, args.worker)
return sick and cjson.decode(sick).reason or ''
