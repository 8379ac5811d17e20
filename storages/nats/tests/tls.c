/* TLS with certificates of the test's own: what is trusted, and what is refused with its reason.
 * Build flags: -lcapture_pipeline_nats */
#include "stored.h"

static void run(const char *command)
{
    CHECK_OR_STOP(CHECK_U64(system(command), 0));
}

/* Two authorities; a server's certificate for 127.0.0.1 and a client's by the first one. */
static void make_certificates(void)
{
    run("{ for ca in ca other; do openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=$ca "
        "-addext basicConstraints=critical,CA:TRUE -keyout $ca.key -out $ca.pem || exit 1; done; "
        "for name in server client; do openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=$name -keyout $name.key -out $name.csr && "
        "printf 'subjectAltName=IP:127.0.0.1\\nextendedKeyUsage=serverAuth,clientAuth\\nbasicConstraints=CA:FALSE\\n' > $name.ext && "
        "openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile $name.ext -out $name.pem || exit 1; done; } > openssl.log 2>&1");
}

/* Whether the server listens: the client of the test does not speak TLS. */
static bool listens(int port)
{
    struct sockaddr_in address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connected;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return connected;
}

int main(void)
{
    server_t server;
    pipeline_storage_t storage;
    pipeline_config_t config = patient_config();
    pipeline_nats_options_t options;
    pipeline_t *p = NULL;
    stored_t stored;
    make_certificates();
    server_new(&server, "tls { cert_file: server.pem, key_file: server.key, ca_file: ca.pem, verify: true }");
    server_launch(&server);
    WAIT_FOR(listens(server.port));
    options = nats_options(&server);
    options.connect_timeout_ms = 20000;
    options.tls_ca_file = "other.pem", options.tls_certificate_file = "client.pem", options.tls_key_file = "client.key";
    CHECK_FAILS(pipeline_storage_nats(&options, sizeof storage, &storage), PIPELINE_ERR_STORAGE, "Check tls_ca_file");
    CHECK_HAS(pipeline_last_error(), "certificate");
    CHECK_HAS(pipeline_last_error(), server.address);
    options.tls_ca_file = "missing.pem";
    CHECK_FAILS(pipeline_storage_nats(&options, sizeof storage, &storage), PIPELINE_ERR_STORAGE, "Check tls_ca_file");
    CHECK_HAS(pipeline_last_error(), "No such file");
    options.tls_ca_file = "ca.pem", options.tls_certificate_file = options.tls_key_file = NULL;
    CHECK_FAILS(pipeline_storage_nats(&options, sizeof storage, &storage), PIPELINE_ERR_STORAGE, "servers: ");
    options.tls_certificate_file = "client.pem", options.tls_key_file = "client.key";
    CHECK_OR_STOP(CHECK_STATUS(pipeline_storage_nats(&options, sizeof storage, &storage), PIPELINE_OK));
    CHECK_OR_STOP(CHECK_STATUS(pipeline_start(&config, &storage, &p), PIPELINE_OK));
    capture_range(p, 0, 5000, 64);
    CHECK_STATUS(pipeline_flush(p, 60000), PIPELINE_OK);
    END(p);
    server_kill(&server);
    /* TLS is wanted, and the server has none. */
    server_configure(&server, "");
    server_start(&server, "");
    options.flags |= PIPELINE_NATS_TLS;
    options.connect_timeout_ms = 1000;
    CHECK_FAILS(pipeline_storage_nats(&options, sizeof storage, &storage), PIPELINE_ERR_STORAGE, "servers: ");
    stored = stored_in(&server, "", 5000);
    CHECK_U64(seen_times(&stored, 0, 5000, 1), 5000);
    free(stored.seen);
    server_kill(&server);
    return SUMMARY();
}
