/* Rules that are wrong are refused as a whole and named, as data, as text and from a file; the rules before stay in force. */
#include "rules.h"

#include <sys/stat.h>

static void refused(pipeline_t *p, pipeline_rule_t rule, int32_t status, const char *part)
{
    pipeline_rule_t r[2] = {rule_defaults(), rule};
    r[0].tags = 1;
    CHECK_FAILS(pipeline_rules_set(p, r, 2, 0), status, part);
    CHECK_HAS(pipeline_last_error(), "rule 2");
    /* The set before is still in force. */
    CHECK_U64(rules_of(p), 1);
}

static void what_is_wrong_is_named_and_changes_nothing(void)
{
    static const uint64_t ids[1] = {1};
    static const uint32_t kinds[1] = {1};
    static const char *const texts[10] = {"a..b", NULL, "payload[4..2]", "a", "a", "a", "a", "a", "a", "a"};
    pipeline_t *p = start(1);
    pipeline_rule_t r;
    uint32_t count;
    pipeline_rule_metrics_t m;
    char *large = (char *)malloc((4 << 20) + 2);
    CHECK_OR_STOP(large != NULL);
    CHECK_STATUS(pipeline_rules_set_text(p, "old: drop if kind = 1", 0), PIPELINE_OK);
#define REFUSED(status, part, ...)                                                                                     \
    do {                                                                                                               \
        r = rule_defaults();                                                                                           \
        __VA_ARGS__;                                                                                                   \
        refused(p, r, status, part);                                                                                   \
    } while (0)
    REFUSED(PIPELINE_ERR_INVALID, "an action is missing", r.flags = PIPELINE_RULE_DRY);
    REFUSED(PIPELINE_ERR_INVALID, "flags: bits of 0x7 allowed, 0x8 given", r.flags = 8, r.tags = 1);
    REFUSED(PIPELINE_ERR_INVALID, "actions: bits of 0x1f allowed, 0x20 given", r.actions = 32);
    REFUSED(PIPELINE_ERR_INVALID, "tags: bits of 0xff allowed, 0x100 given", r.tags = 256);
    REFUSED(PIPELINE_ERR_INVALID, "reserved: bits of 0x0 allowed", r.reserved = 1, r.tags = 1);
    REFUSED(PIPELINE_ERR_INVALID, "drop stands alone", r.actions = PIPELINE_RULE_DROP | PIPELINE_RULE_PRIORITY);
    REFUSED(PIPELINE_ERR_INVALID, "keep and sample exclude each other", r.actions = PIPELINE_RULE_KEEP, r.sample_one_in = 2);
    REFUSED(PIPELINE_ERR_INVALID, "1/1 to 1/1048576 allowed, 1/1048577 given", r.sample_one_in = (1 << 20) + 1);
    REFUSED(PIPELINE_ERR_INVALID, "limit: 1 to 1000000000 allowed, 1000000001 given", r.limit_per_second = 1000000001);
    REFUSED(PIPELINE_ERR_INVALID, "limit_burst: only with limit_per_second, 5 given", r.limit_burst = 5, r.tags = 1);
    REFUSED(PIPELINE_ERR_INVALID, "kinds: an empty set", r.kinds = kinds, r.tags = 1);
    REFUSED(PIPELINE_ERR_INVALID, "node_ids: an empty set", r.node_ids = ids, r.tags = 1);
    REFUSED(PIPELINE_ERR_INVALID, "correlation_ids is NULL, and 3 are given", r.correlation_id_count = 3, r.tags = 1);
    REFUSED(PIPELINE_ERR_LIMIT, "node_ids: at most 262144 allowed, 262145 given", r.node_ids = ids, r.node_id_count = 262145, r.tags = 1);
    REFUSED(PIPELINE_ERR_INVALID, "kind_min: 5 is more than kind_max, which is 4", r.kind_min = 5, r.kind_max = 4, r.tags = 1);
    REFUSED(PIPELINE_ERR_INVALID, "payload_min: 5 is more than payload_max, which is 4", r.payload_min = 5, r.payload_max = 4, r.tags = 1);
    REFUSED(PIPELINE_ERR_INVALID, "payload_prefix: an empty set", r.payload_prefix = ids, r.tags = 1);
    REFUSED(PIPELINE_ERR_LIMIT, "payload_prefix: at most 4096 allowed", r.payload_prefix = ids, r.payload_prefix_len = 4097, r.tags = 1);
    REFUSED(PIPELINE_ERR_INVALID, "redact[0]: FIELD, KIND.FIELD or payload[A..B]", r.redact = texts, r.redact_count = 1);
    REFUSED(PIPELINE_ERR_INVALID, "redact[0] is NULL", r.redact = texts + 1, r.redact_count = 1);
    REFUSED(PIPELINE_ERR_INVALID, "payload[4..2] is empty", r.redact = texts + 2, r.redact_count = 1);
    REFUSED(PIPELINE_ERR_LIMIT, "redact: at most 8 allowed, 9 given", r.redact = texts, r.redact_count = 9);
    REFUSED(PIPELINE_ERR_INVALID, "name: a letter", r.name = "two words", r.tags = 1);
    REFUSED(PIPELINE_ERR_INVALID, "name: UTF-8 expected, byte 1 is not", r.name = "a\xFF", r.tags = 1);
    REFUSED(PIPELINE_ERR_INVALID, "when: at character 8: a name, a number or a text expected", r.when = "kind = ", r.tags = 1);
    REFUSED(PIPELINE_ERR_INVALID, "sequence is not known when rules are applied", r.when = "sequence = 1", r.tags = 1);
    REFUSED(PIPELINE_ERR_INVALID, "struct_size", r.struct_size--, r.tags = 1);
    r = rule_defaults();
    r.struct_size = 3;
    CHECK_FAILS(pipeline_rules_set(p, &r, 1, 0), PIPELINE_ERR_VERSION, "struct_size");
    CHECK_FAILS(pipeline_rules_set(p, NULL, 1, 0), PIPELINE_ERR_NULL, "rules");
    CHECK_FAILS(pipeline_rules_set(p, &r, 10001, 0), PIPELINE_ERR_LIMIT, "at most 10000 rules allowed, 10001 given");
    CHECK_FAILS(pipeline_rules_set(p, NULL, 0, 2), PIPELINE_ERR_INVALID, "flags: PIPELINE_RULES_DRY (1) or 0 allowed, 2 given");
    CHECK_FAILS(pipeline_rules_set_text(p, "drop if kind = ", 0), PIPELINE_ERR_INVALID, "line 1, column 15: rule 1: a name, a number or a text expected");
    CHECK_FAILS(pipeline_rules_set_text(p, "drop if kind = '\xFF'", 0), PIPELINE_ERR_INVALID, "UTF-8 expected, byte 16");
    CHECK_FAILS(pipeline_rules_set_text(p, "sample 30%", 0), PIPELINE_ERR_INVALID, "the nearest are 1/3 and 1/4");
    memset(large, ' ', (4 << 20) + 1);
    large[(4 << 20) + 1] = 0;
    CHECK_FAILS(pipeline_rules_set_text(p, large, 0), PIPELINE_ERR_LIMIT, "at most 4194304 bytes allowed, 4194305 given");
    CHECK_FAILS(pipeline_rule_count(p, NULL), PIPELINE_ERR_NULL, "count");
    CHECK_FAILS(pipeline_rule_count(NULL, &count), PIPELINE_ERR_NULL, "pipeline");
    m.struct_size = sizeof m;
    CHECK_FAILS(pipeline_rule_metrics(p, 1, &m), PIPELINE_ERR_NOT_FOUND, "there are 1 rules, 1 given");
    m.struct_size = 7;
    CHECK_FAILS(pipeline_rule_metrics(p, 0, &m), PIPELINE_ERR_VERSION, "struct_size");
    /* The rules before are in force. */
    CHECK_U64(rules_of(p), 1);
    CHECK_STATUS(offer(p, 1, 0, 0, "x"), PIPELINE_DROPPED_BY_RULE);
    free(large);
    END(p);
}

static void ten_thousand_rules(void)
{
    pipeline_t *p = start(1);
    char *text = (char *)malloc(10001 * 40), *end = text;
    int i;
    CHECK_OR_STOP(text != NULL);
    for (i = 0; i < 10000; i++)
        end += sprintf(end, "drop if node_id = %d and kind = 1\n", i * 2);
    CHECK_STATUS(pipeline_rules_set_text(p, text, 0), PIPELINE_OK);
    CHECK_U64(rules_of(p), 10000);
    CHECK_STATUS(offer(p, 1, 0, 19998, "x"), PIPELINE_DROPPED_BY_RULE);
    CHECK_STATUS(offer(p, 1, 0, 19997, "x"), PIPELINE_OK);
    CHECK_STATUS(offer(p, 2, 0, 19998, "x"), PIPELINE_OK);
    CHECK_U64(rule_of(p, 9999).matched, 1);
    strcpy(end, "drop\n");
    CHECK_FAILS(pipeline_rules_set_text(p, text, 0), PIPELINE_ERR_INVALID, "line 10001, column 1: at most 10000 rules allowed");
    free(text);
    END(p);
}

static void write_file(const char *path, const char *text, size_t len)
{
    FILE *f = fopen(path, "w");
    CHECK_OR_STOP(f != NULL);
    CHECK_U64(fwrite(text, 1, len, f), len);
    CHECK(fclose(f) == 0);
}

static void rules_from_a_file(void)
{
    static const char rules[] = "# rules\ndrop if kind = 1\n";
    pipeline_t *p = start(1);
    FILE *f;
    write_file("rules.txt", rules, strlen(rules));
    CHECK_STATUS(pipeline_rules_load(p, "rules.txt", 0), PIPELINE_OK);
    CHECK_STATUS(offer(p, 1, 0, 0, "x"), PIPELINE_DROPPED_BY_RULE);
    CHECK(symlink("rules.txt", "link") == 0);
    CHECK_STATUS(pipeline_rules_load(p, "link", PIPELINE_RULES_DRY), PIPELINE_OK);
    CHECK_STATUS(offer(p, 1, 0, 0, "x"), PIPELINE_OK);
    CHECK_STATUS(pipeline_rules_load(p, "rules.txt", 0), PIPELINE_OK);
    CHECK_FAILS(pipeline_rules_load(p, "absent", 0), PIPELINE_ERR_SYSTEM, "absent: ");
    CHECK_FAILS(pipeline_rules_load(p, ".", 0), PIPELINE_ERR_INVALID, "a regular file expected, it is a directory");
    CHECK(mkfifo("fifo", 0600) == 0);
    CHECK_FAILS(pipeline_rules_load(p, "fifo", 0), PIPELINE_ERR_INVALID, "it is a FIFO");
    CHECK_FAILS(pipeline_rules_load(p, "/dev/zero", 0), PIPELINE_ERR_INVALID, "it is a device");
    write_file("broken", "tag 1\ndrop iff kind = 1\n", 24);
    CHECK_FAILS(pipeline_rules_load(p, "broken", 0), PIPELINE_ERR_INVALID, "broken: line 2, column 6: rule 2: ',' and an action");
    write_file("binary", "tag 1\ntag \xFF\n", 12);
    CHECK_FAILS(pipeline_rules_load(p, "binary", 0), PIPELINE_ERR_INVALID, "UTF-8 expected, line 2 is not");
    f = fopen("large", "w");
    CHECK_OR_STOP(f != NULL);
    CHECK(ftruncate(fileno(f), (4 << 20) + 1) == 0);
    fclose(f);
    CHECK_FAILS(pipeline_rules_load(p, "large", 0), PIPELINE_ERR_LIMIT, "at most 4194304 bytes of text allowed");
    CHECK_FAILS(pipeline_rules_load(p, NULL, 0), PIPELINE_ERR_NULL, "path");
    CHECK_U64(rules_of(p), 1);
    CHECK_STATUS(offer(p, 1, 0, 0, "x"), PIPELINE_DROPPED_BY_RULE);
    write_file("empty", "", 0);
    CHECK_STATUS(pipeline_rules_load(p, "empty", 0), PIPELINE_OK);
    CHECK_U64(rules_of(p), 0);
    END(p);
}

int main(void)
{
    what_is_wrong_is_named_and_changes_nothing();
    ten_thousand_rules();
    rules_from_a_file();
    return SUMMARY();
}
