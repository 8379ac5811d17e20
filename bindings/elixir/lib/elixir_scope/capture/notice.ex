defmodule ElixirScope.Capture.Notice do
  @moduledoc false
  # Reads the events of a batch that a capture has announced, in the form that the storage wants.

  alias ElixirScope.Capture.{Batch, Capture, Enrichment, PlainBatch, Storage}

  @doc "The batch; or `:gone`: it is no longer this consumer's, so that another one has it."
  @spec read(tuple(), Storage.ref(), Enrichment.common()) :: Batch.t() | PlainBatch.t() | :gone
  def read({:capture_batch, native, token, _id, attempt, count, {generation, offset}}, storage, common) do
    # The piece of the clock is that of now.
    origin = fn -> {generation, Capture.Event.clock_shift(), offset} end

    entries = fn ->
      case Capture.events(native, token) do
        events when is_list(events) -> {:ok, Capture.Event.entries(events, origin.(), common)}
        {:error, _} -> :gone
      end
    end

    # After the death of a writer the fate of each event is looked up by its position: `Delivery`.
    if attempt == 1 and Storage.plain?(storage) do
      case Capture.enriched(native, token, common, &Capture.Event.events(&1, origin.(), common, &2)) do
        events when is_list(events) -> %PlainBatch{events: events, count: count, entries: entries}
        {:error, _} -> :gone
      end
    else
      with {:ok, entries} <- entries.(), do: %Batch{entries: entries, attempt: attempt}
    end
  end
end
