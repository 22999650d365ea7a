-- Sends prepared requests, in turn or at random, and prints what came of it as one line of JSON.
--
-- The file that the first argument names holds, for each request, a line with its length in bytes, and the request.

local requests = {}
local next_request

function init(arguments)
    local file = assert(io.open(arguments[1], "rb"))
    for length in file:lines() do
        requests[#requests + 1] = file:read(tonumber(length))
    end
    file:close()
    if arguments[2] == "random" then
        math.randomseed(os.time())
        next_request = function() return requests[math.random(#requests)] end
    else
        local place = 0
        next_request = function()
            place = place % #requests + 1
            return requests[place]
        end
    end
end

function request()
    return next_request()
end

function done(summary, latency)
    local errors = summary.errors
    print(string.format(
        '{"requests":%d,"microseconds":%d,"p50":%d,"p99":%d,"mean":%.1f,'
            .. '"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d}',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.mean,
        errors.connect, errors.read, errors.write, errors.timeout, errors.status))
end
