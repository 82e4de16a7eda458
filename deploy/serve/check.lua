-- Refuses a request that would have Triton fail the requests of others, before it reaches Triton.
--
-- With a batch dimension of 0 or 2^62 among good requests, or a file shorter than its length says, Triton 24.10 fails the
-- whole dynamic batch. A shape of thousands of dimensions, or a name of megabytes, comes back in an error's message, which no HTTP/2 peer takes. So this
-- walks through the request's fields (KServe v2, grpc_predict_v2.proto), over pixels and files without reading them.

local MOST_IMAGES = $most_images
local MOST_DIMENSIONS = 8
local MOST_FIELDS = 64
-- Of a field that is neither pixels nor files.
local MOST_BYTES = 1024
-- Read at once.
local WINDOW = 4096
-- Of ModelInferRequest, and of its inputs.
local INPUTS, OUTPUTS, RAW_INPUT_CONTENTS = 5, 6, 7
local DATATYPE, SHAPE, CONTENTS = 2, 3, 5
-- Of an output, of the parameter that asks for its classes, and of what that says.
local PARAMETERS, VALUE, INT64 = 2, 2, 2
-- Triton counts in 32 bits, and answers none where they overflow.
local MOST_CLASSES = 2 ^ 31 - 1
-- How a field is written.
local VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5
-- gRPC's own prefix: whether the message is compressed, and its length.
local PREFIX = 5

local function check(body)
  local size, first, window = body:length(), 0, ""

  local function byte(position)
    if position >= size then
      error("the request ends too soon", 0)
    end
    if position < first or position >= first + #window then
      first, window = position, body:getBytes(position, math.min(WINDOW, size - position))
    end
    return string.byte(window, position - first + 1)
  end

  local function number(position)
    local value, scale = 0, 1
    for _ = 1, 10 do
      local digit = byte(position)
      position = position + 1
      value = value + digit % 128 * scale
      if digit < 128 then
        return value, position
      end
      scale = scale * 128
    end
    error("the request has a number of more than 64 bits", 0)
  end

  local function fields(position, stop, visit)
    for _ = 1, MOST_FIELDS do
      if position >= stop then
        return
      end
      local tag, ending
      tag, position = number(position)
      local kind = tag % 8
      if kind == VARINT then
        _, ending = number(position)
      elseif kind == LENGTH then
        local length
        length, position = number(position)
        ending = position + length
      elseif kind == EIGHT_BYTES then
        ending = position + 8
      elseif kind == FOUR_BYTES then
        ending = position + 4
      end
      if ending == nil or ending > stop then
        error("the request is no ModelInferRequest", 0)
      end
      visit(math.floor(tag / 8), kind, position, ending)
      position = ending
    end
    error(string.format("the request has more than %d fields", MOST_FIELDS - 1), 0)
  end

  local function small(position, ending)
    if ending - position > MOST_BYTES then
      error(string.format("the request has a name or parameter of more than %d bytes", MOST_BYTES), 0)
    end
  end

  -- Datatype, and number of elements.
  local function input(position, ending)
    local datatype, dimensions, elements = "", 0, 1

    local function dimension(value)
      dimensions, elements = dimensions + 1, elements * value
      if dimensions > MOST_DIMENSIONS then
        error(string.format("the request has a shape of more than %d dimensions", MOST_DIMENSIONS), 0)
      end
      if dimensions == 1 and (value < 1 or value > MOST_IMAGES) then
        local text = "the request has a first dimension of %.0f: want 1 to %d images"
        error(string.format(text, value, MOST_IMAGES), 0)
      end
    end

    fields(position, ending, function(field, kind, from, to)
      if field == SHAPE and kind == LENGTH then
        while from < to do
          local value
          value, from = number(from)
          dimension(value)
        end
      elseif field == SHAPE then
        dimension((number(from)))
      elseif field ~= CONTENTS then
        small(from, to)
        if field == DATATYPE and to > from then
          datatype = body:getBytes(from, to - from)
        end
      end
    end)
    return {datatype, elements}
  end

  -- As Triton has BYTES: each after four bytes with its length, the smallest first.
  local function files(position, ending, count)
    if count > MOST_IMAGES then
      error(string.format("the request has a shape of %.0f files: want %d at most", count, MOST_IMAGES), 0)
    end
    for _ = 1, count do
      if ending - position < 4 then
        error("the request has fewer files than its shape says", 0)
      end
      local length = 0
      for place = 3, 0, -1 do
        length = length * 256 + byte(position + place)
      end
      position = position + 4 + length
      if position > ending then
        error("the request has a file that is shorter than its length says", 0)
      end
    end
    if position < ending then
      error("the request has more files than its shape says", 0)
    end
  end

  local function output(position, ending)
    fields(position, ending, function(field, _, from, to)
      if field == PARAMETERS then
        fields(from, to, function(part, _, first_byte, last_byte)
          if part == VALUE then
            fields(first_byte, last_byte, function(number_of, kind, at)
              if number_of == INT64 and kind == VARINT and (number(at)) > MOST_CLASSES then
                local text = "the request has a class_count of %.0f: want %.0f at most"
                error(string.format(text, (number(at)), MOST_CLASSES), 0)
              end
            end)
          end
        end)
      end
    end)
  end

  if byte(0) ~= 0 then
    error("the request is compressed, which is not taken: image files are compressed already", 0)
  end
  local inputs, raw = {}, {}
  fields(PREFIX, size, function(field, kind, from, to)
    if field == INPUTS and kind == LENGTH then
      inputs[#inputs + 1] = input(from, to)
    elseif field == RAW_INPUT_CONTENTS then
      raw[#raw + 1] = {from, to}
    else
      small(from, to)
      if field == OUTPUTS and kind == LENGTH then
        output(from, to)
      end
    end
  end)
  for place, each in ipairs(inputs) do
    if each[1] == "BYTES" and raw[place] ~= nil then
      files(raw[place][1], raw[place][2], each[2])
    end
  end
end

-- Of any other call: it has a name or two in it.
local function check_other(body)
  if body:length() > MOST_BYTES then
    error(string.format("the request has more than %d bytes", MOST_BYTES), 0)
  end
end

function envoy_on_request(handle)
  local inference = handle:headers():get(":path") == "$infer"
  local body = handle:body()
  local good, reason = false, "the request is empty"
  if body ~= nil then
    good, reason = pcall(inference and check or check_other, body)
  end
  if not good then
    local headers = {
      [":status"] = "200",
      ["content-type"] = "application/grpc",
      ["grpc-status"] = "3", -- INVALID_ARGUMENT
      ["grpc-message"] = reason,
    }
    handle:respond(headers, "")
  end
end
