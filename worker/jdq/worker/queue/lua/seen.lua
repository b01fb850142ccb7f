-- A worker says that it lives. ARGV: worker, queue ('' while it takes no work), description (JSON)
redis.call('HSET', 'jdq:workers', ARGV[1], ARGV[3])
redis.call('HSET', 'jdq:workers:queue', ARGV[1], ARGV[2])
redis.call('ZADD', 'jdq:workers:seen', now, ARGV[1])
return now
