defmodule ElixirScope.Capture.Batch do
  @moduledoc """
  A batch as a storage gets it that exports `store_batch/2` (see `ElixirScope.Capture.Storage`), or that is a function of two arguments.

    * `entries`: `{event, identity, stamp}` for each event, in order. The *identity* is the same term at each delivery of this event, and no other
      event has it. A storage that uses it as its key stores each event once, whichever process is killed. The *stamp* is nil for events
      from a ring buffer. For others it has what the capture recorded beside the event:
      `%{timestamp: …, wall_time: …, kind: …, correlation_id: …, node_id: …}` (times in nanoseconds; an id of 0 is none).
    * `attempt`: 1 at the first delivery, more later.
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
