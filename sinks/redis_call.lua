-- The state of a call, and the record that brought it about, unless a newer state is there.
-- Another run of the call under the same id is removed first, with all its segments, and noted in `former`: what comes
-- of it later is ignored. So of two runs the one that came last is shown, whatever their servers' clocks say.
--
-- KEYS: call hash, segments hash, event stream
-- ARGV: 1 time to live in ms, 2 entries kept in the stream, 3 channel, 4 version of the call,
--       5 run of the call, 6 record ('' for none), 7... names and values of the call hash
-- Answers 1 written, 0 superseded.

local known_run = redis.call('HGET', KEYS[1], 'run') or ''
local former = redis.call('HGET', KEYS[1], 'former') or ' '
if redis.call('EXISTS', KEYS[1]) == 1 and known_run ~= ARGV[5] then
  if string.find(former, ' ' .. ARGV[5] .. ' ', 1, true) then
    return 0
  end
  redis.call('DEL', unpack(KEYS))
  former = string.sub(' ' .. known_run .. former, 1, 208) -- the newest 16
end
local known_version = tonumber(redis.call('HGET', KEYS[1], 'version') or '0')
if tonumber(ARGV[4]) <= known_version then
  return 0
end

redis.call('HSET', KEYS[1], 'version', ARGV[4], 'former', former, unpack(ARGV, 7))
if ARGV[6] ~= '' then
  redis.pcall('XADD', KEYS[3], 'MAXLEN', ARGV[2], ARGV[4] .. '-0', 'record', ARGV[6])
  redis.call('PUBLISH', ARGV[3], ARGV[6])
end
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, ARGV[1])
end
return 1
