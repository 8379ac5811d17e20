defmodule ElixirScope.Capture.MCP.Events do
  @moduledoc false
  # `latest` and `query`: stored events, as JSON can say them, in answers that have a bound. ElixirScope.Capture.MCP.Journal reads journals.

  alias ElixirScope.Capture.EtsStorage.{Keys, Query}
  alias ElixirScope.Capture.MCP.{Journal, Plain, Source}

  # An answer with events has about so many bytes at most, as that of the command's server.
  @most_bytes 1_048_576
  @most_of_event div(@most_bytes, 4)

  @typedoc "What an event must have: the values of each id that fit. An id may be a number in one program, and a text in another."
  @type wanted :: %{optional(:correlation_id) => [term()], optional(:node_id) => [term()]}
  @typedoc "`view`: is given each event, and returns what is shown of it."
  @type view :: (term() -> term())

  @doc "The last events that were stored, the oldest of them first."
  @spec latest(Source.t(), map(), view()) :: {:ok, map()} | {:error, String.t()}
  def latest({:none, _, reason}, _arguments, _view), do: {:error, "events cannot be read: " <> reason}

  def latest({:journal, path}, arguments, view) do
    with {:ok, events, more} <- Journal.latest(path, wanted(arguments), arguments.limit),
         do: {:ok, Map.merge(more, last_of(Enum.map(events, &shown(&1, view))))}
  end

  def latest(source, arguments, view) do
    with {:ok, events} <- newest_first(source, wanted(arguments), arguments.limit),
         do: {:ok, events |> Enum.reverse() |> Enum.map(&shown(&1, view)) |> last_of()}
  end

  defp newest_first({:ets, storage}, wanted, limit) do
    rows = rows(storage, wanted, %{order: :newest_first, limit: limit})
    {:ok, rows |> Enum.sort_by(&elem(&1, 1), :desc) |> Enum.take(limit) |> Enum.map(&elem(&1, 2))}
  end

  defp newest_first({:function, _} = source, wanted, limit) do
    with {:ok, events} <- given(source, wanted, limit, :newest_first),
         do: {:ok, events |> Enum.reverse() |> Enum.take(limit)}
  end

  @doc "Events in the order in which they were stored, those of a journal in the order of time; in pages."
  @spec query(Source.t(), map(), view()) :: {:ok, map()} | {:error, String.t()}
  def query({:none, _, reason}, _arguments, _view), do: {:error, "events cannot be read: " <> reason}

  def query(source, arguments, view) do
    wanted = wanted(arguments)
    # The pages of a query belong together.
    asked = :erlang.phash2({elem(source, 0), wanted})

    with {:ok, behind} <- behind(arguments[:cursor], elem(source, 0), asked),
         {:ok, found, more} <- found(source, wanted, behind, arguments.limit) do
      {shown, last} = page(found, view, [], 0, nil)
      # What was found and did not fit is on the next page.
      last = if length(shown) < length(found), do: last, else: more.next
      cursor = if last, do: cursor(elem(source, 0), last, asked)
      {:ok, more |> Map.delete(:next) |> Map.merge(%{"events" => shown, "next_cursor" => cursor})}
    end
  end

  # {event, where a page ends that ends with it}
  defp found({:ets, storage}, wanted, behind, limit) do
    with {:ok, number} <- number(behind) do
      rows = storage |> rows(wanted, %{after: number, limit: limit + 1}) |> Enum.sort_by(&elem(&1, 1))
      {found, rest} = rows |> Enum.map(fn {_, number, event, _} -> {event, [number]} end) |> Enum.split(limit)
      {:ok, found, %{next: next(found, rest)}}
    end
  end

  defp found({:function, _} = source, wanted, behind, limit) do
    with {:ok, number} <- number(behind),
         {:ok, events} <- given(source, wanted, number + limit + 1, :oldest_first) do
      {found, rest} = events |> Enum.with_index(1) |> Enum.drop(number) |> Enum.split(limit)
      found = for {event, at} <- found, do: {event, [at]}
      {:ok, found, %{next: next(found, rest)}}
    end
  end

  defp found({:journal, path}, wanted, behind, limit), do: Journal.page(path, wanted, behind, limit)

  defp next(_found, []), do: nil
  defp next(found, _rest), do: found |> List.last() |> elem(1)

  defp number(nil), do: {:ok, 0}
  defp number([number]), do: {:ok, number}
  defp number(_), do: no_cursor()

  # ---- the events of a storage ----

  # Of each value of the ids that fits.
  defp rows(storage, wanted, how) do
    for filter <- filters(Map.to_list(wanted)), row <- Query.rows(storage, Map.merge(filter, how)), do: row
  rescue
    # Its tables are gone, or on another node.
    error in ArgumentError ->
      if :ets.info(storage.events, :size) == :undefined,
        do: throw({:mcp, "events cannot be read: the tables of the storage are gone, or belong to another node"}),
        else: reraise(error, __STACKTRACE__)
  end

  defp filters([]), do: [%{}]

  defp filters([{key, values} | rest]),
    do: for(value <- values, filter <- filters(rest), do: Map.put(filter, key, value))

  defp given({:function, function}, wanted, limit, order) do
    asked = %{
      correlation_id: hd(wanted[:correlation_id] || [nil]),
      ast_node_id: hd(wanted[:node_id] || [nil]),
      limit: limit,
      order: order
    }

    case function.(asked) do
      events when is_list(events) ->
        {:ok, chosen(events, wanted)}

      {:ok, events} when is_list(events) ->
        {:ok, chosen(events, wanted)}

      {:error, reason} ->
        {:error, "events cannot be read: #{inspect(reason, limit: 10, structs: false)}"}

      other ->
        {:error,
         "events cannot be read: the function under :events answered no list, but #{inspect(other, limit: 3, structs: false)}"}
    end
  end

  # A function may give more than it was asked for, in its own order.
  defp chosen(events, wanted) do
    events = Enum.filter(events, &fits?(Keys.keys(&1, nil), wanted))

    if Enum.all?(events, &match?(%{timestamp: time} when is_number(time), &1)),
      do: Enum.sort_by(events, & &1.timestamp),
      else: events
  end

  @doc "Whether an event with these values is wanted."
  @spec fits?(keyword() | map(), wanted()) :: boolean()
  def fits?(keys, wanted), do: Enum.all?(wanted, fn {key, values} -> keys[key] in values end)

  defp wanted(arguments) do
    for {name, key} <- [correlation_id: :correlation_id, ast_node_id: :node_id],
        id = arguments[name],
        into: %{},
        do: {key, values(id)}
  end

  # An id is shown as a text, whatever it is.
  defp values(id) when is_integer(id), do: [id, Integer.to_string(id)]
  defp values(text), do: [text | integer(text) ++ atom(text)]

  defp integer("0x" <> digits), do: integer(digits, 16)
  defp integer(digits), do: integer(digits, 10)

  defp integer(digits, base) do
    case Integer.parse(digits, base) do
      {integer, ""} -> [integer]
      _ -> []
    end
  end

  defp atom(text) do
    [String.to_existing_atom(text)]
  rescue
    ArgumentError -> []
  end

  # ---- what is shown ----

  defp shown(event, view) do
    {plain, cut?} = event |> view.() |> Plain.of(@most_of_event)
    plain = if is_map(plain), do: plain, else: %{"data" => plain}
    if cut?, do: Map.put(plain, "is_cut", true), else: plain
  end

  # The last ones that fit.
  defp last_of(events) do
    kept = events |> Enum.reverse() |> fitting([], 0)
    %{"events" => kept, "left_out_for_their_size" => length(events) - length(kept)}
  end

  defp fitting([event | rest], kept, size) do
    size = size + Plain.size(event) + 1
    if kept != [] and size > @most_bytes, do: kept, else: fitting(rest, [event | kept], size)
  end

  defp fitting([], kept, _size), do: kept

  # The first ones that fit, and where they end.
  defp page([{event, place} | rest], view, shown, size, last) do
    plain = shown(event, view)
    size = size + Plain.size(plain) + 1

    if shown != [] and size > @most_bytes,
      do: {Enum.reverse(shown), last},
      else: page(rest, view, [plain | shown], size, place)
  end

  defp page([], _view, shown, _size, last), do: {Enum.reverse(shown), last}

  # ---- cursors: the kind of source, where the page ends, and what was asked ----

  defp cursor(kind, place, asked),
    do: Enum.map_join([String.first(Atom.to_string(kind)) | place ++ [asked]], "-", &to_string/1)

  defp behind(nil, _kind, _asked), do: {:ok, nil}

  defp behind(text, kind, asked) do
    with [letter | numbers] when numbers != [] <- String.split(text, "-"),
         {:ok, numbers} <- numbers(numbers),
         true <- letter == String.first(Atom.to_string(kind)) do
      case List.pop_at(numbers, -1) do
        {^asked, place} -> {:ok, place}
        _ -> {:error, "cursor: it belongs to a query with other arguments; repeat those of the first page"}
      end
    else
      _ -> no_cursor()
    end
  end

  defp numbers(texts) do
    numbers = Enum.map(texts, &Integer.parse/1)

    if Enum.all?(numbers, &match?({number, ""} when number >= 0, &1)),
      do: {:ok, Enum.map(numbers, &elem(&1, 0))},
      else: :error
  end

  @doc false
  @spec no_cursor() :: {:error, String.t()}
  def no_cursor, do: {:error, "cursor: it is no next_cursor of a page; begin without one"}
end
