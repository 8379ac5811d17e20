defmodule ElixirScope.Capture.TracerTest do
  # Patterns of the VM are shared on OTP 25 and 26, and the doctest registers no name.
  use ExUnit.Case, async: false
  import CapturePipeline.Test.Wait
  alias ElixirScope.Capture.{AsyncWriterPool, Capture, EtsStorage, NativeStorage, Tracer}

  doctest ElixirScope.Capture.Tracer

  defmodule Traced do
    def add(a, b), do: a + b
    def fail(a), do: raise(ArgumentError, a)
  end

  # A process that runs functions when it is told to.
  defp traced do
    start_supervised!(%{id: make_ref(), start: {Agent, :start_link, [fn -> nil end]}})
  end

  defp told(agent, function), do: Agent.get(agent, fn _ -> function.() end)

  defp stored(capture, function) do
    test = self()
    store = fn events -> send(test, {:events, events}) && :ok end
    pool = start_supervised!({AsyncWriterPool, ring_buffer: capture, storage: store, pool_size: 1})
    function.()
    assert Capture.flush(capture) == :ok
    {:ok, %{captured: captured}} = Capture.metrics(capture)
    eventually(fn -> AsyncWriterPool.get_metrics(pool).total_events_processed == captured end)
    all_events() |> Enum.sort_by(& &1.timestamp)
  end

  defp all_events do
    receive do
      {:events, events} -> events ++ all_events()
    after
      0 -> []
    end
  end

  test "a storage gets calls, returns, exceptions and messages as maps" do
    {:ok, capture} = Capture.new()
    {:ok, tracer} = Tracer.start(capture)
    pid = traced()
    {:ok, 3} = Tracer.trace_calls(tracer, Traced, return: true, local: false) |> at_least(3)

    events =
      stored(capture, fn ->
        {:ok, 1} = Tracer.trace_processes(tracer, pid, [:call, :send, :receive])
        told(pid, fn -> Traced.add(1, 2) end)
        told(pid, fn -> catch_error(Traced.fail("x")) end)
        assert Tracer.stop(tracer) == :ok
      end)

    assert Enum.all?(events, &(&1.pid == pid and is_binary(&1.id) and is_integer(&1.wall_time)))

    assert [
             %{event_type: :call, function: :add, arity: 2, args: [1, 2]},
             %{event_type: :return, function: :add, arity: 2, return_value: 3},
             %{event_type: :call, function: :fail, arity: 1, args: ["x"]},
             %{event_type: :exception, function: :fail, arity: 1, class: :error, reason: %ArgumentError{message: "x"}}
           ] = Enum.filter(events, &(&1[:module] == Traced))

    test = self()
    assert [%{message: {:"$gen_call", {^test, _}, _}} | _] = Enum.filter(events, &(&1.event_type == :receive))
    # The answer goes to an alias of the caller.
    assert [%{message: {[:alias | to], 3}, to_pid: to, alive: true} | _] =
             Enum.filter(events, &(&1.event_type == :send))

    assert is_reference(to)
  end

  # Elixir's modules have functions such as __info__/1.
  defp at_least({:ok, count}, least) when count >= least, do: {:ok, least}

  test "scheduling and garbage collections have their own keys" do
    {:ok, capture} = Capture.new()
    {:ok, tracer} = Tracer.start(capture)
    pid = traced()

    events =
      stored(capture, fn ->
        {:ok, 1} = Tracer.trace_processes(tracer, pid, [:running, :garbage_collection, :procs])

        told(pid, fn ->
          :erlang.garbage_collect()
          task = spawn_link(fn -> :ok end)
          eventually(fn -> not Process.alive?(task) end)
        end)

        assert Tracer.stop(tracer) == :ok
      end)

    types = Enum.map(events, & &1.event_type)
    for type <- [:in, :out, :gc_major_start, :gc_major_end, :spawn], do: assert(type in types)
    assert %{info: %{heap_size: _}} = Enum.find(events, &(&1.event_type == :gc_major_end))
    assert %{module: _, function: _, arity: _} = Enum.find(events, &(&1.event_type == :in))
    assert %{data: child, extra: {:erlang, :apply, _}} = Enum.find(events, &(&1.event_type == :spawn))
    assert is_pid(child)
  end

  test "a match specification's message, and a call without its arguments" do
    {:ok, capture} = Capture.new()
    {:ok, tracer} = Tracer.start(capture)
    pid = traced()

    {:ok, 1} =
      Tracer.trace_calls(tracer, {Traced, :add, 2}, match_spec: [{[:"$1", :_], [], [{:message, {{:first, :"$1"}}}]}])

    events =
      stored(capture, fn ->
        {:ok, 1} = Tracer.trace_processes(tracer, pid, [:call, :arity])
        told(pid, fn -> Traced.add(7, 2) end)
        assert Tracer.stop(tracer) == :ok
      end)

    assert [%{event_type: :call, function: :add, arity: 2, args: nil, match_spec_result: {:first, 7}}] = events
  end

  test "an EtsStorage finds traces by function and by process" do
    {:ok, capture} = Capture.new()
    storage = EtsStorage.new(max_events: 1000)
    {:ok, tracer} = Tracer.start(capture, owner: self(), exclude: [self()])
    start_supervised!({AsyncWriterPool, ring_buffer: capture, storage: storage, pool_size: 1})
    pid = traced()
    {:ok, 1} = Tracer.trace_calls(tracer, {Traced, :add, 2})
    {:ok, _} = Tracer.trace_processes(tracer, :existing, [:call])
    told(pid, fn -> Traced.add(1, 2) end)
    # Excluded.
    Traced.add(3, 4)
    assert Tracer.stop(tracer) == :ok
    assert Capture.flush(capture) == :ok
    assert [%{args: [1, 2], pid: ^pid}] = EtsStorage.query(storage, function: {Traced, :add})
  end

  test "a database has the names of the kinds, and the traces as terms" do
    path = Path.join(System.tmp_dir!(), "tracer-#{System.pid()}-#{System.unique_integer([:positive])}.db")
    on_exit(fn -> for suffix <- ["", "-wal", "-shm"], do: File.rm(path <> suffix) end)
    {:ok, capture} = Capture.new(storage: NativeStorage.sqlite(path))
    {:ok, tracer} = Tracer.start(capture)
    pid = traced()
    {:ok, 1} = Tracer.trace_calls(tracer, {Traced, :add, 2})
    {:ok, 1} = Tracer.trace_processes(tracer, pid, [:call])
    told(pid, fn -> Traced.add(1, 2) end)
    assert Tracer.stop(tracer) == :ok
    assert Capture.close(capture) == :ok
    {rows, 0} = System.cmd("sqlite3", [path, "SELECT kind_name, hex(payload) FROM events_view"])
    assert [["trace_call", hex]] = for(row <- String.split(rows, "\n", trim: true), do: String.split(row, "|"))
    assert {:trace, ^pid, :call, {Traced, :add, [1, 2]}} = hex |> Base.decode16!() |> :erlang.binary_to_term()
  end

  test "an invalid option is named" do
    {:ok, capture} = Capture.new()
    assert Tracer.start(capture, depth: 33) == {:error, {:invalid, :depth}}
    assert Tracer.start(capture, no_option: 1) == {:error, {:invalid, :no_option}}
    {:ok, tracer} = Tracer.start(capture, %{max_rate: :infinity})
    assert Tracer.trace_calls(tracer, {Traced, 1}) == {:error, {:invalid, {Traced, 1}}}
    assert Tracer.untrace_calls(tracer, Traced) == :ok
    assert Tracer.untrace_processes(tracer, self()) == :ok
    assert Tracer.stop(tracer) == :ok
    assert %{state: :stopped, captured: 0, refused: 0, without_ring: 0} = Tracer.info(tracer)
  end
end
