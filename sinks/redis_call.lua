-- The state of a call, and the record that brought it about, unless a newer state is there.
-- A call that began at another time under the same id is removed first, with all its segments.
--
-- KEYS: call hash, segments hash, event stream
-- ARGV: 1 time to live in ms, 2 entries kept in the stream, 3 channel, 4 version of the call,
--       5 start of the call, 6 record ('' for none), 7... names and values of the call hash
-- Answers 1 written, 0 superseded.

local known_start = redis.call('HGET', KEYS[1], 'started_at')
if known_start and known_start ~= ARGV[5] then
  redis.call('DEL', unpack(KEYS))
end
local known_version = tonumber(redis.call('HGET', KEYS[1], 'version') or '0')
if tonumber(ARGV[4]) <= known_version then
  return 0
end

redis.call('HSET', KEYS[1], 'version', ARGV[4], unpack(ARGV, 7))
if ARGV[6] ~= '' then
  redis.pcall('XADD', KEYS[3], 'MAXLEN', ARGV[2], ARGV[4] .. '-0', 'record', ARGV[6])
  redis.call('PUBLISH', ARGV[3], ARGV[6])
end
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, ARGV[1])
end
return 1
