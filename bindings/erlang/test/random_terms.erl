%% Random terms of every kind.
-module(random_terms).
-export([random/1]).

%% Nested containers up to a depth, from the random seed of the calling process.
random(0) ->
    case rand:uniform(12) of
        1 -> rand:uniform(1 bsl 80) - (1 bsl 79);
        2 -> rand:uniform();
        3 -> binary:part(binary:copy(<<3>>, 300), rand:uniform(100), rand:uniform(150));
        4 -> binary:copy(<<2>>, rand:uniform(70));
        5 -> <<1:(rand:uniform(200))>>;
        6 -> make_ref();
        7 -> [];
        8 -> {};
        9 -> X = rand:uniform(1000), fun() -> X end;
        10 -> #{};
        _ -> rand:uniform(1000)
    end;
random(Depth) ->
    Inner = fun() -> random(rand:uniform(Depth) - 1) end,
    Some = fun(Most) -> [Inner() || _ <- lists:seq(1, rand:uniform(Most))] end,
    case rand:uniform(6) of
        1 -> Some(5);
        2 -> list_to_tuple(Some(6));
        3 -> maps:from_list([{Inner(), Inner()} || _ <- lists:seq(1, rand:uniform(40))]);
        4 -> Some(3) ++ Inner();
        5 -> lists:seq(1, rand:uniform(20)) ++ Some(2);
        6 -> random(0)
    end.
