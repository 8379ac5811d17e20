defmodule ElixirScope.Capture.CaptureJournal do
  @moduledoc """
  Reads a journal: the events that a capture with `ElixirScope.Capture.NativeStorage.journal/2` has stored, or any other program with this library.

      {:ok, capture} = Capture.new(storage: NativeStorage.journal("events.journal"))
      :ok = Capture.event(capture, {:hello, "world"})
      :ok = Capture.close(capture)

      "events.journal" |> CaptureJournal.stream(order: :time) |> Enum.map(& &1.payload)
      #=> [{:hello, "world"}]

  A journal needs no pipeline to be read, and may be read while it is written, by this VM or by another process. Reading changes nothing in it.

  ## Options

    * `:order`: `:stored` (the default): as the events lie in the files, which is the fastest; `:time`: by time, then generation, ring and sequence, which is also
      the order of each process;
    * `:from`, `:to`: a `DateTime`, or nanoseconds since 1970; `:from_timestamp`, `:to_timestamp`: nanoseconds of the system's monotonic clock. Only events from the
      first on, and before the second;
    * `:kinds`: a list of numbers or `ElixirScope.Capture.CaptureKind`s; `:correlation_ids`: a list of ids. Only events that have one of them. (A correlation id
      of 0 is none.)
    * `:generation`: only events of that run of a pipeline;
    * `:follow`: `true`: the stream goes on with what is written meanwhile. It ends if no event comes within `:timeout` milliseconds (`:infinity` by default);
    * `:payloads`: `:terms` (the default), `:binary` or `:none`, see below;
    * `:definitions`: a list of `ElixirScope.Capture.CaptureKind`s that the program knows. If the journal's definition of the kind has the same layout, or
      it has none, the fields have the names of the given one: atoms, for example;
    * `:losses`: a function that is called once with the losses (see `losses/2`) when the stream has ended or is halted, before it is closed;
    * `:memory_bytes`: how much memory the reader may use: at least 16 MiB, 192 MiB by default.

  ## Payloads

  With `:terms` each payload is given as it was captured, as far as the journal tells:

    * if the kind is defined, as a map of its fields. A journal has the names of fields and of enum values as text, and text they stay (`%{"size" => 64}`), because
      atoms that come from a file could fill the VM's table of atoms;
    * if it is a term in the external term format, as that term. It is decoded with `:safe`: nothing in a journal creates an atom or a function. In a fresh
      VM load the modules whose atoms the terms have (`Code.ensure_loaded/1`). A term may take up to sixteen times the memory of its payload;
    * else as a binary.

  The `form` of the `ElixirScope.Capture.CaptureJournal.Event` tells which. Nothing in a journal tells a term from a binary that is one in the external term
  format, for example the result of `:erlang.term_to_binary/1` that was captured as a binary: it is decoded too. With `:binary` each payload is the bytes that are
  stored. A term may contain functions that this node knows; do not call those of a journal that others can write. A pid, port or reference in it may stand for
  nothing any more, or for another process.

  ## Errors

  `{:error, reason}`, or an `ElixirScope.Capture.CaptureJournal.Error` with that reason from a stream when it is run: `{name, text}`, where the text names the
  file or the option.

    * `:not_found`: there is nothing at the path;
    * `:invalid`: the file is no segment of a journal, or an option is outside its range; `:unsupported`: it is one of another version or byte order;
    * `:limit`: `:memory_bytes` is too little for so large a journal;
    * `:system`, `:no_memory`: the system refuses.

  `{:badarg, key}` names an option that is unknown or has a value that it cannot have; `stream/2` raises an `ArgumentError` then. A directory without a segment is an
  empty journal. What is damaged, contradictory or missing is no error: it is counted (`losses/2`), and the rest is read. Files with other names than
  those of segments are not looked at.
  """

  alias ElixirScope.Capture.Capture.Event, as: Helper
  alias ElixirScope.Capture.CaptureJournal.{Error, Event, Options}
  alias ElixirScope.Capture.CaptureKind
  alias :elixir_scope_capture_pipeline_journal, as: Journal
  alias :elixir_scope_capture_pipeline_kind, as: Kind

  @type reason :: :badarg | {atom(), term()}
  @typedoc "A kind of a run. `kind` is nil if it has a name and no definition."
  @type definition :: %{
          generation: pos_integer(),
          number: non_neg_integer(),
          name: String.t(),
          kind: CaptureKind.t() | nil
        }
  @typedoc "Counts, `any` (whether something is lost) and `details` (a line for each loss)."
  @type losses :: :elixir_scope_capture_pipeline_journal.losses()
  @type count :: %{events: non_neg_integer(), bytes: non_neg_integer()}
  @type info :: %{
          events: non_neg_integer(),
          bytes: non_neg_integer(),
          from: DateTime.t() | nil,
          to: DateTime.t() | nil,
          generations: [pos_integer()],
          kinds: %{
            (non_neg_integer() | :other) => %{events: pos_integer(), bytes: non_neg_integer(), name: String.t() | nil}
          },
          losses: losses()
        }

  # Events that one call of the NIF gives, at most; it has its own limit of bytes.
  @batch 256
  # Kinds that info/2 counts each by itself.
  @most_kinds 65_536

  @doc """
  The events as a stream of `ElixirScope.Capture.CaptureJournal.Event`s.

  The journal is opened when the stream is run, and closed when it ends, is halted (`Enum.take/2`) or fails, at once. Each run reads it anew. Memory is bounded by
  `:memory_bytes` and what one batch takes, whatever the size of the journal.
  """
  @spec stream(Path.t(), keyword() | map()) :: Enumerable.t()
  def stream(path, options \\ []) do
    case Options.new(options) do
      {:ok, options} ->
        Stream.resource(fn -> start(path, options) end, &next(&1, path, options), &stop(&1, options))

      {:error, {:badarg, key}} ->
        raise ArgumentError, "CaptureJournal: the option #{inspect(key)} is unknown or has a value that it cannot have"
    end
  end

  defp start(path, options) do
    # The atoms of the helpers' tuples.
    Code.ensure_loaded(Helper)

    case Journal.open(path, options.native) do
      {:ok, reader} -> {reader, known!(reader, path, options)}
      {:error, reason} -> raise Error, path: path, reason: reason
    end
  end

  defp known!(reader, path, options) do
    case known(reader, options) do
      {:ok, kinds} ->
        kinds

      {:error, reason} ->
        Journal.close(reader)
        raise Error, path: path, reason: reason
    end
  end

  defp next({reader, kinds} = state, path, options) do
    case Journal.next_tuples(reader, @batch, options.timeout) do
      {:ok, tuples} ->
        kinds = learn(reader, kinds, tuples, options)
        {Enum.map(tuples, &Event.new(&1, kinds, options)), {reader, kinds}}

      ended when ended in [:done, :timeout] ->
        {:halt, state}

      {:error, reason} ->
        raise Error, path: path, reason: reason
    end
  end

  defp stop({reader, _kinds}, options) do
    # Helper.build/3 keeps a text there.
    Process.delete(:capture_generation)
    report(reader, options.losses)
  after
    Journal.close(reader)
  end

  defp report(_reader, nil), do: :ok

  defp report(reader, report) do
    with {:ok, losses} <- Journal.losses(reader), do: report.(losses)
  end

  # The kinds of the journal that have a name or a definition.
  defp known(reader, options) do
    with {:ok, definitions} <- Journal.definitions(reader) do
      {:ok, Map.new(definitions, &{{&1.generation, &1.kind}, {name(&1.name), kind(&1, options.definitions)}})}
    end
  end

  # A reader that follows the journal may know kinds by now that were defined after it was opened.
  defp learn(reader, kinds, tuples, %{native: %{follow: true}} = options) do
    defined? = &match?({_, %CaptureKind{}}, kinds[{elem(&1, 7), elem(&1, 0)}])

    with false <- Enum.all?(tuples, defined?),
         {:ok, more} <- known(reader, options) do
      more
    else
      _ -> kinds
    end
  end

  defp learn(_reader, kinds, _tuples, _options), do: kinds

  defp name(""), do: nil
  defp name(name), do: name

  # The given kind if the journal has none, or one that lies in a payload in the same way.
  defp kind(%{kind: number, definition: :undefined}, given), do: given[number]

  defp kind(%{kind: number, name: name, definition: native}, given) do
    case given do
      %{^number => %CaptureKind{native: other} = kind} ->
        if layout(other) == layout(native), do: kind, else: %CaptureKind{number: number, name: name, native: native}

      _ ->
        %CaptureKind{number: number, name: name, native: native}
    end
  end

  # {number, name, category, role, pairs_with, key, duration, size, fields} with
  # fields {name, type, integer, offset, length, unit, hint, values}
  defp layout(native) do
    {:ok, definition} = Kind.native(native)

    fields =
      for {name, type, integer, offset, length, _, _, values} <- elem(definition, 8),
          do: {name, type, integer, offset, length, values}

    {elem(definition, 7), fields}
  end

  @doc "The kinds that have a name or a definition, of all runs in the journal."
  @spec definitions(Path.t()) :: {:ok, [definition()]} | {:error, reason()}
  def definitions(path) do
    with_reader(path, %{}, fn reader ->
      with {:ok, definitions} <- Journal.definitions(reader) do
        {:ok, for(found <- definitions, do: definition(found))}
      end
    end)
  end

  defp definition(%{generation: generation, kind: number, name: name} = found),
    do: %{generation: generation, number: number, name: name, kind: kind(found, %{})}

  @doc """
  What a reader with these options could not give: damaged blocks and what they had, contradictions, segments that are refused or gone, and what else
  `pipeline_reader_losses_t` in `capture_pipeline.h` counts. It reads the whole journal. `duplicates` are no loss: they are given once.
  """
  @spec losses(Path.t(), keyword() | map()) :: {:ok, losses()} | {:error, reason()}
  def losses(path, options \\ []) do
    with {:ok, %{losses: losses}} <- info(path, options), do: {:ok, losses}
  end

  @doc """
  What the journal has: the number of `events` and the `bytes` of their payloads, the times of the first and the last one (`from`, `to`), the
  `generations` (the runs of pipelines), the same counts for each number of a kind, and the `losses`. It reads the whole journal, without the payloads. The options are those of
  `stream/2`; `:follow` ends at the `:timeout`.
  """
  @spec info(Path.t(), keyword() | map()) :: {:ok, info()} | {:error, reason()}
  def info(path, options \\ []) do
    with {:ok, options} <- Options.new(options) do
      with_reader(path, Map.put(options.native, :payloads, :none), &summary(&1, options))
    end
  end

  defp summary(reader, options) do
    with {:ok, counts} <- count(reader, options.timeout, %{from: nil, to: nil, generations: %{}, kinds: %{}}),
         {:ok, losses} <- Journal.losses(reader),
         {:ok, definitions} <- Journal.definitions(reader) do
      names = Map.new(definitions, &{&1.kind, name(&1.name)})

      kinds =
        Map.new(counts.kinds, fn {kind, {events, bytes}} ->
          {kind, %{events: events, bytes: bytes, name: names[kind]}}
        end)

      {:ok,
       %{
         events: kinds |> Map.values() |> Enum.reduce(0, &(&1.events + &2)),
         bytes: kinds |> Map.values() |> Enum.reduce(0, &(&1.bytes + &2)),
         from: time(counts.from),
         to: time(counts.to),
         generations: counts.generations |> Map.keys() |> Enum.sort(),
         kinds: kinds,
         losses: losses
       }}
    end
  end

  defp count(reader, timeout, counts) do
    case Journal.next_tuples(reader, 4_096, timeout) do
      {:ok, tuples} -> count(reader, timeout, Enum.reduce(tuples, counts, &add/2))
      ended when ended in [:done, :timeout] -> {:ok, counts}
      {:error, _} = error -> error
    end
  end

  defp add({number, _, bytes, _, time, _, _, generation, _, _, _, _}, counts) do
    key = if is_map_key(counts.kinds, number) or map_size(counts.kinds) < @most_kinds, do: number, else: :other
    {events, before} = Map.get(counts.kinds, key, {0, 0})

    %{
      # An atom is greater than any number.
      from: min(counts.from, time),
      to: if(counts.to, do: max(counts.to, time), else: time),
      generations: Map.put(counts.generations, generation, true),
      kinds: Map.put(counts.kinds, key, {events + 1, before + bytes})
    }
  end

  defp time(nil), do: nil

  # Times beyond the year 9999 are none of a `DateTime`.
  defp time(nanoseconds) do
    case DateTime.from_unix(nanoseconds, :nanosecond) do
      {:ok, time} -> time
      {:error, _} -> nil
    end
  end

  defp with_reader(path, options, body) do
    with {:ok, reader} <- Journal.open(path, options) do
      try do
        body.(reader)
      after
        Journal.close(reader)
      end
    end
  end
end
