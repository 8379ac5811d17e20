%% The metrics as text: the name of each test is a promise.
-module(metrics_text_tests).
-include_lib("eunit/include/eunit.hrl").
-define(C, elixir_scope_capture_pipeline).

started(Name) ->
    {ok, P} = ?C:start(#{name => Name}),
    P.

%% The values of a metric, by the label `pipeline'.
values(Metric, Text) ->
    Begin = <<"capture_pipeline_", Metric/binary, "{pipeline=\"">>,
    Lines = [L || L <- binary:split(Text, <<"\n">>, [global]), string:prefix(L, Begin) =/= nomatch],
    [begin
         [Name, Rest] = binary:split(string:prefix(L, Begin), <<"\"">>),
         {Name, binary_to_integer(lists:last(binary:split(Rest, <<" ">>, [global])))}
     end || L <- Lines].

the_text_has_what_metrics_has_test() ->
    P = started(<<"one">>),
    [ok = ?C:capture(P, N) || N <- lists:seq(1, 10)],
    {ok, #{captured := 10}} = ?C:metrics(P),
    {ok, Text} = ?C:metrics_text(P),
    ?assertEqual([{<<"one">>, 10}], values(<<"events_captured_total">>, Text)),
    ?assertEqual($\n, binary:last(Text)),
    {ok, Open} = ?C:metrics_text([P], openmetrics),
    ?assertEqual([{<<"one">>, 10}], values(<<"events_captured_total">>, Open)),
    ?assertEqual(<<"\n# EOF\n">>, binary:part(Open, byte_size(Open), -7)).

pipelines_of_one_text_stand_together_also_if_they_are_many_test() ->
    Names = [integer_to_binary(N) || N <- lists:seq(1, 40)],
    Pipelines = [started(Name) || Name <- Names],
    {ok, Text} = ?C:metrics_text(Pipelines),
    ?assertEqual([{Name, 0} || Name <- Names], values(<<"events_captured_total">>, Text)),
    ?assertEqual(2, length(binary:split(Text, <<"# TYPE capture_pipeline_events_captured_total ">>, [global]))).

no_pipelines_have_an_empty_text_test() ->
    ?assertEqual({ok, <<>>}, ?C:metrics_text([])),
    ?assertEqual({ok, <<"# EOF\n">>}, ?C:metrics_text([], openmetrics)).

a_wrong_argument_is_an_error_test() ->
    P = started(<<"one">>),
    Bad = [make_ref(), [make_ref()], [P, make_ref()], [P | P], nothing, [P | nothing]],
    [?assertEqual({B, {error, badarg}}, {B, ?C:metrics_text(B)}) || B <- Bad],
    ?assertEqual({error, badarg}, ?C:metrics_text(P, xml)),
    ?assertMatch({error, {invalid, <<"pipelines[1]", _/binary>>}}, ?C:metrics_text([P, P])).
