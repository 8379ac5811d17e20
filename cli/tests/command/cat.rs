//! `cat`

use super::*;
use std::io::Read;
use std::process::Stdio;

const LINES: [&str; 13] = [
    "2023-11-14T22:13:21.000000007Z wörker 2/18446744073709551615 sample size=3 MiB change=-5 ok=true color=green, light ratio=0.1 exact=0.1 small=65535 least=-32768 key=dead text=größer, \"so\"\\nzwei",
    "2023-11-14T22:13:22.000000014Z main/4711 point at=0x7fff12345678 of=-1",
    "2023-11-14T22:13:23.000000021Z wörker 2/18446744073709551615 note payload=\"a text\"",
    "2023-11-14T22:13:24.000000028Z main/4711 sample size=15.99 EiB change=-2147483648 ok=false color=red ratio=0.1 exact=1.7976931348623157e308 small=65535 least=-32768 key=dead text= correlation_id=18446744073709551615",
    "2023-11-14T22:13:25.000000035Z wörker 2/18446744073709551615 note payload=0001ff node_id=77",
    "2023-11-14T22:13:26.000000042Z main/4711 sample size=8.00 EiB change=2147483647 ok=true color=5 ratio=NaN exact=-inf small=65535 least=-32768 key=dead text=a weight=2.5",
    "2023-11-14T22:13:27.000000049Z wörker 2/18446744073709551615 point at=0xffffffffffffffff of=-9223372036854775808 flags=priority",
    "2023-11-14T22:13:28.000000056Z main/4711 sample size=0 B change=0 ok=true color=green, light ratio=0.1 exact=-0.0 small=0 least=0 key=dead text=\\xffx",
    "2023-11-14T22:13:29.000000063Z wörker 2/18446744073709551615 sample size=3 MiB change=-5 ok=true color=- ratio=- exact=- small=- least=- key=- text=- payload=0000300000000000fbffffff01",
    "2023-11-14T22:13:30.000000070Z main/4711 point at=0x1 of=2 payload=0100000000000000020000000000000009",
    "2023-11-14T22:13:31.000000077Z wörker 2/18446744073709551615 10 payload=",
    "2023-11-14T22:13:32.000000084Z main/4711 note payload=\"zwei\\nZeilen\"",
    "2554-07-21T23:34:33.709551615Z ring3 note payload=\"late\" flags=own_time",
];

#[test]
fn each_event_is_a_line_with_the_names_of_its_fields() {
    let (_scratch, journal) = journal();
    let out = well(&["cat", &journal]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), LINES.len(), "{out}");
    for (line, expected) in lines.iter().zip(LINES) {
        assert_eq!(*line, expected);
    }
    assert_eq!(well(&["cat", "--order", "stored", &journal]).lines().count(), LINES.len());
    let with_ids = well(&["cat", &journal, "--ids", "-n", "1"]);
    assert!(with_ids.ends_with(" id=feed000000000001:2:0\n"), "{with_ids}");
}

/// The numbers of the lines that are chosen.
fn chosen(arguments: &[&str]) -> Vec<usize> {
    let out = well(arguments);
    let number = |line: &str| LINES.iter().position(|known| line.starts_with(&known[..30])).expect("a line");
    out.lines().map(number).collect()
}

#[test]
fn events_are_chosen_by_kind_expression_time_and_ids() {
    let (_scratch, journal) = journal();
    for (options, expected) in [
        (&["--kind", "point"][..], &[1, 6, 9][..]),
        (&["-k", "8"], &[1, 6, 9]),
        (&["-k", "point", "-k", "10"], &[1, 6, 9, 10]),
        (&["-k", "4000000000"], &[]),
        (&["--where", "size > 1 MiB"], &[0, 3, 5, 8]),
        (&["-w", "sample.size > 0x8000000000000000"], &[3, 5]),
        (&["-w", "not size > 1 MiB and kind in ('sample', 10)"], &[7, 10]),
        (&["-w", "at = 1 or payload contains 'text'"], &[2, 9]),
        (&["-w", "color = 'red' or text contains 'zwei'"], &[0, 3]),
        (&["-w", "thread = 'main' and len < 17"], &[1, 11]),
        (&["-w", "time > '2023-11-14T22:13:31Z' and ring != 3"], &[10, 11]),
        (&["--from", "2023-11-14T22:13:30Z", "--to", "2023-11-14T22:13:32Z"], &[9, 10]),
        (&["--from", "+8s", "--until", "+10000000071ns"], &[8, 9, 10]),
        (&["--from", "-0ns"], &[12]),
        (&["--correlation-id", "18446744073709551615"], &[3]),
        (&["--correlation-id", "0xffffffffffffffff"], &[3]),
        (&["--run", "feed000000000001", "-n", "2"], &[0, 1]),
        (&["-n", "0"], &[]),
    ] {
        let arguments = [&["cat", &journal], options].concat();
        assert_eq!(chosen(&arguments), expected, "{options:?}");
    }
}

#[test]
fn a_wrong_choice_is_named_with_what_there_is() {
    let (_scratch, journal) = journal();
    for (options, parts) in [
        (&["--kind", "pint"][..], &["no kind pint", "point", "sample"][..]),
        (&["--run", "feed000000000002"], &["no run feed000000000002", "capture-pipeline ls"]),
        (&["--where", "size >"], &["--where 'size >'", "character 7"]),
        (&["--where", "syze > 1"], &["no field syze", "sample.size", "point.at"]),
        (&["--where", "point.size > 1"], &["no field point.size"]),
        (
            &["--where", "color = 'gren'"],
            &["color has no value named \"gren\"", "green, light", "red", "any number"],
        ),
        (&["--where", "not sample.color in ('red', 5, 'blue')"], &["color has no value named \"blue\""]),
        (&["--from", "yesterday"], &["--from", "yesterday", "2024-05-01T10:00:00Z"]),
        (&["--to", "+5"], &["--until", "+5"]),
    ] {
        let message = refused(&[&["cat", &journal], options].concat());
        assert!(parts.iter().all(|part| message.contains(part)), "{options:?}: {message}");
    }
    assert!(refused(&["cat", "/nowhere"]).contains("/nowhere"));
    let scratch = Scratch::new();
    let message = refused(&["cat", &text(scratch.path())]);
    assert!(message.contains("no journal"), "{message}");
}

#[test]
fn json_has_every_value_exactly() {
    let (_scratch, journal) = journal();
    let lines: Vec<String> = well(&["cat", "--json", &journal]).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 13);
    assert_eq!(
        lines[0],
        r#"{"generation":"feed000000000001","ring_id":2,"sequence":0,"wall_time":"2023-11-14T22:13:21.000000007Z","time_ns":1000000007,"kind":7,"kind_name":"sample","correlation_id":0,"node_id":0,"weight":1,"flags":0,"tid":18446744073709551615,"thread_name":"wörker 2","fields":{"size":3145728,"change":-5,"ok":true,"color":"green, light","ratio":0.1,"exact":0.1,"small":65535,"least":-32768,"key":"dead","text":"größer, \"so\"\nzwei"},"payload":"0000300000000000fbffffff0102cdcccc3d9a9999999999b93fffff0080dead6772c3b6c39f65722c2022736f220a7a776569","attributes":{"host":"alpha","version":"1.2"}}"#
    );
    // A kind whose fields say all needs no payload.
    assert!(
        lines[1].ends_with(
            r#""fields":{"at":140733498807928,"of":-1},"attributes":{"host":"alpha","version":"1.2"}}"#
        ),
        "{}",
        lines[1]
    );
    assert!(lines[5].contains(r#""ratio":null,"exact":null"#), "{}", lines[5]);
    assert!(lines[7].contains("\"text\":\"\u{FFFD}x\""), "{}", lines[7]);
    assert!(
        lines[8].contains(r#""fields":{"size":3145728,"change":-5,"ok":true},"payload""#),
        "{}",
        lines[8]
    );
    assert!(
        lines[9].ends_with(r#""fields":{"at":1,"of":2},"payload":"0100000000000000020000000000000009","attributes":{"host":"alpha","version":"1.2"}}"#)
    );
    let strings = well(&["cat", "--json", "--strings", &journal]);
    assert!(strings.contains(r#""correlation_id":"18446744073709551615""#));
    assert!(strings.contains(r#""of":"-9223372036854775808""#));
    assert!(strings.contains(r#""at":140733498807928,"#));
}

#[test]
fn damage_is_told_and_the_rest_is_printed() {
    let (_scratch, journal) = journal();
    damage(&segments(&journal)[0]);
    let done = run(&["cat", &journal]);
    assert_eq!(done.status, 1);
    assert_eq!(done.out.lines().count(), 10, "{}", done.out);
    assert!(
        done.err.contains("1 damaged block, 3 events lost") && done.err.contains("verify"),
        "{}",
        done.err
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error_and_a_full_disk_is() {
    let (_scratch, journal) = journal();
    let arguments = ["export", &journal, "-", "--to", "csv"];
    let mut child =
        command(&["cat", &journal]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    let mut message = String::new();
    let _ = (&output.stderr[..]).read_to_string(&mut message);
    assert_eq!((output.status.code(), message.as_str()), (Some(0), ""));
    for arguments in [&["cat", &journal][..], &arguments, &["stat", &journal], &["ls", &journal]] {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
        let done = done(command(arguments).stdout(full).output().expect("it runs"));
        assert_eq!(done.status, 2, "{arguments:?}");
        assert!(done.err.contains("standard output") && done.err.contains("free space"), "{}", done.err);
    }
}
