defmodule ElixirScope.Capture.Capture.Event do
  @moduledoc false
  # Builds the events that are stored from those that a capture delivers. The helpers capture small tuples; the writer makes the maps here, with
  # the time, the ids and the identity that the library has stamped.

  alias ElixirScope.Capture.{Batch, Capture, Clock, Enrichment, TelemetryHandler, Tracer}
  import ElixirScope.Capture.Tracer.Event, only: [is_trace: 2]
  require Clock

  # Kinds of the helpers' events, for native storages and rules.
  @kinds %{
    function_call: 0x7FFE0001,
    function_return: 0x7FFE0002,
    process_spawn: 0x7FFE0003,
    message_send: 0x7FFE0004,
    message_receive: 0x7FFE0005,
    state_change: 0x7FFE0006,
    performance_metric: 0x7FFE0007,
    error: 0x7FFE0008
  }

  @doc "The kinds of all helpers, by name."
  @spec kinds() :: %{atom() => Capture.kind()}
  def kinds, do: @kinds

  @doc "The kind under which a helper captures."
  @spec kind(atom()) :: Capture.kind()
  for {type, number} <- @kinds do
    def kind(unquote(type)), do: unquote(number)
  end

  @doc "The current piece of the clock conversion, for `entries/3`: the times of events become the VM's monotonic time, as all other timestamps are."
  @spec clock_shift() :: Clock.piece()
  def clock_shift, do: Clock.piece(:vm, :os.perf_counter(:nanosecond))

  @typedoc "Where a batch comes from: the generation, a piece of the clock conversion, and the offset from a timestamp to wall time."
  @type origin :: {integer(), Clock.piece(), integer()}

  @doc "The events of a batch, from `index` on, with those completed that the NIF has not enriched."
  @spec events([map() | :elixir_scope_capture_pipeline.captured()], origin(), Enrichment.common(), non_neg_integer()) ::
          [term()]
  def events([], _origin, _common, _index), do: []

  def events([%{} = event | events], origin, common, index),
    do: [event | events(events, origin, common, index + 1)]

  # Neither an identity nor a stamp is needed for these.
  def events([{%{} = event, _, _, _, _, correlation_id, node_id} | events], origin, common, index) do
    event = event |> put_ids(correlation_id, node_id) |> Enrichment.enrich(common, index)
    [event | events(events, origin, common, index + 1)]
  end

  def events([captured | events], origin, common, index) do
    [{event, _, _}] = entries([captured], origin, common, index)
    [event | events(events, origin, common, index + 1)]
  end

  @doc "The entries of a batch: each event built and enriched, with its identity and stamp."
  @spec entries([:elixir_scope_capture_pipeline.captured()], origin(), Enrichment.common()) :: [Batch.entry()]
  def entries(events, origin, common), do: entries(events, origin, common, 0)

  defp entries([], _origin, _common, _index), do: []

  defp entries([{term, ring, sequence, timestamp, _, _, _} = captured | events], {_, piece, _} = origin, common, index)
       when Clock.is_of(timestamp, piece) do
    {generation, _, offset} = origin
    stamp = stamp(captured, Clock.convert(timestamp, piece), timestamp + offset)
    identity = {generation, ring, sequence}
    event = term |> build(stamp, identity) |> Enrichment.enrich(common, index)
    [{event, identity, stamp} | entries(events, origin, common, index + 1)]
  end

  # Rare: the event is of another piece, because the VM corrected its clock in between or because the caller set the time.
  defp entries([{_, _, _, timestamp, _, _, _} | _] = events, {generation, _, offset}, common, index),
    do: entries(events, {generation, Clock.piece(:vm, timestamp), offset}, common, index)

  # The data that the capture recorded beside the event.
  defp stamp({_, _, _, _, kind, correlation_id, node_id}, timestamp, wall_time) do
    %{timestamp: timestamp, wall_time: wall_time, kind: kind, correlation_id: correlation_id, node_id: node_id}
  end

  @doc """
  The event. A helper's tuple becomes a map, as does a trace. A map or struct gets the ids that it was captured with, unless it has its own. Any other term stays.
  """
  @spec build(term(), Batch.stamp(), tuple()) :: term()
  def build(tuple, stamp, identity) when is_tuple(tuple) and elem(tuple, 0) == __MODULE__ do
    base = %{id: id(identity), timestamp: stamp.timestamp, wall_time: stamp.wall_time}
    Map.merge(base, map(tuple, stamp))
  end

  def build(trace, stamp, identity) when is_trace(trace, stamp.kind) do
    Map.merge(%{id: id(identity), timestamp: stamp.timestamp, wall_time: stamp.wall_time}, Tracer.Event.map(trace))
  end

  def build({TelemetryHandler, _, _, _, _} = telemetry, stamp, identity) do
    Map.merge(
      %{id: id(identity), timestamp: stamp.timestamp, wall_time: stamp.wall_time},
      TelemetryHandler.map(telemetry)
    )
  end

  def build(%{} = event, stamp, _identity), do: put_ids(event, stamp.correlation_id, stamp.node_id)
  def build(other, _stamp, _identity), do: other

  defp put_ids(event, correlation_id, node_id) do
    event |> put_id(:correlation_id, correlation_id) |> put_id(:ast_node_id, node_id)
  end

  defp put_id(event, _key, 0), do: event

  defp put_id(event, key, id) do
    case event do
      %{^key => present} when present != nil -> event
      _ -> Map.put(event, key, id)
    end
  end

  defp map({_, :function_call, module, function, args, pid, correlation_id}, _) do
    %{
      event_type: :call,
      module: module,
      function: function,
      arity: if(is_list(args), do: proper_length(args), else: 0),
      args: args,
      caller_pid: pid,
      pid: pid,
      correlation_id: correlation_id
    }
  end

  defp map({_, :function_return, value, duration_ns, pid, correlation_id}, _) do
    %{event_type: :return, return_value: value, duration_ns: duration_ns, pid: pid, correlation_id: correlation_id}
  end

  defp map({_, :process_spawn, parent, child}, stamp) do
    with_correlation(%{event_type: :spawn, pid: child, parent_pid: parent}, stamp)
  end

  defp map({_, :message_send, from, to, message}, stamp) do
    with_correlation(%{event_type: :send, pid: from, from_pid: from, to_pid: to, message: message}, stamp)
  end

  defp map({_, :message_receive, pid, message}, stamp) do
    with_correlation(%{event_type: :receive, pid: pid, message: message}, stamp)
  end

  defp map({_, :state_change, server, old, new}, stamp) do
    with_correlation(
      %{event_type: :state_change, pid: server, server_pid: server, old_state: old, new_state: new},
      stamp
    )
  end

  defp map({_, :performance_metric, name, value, metadata, pid}, stamp) do
    with_correlation(%{event_type: :metric, metric_name: name, value: value, metadata: metadata, pid: pid}, stamp)
  end

  defp map({_, :error, type, message, stacktrace, pid}, stamp) do
    with_correlation(%{event_type: :error, error_type: type, message: message, stacktrace: stacktrace, pid: pid}, stamp)
  end

  # A tuple of the caller that happens to begin like those of the helpers.
  defp map(tuple, stamp), do: with_correlation(%{event_type: :captured, data: tuple}, stamp)

  defp with_correlation(event, %{correlation_id: 0}), do: event
  defp with_correlation(event, %{correlation_id: id}), do: Map.put(event, :correlation_id, id)

  defp proper_length(list) do
    length(list)
  rescue
    ArgumentError -> 0
  end

  # The same at each delivery, and unique to this event.
  defp id({generation, ring, sequence}) do
    text(generation) <> "-" <> Integer.to_string(ring, 36) <> "-" <> Integer.to_string(sequence, 36)
  end

  # Cached: a process sees one or two generations.
  defp text(generation) do
    case Process.get(:capture_generation) do
      {^generation, text} ->
        text

      _ ->
        text = Integer.to_string(generation, 36)
        Process.put(:capture_generation, {generation, text})
        text
    end
  end
end
