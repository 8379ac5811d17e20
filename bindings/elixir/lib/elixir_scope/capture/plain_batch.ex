defmodule ElixirScope.Capture.PlainBatch do
  @moduledoc false
  # A batch for a storage that wants the events alone. Their identities and stamps are made when something asks for them: another storage, or a
  # failure after which the events are stored one by one.

  alias ElixirScope.Capture.Batch

  @enforce_keys [:events, :count, :entries]
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          events: [term()],
          count: non_neg_integer(),
          # Of arity 0. It returns `{:ok, [Batch.entry()]}`, or `:gone`. (Elixir 1.14 and 1.18 format its precise type differently.)
          entries: function()
        }

  @doc "The whole batch. `:gone`: it is no longer this writer's, so that another one stores it."
  @spec whole(t()) :: Batch.t() | :gone
  def whole(%__MODULE__{entries: entries}) do
    with {:ok, entries} <- entries.(), do: %Batch{entries: entries}
  end
end
