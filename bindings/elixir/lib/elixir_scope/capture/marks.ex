defmodule ElixirScope.Capture.Marks do
  @moduledoc false
  # The marks of a batch's events: a weight other than 1, and what sampling, rules and the caller have said of an event. Events without a mark stay as they are.

  alias ElixirScope.Capture.Batch
  alias :elixir_scope_capture_pipeline, as: Pipeline

  @type marks :: [{index :: non_neg_integer(), weight :: number(), flags :: non_neg_integer()}]
  @typedoc "`:priority`, `:partial`, `:transformed`, and the tags of rules."
  @type flag :: :priority | :partial | :transformed | {:tag, 1..8}
  @type mark :: %{weight: number(), flags: [flag()]}

  @doc "The events, with a `:capture_mark` in those maps and structs that have a mark."
  @spec events([term()], marks()) :: [term()]
  def events(events, []), do: events
  def events(events, marks), do: walk(events, marks, 0, &event/2)

  @doc "The entries, with a `:capture_mark` in the event and in the stamp."
  @spec entries([Batch.entry()], marks()) :: [Batch.entry()]
  def entries(entries, []), do: entries
  def entries(entries, marks), do: walk(entries, marks, 0, &entry/2)

  defp walk(rest, [], _index, _put), do: rest

  defp walk([first | rest], [{index, weight, flags} | marks], index, put),
    do: [put.(first, %{weight: weight, flags: Pipeline.flags(flags)}) | walk(rest, marks, index + 1, put)]

  defp walk([first | rest], marks, index, put), do: [first | walk(rest, marks, index + 1, put)]
  defp walk([], _marks, _index, _put), do: []

  defp event(%{} = event, mark), do: Map.put(event, :capture_mark, mark)
  defp event(event, _mark), do: event

  defp entry({event, identity, stamp}, mark), do: {event(event, mark), identity, Map.put(stamp, :capture_mark, mark)}
end
