defmodule CapturePipeline.Test.KeyedStorage do
  @moduledoc false
  # A storage with the identity as its key, which outlives every process of a pipeline: the test owns its table. Counts how often
  # each event was offered.
  @behaviour ElixirScope.Capture.Storage

  defstruct [:table, :keep]

  # `keep`: returns the part of an event to keep, with its number `n`.
  def new(keep \\ & &1), do: %__MODULE__{table: :ets.new(:keyed, [:public, :set, write_concurrency: true]), keep: keep}

  @impl true
  def store_events(storage, events) do
    for event <- events, do: :ets.insert(storage.table, {make_ref(), event, 1})
    :ok
  end

  @impl true
  def store_batch(storage, batch) do
    for {event, identity, _} <- batch.entries do
      event = storage.keep.(event)

      unless :ets.insert_new(storage.table, {identity, event, 1}),
        do: :ets.update_counter(storage.table, identity, {3, 1})
    end

    :ok
  end

  def events(storage), do: for({_, event, _} <- :ets.tab2list(storage.table), do: event)
  def numbers(storage), do: storage |> events() |> Enum.map(& &1.n) |> Enum.sort()
  def count(storage), do: :ets.info(storage.table, :size)
end

defmodule CapturePipeline.Test.EventServer do
  @moduledoc false
  # A server like the app's event store: any other call than the one it knows ends it. It reports stored events to the test.
  use GenServer

  def start(opts), do: GenServer.start(__MODULE__, opts, Keyword.take(opts, [:name]))

  @impl true
  def init(opts), do: {:ok, Map.new(opts)}

  @impl true
  def handle_call({:store_event, event}, _from, %{to: to} = state) do
    case event do
      %{poison: true} ->
        raise "poisoned"

      %{refused: true} ->
        {:reply, {:error, :refused}, state}

      # As in the app, whose events have both.
      %{timestamp: _, pid: _} ->
        send(to, {:stored, self(), event})
        {:reply, :ok, state}
    end
  end
end

defmodule CapturePipeline.Test.BatchServer do
  @moduledoc false
  # A server whose module has store_events/2.
  use GenServer

  def start(opts), do: GenServer.start(__MODULE__, opts, Keyword.take(opts, [:name]))
  def store_events(server, events), do: GenServer.call(server, {:batch, events})

  @impl true
  def init(opts), do: {:ok, Map.new(opts)}

  @impl true
  def handle_call({:batch, events}, _from, state) do
    send(state.to, {:batch, self(), events})
    {:reply, :ok, state}
  end
end

defmodule CapturePipeline.Test.ModuleStorage do
  @moduledoc false
  # A storage that is a module. Its reference is the test's pid, or the module itself if it is given alone.
  @behaviour ElixirScope.Capture.Storage

  @impl true
  def store_events(ref, events) do
    to = if is_pid(ref), do: ref, else: :persistent_term.get(__MODULE__)
    send(to, {:module, ref, events})
    {:ok, length(events)}
  end
end

defmodule CapturePipeline.Test.Deadly do
  @moduledoc false
  # A term that kills each process that inspects it.
  defstruct [:n]

  defimpl Inspect do
    def inspect(_, _), do: Process.exit(self(), :kill)
  end
end
