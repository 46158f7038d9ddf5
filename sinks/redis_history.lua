-- Events that the stream may lack, oldest first. Those that it lacked are published too, as their screens missed them.
--
-- KEYS: call hash, segments hash, event stream
-- ARGV: 1 time to live in ms, 2 entries kept in the stream, 3 channel, 4 unused, 5 run of the call,
--       6... versions and records
-- Answers the number of entries added: none of another run than the one that is shown.

if (redis.call('HGET', KEYS[1], 'run') or '') ~= ARGV[5] then
  return 0
end

local added = 0
for i = 6, #ARGV, 2 do
  local answer = redis.pcall('XADD', KEYS[3], 'MAXLEN', ARGV[2], ARGV[i] .. '-0', 'record', ARGV[i + 1])
  if type(answer) == 'string' then
    redis.call('PUBLISH', ARGV[3], ARGV[i + 1])
    added = added + 1
  end
end
redis.call('PEXPIRE', KEYS[3], ARGV[1])
return added
