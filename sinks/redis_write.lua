-- What changed in a call, or the whole of it, unless newer is there. One call's keys share a slot.
-- A call that began at another time under the same id is removed first, with all its segments.
--
-- KEYS: call hash, segments hash, event stream
-- ARGV: 1 time to live in ms, 2 entries kept in the stream, 3 channel, 4 version of the call, 5 start of the call,
--       6 version, 7 segments and 8 stream entries that are there already, or -1, 0 and 0: this is the whole call,
--       9 count of 10... names and values of the call hash (0: as it is); then, by six, in order of versions:
--       version, segment id ('': none), revision, final (1 or 0), 's' into the stream, 'p' published, 'sp', '', record
-- Answers 1 written or superseded, 0 nothing written: what is there lacks something, the whole call is needed.

local call, segments, events = KEYS[1], KEYS[2], KEYS[3]
local whole = ARGV[6] == '-1'
local known_start = redis.call('HGET', call, 'started_at')
if known_start and known_start ~= ARGV[5] then
  if not whole then
    return 0
  end
  redis.call('DEL', unpack(KEYS))
end
local known_version = tonumber(redis.call('HGET', call, 'version') or '0')
if not whole and (
  known_version < tonumber(ARGV[6])
  or redis.call('HLEN', segments) < tonumber(ARGV[7])
  or redis.call('XLEN', events) < tonumber(ARGV[8])
) then
  return 0
end

local version = math.max(tonumber(ARGV[4]), known_version)
local items = 10 + tonumber(ARGV[9])
if items > 10 and (known_version == 0 or tonumber(ARGV[4]) > known_version) then
  redis.call('HSET', call, 'version', version, unpack(ARGV, 10, items - 1))
elseif known_version == 0 then
  return 0
else
  redis.call('HSET', call, 'version', version)
end

-- The stream takes ids in rising order only: where an older entry is gone it is written anew.
local published = 0
if whole then
  local newest = redis.call('XREVRANGE', events, '+', '-', 'COUNT', 1)[1]
  if newest then
    local last, due = tonumber(string.match(newest[1], '^%d+')), 0
    for i = items, #ARGV, 6 do
      if string.find(ARGV[i + 4], 's', 1, true) and tonumber(ARGV[i]) <= last then
        due = due + 1
      end
    end
    if redis.call('XLEN', events) < due then
      redis.call('DEL', events)
      published = last
    end
  end
end

for i = items, #ARGV, 6 do
  local segment, mode, record = ARGV[i + 1], ARGV[i + 4], ARGV[i + 5]
  local accepted = true
  if segment ~= '' then
    local known = redis.call('HGET', segments, segment)
    if known then
      -- Inside a JSON string a quote is escaped, so these patterns match the record's own fields only.
      local known_final = string.find(known, '"is_final":true', 1, true) and 1 or 0
      local known_revision = tonumber(string.match(known, '"revision":(%d+)'))
      local revision, final = tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
      accepted = final > known_final or (final == known_final and revision > known_revision)
    end
    if accepted then
      redis.call('HSET', segments, segment, record)
    end
  end
  if string.find(mode, 's', 1, true) and accepted then
    local answer = redis.pcall('XADD', events, 'MAXLEN', ARGV[2], ARGV[i] .. '-0', 'record', record)
    if type(answer) == 'table' and answer.err then
      if not string.find(answer.err, 'equal or smaller', 1, true) then
        return answer
      end
      accepted = segment ~= ''
    elseif tonumber(ARGV[i]) <= published then
      accepted = false
    end
  end
  if accepted and string.find(mode, 'p', 1, true) then
    redis.call('PUBLISH', ARGV[3], record)
  end
end
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, ARGV[1])
end
return 1
