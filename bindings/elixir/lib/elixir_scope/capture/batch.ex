defmodule ElixirScope.Capture.Batch do
  @moduledoc """
  What a storage is given if it asks for more than the events: `store_batch/2` of `ElixirScope.Capture.Storage`, or a function
  of two arguments.

    * `entries`: `{event, identity, stamp}` for each event, in order. The *identity* is a term that is the same each time that
      this event is delivered and never belongs to another one: a storage that keys by it stores each event once, whoever is
      killed when. The *stamp* is nil for events from a ring buffer, else what the capture recorded beside the event:
      `%{timestamp: …, wall_time: …, kind: …, correlation_id: …, node_id: …}` (nanoseconds; ids 0 for none).
    * `attempt`: 1 at first, more when the batch was delivered before.
  """

  @enforce_keys [:entries]
  defstruct entries: [], attempt: 1

  @type stamp :: %{
          timestamp: integer(),
          wall_time: integer(),
          kind: non_neg_integer(),
          correlation_id: non_neg_integer(),
          node_id: non_neg_integer()
        }
  @type entry :: {event :: term(), identity :: term(), stamp() | nil}
  @type t :: %__MODULE__{entries: [entry()], attempt: pos_integer()}

  @doc "The events alone."
  @spec events(t()) :: [term()]
  def events(%__MODULE__{entries: entries}), do: for({event, _, _} <- entries, do: event)
end
