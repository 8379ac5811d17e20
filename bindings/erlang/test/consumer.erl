%% The test process as a consumer.
-module(consumer).
-export([one/1, all/3, payloads/1]).
-define(C, elixir_scope_capture_pipeline).

%% Attaches, and takes the only event of the pipeline.
one(P) ->
    ok = ?C:attach(P),
    [Payload] = all(P, delivery, 1),
    Payload.

%% The payloads of so many events, in the order of delivery. The process has attached.
all(_P, _Storage, 0) ->
    [];
all(P, Storage, Left) ->
    receive
        {capture_batch, P, Token, _, _, Given, _} ->
            Events =
                case Storage of
                    delivery -> Given;
                    notices -> ?C:events(P, Token)
                end,
            ok = ?C:complete(P, Token, ok),
            payloads(Events) ++ all(P, Storage, Left - length(Events))
    after 120000 -> error({missing, Left})
    end.

payloads(Events) -> [element(1, E) || E <- Events].
