defmodule ElixirScope.Capture.Tracer.Event do
  @moduledoc false
  # The keys of a trace in the map that is stored. The shapes are documented in ElixirScope.Capture.Tracer.

  # The kinds of traces: see c_src/tracer/tracer.h.
  @first 0x7FFE0100
  @last 0x7FFE01FF
  @scheduling [:in, :out, :in_exiting, :out_exiting, :out_exited]
  @collections [:gc_minor_start, :gc_minor_end, :gc_major_start, :gc_major_end]

  defguard is_trace(term, kind)
           when kind >= @first and kind <= @last and is_tuple(term) and tuple_size(term) >= 4 and
                  elem(term, 0) == :trace

  @spec map(tuple()) :: map()
  def map({:trace, pid, tag, term}), do: Map.put(keys(tag, term, []), :pid, pid)
  def map({:trace, pid, tag, term, extra}), do: Map.put(keys(tag, term, [extra]), :pid, pid)

  def map({:trace, pid, tag, term, extra, result}),
    do: tag |> keys(term, [extra]) |> Map.merge(%{pid: pid, match_spec_result: result})

  # A tag without an extra element has the result of the match specification in its place.
  defp keys(:call, mfa, rest), do: mfa |> call(:call) |> with_result(rest)

  defp keys(:return_from, mfa, [value]), do: mfa |> function(:return) |> Map.put(:return_value, value)

  defp keys(:exception_from, mfa, [{class, reason}]),
    do: mfa |> function(:exception) |> Map.merge(%{class: class, reason: reason})

  defp keys(:send, message, [to]), do: %{event_type: :send, message: message, to_pid: to, alive: true}

  defp keys(:send_to_non_existing_process, message, [to]),
    do: %{event_type: :send, message: message, to_pid: to, alive: false}

  defp keys(:receive, message, rest), do: with_result(%{event_type: :receive, message: message}, rest)
  defp keys(tag, mfa, rest) when tag in @scheduling, do: mfa |> function(tag) |> with_result(rest)

  defp keys(tag, info, rest) when tag in @collections,
    do: with_result(%{event_type: tag, info: if(is_list(info), do: pairs(info), else: info)}, rest)

  defp keys(tag, data, []), do: %{event_type: tag, data: data}
  defp keys(tag, data, [extra]), do: %{event_type: tag, data: data, extra: extra}

  defp with_result(map, []), do: map
  defp with_result(map, [result]), do: Map.put(map, :match_spec_result, result)

  defp call({module, function, args}, type) when is_list(args),
    do: %{event_type: type, module: module, function: function, arity: length(args), args: args}

  defp call(mfa, type), do: mfa |> function(type) |> Map.put(:args, nil)

  defp function({module, function, arity}, type),
    do: %{event_type: type, module: module, function: function, arity: arity}

  defp function(_, type), do: %{event_type: type, module: nil, function: nil, arity: nil}

  # A list that was cut is no list of pairs.
  defp pairs(info) do
    Map.new(info)
  rescue
    _ -> info
  end
end
