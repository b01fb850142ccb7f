-- Returns a chunk: after 'drain' immediately, and the attempt does not count; after 'fault' later, and it counts.
-- Returns the tickets to send.
local id, chunk = args.job, args.chunk
local holder = holder_of(args)
if not holder then return {} end
if args.what == 'fault' and troubles(id, chunk).attempts == 0 then blame(holder.worker, args.reason) end
return end_attempt(id, chunk, args.what, holder.worker, args.reason, args.delay_ms)
