-- Fails the job: another attempt would meet the same error of the user's. Returns the tickets to send.
local holder = holder_of(args)
if not holder then return {} end
log_attempt(args.job, args.chunk, 'error', holder.worker, cjson.decode(args.error)['message'])
return finish(args.job, 'failed', args.error)
