-- Whether all of a call is there; if so, its keys are prolonged.
--
-- KEYS: call hash, segments hash, event stream
-- ARGV: 1 time to live in ms (0: as it is), 2 version, 3 segments, 4 stream entries that must be there
-- Answers 1 it is, 0 something is gone or older.

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
