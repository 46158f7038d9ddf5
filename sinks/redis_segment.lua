-- One transcript record into a call's segments, unless a newer one of its segment is there.
--
-- KEYS: call hash, segments hash, event stream
-- ARGV: 1 time to live in ms, 2 entries kept in the stream, 3 channel, 4 version of the call,
--       5 run of the call, 6 segment id, 7 revision, 8 final (1 or 0), 9 record,
--       10 quiet (1: neither into the stream nor published)
-- Answers 1 written, 0 superseded, as all of a former run is, -1 the call is not there.

if redis.call('EXISTS', KEYS[1]) == 0 then
  return -1
end
if (redis.call('HGET', KEYS[1], 'run') or '') ~= ARGV[5] then
  local former = redis.call('HGET', KEYS[1], 'former') or ' '
  return string.find(former, ' ' .. ARGV[5] .. ' ', 1, true) and 0 or -1
end

-- Inside a JSON string a quote is escaped, so these patterns match the record's own fields only.
local known = redis.call('HGET', KEYS[2], ARGV[6])
if known then
  local known_final = string.find(known, '"is_final":true', 1, true) and 1 or 0
  local known_revision = tonumber(string.match(known, '"revision":(%d+)'))
  local revision, final = tonumber(ARGV[7]), tonumber(ARGV[8])
  if final < known_final or (final == known_final and revision <= known_revision) then
    return 0
  end
end

redis.call('HSET', KEYS[2], ARGV[6], ARGV[9])
if tonumber(ARGV[4]) > tonumber(redis.call('HGET', KEYS[1], 'version')) then
  redis.call('HSET', KEYS[1], 'version', ARGV[4])
end
if ARGV[10] == '0' then
  if ARGV[8] == '1' then
    -- The id is refused where this entry, or a later one, is there already.
    redis.pcall('XADD', KEYS[3], 'MAXLEN', ARGV[2], ARGV[4] .. '-0', 'record', ARGV[9])
  end
  redis.call('PUBLISH', ARGV[3], ARGV[9])
end
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, ARGV[1])
end
return 1
