defmodule ElixirScope.Capture.WriterLoop do
  @moduledoc false
  # The loop of one AsyncWriter: take, enrich, store, settle. It is a process of its own, linked to the AsyncWriter, so that the
  # AsyncWriter answers also while a storage is slow. The loop never outlives it. If the loop dies, its events are returned: those of a ring
  # through the claim of the cursor, those of a capture because its consumer is gone. The tally tells the AsyncWriter which events the storage
  # had (`Attempts`).
  #
  # A storage runs in this process and may change anything in it: see `LoopControl`.

  require Logger

  alias ElixirScope.Capture.{
    Attempts,
    Batch,
    Capture,
    ConsumerGroup,
    Delivery,
    Enrichment,
    Options,
    LoopControl,
    Notice,
    PlainBatch
  }

  alias ElixirScope.Capture.{Rate, Source, Tally, Telemetry}
  alias :elixir_scope_capture_pipeline, as: Pipeline

  # Space for the events of a batch. With more, the VM would collect it on a dirty scheduler: above 128 Ki words, the batch that was just added
  # included. It would move the process there and back for each batch.
  @capture_heap_words 75_113

  defstruct [:group, :tally, :source, :view, :next_poll, attached: nil]

  @doc "Starts the loop of the calling AsyncWriter. It first polls after `first_ms`."
  @spec start_link(ConsumerGroup.t(), Tally.t(), map(), non_neg_integer()) :: pid()
  def start_link(group, tally, config, first_ms) do
    # fullsweep_after: binaries of handled events must not stay alive.
    control = {config, Tally.get(tally, :control_version)}
    :proc_lib.spawn_opt(__MODULE__, :init, [self(), group, tally, control, first_ms], [:link, fullsweep_after: 16])
  end

  @doc false
  def init(worker, group, tally, {config, seen}, first_ms) do
    LoopControl.init(worker, group, tally, config, seen)
    Process.put(:"$initial_call", {__MODULE__, :init, 5})
    Attempts.loop_started(group, worker)
    loop = %__MODULE__{group: group, tally: tally}

    case Source.resolve(group.source) do
      # No poll: batches arrive as messages.
      {:capture, capture} -> attach(loop, capture)
      _ -> rest(loop, first_ms)
    end
  end

  # ---- taking ----

  defp work(%{group: group, tally: tally} = loop) do
    Tally.put(tally, :last_poll_time, System.monotonic_time(:nanosecond))

    case Source.resolve(group.source) do
      :none -> rest(loop, :infinity)
      {:invalid, value} -> trouble(loop, :invalid_ring_buffer, {:invalid_ring_buffer, value})
      {:capture, capture} -> attach(loop, capture)
      ring -> work(loop, ring)
    end
  end

  defp work(loop, ring) do
    size = batch_size()

    case Source.take(loop.group, ring, size, loop.view) do
      {:ok, taken, view} ->
        loop = fine(%{loop | view: view})
        Tally.put(loop.tally, :busy_since, Tally.since())
        count_taken(loop, taken)
        result = store_taken(loop, taken)
        Tally.put(loop.tally, :busy_since, 0)

        case result do
          :leave -> :ok
          # After a full batch, a returned one, or skipped positions there may be more.
          _ when length(taken.events) >= size or taken.attempt > 1 or taken.events == [] -> rest(loop, 0)
          _ -> idle(loop, ring)
        end

      {:empty, view} ->
        idle(fine(%{loop | view: view}), ring)

      {:busy, view} ->
        rest(%{loop | view: view}, 1)

      {:error, reason, view} ->
        trouble(%{loop | view: view}, :ring_buffer_failing, reason)
    end
  end

  defp idle(loop, ring) do
    case Source.wait(loop.group, ring) do
      :ready -> rest(loop, 0)
      _ -> rest(loop, poll_ms())
    end
  end

  defp count_taken(loop, taken) do
    %{group: group, tally: tally} = loop
    Tally.put(tally, :position, taken.to)
    ConsumerGroup.count(group, tally, :events_read, length(taken.events))
    ConsumerGroup.count(group, :skipped, taken.skipped)

    if taken.overwritten > 0 do
      ConsumerGroup.count(group, :overwritten, taken.overwritten)
      Telemetry.execute([:source, :overwritten], %{count: taken.overwritten}, %{worker: LoopControl.worker()})
    end
  end

  defp store_taken(loop, taken) do
    %{group: group} = loop
    started = System.monotonic_time()
    common = common()
    %{id: id} = group
    %{epoch: epoch} = taken
    range = {epoch, taken.from, taken.to}

    entries =
      for {{event, position}, index} <- Enum.with_index(taken.events),
          do: {Enrichment.enrich(event, common, index), {id, epoch, position}, nil}

    case deliver(loop, %Batch{entries: entries, attempt: taken.attempt}, range, {:identity, 2}) do
      :leave ->
        Source.give_back(group, taken)
        :leave

      {:done, stored, dead, parts} ->
        Source.settle(group, taken)
        if parts or taken.attempt > 1, do: Attempts.forget(group, range)
        settled(loop, stored, dead, started)
    end
  end

  # ---- a capture: batches arrive as messages ----

  defp attach(%{attached: attached} = loop, capture) do
    cond do
      attached == capture.native ->
        rest(fine(loop), :infinity)

      Capture.native_storage?(capture) ->
        # Its events never enter the VM.
        rest(fine(loop), :infinity)

      true ->
        case Capture.attach(capture) do
          :ok ->
            # Space for the events of a batch: those that do not fit go into a heap fragment, and are copied twice.
            Process.flag(:min_heap_size, @capture_heap_words)
            rest(fine(%{loop | attached: capture.native}), :infinity)

          {:error, reason} ->
            trouble(loop, :ring_buffer_failing, reason)
        end
    end
  end

  # `complete_next` may return the next batch. Messages in the mailbox are handled before it, and those that a storage has left are removed.
  defp batches(loop, message) do
    case batch(loop, message) do
      :leave -> :ok
      {:capture_batch, _, _, _, _, _, _} = next -> between(loop, next)
      _ -> listen(loop)
    end
  end

  defp between(loop, next) do
    if LoopControl.how_to_leave() do
      send(self(), next)
      listen(loop)
    else
      receive do
        {LoopControl, :changed} ->
          between(loop, next)

        other when not (is_tuple(other) and elem(other, 0) == :capture_batch) ->
          between(loop, next)
      after
        0 -> batches(loop, next)
      end
    end
  end

  # A notice: copies the events into this heap. If the batch is no longer this consumer's, another one has it.
  defp batch(loop, {:capture_batch, native, token, _id, _attempt, count, _origin} = message) do
    if native == loop.attached do
      Tally.put(loop.tally, :busy_since, Tally.since())
      started = System.monotonic_time()

      result =
        case Notice.read(message, ConsumerGroup.storage(loop.group, LoopControl.config()), common()) do
          :gone ->
            :ok

          batch ->
            Tally.put(loop.tally, :last_poll_time, System.monotonic_time(:nanosecond))
            Tally.add(loop.tally, :position, count)
            ConsumerGroup.count(loop.group, loop.tally, :events_read, count)
            store_batch(loop, message, batch, started)
        end

      Tally.put(loop.tally, :busy_since, 0)
      result
    else
      Pipeline.complete(native, token, :retry)
    end
  end

  defp store_batch(loop, {_, native, token, batch_id, attempt, count, _}, batch, started) do
    range = {batch_id, 0, count}

    case deliver(loop, batch, range, :index) do
      :leave ->
        Pipeline.complete(native, token, :retry)
        :leave

      :gone ->
        :ok

      {:done, stored, dead, parts} ->
        next = Pipeline.complete_next(native, token, if(dead == [], do: :ok, else: {:ok, dead}))
        if parts or attempt > 1, do: Attempts.forget(loop.group, range)
        settled(loop, stored, dead, started)
        next
    end
  end

  # ---- storing ----

  defp deliver(%{group: group, tally: tally}, batch, range, positions) do
    note_order(tally, batch)

    way = %Delivery{
      group: group,
      tally: tally,
      range: range,
      positions: positions
    }

    Delivery.deliver(way, batch)
  end

  defp settled(%{group: group, tally: tally}, stored, dead, started) do
    ConsumerGroup.count(group, tally, :events_processed, stored)
    ConsumerGroup.count(group, tally, :batches_processed, 1)
    Rate.mark(group.rate, stored)
    Rate.mark(tally.rate, stored)
    duration = System.monotonic_time() - started
    measurements = %{count: stored, duration: duration}
    Telemetry.execute([:batch, :stored], measurements, %{worker: LoopControl.worker(), dead_lettered: length(dead)})
  end

  defp common, do: Enrichment.common(Map.get(LoopControl.config(), :correlation_enabled, true) != false)

  defp note_order(tally, %PlainBatch{events: events}), do: note_order(tally, List.last(events))

  defp note_order(tally, %Batch{entries: entries}) do
    with {event, _, _} <- List.last(entries), do: note_order(tally, event)
  end

  defp note_order(tally, %{processing_order: order}) when is_integer(order),
    do: Tally.put(tally, :processing_order, order)

  defp note_order(_tally, _event), do: :ok

  # ---- trouble ----

  defp fine(loop) do
    Tally.set_trouble(loop.tally, :source_trouble, nil)
    loop
  end

  defp trouble(%{group: group, tally: tally} = loop, trouble, reason) do
    if Tally.get(tally, :source_trouble) == 0 do
      Logger.warning(
        "the ring buffer of #{inspect(LoopControl.worker())} cannot be read: #{inspect(reason, limit: 10, structs: false)}"
      )
    end

    Tally.set_trouble(tally, :source_trouble, trouble)
    ConsumerGroup.count(group, tally, :error_count, 1)
    Telemetry.execute([:source, :failed], %{count: 1}, %{worker: LoopControl.worker(), reason: reason})
    rest(loop, poll_ms())
  end

  # ---- between batches ----

  # Waits for at most `ms` and handles messages meanwhile. The next poll is at `next_poll`.
  defp rest(loop, :infinity), do: listen(%{loop | next_poll: :infinity})
  defp rest(loop, ms), do: listen(%{loop | next_poll: now() + ms})

  defp listen(loop) do
    case LoopControl.how_to_leave() do
      nil -> receive_next(loop)
      # The request came while a batch waited for its storage.
      how -> leave_now(loop, how)
    end
  end

  defp receive_next(loop) do
    receive do
      {LoopControl, :changed} ->
        listen(loop)

      {:capture_batch, _, _, _, _, _, _} = message ->
        batches(loop, message)

      {:ring_ready, _} ->
        work(loop)

      # A message that a storage left behind, such as a late answer.
      _ ->
        listen(loop)
    after
      remaining(loop.next_poll) -> work(loop)
    end
  end

  defp wait(ms) do
    receive do
    after
      ms -> :ok
    end
  end

  # ---- the end ----

  defp leave_now(loop, {:finish, _}), do: detach(loop)

  defp leave_now(loop, {:drain, deadline}) do
    if loop.attached, do: drain_capture(loop, deadline), else: drain_ring(loop, deadline)
  end

  defp drain_ring(loop, deadline) do
    with true <- now() < deadline,
         ring when elem(ring, 0) in [:native, :foreign] <- Source.resolve(loop.group.source),
         {:ok, taken, view} <- Source.take(loop.group, ring, batch_size(), loop.view) do
      loop = %{loop | view: view}
      count_taken(loop, taken)
      if store_taken(loop, taken) == :leave, do: :ok, else: drain_ring(loop, deadline)
    else
      {:busy, view} ->
        wait(1)
        drain_ring(%{loop | view: view}, deadline)

      _ ->
        :ok
    end
  end

  # Outstanding batches arrive as messages. The capture is drained when the backlog is empty.
  defp drain_capture(loop, deadline) do
    receive do
      {:capture_batch, _, _, _, _, _, _} = message -> drain_batch(loop, message, deadline)
    after
      0 ->
        if now() < deadline and Source.backlog(loop.group) > 0 do
          receive do
            {:capture_batch, _, _, _, _, _, _} = message -> drain_batch(loop, message, deadline)
          after
            5 -> drain_capture(loop, deadline)
          end
        else
          detach(loop)
        end
    end
  end

  defp drain_batch(loop, message, deadline) do
    case batch(loop, message) do
      :leave ->
        detach(loop)

      {:capture_batch, _, _, _, _, _, _} = next ->
        if now() < deadline, do: drain_batch(loop, next, deadline), else: detach(loop)

      _ ->
        drain_capture(loop, deadline)
    end
  end

  defp detach(%{attached: nil}), do: :ok
  defp detach(%{attached: native}), do: Pipeline.detach(native)

  defp batch_size, do: Options.integer(LoopControl.config(), :batch_size, 50)
  defp poll_ms, do: Options.integer(LoopControl.config(), :poll_interval_ms, 100)

  defp remaining(:infinity), do: :infinity
  defp remaining(next_poll), do: max(next_poll - now(), 0)

  defp now, do: System.monotonic_time(:millisecond)
end
