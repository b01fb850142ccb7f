-- Returns a chunk: after 'drain' immediately, and the attempt does not count; after 'fault' later, and it counts.
-- Returns the tickets to send.
local id, chunk = args.job, args.chunk
local holder = holder_of(args)
if not holder then return {} end
log_attempt(id, chunk, args.what, holder['worker'], args.reason)
if args.what == 'drain' then redis.call('HINCRBY', key(id, 'attempts'), chunk, -1) end
return return_chunk(id, chunk, args.reason, args.delay_ms)
