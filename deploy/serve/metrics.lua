-- Counts the failures of an ensemble once, where Triton counts them twice: as its model's, under the release's version,
-- and as its scheduler's, which calls itself version 1 whatever is served (triton-inference-server/core,
-- src/ensemble_scheduler; 24.10, and its source of 2026). Its successes it counts once, as version 1: so here are its failures.

local LINE = '(nv_inference_request_failure{model="$ensemble",reason="(%u+)",version=")(%d+)("} )(%d+)\n'

function envoy_on_response(handle)
  local body = handle:body()
  if body == nil then
    return
  end
  local text, twice = body:getBytes(0, body:length()), {}
  for _, reason, _, _, count in text:gmatch(LINE) do
    twice[reason] = (twice[reason] or 0) + tonumber(count)
  end
  text = text:gsub(LINE, function(name, reason, version, value)
    return version == "1" and string.format("%s1%s%d\n", name, value, math.floor(twice[reason] / 2)) or ""
  end)
  handle:headers():replace("content-length", tostring(body:setBytes(text)))
end
