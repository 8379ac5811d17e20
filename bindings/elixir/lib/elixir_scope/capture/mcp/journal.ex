defmodule ElixirScope.Capture.MCP.Journal do
  @moduledoc false
  # `latest` and `query` over a journal: its last events are found from its end, and a page is read in the order of time.

  alias ElixirScope.Capture.CaptureJournal
  alias ElixirScope.Capture.CaptureJournal.Error
  alias ElixirScope.Capture.MCP.{Events, Plain}

  # A request looks at so many events at most: it must not take minutes. A page that ends there has a cursor, by which the next one goes on.
  @most_looked_at 500_000
  # The last events are looked for among those of the last 10 ms, then of ten times as long, and so on.
  @first_window_ns 10_000_000
  @windows 12

  @doc "The last events, the oldest of them first, and what else there is to say."
  @spec latest(Path.t(), Events.wanted(), pos_integer()) :: {:ok, [map()], map()} | {:error, String.t()}
  def latest(path, wanted, limit) do
    protect(path, fn -> widen(path, wanted, limit, end_of(path), @first_window_ns, @windows, []) end)
  end

  defp widen(path, wanted, limit, end_ns, window_ns, windows, before) do
    from = max(end_ns - window_ns, 0)
    options = if from > 0 and windows > 0, do: [from: from], else: []

    case last(path, wanted, limit, options) do
      # The events of the window before are the last ones all the same.
      :too_many ->
        {:ok, before, journal(path, %{"is_complete" => false})}

      found when length(found) < limit and options != [] ->
        widen(path, wanted, limit, end_ns, window_ns * 10, windows - 1, found)

      found ->
        {:ok, found, journal(path, %{"is_complete" => true})}
    end
  end

  defp last(path, wanted, limit, options) do
    path
    |> CaptureJournal.stream([order: :time] ++ options)
    |> Enum.reduce_while({:queue.new(), 0, 0}, fn event, {queue, count, looked_at} ->
      cond do
        looked_at == @most_looked_at -> {:halt, :too_many}
        not wanted?(event, wanted) -> {:cont, {queue, count, looked_at + 1}}
        count < limit -> {:cont, {:queue.in(event, queue), count + 1, looked_at + 1}}
        true -> {:cont, {:queue.drop(:queue.in(event, queue)), count, looked_at + 1}}
      end
    end)
    |> case do
      :too_many -> :too_many
      {queue, _, _} -> queue |> :queue.to_list() |> Enum.map(&shown/1)
    end
  end

  # No event is later than the last change of a file. (Nanoseconds since 1970.)
  defp end_of(path) do
    files = if File.dir?(path), do: path |> Path.join("*.journal") |> Path.wildcard(), else: [path]
    times = for file <- files, {:ok, %{mtime: time}} <- [File.stat(file, time: :posix)], do: time
    (Enum.max(times, fn -> System.os_time(:second) end) + 1) * 1_000_000_000
  end

  @doc "A page of events, behind the place where the one before ended. Each event comes with the place where a page ends that ends with it."
  @spec page(Path.t(), Events.wanted(), [non_neg_integer()] | nil, pos_integer()) ::
          {:ok, [{map(), [non_neg_integer()]}], map()} | {:error, String.t()}
  def page(path, wanted, behind, limit) do
    protect(path, fn ->
      events = path |> CaptureJournal.stream(order: :time) |> skip(behind)

      page = %{found: [], count: 0, looked_at: 0, last: nil, more?: false}
      page = Enum.reduce_while(events, page, &look(&1, &2, wanted, limit))

      cond do
        page.last == nil and behind != nil and not known?(path, behind) -> gone()
        page.more? -> {:ok, Enum.reverse(page.found), journal(path, %{next: place(page.last)})}
        true -> {:ok, Enum.reverse(page.found), journal(path, %{next: nil})}
      end
    end)
  end

  defp look(_event, %{count: count, looked_at: looked_at} = page, _wanted, limit)
       when count == limit or looked_at == @most_looked_at,
       do: {:halt, %{page | more?: true}}

  defp look(event, page, wanted, _limit) do
    page = %{page | looked_at: page.looked_at + 1, last: event}

    if wanted?(event, wanted),
      do: {:cont, %{page | found: [{shown(event), place(event)} | page.found], count: page.count + 1}},
      else: {:cont, page}
  end

  defp skip(events, nil), do: events
  defp skip(events, behind), do: events |> Stream.drop_while(&(place(&1) != behind)) |> Stream.drop(1)

  # Whether the journal still has the event that the page before ended with.
  defp known?(path, behind),
    do: path |> CaptureJournal.stream(order: :time, payloads: :none) |> Enum.any?(&(place(&1) == behind))

  defp gone,
    do: {:error, "cursor: the journal does not have the last event of the page before any more; begin without one"}

  defp place(event), do: Tuple.to_list(event.identity)

  defp journal(path, more), do: Map.put(more, "journal", Path.basename(path))

  # A helper's event, or a map that was captured, may have ids of its own.
  defp wanted?(_event, wanted) when wanted == %{}, do: true

  defp wanted?(event, wanted) do
    payload = if is_map(event.payload), do: event.payload, else: %{}

    Enum.all?(wanted, fn
      {:correlation_id, values} -> event.correlation_id in values or Map.get(payload, :correlation_id) in values
      {:node_id, values} -> event.node_id in values or Map.get(payload, :ast_node_id) in values
    end)
  end

  # The names are those of the command's JSON.
  defp shown(event) do
    {generation, ring, sequence} = event.identity

    %{
      "kind" => event.kind,
      "kind_name" => event.name,
      "wall_time" => wall_time(event.wall_time),
      "time_ns" => Plain.id(event.timestamp),
      "run" => generation |> Integer.to_string(16) |> String.downcase() |> String.pad_leading(16, "0"),
      "ring_id" => Plain.id(ring),
      "sequence" => Plain.id(sequence),
      "correlation_id" => Plain.id(event.correlation_id),
      "node_id" => Plain.id(event.node_id),
      "weight" => event.weight,
      "payload_bytes" => event.bytes,
      name(event.form) => event.payload
    }
  end

  defp name(:fields), do: "fields"
  defp name(:term), do: "term"
  defp name(_), do: "payload"

  defp wall_time(ns) do
    case DateTime.from_unix(ns, :nanosecond) do
      {:ok, time} -> DateTime.to_iso8601(time)
      {:error, _} -> Plain.id(ns)
    end
  end

  defp protect(path, body) do
    body.()
  rescue
    error in Error -> {:error, "events cannot be read: the journal #{path}: #{reason(error.reason)}"}
  end

  defp reason({name, text}) when is_binary(text), do: "#{name}: #{text}"
  defp reason(reason), do: inspect(reason)
end
