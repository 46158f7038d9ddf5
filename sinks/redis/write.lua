-- What changed in a call, or the whole of it, unless newer is there. One call's keys share a slot.
-- Another run of the call under the same id is removed first, with all its segments, and noted in `former`: what comes
-- of it later is ignored. So of two runs the one that came last is shown, whatever their servers' clocks say.
--
-- KEYS: call hash, segments hash, event stream
-- ARGV: 1 a JSON array, as one argument costs the sender less than twenty:
--         time to live in ms, entries kept in the stream, channel, version of the call, run of the call,
--         [version, segments, entries of the stream] that are there already, or [-1, 0, 0]: this is the whole call,
--         [names and values of the call hash in turn] (none: as it is),
--         [[version, segment id ('': none), revision, final (1 or 0), 's' into the stream, 'p' published, 'sp' or '']]
--       2... the record of each of the last, which are in order of versions
-- Answers 1 written or superseded, 0 nothing written: what is there lacks something, the whole call is needed.

local ttl_ms, kept, channel, own_version, run, expected, fields, items = unpack(cjson.decode(ARGV[1]))
local call, segments, events = KEYS[1], KEYS[2], KEYS[3]
local whole = expected[1] == -1
local known_run = redis.call('HGET', call, 'run') or ''
local former = redis.call('HGET', call, 'former') or ' '
if known_run ~= run and redis.call('EXISTS', call) == 1 then
  if string.find(former, ' ' .. run .. ' ', 1, true) then
    return 1
  elseif not whole then
    return 0
  end
  redis.call('DEL', unpack(KEYS))
  former = string.sub(' ' .. known_run .. former, 1, 208) -- the newest 16
end
local known_version = tonumber(redis.call('HGET', call, 'version') or '0')
local known_segments, known_entries = redis.call('HLEN', segments), redis.call('XLEN', events)
if not whole and (known_version < expected[1] or known_segments < expected[2] or known_entries < expected[3]) then
  return 0
end

local version = math.max(own_version, known_version)
if #fields > 0 and (known_version == 0 or own_version > known_version) then
  redis.call('HSET', call, 'version', version, 'former', former, unpack(fields))
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
    for _, item in ipairs(items) do
      if string.find(item[5], 's', 1, true) and item[1] <= last then
        due = due + 1
      end
    end
    if redis.call('XLEN', events) < due then
      redis.call('DEL', events)
      published = last
    end
  end
end

for i, item in ipairs(items) do
  local item_version, segment, revision, final, mode = unpack(item)
  local record = ARGV[i + 1]
  local accepted = true
  if segment ~= '' then
    local known = redis.call('HGET', segments, segment)
    if known then
      -- Inside a JSON string a quote is escaped, so these patterns match the record's own fields only.
      local known_final = string.find(known, '"is_final":true', 1, true) and 1 or 0
      local known_revision = tonumber(string.match(known, '"revision":(%d+)'))
      accepted = final > known_final or (final == known_final and revision > known_revision)
    end
    if accepted then
      redis.call('HSET', segments, segment, record)
    end
  end
  if string.find(mode, 's', 1, true) and accepted then
    local answer = redis.pcall('XADD', events, 'MAXLEN', kept, string.format('%.0f-0', item_version), 'record', record)
    if type(answer) == 'table' and answer.err then
      if not string.find(answer.err, 'equal or smaller', 1, true) then
        return answer
      end
      accepted = segment ~= ''
    elseif item_version <= published then
      accepted = false
    end
  end
  if accepted and string.find(mode, 'p', 1, true) then
    redis.call('PUBLISH', channel, record)
  end
end
-- What is there already is prolonged by the heartbeat.
if whole or #fields > 0 or known_segments == 0 or known_entries == 0 then
  for _, key in ipairs(KEYS) do
    redis.call('PEXPIRE', key, ttl_ms)
  end
end
return 1
