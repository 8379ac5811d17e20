defmodule ElixirScope.Capture.Notice do
  @moduledoc false
  # Reads the events of a batch that a capture has announced, in the form that the storage wants.

  alias ElixirScope.Capture.{Batch, Capture, Enrichment, Marks, PlainBatch, Storage}
  alias :elixir_scope_capture_pipeline, as: Pipeline
  alias :elixir_scope_capture_pipeline_nif, as: Nif

  @doc "The batch; or `:gone`: it is no longer this consumer's, so that another one has it."
  @spec read(tuple(), Storage.ref(), Enrichment.common()) :: Batch.t() | PlainBatch.t() | :gone
  def read({:capture_batch, native, token, _id, attempt, count, {generation, offset}}, storage, common),
    do: read(native, token, attempt, count, {generation, offset, []}, storage, common)

  # There was no memory for the marks: it is delivered again.
  def read({:capture_batch, native, token, _id, _attempt, _count, {_generation, _offset, :unknown}}, _storage, _common) do
    _ = Pipeline.complete(native, token, :retry)
    :gone
  end

  def read({:capture_batch, native, token, _id, attempt, count, origin}, storage, common),
    do: read(native, token, attempt, count, origin, storage, common)

  defp read(native, token, attempt, count, {generation, offset, marks}, storage, common) do
    # The piece of the clock is that of now.
    origin = fn -> {generation, Capture.Event.clock_shift(), offset} end

    entries = fn ->
      case Pipeline.events(native, token) do
        events when is_list(events) -> {:ok, events |> Capture.Event.entries(origin.(), common) |> Marks.entries(marks)}
        {:error, _} -> :gone
      end
    end

    # After the death of a writer the fate of each event is looked up by its position: `Delivery`.
    if attempt == 1 and Storage.plain?(storage) do
      case enriched(native, token, common, &Capture.Event.events(&1, origin.(), common, &2)) do
        events when is_list(events) -> %PlainBatch{events: Marks.events(events, marks), count: count, entries: entries}
        {:error, _} -> :gone
      end
    else
      with {:ok, entries} <- entries.(), do: %Batch{entries: entries, attempt: attempt}
    end
  end

  @doc false
  # The events, enriched. The reader completes what the NIF could not enrich, and left as in `Capture.events/2`.
  @spec enriched(reference(), pos_integer(), Enrichment.common(), ([map() | tuple()], non_neg_integer() -> [term()])) ::
          [term()] | {:error, atom()}
  def enriched(native, token, common, complete), do: enriched(native, token, 0, common, complete)

  defp enriched(native, token, from, common, complete) do
    case Nif.delivery_enriched(native, token, from, common) do
      {{whole, events}, next} ->
        events = if whole, do: events, else: complete.(events, from)
        enriched(events, native, token, next, common, complete)

      {:error, _} = error ->
        error
    end
  end

  defp enriched(events, _native, _token, :done, _common, _complete), do: events

  defp enriched(events, native, token, next, common, complete) do
    with more when is_list(more) <- enriched(native, token, next, common, complete), do: events ++ more
  end
end
