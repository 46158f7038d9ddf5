-- Whether all of a call is there; if so, its keys are prolonged.
--
-- KEYS: call hash, segments hash, event stream
-- ARGV: 1 time to live in ms (0: as it is), 2 version, 3 segments, 4 stream entries that must be there,
--       5 run of the call
-- Answers 1 it is, or a newer run is shown, 0 something is gone or older.

if (redis.call('HGET', KEYS[1], 'run') or '') ~= ARGV[5] then
  local former = redis.call('HGET', KEYS[1], 'former') or ' '
  return string.find(former, ' ' .. ARGV[5] .. ' ', 1, true) and 1 or 0
end
local version = redis.call('HGET', KEYS[1], 'version')
if
  not version
  or tonumber(version) < tonumber(ARGV[2])
  or redis.call('HLEN', KEYS[2]) < tonumber(ARGV[3])
  or redis.call('XLEN', KEYS[3]) < tonumber(ARGV[4])
then
  return 0
end
if ARGV[1] ~= '0' then
  for _, key in ipairs(KEYS) do
    redis.call('PEXPIRE', key, ARGV[1])
  end
end
return 1
