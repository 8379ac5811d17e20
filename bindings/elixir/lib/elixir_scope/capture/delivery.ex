defmodule ElixirScope.Capture.Delivery do
  @moduledoc false
  # The delivery of one batch to the storage, and the retry policy. It ends when every event is stored or dead-lettered, or when the writer
  # leaves. Then nothing is settled, and another writer delivers the whole batch again.
  #
  # If writers died with a batch twice, it is stored in parts: halves, then halves of these. So the event that ends its writer is found after
  # about log2(n) deaths, and is dead-lettered alone. `Attempts` keeps the fate of the other events until the batch is settled, so that none of
  # them is stored again.

  require Logger

  alias ElixirScope.Capture.{
    Attempts,
    Batch,
    ConsumerGroup,
    DeadLetters,
    Options,
    LoopControl,
    PlainBatch,
    Storage,
    Tally,
    Telemetry
  }

  # After the first death a batch is stored whole again.
  @whole_deaths 2
  # An event that was alone with the storage at so many deaths is dead-lettered.
  @lone_deaths 3

  @enforce_keys [:group, :tally, :range, :positions]
  defstruct [
    :group,
    :tally,
    # The range of the batch, and where the position of an event is: an element of its identity, or its index.
    :range,
    :positions,
    :config,
    :storage,
    retry_limit: 5,
    initial_ms: 10,
    max_ms: 1_000,
    timeout: :infinity
  ]

  @type t :: %__MODULE__{range: Attempts.range(), positions: {:identity, non_neg_integer()} | :index}

  @typedoc "`parts`: the batch has rows in `Attempts`, to be removed when it is settled."
  @type outcome ::
          {:done, stored :: non_neg_integer(), dead :: [non_neg_integer()], parts :: boolean()} | :leave | :gone

  @doc "Returns how many events are stored, and the indexes of those that were dead-lettered. `:gone`: another writer has the batch now."
  @spec deliver(t(), Batch.t() | PlainBatch.t()) :: outcome()
  def deliver(delivery, %PlainBatch{} = batch) do
    delivery = current(delivery)

    case store(delivery, batch, delivery.range, 1) do
      :ok -> {:done, batch.count, [], false}
      ended when ended in [:leave, :gone] -> ended
      answer -> after_answer(delivery, PlainBatch.whole(batch), answer)
    end
  end

  def deliver(_delivery, %Batch{entries: []}), do: {:done, 0, [], false}
  def deliver(delivery, %Batch{attempt: 1} = batch), do: delivery |> current() |> whole(batch)

  def deliver(delivery, batch) do
    Attempts.await_reports(delivery.group)
    {scope, _, _} = delivery.range
    items = for item <- items(delivery, batch), do: {item, Attempts.fate(delivery.group, scope, position(item))}

    if Enum.all?(items, fn {_, fate} -> fate == nil end),
      do: delivery |> current() |> whole(batch),
      else: delivery |> current() |> parts(%{batch | attempt: attempt(batch, items)}, items)
  end

  defp attempt(batch, items) do
    Enum.reduce(items, batch.attempt, fn
      {_, {:died, _, _, total, _}}, attempt -> max(attempt, total + 1)
      _, attempt -> attempt
    end)
  end

  # ---- a whole batch ----

  defp whole(delivery, batch) do
    case store(delivery, batch, delivery.range, 1) do
      :leave -> :leave
      :ok -> {:done, length(batch.entries), [], batch.attempt > 1}
      answer -> after_answer(delivery, batch, answer)
    end
  end

  defp after_answer(_delivery, :gone, _answer), do: :gone

  defp after_answer(delivery, batch, answer),
    do: delivery |> rest(batch, items(delivery, batch), answer) |> outcome(batch, [])

  # An event in its batch: `{entry, index, position}`.
  defp items(%{positions: :index}, batch) do
    for {entry, index} <- Enum.with_index(batch.entries), do: {entry, index, index}
  end

  defp items(%{positions: {:identity, at}}, batch) do
    for {{_, identity, _} = entry, index} <- Enum.with_index(batch.entries), do: {entry, index, elem(identity, at)}
  end

  defp position({_, _, position}), do: position

  defp outcome(:leave, _batch, _dead_before), do: :leave

  defp outcome(dead, batch, dead_before) do
    dead = Enum.sort(dead_before ++ dead)
    {:done, length(batch.entries) - length(dead), dead, true}
  end

  # ---- in parts ----

  defp parts(delivery, batch, items) do
    dead = for {{_, index, _}, :dead_lettered} <- items, do: index
    left = Enum.reject(items, fn {_, fate} -> fate in [:stored, :dead_lettered] end)

    left
    |> Enum.chunk_by(fn {_, fate} -> with {:died, range, _, _, _} <- fate, do: range end)
    |> Enum.flat_map(&halves/1)
    |> parts(delivery, batch, [])
    |> outcome(batch, dead)
  end

  defp parts([], _delivery, _batch, dead), do: dead

  defp parts([part | rest], delivery, batch, dead) do
    case part(delivery, batch, part) do
      :leave -> :leave
      more -> parts(rest, delivery, batch, more ++ dead)
    end
  end

  # These events were in the same range when a writer died.
  defp halves([_, _ | _] = part) do
    case part do
      [{_, {:died, _, _, total, _}} | _] when total >= @whole_deaths ->
        part |> Enum.split(div(length(part), 2)) |> Tuple.to_list()

      _ ->
        [part]
    end
  end

  defp halves(part), do: [part]

  defp part(delivery, batch, [{{_, index, _} = item, {:died, {_, from, to}, deaths, _, reason}}])
       when to - from == 1 do
    delivery = current(delivery)

    if deaths >= min(delivery.retry_limit, @lone_deaths) do
      dead_letter(delivery, item, {:writer_died, reason})
      [index]
    else
      part(delivery, batch, [{item, nil}])
    end
  end

  defp part(delivery, batch, part) do
    items = for {item, _} <- part, do: item
    batch = %{batch | entries: for({entry, _, _} <- items, do: entry)}
    {scope, _, _} = delivery.range
    range = {scope, items |> hd() |> position(), (items |> List.last() |> position()) + 1}

    case store(delivery, batch, range, 1) do
      :leave ->
        :leave

      :ok ->
        Enum.each(items, &stored(delivery, &1))
        []

      answer ->
        rest(delivery, batch, items, answer)
    end
  end

  # ---- one by one ----

  # Returns the indexes of the dead-lettered events, or :leave.
  defp rest(delivery, batch, items, {:partial, n}) do
    {done, left} = Enum.split(items, n)
    Enum.each(done, &stored(delivery, &1))
    one_by_one(left, delivery, batch, 0)
  end

  defp rest(delivery, batch, items, {:failed, reason}) do
    failed(delivery, length(items), reason)
    # A batch of one has had its first attempt.
    attempts = if match?([_], items), do: 1, else: 0

    pauses? = attempts < delivery.retry_limit and attempts > 0

    case pauses? && LoopControl.pause(delivery.initial_ms, delivery.config) do
      :leave -> :leave
      _ -> one_by_one(items, delivery, batch, attempts)
    end
  end

  # In rounds, each event alone.
  defp one_by_one([], _delivery, _batch, _attempts), do: []

  defp one_by_one(left, delivery, batch, attempts) do
    delivery = current(delivery)

    case round(left, delivery, batch, []) do
      :leave ->
        :leave

      [] ->
        []

      failing when attempts + 1 >= delivery.retry_limit ->
        for {{_, index, _} = item, reason} <- failing do
          dead_letter(delivery, item, reason)
          index
        end

      failing ->
        case LoopControl.pause(back_off(delivery, attempts), delivery.config) do
          :leave -> :leave
          :ok -> one_by_one(for({item, _} <- failing, do: item), delivery, batch, attempts + 1)
        end
    end
  end

  defp round([], _delivery, _batch, failing), do: Enum.reverse(failing)

  defp round([{entry, _, position} = item | rest], delivery, batch, failing) do
    {scope, _, _} = delivery.range

    case store(delivery, %{batch | entries: [entry]}, {scope, position, position + 1}, 1) do
      :leave ->
        :leave

      :ok ->
        stored(delivery, item)
        round(rest, delivery, batch, failing)

      {:partial, _} ->
        round(rest, delivery, batch, [{item, :not_stored} | failing])

      {:failed, reason} ->
        failed(delivery, 1, reason)
        round(rest, delivery, batch, [{item, reason} | failing])
    end
  end

  # ---- one call of the storage ----

  # A storage that is unavailable is retried for ever. Each try goes to the storage that is configured then.
  defp store(delivery, batch, range, tries) do
    delivery = current(delivery)

    case suited(batch, delivery.storage) do
      :gone -> :gone
      batch -> call(delivery, batch, range, tries)
    end
  end

  defp suited(%PlainBatch{} = batch, storage), do: if(Storage.plain?(storage), do: batch, else: PlainBatch.whole(batch))
  defp suited(batch, _storage), do: batch

  defp call(delivery, batch, range, tries) do
    Tally.storing(delivery.tally, range)
    answer = LoopControl.protect(fn -> Storage.store(delivery.storage, batch, delivery.timeout) end)
    Tally.put(delivery.tally, :storing_since, 0)

    case answer do
      {:unavailable, reason} ->
        unavailable(delivery, reason)
        failed(delivery, Storage.count(batch), reason)

        case LoopControl.pause(back_off(delivery, tries - 1), delivery.config) do
          :leave -> :leave
          :ok -> store(delivery, batch, range, tries + 1)
        end

      {:failed, _} = failure ->
        Tally.set_trouble(delivery.tally, :storage_trouble, :storage_failing)
        failure

      fine ->
        Tally.set_trouble(delivery.tally, :storage_trouble, nil)
        fine
    end
  end

  defp unavailable(delivery, {:purged_function, function}) do
    if Tally.trouble(delivery.tally, :storage_trouble) != :storage_function_purged do
      {:module, module} = Function.info(function, :module)

      Logger.error(
        "the storage of #{inspect(LoopControl.worker())} is the function #{inspect(function)}, whose code is gone: #{inspect(module)} was loaded " <>
          "again twice or deleted. Its events wait. Set a function of the current code: " <>
          "PipelineManager.update_config(storage: ...)"
      )
    end

    Tally.set_trouble(delivery.tally, :storage_trouble, :storage_function_purged)
  end

  defp unavailable(delivery, _reason), do: Tally.set_trouble(delivery.tally, :storage_trouble, :storage_unavailable)

  # The current settings. Mostly the configuration is the same term, which the comparison sees at once.
  defp current(%{config: config} = delivery) do
    case LoopControl.config() do
      ^config ->
        delivery

      config ->
        timeout = Options.limit(config, :storage_timeout_ms, :infinity)

        %{
          delivery
          | config: config,
            storage: ConsumerGroup.storage(delivery.group, config),
            retry_limit: Options.limit(config, :retry_limit, 5),
            initial_ms: Options.integer(config, :retry_initial_ms, 10),
            max_ms: Options.integer(config, :retry_max_ms, 1_000),
            timeout: timeout
        }
    end
  end

  # ---- counting ----

  defp failed(delivery, count, reason) do
    ConsumerGroup.count(delivery.group, delivery.tally, :error_count, 1)
    ConsumerGroup.count(delivery.group, :retries, 1)
    Telemetry.execute([:batch, :failed], %{count: count}, %{worker: LoopControl.worker(), reason: reason})
  end

  defp stored(delivery, {_entry, _index, position}) do
    {scope, _, _} = delivery.range
    Attempts.settled(delivery.group, scope, position, :stored)
  end

  defp dead_letter(delivery, {{event, identity, _stamp}, _index, position}, reason) do
    {scope, _, _} = delivery.range
    discarded = DeadLetters.put(delivery.group.dead_letters, event, identity, reason)
    Attempts.settled(delivery.group, scope, position, :dead_lettered)
    ConsumerGroup.count(delivery.group, :dead_lettered, 1)
    ConsumerGroup.count(delivery.group, :discarded, discarded)
    Telemetry.execute([:event, :dead_lettered], %{count: 1}, %{worker: LoopControl.worker(), reason: reason})
  end

  # With jitter, so that the writers of a pool do not retry all at once.
  defp back_off(delivery, tries) do
    pause = min(delivery.initial_ms * Integer.pow(2, min(tries, 20)), delivery.max_ms)
    pause + :rand.uniform(div(pause, 4) + 1) - 1
  end
end
