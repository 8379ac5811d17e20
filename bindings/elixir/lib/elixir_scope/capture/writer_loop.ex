defmodule ElixirScope.Capture.WriterLoop do
  @moduledoc false
  # The loop of one AsyncWriter: take, enrich, store, settle. It is a process of its own, linked to the AsyncWriter, so that this
  # one always answers while a storage takes its time; neither outlives the other. What the loop holds when it dies
  # comes back: a claim through the cursor, a batch of a capture because its face is gone.

  require Logger

  alias ElixirScope.Capture.{Batch, Capture, Consumer, Delivery, Enrichment, Options, Rate, Source, Tally, Telemetry}

  # Enriched events of some batches: with less, most of what is collected is still in use.
  @capture_heap_words 262_144

  defstruct [:consumer, :tally, :config, :source, :view, :next_poll, attached: nil]

  @typedoc "How to end: `:finish` the batch in hand, or `:drain` what there is; by that time (monotonic milliseconds) at the latest."
  @type leave :: {:finish | :drain, deadline :: integer()}

  @doc "Starts the loop of the calling AsyncWriter; the first look is after so many milliseconds."
  @spec start_link(Consumer.t(), Tally.t(), map(), non_neg_integer()) :: pid()
  def start_link(consumer, tally, config, first_ms) do
    # Binaries of the events that it has handled are not to stay with it.
    :proc_lib.spawn_opt(__MODULE__, :init, [self(), consumer, tally, config, first_ms], [:link, fullsweep_after: 16])
  end

  @doc "Tells it to end. It exits `:normal` when it has."
  @spec leave(pid(), leave()) :: :ok
  def leave(loop, how) do
    send(loop, {__MODULE__, :leave, how})
    :ok
  end

  @doc "New settings, from the next batch on."
  @spec configure(pid(), map()) :: :ok
  def configure(loop, config) do
    send(loop, {__MODULE__, :configure, config})
    :ok
  end

  @doc false
  def init(worker, consumer, tally, config, first_ms) do
    Process.put(:capture_worker, worker)
    Process.put(:"$initial_call", {__MODULE__, :init, 5})
    loop = %__MODULE__{consumer: consumer, tally: tally, config: config}

    case Source.resolve(consumer.source) do
      # Nothing is to be looked for: batches come by themselves.
      {:capture, capture} -> attach(loop, capture)
      _ -> rest(loop, first_ms)
    end
  end

  # ---- taking ----

  defp work(%{consumer: consumer, tally: tally} = loop) do
    Tally.put(tally, :last_poll_time, System.monotonic_time(:nanosecond))

    case Source.resolve(consumer.source) do
      :none -> rest(loop, :infinity)
      {:invalid, value} -> trouble(loop, :invalid_ring_buffer, {:invalid_ring_buffer, value})
      {:capture, capture} -> attach(loop, capture)
      ring -> work(loop, ring)
    end
  end

  defp work(loop, ring) do
    size = batch_size(loop)

    case Source.take(loop.consumer, ring, size, loop.view) do
      {:ok, taken, view} ->
        loop = fine(%{loop | view: view})
        count_taken(loop, taken)

        case store_taken(loop, taken) do
          :leave -> :ok
          # A full batch, or one that came back: there may be more. So is there behind what was passed over.
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
    case Source.wait(loop.consumer, ring) do
      :ready -> rest(loop, 0)
      _ -> rest(loop, poll_ms(loop))
    end
  end

  defp count_taken(loop, taken) do
    %{consumer: consumer, tally: tally} = loop
    Tally.put(tally, :position, taken.to)
    Consumer.count(consumer, tally, :events_read, length(taken.events))
    Consumer.count(consumer, :skipped, taken.skipped)

    if taken.overwritten > 0 do
      Consumer.count(consumer, :overwritten, taken.overwritten)
      Telemetry.execute([:source, :overwritten], %{count: taken.overwritten}, %{worker: Delivery.worker()})
    end
  end

  defp store_taken(loop, taken) do
    %{consumer: consumer} = loop

    common = common(loop)
    %{id: id} = consumer
    %{epoch: epoch} = taken

    entries =
      for {{event, position}, index} <- Enum.with_index(taken.events),
          do: {Enrichment.enrich(event, common, index), {id, epoch, position}, nil}

    case deliver(loop, %Batch{entries: entries, attempt: taken.attempt}) do
      :leave ->
        Source.give_back(consumer, taken)
        :leave

      {:done, stored, dead} ->
        Source.settle(consumer, taken)
        settled(loop, stored, dead)
    end
  end

  # ---- a capture: batches come by themselves ----

  defp attach(%{attached: attached} = loop, capture) do
    cond do
      attached == capture.native ->
        rest(fine(loop), :infinity)

      Capture.native_storage?(capture) ->
        # Its events never come here.
        rest(fine(loop), :infinity)

      true ->
        case Capture.attach(capture) do
          :ok ->
            # Room for the events of a batch: what does not fit goes by way of a fragment, and is copied twice.
            Process.flag(:min_heap_size, @capture_heap_words)
            rest(fine(%{loop | attached: capture.native}), :infinity)

          {:error, reason} ->
            trouble(loop, :ring_buffer_failing, reason)
        end
    end
  end

  # The next batch may come with the answer for this one. What is in the mailbox comes before it, and what a storage has left there goes.
  defp batches(loop, message) do
    case batch(loop, message) do
      :leave -> :ok
      {:capture_batch, _, _, _, _, _, _} = next -> between(loop, next)
      _ -> listen(loop)
    end
  end

  defp between(loop, next) do
    if Process.get(:capture_leave) do
      send(self(), next)
      listen(loop)
    else
      receive do
        {__MODULE__, :leave, how} ->
          send(self(), next)
          leave_now(loop, how)

        {__MODULE__, :configure, config} ->
          between(%{loop | config: config}, next)

        other when not (is_tuple(other) and elem(other, 0) == :capture_batch) ->
          between(loop, next)
      after
        0 -> batches(loop, next)
      end
    end
  end

  # A notice: the events are copied here, into this heap. Those of a batch that is this loop's no more are somebody else's.
  defp batch(loop, {:capture_batch, native, token, _batch_id, attempt, _count, origin}) do
    if native == loop.attached do
      case Capture.events(native, token) do
        events when is_list(events) -> batch(loop, native, token, attempt, events, origin)
        {:error, _} -> :ok
      end
    else
      Capture.complete(native, token, :retry)
    end
  end

  defp batch(loop, native, token, attempt, events, {generation, offset}) do
    count = length(events)
    Tally.put(loop.tally, :last_poll_time, System.monotonic_time(:nanosecond))
    Tally.add(loop.tally, :position, count)
    Consumer.count(loop.consumer, loop.tally, :events_read, count)
    shift = Capture.Event.clock_shift()
    common = common(loop)

    entries = Capture.Event.entries(events, {generation, shift, offset}, common)

    case deliver(loop, %Batch{entries: entries, attempt: attempt}) do
      :leave ->
        Capture.complete(native, token, :retry)
        :leave

      {:done, stored, dead} ->
        next = Capture.complete_next(native, token, if(dead == [], do: :ok, else: {:ok, dead}))
        settled(loop, stored, dead)
        next
    end
  end

  # ---- storing ----

  defp deliver(%{config: config, consumer: consumer, tally: tally}, batch) do
    Process.put(:capture_batch_start, System.monotonic_time())
    note_order(tally, batch.entries)

    way = %Delivery{
      consumer: consumer,
      tally: tally,
      storage: Consumer.storage(consumer, config),
      pause: &pause/1,
      retry_limit: Options.integer(config, :retry_limit, 5),
      initial_ms: Options.integer(config, :retry_initial_ms, 10),
      max_ms: Options.integer(config, :retry_max_ms, 1_000),
      timeout: Options.integer(config, :storage_timeout_ms, -1, 1) |> then(&if(&1 > 0, do: &1, else: :infinity))
    }

    Delivery.deliver(way, batch)
  end

  defp settled(%{consumer: consumer, tally: tally}, stored, dead) do
    Consumer.count(consumer, tally, :events_processed, stored)
    Consumer.count(consumer, tally, :batches_processed, 1)
    Rate.mark(consumer.rate, stored)
    Rate.mark(tally.rate, stored)
    duration = System.monotonic_time() - Process.get(:capture_batch_start)
    measurements = %{count: stored, duration: duration}
    Telemetry.execute([:batch, :stored], measurements, %{worker: Delivery.worker(), dead_lettered: length(dead)})
  end

  defp common(loop), do: Enrichment.common(Map.get(loop.config, :correlation_enabled, true) != false)

  defp note_order(tally, entries) do
    with {%{processing_order: order}, _, _} <- List.last(entries), do: Tally.put(tally, :processing_order, order)
  end

  # ---- trouble ----

  defp fine(loop) do
    Tally.set_trouble(loop.tally, :source_trouble, nil)
    loop
  end

  defp trouble(%{consumer: consumer, tally: tally} = loop, trouble, reason) do
    if Tally.get(tally, :source_trouble) == 0 do
      Logger.warning("the ring buffer of #{inspect(Delivery.worker())} cannot be read: #{inspect(reason, limit: 10)}")
    end

    Tally.set_trouble(tally, :source_trouble, trouble)
    Consumer.count(consumer, tally, :error_count, 1)
    Telemetry.execute([:source, :failed], %{count: 1}, %{worker: Delivery.worker(), reason: reason})
    rest(loop, poll_ms(loop))
  end

  # ---- between batches ----

  # Waits for so long at most, and sees to what has come in. In between it does not poll: `next_poll` is when it will.
  defp rest(loop, :infinity), do: listen(%{loop | next_poll: :infinity})
  defp rest(loop, ms), do: listen(%{loop | next_poll: now() + ms})

  defp listen(loop) do
    case Process.get(:capture_leave) do
      nil -> receive_next(loop)
      # It came while a batch was waiting for its storage.
      how -> leave_now(loop, how)
    end
  end

  defp receive_next(loop) do
    receive do
      {__MODULE__, :leave, how} ->
        leave_now(loop, how)

      {__MODULE__, :configure, config} ->
        listen(%{loop | config: config})

      {:capture_batch, _, _, _, _, _, _} = message ->
        batches(loop, message)

      {:ring_ready, _} ->
        work(loop)

      # What a storage left behind, such as an answer that came too late.
      _ ->
        listen(loop)
    after
      remaining(loop.next_poll) -> work(loop)
    end
  end

  # A pause within a batch: `leave` ends it at once, or at the deadline.
  defp pause(ms) do
    case Process.get(:capture_leave) do
      nil ->
        receive do
          {__MODULE__, :leave, {:finish, _} = how} ->
            Process.put(:capture_leave, how)
            :leave

          {__MODULE__, :leave, {:drain, _} = how} ->
            Process.put(:capture_leave, how)
            pause(ms)
        after
          ms -> :ok
        end

      {_, deadline} ->
        left = deadline - now()

        if left > 0, do: wait(min(ms, left)), else: :leave
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

  defp leave_now(loop, {:drain, deadline} = how) do
    Process.put(:capture_leave, how)
    if loop.attached, do: drain_capture(loop, deadline), else: drain_ring(loop, deadline)
  end

  defp drain_ring(loop, deadline) do
    with true <- now() < deadline,
         ring when elem(ring, 0) in [:native, :foreign] <- Source.resolve(loop.consumer.source),
         {:ok, taken, view} <- Source.take(loop.consumer, ring, batch_size(loop), loop.view) do
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

  # What the capture has on its way to this face arrives by itself; it is drained when nothing is left to come.
  defp drain_capture(loop, deadline) do
    receive do
      {:capture_batch, _, _, _, _, _, _} = message -> drain_batch(loop, message, deadline)
    after
      0 ->
        if now() < deadline and Source.backlog(loop.consumer) > 0 do
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
  defp detach(%{attached: native}), do: Capture.detach(native)

  defp batch_size(loop), do: Options.integer(loop.config, :batch_size, 50)
  defp poll_ms(loop), do: Options.integer(loop.config, :poll_interval_ms, 100)

  defp remaining(:infinity), do: :infinity
  defp remaining(next_poll), do: max(next_poll - now(), 0)

  defp now, do: System.monotonic_time(:millisecond)
end
