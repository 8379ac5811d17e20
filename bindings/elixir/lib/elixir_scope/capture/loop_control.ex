defmodule ElixirScope.Capture.LoopControl do
  @moduledoc false
  # How an AsyncWriter controls its loop: by a configuration, and by a request to leave. The AsyncWriter writes them to the group's table and
  # counts the changes in the tally. The message only wakes the loop, so nothing is lost if a storage, which runs in the loop's process,
  # removes all messages.
  #
  # The loop has a copy in its process dictionary, and compares the count before each use. `protect/1` restores the copy, and everything else that
  # the loop depends on, after a call of the storage.

  alias ElixirScope.Capture.{Attempts, ConsumerGroup, Tally}

  @key :capture_loop

  @typedoc "How to leave: `:finish` the current batch, or `:drain` the source; until the deadline (monotonic milliseconds) at the latest."
  @type leave :: {:finish | :drain, deadline :: integer()}

  # ---- in the AsyncWriter ----

  @doc "Sets the configuration of the calling AsyncWriter's loop from its next call of the storage on. With `leave` the loop ends with reason `:normal`."
  @spec set(ConsumerGroup.t(), Tally.t(), pid(), map(), leave() | nil) :: :ok
  def set(group, tally, loop, config, leave) do
    Attempts.put_control(group, self(), {config, leave})
    Tally.add(tally, :control_version, 1)
    send(loop, {__MODULE__, :changed})
    :ok
  end

  # ---- in the loop ----

  @doc "The calling loop starts with that configuration. `seen`: the count of changes when it was valid."
  @spec init(pid(), ConsumerGroup.t(), Tally.t(), map(), seen :: integer()) :: :ok
  def init(worker, group, tally, config, seen) do
    Process.put(@key, %{worker: worker, group: group, tally: tally, seen: seen, config: config, leave: nil})
    :ok
  end

  @doc "The AsyncWriter that the calling loop belongs to."
  @spec worker() :: pid() | nil
  def worker do
    case Process.get(@key) do
      %{worker: worker} -> worker
      _ -> nil
    end
  end

  @doc "The current configuration."
  @spec config() :: map()
  def config, do: current().config

  @doc "How the loop is to leave, or nil."
  @spec how_to_leave() :: leave() | nil
  def how_to_leave, do: current().leave

  defp current do
    own = %{tally: tally, seen: seen} = Process.get(@key)

    case Tally.get(tally, :control_version) do
      ^seen -> own
      count -> reload(own, count)
    end
  end

  defp reload(own, count) do
    own =
      case Attempts.control(own.group, own.worker) do
        {config, leave} -> %{own | config: config, leave: leave, seen: count}
        nil -> %{own | seen: count}
      end

    Process.put(@key, own)
    own
  end

  @doc """
  A pause between two attempts. It ends early if the configuration is no longer that of the last attempt, or with a request to leave: `:finish` ends
  the batch at once, `:drain` at its deadline. Messages that a storage has left in the mailbox are removed, so that it does not grow while
  a batch is retried.
  """
  @spec pause(pos_integer(), map()) :: :ok | :leave
  def pause(ms, config), do: pause_until(milliseconds() + ms, config)

  defp pause_until(until, config) do
    case current() do
      %{leave: {:finish, _}} -> :leave
      %{config: ^config, leave: how} -> pause_until(until, config, deadline(how))
      _ -> :ok
    end
  end

  defp pause_until(until, config, deadline) do
    receive do
      {__MODULE__, :changed} ->
        pause_until(until, config)

      other when not (is_tuple(other) and elem(other, 0) == :capture_batch) ->
        pause_until(until, config, deadline)
    after
      max(min(until, deadline) - milliseconds(), 0) -> if milliseconds() >= deadline, do: :leave, else: :ok
    end
  end

  # :infinity is greater than any number.
  defp deadline(nil), do: :infinity
  defp deadline({_, deadline}), do: deadline

  @doc """
  Runs a storage, which may change anything in this process, and restores what the loop depends on: its state in the process dictionary, its link
  to the AsyncWriter, exits that are not trapped, and the group leader.
  """
  @spec protect(fun()) :: term()
  def protect(storage) do
    own = %{worker: worker} = Process.get(@key)
    leader = Process.group_leader()
    answer = storage.()
    Process.put(@key, own)
    if Process.group_leader() != leader, do: Process.group_leader(self(), leader)
    if Process.flag(:trap_exit, false), do: exited(worker)
    Process.link(worker)
    answer
  end

  # An exit signal that came while the storage trapped exits.
  defp exited(worker) do
    receive do
      {:EXIT, ^worker, reason} -> exit(reason)
    after
      0 -> :ok
    end
  end

  defp milliseconds, do: System.monotonic_time(:millisecond)
end
