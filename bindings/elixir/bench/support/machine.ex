defmodule CapturePipeline.Bench.Machine do
  @moduledoc "What the figures were measured on, and where they are written."

  @out Path.expand("../../../../docs/benchmarks", __DIR__)

  # A quick run overwrites no figures.
  @spec directory() :: Path.t()
  def directory do
    out = if System.get_env("QUICK"), do: Path.join(Mix.Project.build_path(), "quick"), else: @out
    File.mkdir_p!(out)
    out
  end

  @doc "Says on what is measured, and whether something else is running."
  @spec tell() :: :ok
  def tell do
    IO.puts("#{facts().processor}, #{facts().schedulers} schedulers, OTP #{facts().otp}, Elixir #{facts().elixir}")

    if facts().load > 0.5 do
      IO.puts("NOISY: a load of #{facts().load} before the start; only ratios mean something, and those little")
    end

    :ok
  end

  @spec facts() :: map()
  def facts do
    %{
      processor: processor(),
      schedulers: System.schedulers_online(),
      otp: System.otp_release(),
      elixir: System.version(),
      load: load(),
      library: elixir_library()
    }
  end

  @doc "Writes all that was measured, for whoever wants to reckon with it."
  @spec write(keyword(map())) :: :ok
  def write(results) do
    all = Map.new(results, fn {name, result} -> {name, Map.drop(result, [:checks])} end)
    File.write!(Path.join(directory(), "elixir.json"), [json(Map.put(all, :machine, facts())), "\n"])
    IO.puts("\nwritten: #{Path.relative_to_cwd(directory())}/elixir.json and the plots beside it")
  end

  defp elixir_library do
    {:ok, version} = :application.get_key(:elixir_scope_capture_pipeline, :vsn)
    List.to_string(version)
  end

  defp processor do
    with {:ok, text} <- File.read("/proc/cpuinfo"), [_, name] <- Regex.run(~r/^model name\s*:\s*(.*)$/m, text) do
      name
    else
      _ -> to_string(:erlang.system_info(:system_architecture))
    end
  end

  defp load do
    case File.read("/proc/loadavg") do
      {:ok, text} -> text |> String.split() |> hd() |> String.to_float()
      _ -> 0.0
    end
  end

  # JSON of numbers, texts, lists and maps, without a library.
  defp json(%{} = map),
    do: ["{", Enum.intersperse(for({k, v} <- Enum.sort(map), do: [json(to_string(k)), ": ", json(v)]), ",\n "), "}"]

  defp json(list) when is_list(list), do: ["[", Enum.intersperse(Enum.map(list, &json/1), ", "), "]"]
  defp json(number) when is_integer(number), do: Integer.to_string(number)
  defp json(number) when is_float(number), do: :erlang.float_to_binary(number, decimals: 3)
  defp json(text) when is_binary(text), do: inspect(text)
  defp json(atom) when is_atom(atom), do: json(to_string(atom))
end
