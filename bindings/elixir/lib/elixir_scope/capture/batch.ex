defmodule ElixirScope.Capture.Batch do
  @moduledoc """
  A batch as a storage gets it that exports `store_batch/2` (see `ElixirScope.Capture.Storage`), or that is a function of two arguments.

    * `entries`: `{event, identity, stamp}` for each event, in order. The *identity* is the same term at each delivery of this event, and no other
      event has it. A storage that uses it as its key stores each event once, whichever process is killed. The *stamp* is nil for events
      from a ring buffer. For others it has what the capture recorded beside the event:
      `%{timestamp: …, wall_time: …, kind: …, correlation_id: …, node_id: …}` (times in nanoseconds; an id of 0 is none).
      An event that sampling, a rule or its caller has marked has one key more, there and in the event itself if that is a map: `capture_mark: %{weight: …, flags: […]}`.
      The weight is how many captured events it stands for; the flags are `:priority`, `:partial` (sampling may have dropped earlier events of its
      trace) and `{:tag, 1..8}`. An event without it has the weight 1 and no flag: see `weight/1`.
    * `attempt`: 1 at the first delivery, more later.
  """

  @enforce_keys [:entries]
  defstruct entries: [], attempt: 1

  @type stamp :: %{
          :timestamp => integer(),
          :wall_time => integer(),
          :kind => non_neg_integer(),
          :correlation_id => non_neg_integer(),
          :node_id => non_neg_integer(),
          optional(:capture_mark) => %{weight: number(), flags: [atom() | {:tag, 1..8}]}
        }
  @type entry :: {event :: term(), identity :: term(), stamp() | nil}
  @type t :: %__MODULE__{entries: [entry()], attempt: pos_integer()}

  @doc """
  How many captured events a stored one stands for: 1 unless it was sampled. The sum over all stored events estimates how many there were.

      iex> ElixirScope.Capture.Batch.weight(%{capture_mark: %{weight: 8, flags: [:partial]}})
      8
      iex> ElixirScope.Capture.Batch.weight(%{module: MyApp})
      1
  """
  @spec weight(event :: term()) :: number()
  def weight(%{capture_mark: %{weight: weight}}), do: weight
  def weight(_event), do: 1

  @doc "The events alone."
  @spec events(t()) :: [term()]
  def events(%__MODULE__{entries: entries}), do: for({event, _, _} <- entries, do: event)
end
